//! The API server, as far as it is asked: objects made and taken away, tokens, labels of namespaces.

use std::collections::BTreeMap;

use dewdrop_api::outside::{Cluster, ClusterPlace, Method};
use dewdrop_core::{Fault, Secret};
use serde::Deserialize;
use serde_json::{Value, json};

use super::config::Config;
use super::objects::{MARK, Whose};

/// The mark may have been taken off, so it is for people to say.
const UNCLEAR: &str = "an object of this name is there without the mark of this lease (annotation dewdrop.dev/mint), and \
    the server does not know whether it made it. Delete it if it came from there; if it is somebody else's, give the lease up \
    (`dewdrop lease revoke -force -prefix LEASE`)";

/// A cluster.
pub(super) struct Target {
    config: Config,
    cluster: Cluster,
}

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Failed {
    /// The API server said no: nothing was changed.
    #[error("{0}")]
    Refused(String),
    /// No answer, or none that tells: it may have been done, or be done yet.
    #[error("{0}")]
    Unknown(String),
}

/// When an object went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gone {
    Now,
    Before,
}

/// A token that is asked for.
pub(super) struct TokenAsk<'a> {
    pub(super) namespace: &'a str,
    pub(super) account: &'a str,
    pub(super) seconds: u64,
    pub(super) audiences: &'a [String],
    /// Name and uid of the Secret that it is bound to.
    pub(super) bound: Option<(&'a str, &'a str)>,
}

#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
}

#[derive(Deserialize)]
struct Metadata {
    uid: String,
    #[serde(default)]
    annotations: BTreeMap<String, String>,
    #[serde(default)]
    finalizers: Vec<String>,
}

impl Target {
    pub(super) fn open(config: &Config) -> Result<Self, Fault> {
        let cluster = Cluster::new(ClusterPlace {
            base: config.base()?,
            ca: config.ca_cert.clone(),
            token: Secret::new(config.jwt.clone()),
            use_local: !config.disable_local,
        })?;
        Ok(Self { config: config.clone(), cluster })
    }

    /// Whether it was opened by this configuration.
    pub(super) fn is_of(&self, config: &Config) -> bool {
        let (ours, theirs) = (&self.config, config);
        ours.id == theirs.id
            && ours.host == theirs.host
            && ours.ca_cert == theirs.ca_cert
            && ours.jwt == theirs.jwt
            && ours.disable_local == theirs.disable_local
    }

    pub(super) fn id(&self) -> &str {
        &self.config.id
    }

    /// Makes an object; its uid.
    pub(super) async fn make(&self, collection: &str, body: &Value) -> Result<String, Failed> {
        let (status, answer) = self.ask(Method::Post, collection, Some(body)).await?;
        let made: Object = match status {
            200..=299 => serde_json::from_slice(&answer).map_err(|_| unreadable())?,
            _ => return Err(said(status, &answer)),
        };
        Ok(made.metadata.uid)
    }

    /// Takes an object away that is ours; another's of the same name stays. `whose` is asked with its uid and its mark.
    pub(super) async fn take_away(
        &self,
        path: &str,
        whose: impl Fn(&str, Option<&str>) -> Whose,
    ) -> Result<Gone, Failed> {
        let (status, answer) = self.ask(Method::Get, path, None).await?;
        let found: Object = match status {
            404 => return Ok(Gone::Before),
            200..=299 => serde_json::from_slice(&answer).map_err(|_| unreadable())?,
            _ => return Err(said(status, &answer)),
        };
        match whose(&found.metadata.uid, found.metadata.annotations.get(MARK).map(String::as_str)) {
            Whose::Ours => {}
            Whose::Others => return Ok(Gone::Before),
            Whose::Unclear => return Err(Failed::Refused(UNCLEAR.into())),
        }
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": { "uid": found.metadata.uid },
            "propagationPolicy": "Background",
        });
        let (status, answer) = self.ask(Method::Delete, path, Some(&options)).await?;
        match status {
            200..=299 => match serde_json::from_slice(&answer) {
                // It is there, and does what it did, until somebody else lets go of it.
                Ok(Object { metadata }) if !metadata.finalizers.is_empty() => {
                    let held = metadata.finalizers.join(", ");
                    Err(Failed::Refused(format!("it is deleted when its finalizers are taken off: {held}")))
                }
                _ => Ok(Gone::Now),
            },
            404 => Ok(Gone::Now),
            _ => Err(said(status, &answer)),
        }
    }

    /// Has a token made.
    pub(super) async fn token(&self, ask: &TokenAsk<'_>) -> Result<Secret<String>, Failed> {
        let mut spec = json!({ "expirationSeconds": ask.seconds });
        if !ask.audiences.is_empty() {
            spec["audiences"] = json!(ask.audiences);
        }
        if let Some((name, uid)) = ask.bound {
            spec["boundObjectRef"] = json!({ "apiVersion": "v1", "kind": "Secret", "name": name, "uid": uid });
        }
        let body = json!({ "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec });
        let path = format!("/api/v1/namespaces/{}/serviceaccounts/{}/token", ask.namespace, ask.account);
        let (status, answer) = self.ask(Method::Post, &path, Some(&body)).await?;
        if !(200..=299).contains(&status) {
            return Err(said(status, &answer));
        }
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|_| unreadable())?;
        match answer.pointer_mut("/status/token").map(Value::take) {
            Some(Value::String(token)) if !token.is_empty() => Ok(Secret::new(token)),
            _ => Err(unreadable()),
        }
    }

    /// The labels of a namespace.
    pub(super) async fn labels_of(&self, namespace: &str) -> Result<BTreeMap<String, String>, Failed> {
        let (status, answer) = self.ask(Method::Get, &format!("/api/v1/namespaces/{namespace}"), None).await?;
        if !(200..=299).contains(&status) {
            return Err(said(status, &answer));
        }
        let mut answer: Value = serde_json::from_slice(&answer).map_err(|_| unreadable())?;
        let labels = answer.pointer_mut("/metadata/labels").map(Value::take).unwrap_or_default();
        if labels.is_null() {
            return Ok(BTreeMap::new());
        }
        serde_json::from_value(labels).map_err(|_| unreadable())
    }

    async fn ask(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Vec<u8>), Failed> {
        self.cluster.call(method, path, body).await.map_err(|why| Failed::Unknown(format!("no answer: {why}")))
    }
}

fn unreadable() -> Failed {
    Failed::Unknown("the answer is not one of an API server".into())
}

/// What the API server said. Its sentences name objects and rights, and hold no tokens.
fn said(status: u16, answer: &[u8]) -> Failed {
    let told: Value = serde_json::from_slice(answer).unwrap_or_default();
    let message: String = told["message"].as_str().unwrap_or("it gives no reason").chars().take(500).collect();
    let text = match status {
        401 => format!("the API server does not take our token (status 401): {message}"),
        403 => format!("the API server does not let us (status 403; see docs/guides/kubernetes-engine.md): {message}"),
        _ => format!("the API server answers with status {status}: {message}"),
    };
    if status >= 500 { Failed::Unknown(text) } else { Failed::Refused(text) }
}
