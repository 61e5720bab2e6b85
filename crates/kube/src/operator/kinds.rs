//! The two kinds as the API server has them.

use serde::{Deserialize, Serialize};

/// What a team declares.
#[derive(Debug, Clone, Deserialize)]
pub struct SecretAccess {
    /// Name, namespace, generation.
    pub metadata: Metadata,
    /// What is wanted.
    pub spec: Spec,
    /// What we said of it last.
    #[serde(default)]
    pub status: Status,
}

/// As far as we need it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Who it is, whatever its name.
    pub uid: String,
    /// Which state of it we have read.
    pub resource_version: String,
    /// Which state of its `spec`.
    pub generation: i64,
    /// It is being deleted.
    pub deletion_timestamp: Option<String>,
    /// What must happen before it is gone.
    pub finalizers: Vec<String>,
}

/// What is wanted.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// ServiceAccounts of the same namespace.
    pub service_account_names: Vec<String>,
    /// Containers of their pods.
    pub containers: Vec<String>,
    /// What they may do, and where.
    pub paths: Vec<Path>,
    /// How long a container's token lives without a sign of life.
    pub ttl: Option<String>,
}

/// A path with what may be done there.
#[derive(Debug, Clone, Deserialize)]
pub struct Path {
    /// `database/creds/app`, or `secret/data/team/*`.
    pub path: String,
    /// `read` when nothing is said.
    #[serde(default = "read")]
    pub capabilities: Vec<String>,
}

fn read() -> Vec<String> {
    vec!["read".to_owned()]
}

/// How far namespaces may go.
#[derive(Debug, Clone, Deserialize)]
pub struct Grant {
    /// What it says.
    pub spec: GrantSpec,
}

/// What a grant says.
#[derive(Debug, Clone, Deserialize)]
pub struct GrantSpec {
    /// Their names; `*` is all.
    pub namespaces: Vec<String>,
    /// What they may ask for; `{namespace}` in a path is the asking one.
    pub paths: Vec<Path>,
    /// The longest `ttl` of a declaration that leans on it; `None`: any.
    #[serde(rename = "maxTTL")]
    pub max_ttl: Option<String>,
}

/// What we say of a declaration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The state of `spec` that this is about.
    pub observed_generation: i64,
    /// The role that pods name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// `Ready`.
    pub conditions: Vec<Condition>,
}

/// One condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Condition {
    /// `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True` or `False`.
    pub status: String,
    /// One word.
    pub reason: String,
    /// What to do.
    pub message: String,
    /// The state of `spec` that this is about.
    pub observed_generation: i64,
    /// When `status` changed last.
    pub last_transition_time: String,
}
