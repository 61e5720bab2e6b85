//! The server, as the proxy sees it: it tells which grants live, signs the proxy's certificate and keeps the record.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_api::{Call, Client, Error, SecretText};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::carrier::{Carrier, Untold};
use crate::grants::Grant;
use crate::inside::Announcement;
use crate::record::Line;
use crate::session::tape::Piece;
use crate::sweep::Sweep;

/// An answer about the grants is held back this long at most; it is the server's sign of life as well.
const WAIT: &str = "3s";
const PATIENCE: Duration = Duration::from_secs(8);

/// How the proxy signs in; without it the client's own token is used.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Where the auth method is mounted: `kubernetes`.
    pub mount: String,
    /// Its role for proxies.
    pub role: String,
    /// The file with the proxy's own ServiceAccount token.
    pub token_file: PathBuf,
}

/// What the server says of the grants.
#[derive(Debug, Clone, Deserialize)]
pub struct Told {
    /// Names this answer.
    pub version: String,
    /// The grants that run.
    pub grants: Vec<Grant>,
    /// What grants that are over left behind, and shall go.
    #[serde(default)]
    pub sweeps: Vec<Sweep>,
    /// Authorities of people's certificates, in PEM.
    pub certificate_authority: String,
}

/// The server.
#[derive(Clone)]
pub struct Vault {
    client: Client,
    mount: Arc<str>,
    cluster: Arc<str>,
    /// Where the cluster's auth method is: `kubernetes`.
    auth_mount: Arc<str>,
    sign_in: Option<Arc<SignIn>>,
    token: Arc<Mutex<Option<SecretText>>>,
}

// === impl Vault ===

impl Vault {
    /// The server behind a client; `mount` is where the access engine is, `auth_mount` where the cluster's auth method is.
    #[must_use]
    pub fn new(client: Client, mount: &str, cluster: &str, auth_mount: &str, sign_in: Option<SignIn>) -> Self {
        Self {
            client: client.with_retries(0),
            mount: mount.trim_matches('/').into(),
            cluster: cluster.into(),
            auth_mount: auth_mount.trim_matches('/').into(),
            sign_in: sign_in.map(Arc::new),
            token: Arc::default(),
        }
    }

    /// The grants, as soon as they are others than those of `version`.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub async fn live(&self, version: &str) -> Result<Told, Error> {
        let path = format!("{}/live", self.mount);
        let call = || -> Result<Call, Error> {
            let call = Call::read(&path)?.with_query("cluster", &self.cluster);
            Ok(call.with_query("version", version).with_query("wait", WAIT).patient(PATIENCE))
        };
        self.data(call).await
    }

    /// A certificate of the proxy for a key: certificate and authorities, in PEM.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub async fn certificate(&self, csr: &str) -> Result<(String, String), Error> {
        #[derive(Deserialize)]
        struct Signed {
            certificate: String,
            issuing_ca: String,
        }
        let path = format!("{}/clusters/{}/certificate", self.mount, self.cluster);
        let signed: Signed = self.data(|| Ok(Call::post(&path, &json!({ "csr": csr }))?.patient(PATIENCE))).await?;
        Ok((signed.certificate, signed.issuing_ca))
    }

    async fn data<T: serde::de::DeserializeOwned>(&self, call: impl Fn() -> Result<Call, Error>) -> Result<T, Error> {
        let envelope = self.ask(call).await?;
        let data = envelope.and_then(|envelope| envelope.data).map(|data| data.expose().clone()).unwrap_or_default();
        serde_json::from_value(Value::Object(data)).map_err(|_| Error::Config("the server's answer is not one".into()))
    }

    async fn tell(&self, path: &str, what: &impl Serialize) -> Result<(), Untold> {
        self.ask(|| Ok(Call::post(path, what)?.patient(PATIENCE))).await.map(drop).map_err(Untold::from)
    }

    /// Asks, and signs in when that is needed.
    async fn ask(&self, call: impl Fn() -> Result<Call, Error>) -> Result<Option<dewdrop_api::Envelope>, Error> {
        let Some(sign_in) = &self.sign_in else { return self.client.call(call()?).await };
        let known = self.token.lock().clone();
        if let Some(token) = known {
            match self.client.with_token(Some(token)).call(call()?).await {
                Err(Error::Api(refusal)) if refusal.status == 403 => {}
                answered => return answered,
            }
        }
        let token = self.signed_in(sign_in).await?;
        *self.token.lock() = Some(token.clone());
        self.client.with_token(Some(token)).call(call()?).await
    }

    async fn signed_in(&self, sign_in: &SignIn) -> Result<SecretText, Error> {
        let file = &sign_in.token_file;
        let jwt = std::fs::read_to_string(file).map_err(|e| Error::Config(format!("{}: {e}", file.display())))?;
        let body = json!({ "role": sign_in.role, "jwt": jwt.trim() });
        let call = Call::post(&format!("auth/{}/login", sign_in.mount.trim_matches('/')), &body)?.patient(PATIENCE);
        let answered = self.client.with_token(None).call(call).await;
        let envelope = answered.map_err(|error| match error {
            // What is refused here is the proxy, not what it wanted to say.
            Error::Api(api) if (400..500).contains(&api.status) && !Error::Api(api.clone()).is_passing() => {
                let words = api.errors.join("; ");
                Error::Config(format!("the sign-in by role {} failed: {words} ({})", sign_in.role, api.status))
            }
            error => error,
        })?;
        let auth = envelope.and_then(|envelope| envelope.auth);
        auth.map(|auth| auth.client_token).ok_or_else(|| Error::Config("the login gave no token".into()))
    }
}

#[async_trait::async_trait]
impl Carrier for Vault {
    async fn carry(&self, lines: &[Line]) -> Result<(), Untold> {
        #[derive(Serialize)]
        struct Lines<'l> {
            lines: &'l [Line],
        }
        self.tell(&format!("{}/record", self.mount), &Lines { lines }).await
    }

    async fn session(&self, id: &str, piece: &Piece) -> Result<(), Untold> {
        self.tell(&format!("{}/recordings/{id}", self.mount), piece).await
    }

    async fn announce(&self, announcement: &Announcement) -> Result<(), Untold> {
        self.tell(&format!("{}/announce", self.mount), announcement).await
    }

    async fn left(&self, session: &str) -> Result<(), Untold> {
        self.tell(&format!("auth/{}/sessions/leave", self.auth_mount), &json!({ "session": session })).await
    }
}
