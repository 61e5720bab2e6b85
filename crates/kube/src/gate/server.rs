//! The server, as far as the gate asks it: with the webhook's own identity, and in the little time that the API server gives.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_api::{Call, Client, Error, SecretText};
use dewdrop_core::{Clock, Moment};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::sync::Mutex;

use super::Keeper;

/// One request. The API server waits ten seconds for all of them.
const PATIENCE: Duration = Duration::from_secs(2);

/// How the webhook signs in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Its role of the auth method.
    pub role: String,
    /// The file with our ServiceAccount's token for the server.
    pub token_file: PathBuf,
}

/// Where the server has what is asked.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where the access engine is mounted: `access`.
    pub access_mount: String,
    /// Where the cluster's auth method is mounted: `kubernetes`.
    pub auth_mount: String,
    /// How the webhook signs in.
    pub sign_in: SignIn,
}

/// The real server.
pub struct Server {
    client: Client,
    settings: Settings,
    clock: Arc<dyn Clock>,
    session: Mutex<Option<(Client, Moment)>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Checked {
    allowed: bool,
    seconds: u64,
    refused: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entered {
    starts: u64,
}

// === impl Server ===

impl Server {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(client: Client, settings: Settings, clock: Arc<dyn Clock>) -> Self {
        let client = client.with_token(None).with_retries(0);
        Self { client, settings, clock, session: Mutex::default() }
    }

    /// A client with a token that lives a while yet. One signs in, the others wait for it.
    async fn session(&self) -> Result<Client, String> {
        let mut session = self.session.lock().await;
        if let Some((client, _)) = session.as_ref().filter(|(_, until)| self.clock.now() < *until) {
            return Ok(client.clone());
        }
        let SignIn { role, token_file } = &self.settings.sign_in;
        let jwt = tokio::fs::read_to_string(token_file).await;
        let jwt = jwt.map_err(|e| format!("the webhook's token is not in {}: {e}", token_file.display()))?;
        let jwt = SecretText::new(jwt);
        let body = json!({ "role": role, "jwt": jwt.expose().trim() });
        let path = format!("auth/{}/login", self.settings.auth_mount);
        let call = Call::post(&path, &body).map_err(|e| e.to_string())?.patient(PATIENCE);
        let auth = self.client.call(call).await.map_err(|e| told(&e))?.and_then(|envelope| envelope.auth);
        let auth = auth.ok_or("the webhook's sign-in gave no token")?;
        let half = if auth.lease_duration == 0 { 3600 } else { auth.lease_duration } / 2;
        let client = self.client.with_token(Some(auth.client_token));
        *session = Some((client.clone(), self.clock.now().plus(Duration::from_secs(half))));
        Ok(client)
    }

    /// Asks; when the token is refused, it may have ended: once more with a new one.
    async fn ask<T: for<'de> Deserialize<'de>>(&self, path: &str, body: &Value) -> Result<T, String> {
        let call = || Call::post(path, body).map(|call| call.patient(PATIENCE)).map_err(|e| e.to_string());
        let answered = match self.session().await?.call(call()?).await {
            Err(Error::Api(refusal)) if refusal.status == 403 => {
                *self.session.lock().await = None;
                self.session().await?.call(call()?).await
            }
            answered => answered,
        };
        let data = answered.map_err(|e| told(&e))?.and_then(|envelope| envelope.data);
        let data = data.map_or_else(Map::new, |data| data.expose().clone());
        serde_json::from_value(Value::Object(data)).map_err(|_| "its answer is not one".to_owned())
    }
}

#[async_trait]
impl Keeper for Server {
    async fn check(&self, door: &Value) -> Result<Result<u64, String>, String> {
        let path = format!("{}/exec-check", self.settings.access_mount);
        let checked: Checked = self.ask(&path, door).await?;
        Ok(if checked.allowed { Ok(checked.seconds) } else { Err(checked.refused) })
    }

    async fn enter(&self, session: &Value) -> Result<u64, String> {
        let path = format!("auth/{}/sessions/enter", self.settings.auth_mount);
        self.ask::<Entered>(&path, session).await.map(|entered| entered.starts)
    }

    async fn relabelled(&self, change: &Value) -> Result<(), String> {
        let path = format!("{}/namespace-doors", self.settings.access_mount);
        self.ask::<Value>(&path, change).await.map(drop)
    }
}

/// Whoever is refused at the door need not know more than this.
fn told(error: &Error) -> String {
    tracing::warn!(%error, "the server cannot be asked about a door");
    match error {
        Error::Api(refusal) => format!("status {}", refusal.status),
        _ => "no answer in due time".to_owned(),
    }
}
