//! What the agent asks of the server (docs/decisions/0016): it signs in with its own ServiceAccount token and acts for the
//! containers of its node.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dewdrop_api::{Auth, Call, Client, Envelope, SecretText};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::time::Instant;

use super::fail::Fail;
use super::traits::Traits;

/// One request of the agent. A container's start waits for a few of them.
const PATIENCE: Duration = Duration::from_secs(10);
/// A renewal may take longer: nothing waits for it.
const SLOW: Duration = Duration::from_secs(30);
/// No sign-in is taken to live longer.
const LONGEST: u64 = 365 * 24 * 3600;
/// A token as young as this has not ended: a refusal is meant.
const SURE: Duration = Duration::from_secs(5);

/// How the agent signs in.
#[derive(Debug, Clone)]
pub struct SignIn {
    /// Where the auth method is mounted: `kubernetes`.
    pub mount: String,
    /// Its role for agents.
    pub role: String,
    /// The file with the agent's own ServiceAccount token; read anew at each sign-in, since kubelet replaces it.
    pub token_file: PathBuf,
}

/// One start of one container, by its names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct StartName {
    /// The pod's UID.
    pub pod_uid: String,
    /// The container's name.
    pub container: String,
    /// The agent's random id of this start.
    pub start: String,
    /// The role of `auth/kubernetes`.
    pub role: String,
    /// The runtime's id, when it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
}

/// What a beat is answered.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct BeatAnswer {
    /// Seconds of silence after which the node is taken for lost.
    pub grace: u64,
    /// Seconds until the next beat.
    pub next: u64,
    /// Starts that have no token any more.
    pub unknown: Vec<StartName>,
    /// Starts whose credentials somebody has seen who was in the container.
    pub replace: Vec<StartName>,
}

/// The server, as one agent sees it. Cheap to clone.
#[derive(Clone)]
pub struct Vault {
    client: Client,
    sign_in: Arc<SignIn>,
    session: Arc<Mutex<Option<Session>>>,
    signing_in: Arc<tokio::sync::Mutex<()>>,
    has_answered: Arc<AtomicBool>,
}

/// The agent's own token.
#[derive(Clone)]
struct Session {
    token: SecretText,
    since: Instant,
    fresh_until: Instant,
}

// === impl Vault ===

impl Vault {
    /// The server behind a client that has no token.
    #[must_use]
    pub fn new(client: Client, sign_in: SignIn) -> Self {
        Self {
            client,
            sign_in: Arc::new(sign_in),
            session: Arc::default(),
            signing_in: Arc::default(),
            has_answered: Arc::default(),
        }
    }

    /// Whether the server has let the agent in at least once.
    #[must_use]
    pub fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// A token for one start of one container; `life` names the first start of the same run of it. The token of the start before, if there is one, ends with this call.
    ///
    /// # Errors
    /// The server refuses the pod, or cannot be reached.
    pub async fn start(
        &self,
        name: &StartName,
        life: &str,
        pod_token: &SecretText,
        traits: &Traits,
    ) -> Result<Auth, Fail> {
        let mut body = json!({
            "role": name.role, "jwt": pod_token.expose(), "container": name.container, "start": name.start,
        });
        if life != name.start {
            body["life"] = json!(life);
        }
        if let Some(labels) = &traits.labels {
            body["labels"] = json!(labels);
        }
        if let Some(image) = &traits.image {
            body["image"] = json!(image);
        }
        let envelope = self.ask("agent/start", &body).await?;
        envelope.and_then(|e| e.auth).ok_or_else(|| Fail::odd("the answer to agent/start holds no token"))
    }

    /// Ends starts, and with them everything that they were given.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached: try again.
    pub async fn end(&self, starts: &[StartName]) -> Result<(), Fail> {
        let starts: Vec<_> = starts
            .iter()
            .map(|s| json!({"pod_uid": s.pod_uid, "container": s.container, "start": s.start, "role": s.role}))
            .collect();
        self.ask("agent/end", &json!({ "starts": starts })).await.map(drop)
    }

    /// The node lives, with these starts on it and no others (but for the youngest).
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub async fn beat(&self, starts: &[StartName]) -> Result<BeatAnswer, Fail> {
        let envelope = self.ask("agent/beat", &json!({ "starts": starts, "complete": true })).await?;
        let data = envelope.and_then(|e| e.data).unwrap_or_default();
        serde_json::from_value(serde_json::Value::Object(data.expose().clone()))
            .map_err(|_| Fail::odd("the answer to agent/beat is not one"))
    }

    /// What a path gives to a container's token.
    ///
    /// # Errors
    /// The server refuses, has nothing there, or cannot be reached.
    pub async fn fetch(&self, token: &SecretText, namespace: &str, call: Call) -> Result<Envelope, Fail> {
        let path = self.client.url(&call);
        let client = self.as_container(token, namespace);
        let envelope = client.call(call.patient(PATIENCE)).await?;
        match envelope {
            Some(envelope) if envelope.data.is_some() => Ok(envelope),
            _ => Err(Fail::odd(format!("there is nothing at {path}"))),
        }
    }

    /// Renews a container's token; answers its seconds.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub async fn renew_token(&self, token: &SecretText, namespace: &str) -> Result<u64, Fail> {
        let call = Call::write("auth/token/renew-self", &json!({}))?.patient(SLOW);
        let reply = self.as_container(token, namespace).call(call).await?;
        Ok(reply.and_then(|e| e.auth).map_or(0, |auth| auth.lease_duration))
    }

    /// Renews a lease; answers its seconds.
    ///
    /// # Errors
    /// The server refuses, or cannot be reached.
    pub async fn renew_lease(&self, token: &SecretText, namespace: &str, lease: &str) -> Result<u64, Fail> {
        let call = Call::write("sys/leases/renew", &json!({ "lease_id": lease }))?.patient(SLOW);
        let reply = self.as_container(token, namespace).call(call).await?;
        Ok(reply.map_or(0, |e| e.lease_duration))
    }

    fn as_container(&self, token: &SecretText, namespace: &str) -> Client {
        let client = self.client.with_token(Some(token.clone()));
        if namespace.is_empty() { client } else { client.with_namespace(namespace) }
    }

    /// A call below the auth method with the agent's own token. When that is refused, it may have ended: once more with
    /// a new one.
    async fn ask(&self, path: &str, body: &serde_json::Value) -> Result<Option<Envelope>, Fail> {
        let path = format!("auth/{}/{path}", self.sign_in.mount);
        let call = || Ok::<_, Fail>(Call::post(&path, body)?.patient(PATIENCE));
        let session = self.session().await?;
        match self.client.with_token(Some(session.token.clone())).call(call()?).await {
            Err(e) if e.status() == Some(403) && session.since.elapsed() > SURE => {
                self.forget(&session.token);
                let session = self.session().await?;
                Ok(self.client.with_token(Some(session.token)).call(call()?).await?)
            }
            other => Ok(other?),
        }
    }

    /// The token in force. Many may ask at once: one signs in, the others wait for it.
    async fn session(&self) -> Result<Session, Fail> {
        let _turn = self.signing_in.lock().await;
        let held = self.session.lock().clone();
        if let Some(session) = held.filter(|s| Instant::now() < s.fresh_until) {
            return Ok(session);
        }
        let session = self.login().await?;
        *self.session.lock() = Some(session.clone());
        self.has_answered.store(true, Ordering::Relaxed);
        Ok(session)
    }

    fn forget(&self, token: &SecretText) {
        let mut held = self.session.lock();
        if held.as_ref().is_some_and(|session| session.token == *token) {
            *held = None;
        }
    }

    async fn login(&self) -> Result<Session, Fail> {
        let file = &self.sign_in.token_file;
        let jwt = tokio::fs::read_to_string(file).await.map_err(|e| {
            Fail::odd(format!("the agent's ServiceAccount token cannot be read from {}: {e}", file.display()))
        })?;
        let jwt = SecretText::new(jwt);
        let body = json!({"role": self.sign_in.role, "jwt": jwt.expose().trim()});
        let call = Call::post(&format!("auth/{}/login", self.sign_in.mount), &body)?.patient(PATIENCE);
        let auth = self.client.call(call).await?.and_then(|e| e.auth);
        let auth = auth.ok_or_else(|| Fail::odd("the agent's sign-in gave no token"))?;
        let since = Instant::now();
        Ok(Session { token: auth.client_token, since, fresh_until: since + fresh_for(auth.lease_duration) })
    }
}

/// How long a token of so many seconds serves: half of its life, since a sign-in is cheap and the token is never renewed. No
/// clock reaches as far as a server may say.
fn fresh_for(seconds: u64) -> Duration {
    Duration::from_secs(if seconds == 0 { 3600 } else { seconds.min(LONGEST) }) / 2
}

#[cfg(test)]
#[test]
fn a_sign_in_serves_for_half_of_its_life_whatever_the_server_says() {
    assert_eq!((fresh_for(0), fresh_for(600)), (Duration::from_secs(1800), Duration::from_secs(300)));
    assert!(Instant::now().checked_add(fresh_for(u64::MAX)).is_some());
}
