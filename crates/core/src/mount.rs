//! Where an engine hangs in the tree of paths, and the namespace that it belongs to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A namespace: a tree of its own of mounts, policies, tokens, identities, quotas and leases.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Namespace {
    /// Short id (`root` for the root), as it stands at the end of tokens and lease ids.
    pub id: String,
    /// Random id that is never used again.
    pub uuid: String,
    /// Full path: empty for the root, otherwise `team/sub/`.
    pub path: String,
    /// Free words of whoever made it.
    #[serde(default)]
    pub custom_metadata: BTreeMap<String, String>,
    /// Everything below is refused while this is set.
    #[serde(default)]
    pub locked: bool,
}

impl Namespace {
    /// The root namespace.
    #[must_use]
    pub fn root() -> Self {
        Self {
            id: "root".into(),
            uuid: "00000000-0000-0000-0000-000000000000".into(),
            path: String::new(),
            custom_metadata: BTreeMap::new(),
            locked: false,
        }
    }

    /// Whether this is the root.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.path.is_empty()
    }
}

/// Secrets engine or auth method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MountClass {
    /// Mounted at `PATH/`.
    Secret,
    /// Mounted at `auth/PATH/`.
    Auth,
}

/// What can be tuned of a mount. Times of `None` fall back to the server's.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Tune {
    /// Life of a lease that asks for none.
    pub default_lease_ttl: Option<Duration>,
    /// The longest life.
    pub max_lease_ttl: Option<Duration>,
    /// `service`, `batch`, `default-service` or `default-batch`; empty: unset. Auth mounts only.
    pub token_type: String,
    /// `unauth`, `hidden` or empty: who sees the mount without a token.
    pub listing_visibility: String,
    /// Request fields that the audit log shows in clear.
    pub audit_non_hmac_request_keys: Vec<String>,
    /// Reply fields that the audit log shows in clear.
    pub audit_non_hmac_response_keys: Vec<String>,
    /// Request headers that reach the engine.
    pub passthrough_request_headers: Vec<String>,
    /// Reply headers that the engine may set.
    pub allowed_response_headers: Vec<String>,
    /// Kept and shown; nothing is cached that could be stale.
    pub force_no_cache: bool,
    /// Lock-out of users after failed logins; auth mounts only.
    pub user_lockout: Option<UserLockout>,
}

/// Lock-out of users after failed logins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserLockout {
    /// Failed logins in a row that lock. Of a mount zero means: as the server is configured.
    pub threshold: u64,
    /// How long the lock holds; the same.
    pub duration: Duration,
    /// After this time without a failure the count starts anew; the same.
    pub counter_reset: Duration,
    /// Switches the lock-out off.
    pub disable: bool,
}

/// A mount, as engines and the pipeline see it. A snapshot: tuning makes a new one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Mount {
    /// Path within its namespace, ending in `/`; with `auth/` in front for auth methods.
    pub path: String,
    /// Secrets engine or auth method.
    pub class: MountClass,
    /// Engine type: `kv`, `database`, `approle`...
    pub kind: String,
    /// Random id; names the slice of storage.
    pub uuid: String,
    /// Public id, such as `kv_1a2b3c4d`.
    pub accessor: String,
    /// Free words.
    pub description: String,
    /// Options given at mount time, such as `version=2`.
    pub options: BTreeMap<String, String>,
    /// What can be tuned.
    pub tune: Tune,
    /// Only of meaning to replication; kept and shown.
    pub local: bool,
    /// Only of meaning to replication; kept and shown.
    pub seal_wrap: bool,
    /// Kept and shown.
    pub external_entropy_access: bool,
    /// Its namespace.
    pub namespace: Arc<Namespace>,
    /// The server's own limits, filled in for the fall-back.
    #[serde(skip)]
    pub defaults: Limits,
}

/// The server's limits for leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Life of a lease that asks for none.
    pub default_lease_ttl: Duration,
    /// The longest life.
    pub max_lease_ttl: Duration,
}

impl Default for Limits {
    /// 32 days for both, as the API documents.
    fn default() -> Self {
        let month = Duration::from_secs(32 * 24 * 3600);
        Self { default_lease_ttl: month, max_lease_ttl: month }
    }
}

impl Mount {
    /// Namespace and mount path in one, as policies see it: `team/secret/`.
    #[must_use]
    pub fn full_path(&self) -> String {
        format!("{}{}", self.namespace.path, self.path)
    }

    /// Life of a lease that asks for none.
    #[must_use]
    pub fn default_lease_ttl(&self) -> Duration {
        self.tune.default_lease_ttl.unwrap_or(self.defaults.default_lease_ttl)
    }

    /// The longest life of a lease.
    #[must_use]
    pub fn max_lease_ttl(&self) -> Duration {
        self.tune.max_lease_ttl.unwrap_or(self.defaults.max_lease_ttl)
    }
}
