//! The server, as far as the operator needs it: one policy and one role are written or removed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_api::{Call, Client, Error, Reply, SecretText};
use dewdrop_core::{Clock, Moment};
use serde_json::json;

use super::plan::Plan;

const PATIENCE: Duration = Duration::from_secs(5);

/// Why the server did not do it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fail {
    /// It will not, until somebody changes something.
    Refused(String),
    /// It may at the next try.
    Away(String),
}

/// Where policies and roles are kept.
#[async_trait]
pub trait Server: Send + Sync {
    /// Writes both, whether they were there or not.
    async fn write(&mut self, name: &str, plan: &Plan) -> Result<(), Fail>;
    /// Removes both. Already gone counts as success.
    async fn remove(&mut self, name: &str) -> Result<(), Fail>;
    /// The names of all policies. Each role of ours has one: it is written before the role and removed after it.
    async fn names(&mut self) -> Result<Vec<String>, Fail>;
}

/// How the operator signs in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Where `auth/kubernetes` is mounted.
    pub mount: String,
    /// Its role for the operator.
    pub role: String,
    /// The file with our ServiceAccount's token for the server.
    pub token_file: PathBuf,
}

/// The real server.
pub struct Vault {
    client: Client,
    sign_in: SignIn,
    clock: Arc<dyn Clock>,
    session: Option<(Client, Moment)>,
}

// === impl Vault ===

impl Vault {
    /// Nothing is asked yet.
    #[must_use]
    pub fn new(client: Client, sign_in: SignIn, clock: Arc<dyn Clock>) -> Self {
        Self { client, sign_in, clock, session: None }
    }

    /// A client with a token that lives a while yet.
    async fn session(&mut self) -> Result<Client, Fail> {
        if let Some((client, _)) = self.session.as_ref().filter(|(_, until)| self.clock.now() < *until) {
            return Ok(client.clone());
        }
        let file = &self.sign_in.token_file;
        let jwt = tokio::fs::read_to_string(file).await;
        let jwt = jwt.map_err(|e| Fail::Away(format!("the operator's token is not in {}: {e}", file.display())))?;
        let jwt = SecretText::new(jwt);
        let body = json!({ "role": self.sign_in.role, "jwt": jwt.expose().trim() });
        let call = Call::post(&format!("auth/{}/login", self.sign_in.mount), &body).map_err(told)?.patient(PATIENCE);
        let auth = self.client.call(call).await.map_err(told)?.and_then(|envelope| envelope.auth);
        let auth = auth.ok_or_else(|| Fail::Away("the operator's sign-in gave no token".into()))?;
        let half = if auth.lease_duration == 0 { 3600 } else { auth.lease_duration } / 2;
        let client = self.client.with_token(Some(auth.client_token));
        self.session = Some((client.clone(), self.clock.now().plus(Duration::from_secs(half))));
        Ok(client)
    }

    async fn send(&mut self, call: Call) -> Result<Reply, Fail> {
        let client = self.session().await?;
        client.send(call.patient(PATIENCE)).await.map_err(|error| {
            // The token may have been revoked: the next try signs in anew.
            self.session = None;
            told(error)
        })
    }

    fn policy(name: &str) -> String {
        format!("sys/policies/acl/{name}")
    }

    fn role(&self, name: &str) -> String {
        format!("auth/{}/role/{name}", self.sign_in.mount)
    }
}

#[async_trait]
impl Server for Vault {
    async fn write(&mut self, name: &str, plan: &Plan) -> Result<(), Fail> {
        // The policy first: a role never names one of an older state that reaches further.
        self.send(Call::write(&Self::policy(name), &json!({ "policy": plan.policy })).map_err(told)?).await?;
        self.send(Call::write(&self.role(name), &plan.role).map_err(told)?).await.map(drop)
    }

    async fn remove(&mut self, name: &str) -> Result<(), Fail> {
        self.send(Call::delete(&self.role(name)).map_err(told)?).await?;
        self.send(Call::delete(&Self::policy(name)).map_err(told)?).await.map(drop)
    }

    async fn names(&mut self) -> Result<Vec<String>, Fail> {
        let reply = self.send(Call::list("sys/policies/acl").map_err(told)?).await?;
        let data = reply.envelope().map_err(told)?.and_then(|envelope| envelope.data);
        Ok(data.map(|data| data.list("keys")).unwrap_or_default())
    }
}

fn told(error: Error) -> Fail {
    match &error {
        Error::Api(api) if !error.is_passing() => {
            let words = if api.errors.is_empty() { "no reason is told".to_owned() } else { api.errors.join("; ") };
            Fail::Refused(format!("status {} to {} {}: {words}", api.status, api.method, path_of(&api.url)))
        }
        Error::Api(api) => {
            Fail::Away(format!("it answers with status {} (sealed, starting or overloaded)", api.status))
        }
        _ => Fail::Away(error.to_string()),
    }
}

fn path_of(url: &str) -> &str {
    url.split_once("/v1/").map_or(url, |(_, path)| path)
}
