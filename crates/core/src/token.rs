//! Tokens: what the server keeps of one, and the rules that need no storage.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::Moment;

/// Kept on disk, or wholly within the token itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenKind {
    /// Kept on disk; can be renewed and revoked, has an accessor and a cubbyhole.
    #[default]
    Service,
    /// An encrypted claim; cannot be renewed, and ends with its parent or its time.
    Batch,
}

/// What is kept of a token. The token's own text is in no record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRecord {
    /// The public name; empty for batch tokens.
    pub accessor: String,
    /// The parent's accessor; `None` for orphans.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<String>,
    /// Service or batch.
    pub kind: TokenKind,
    /// Names of its policies, sorted, in its own namespace.
    pub policies: Vec<String>,
    /// The path that made it, within its namespace: `auth/approle/login`.
    pub path: String,
    /// For people.
    pub display_name: String,
    /// Free words, in the audit log in clear.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<String, String>,
    /// Uses left; zero: no limit.
    #[serde(default)]
    pub num_uses: i64,
    /// When it was made.
    pub created: Moment,
    /// The life that it was made with; zero: for ever (root tokens).
    pub ttl: Duration,
    /// When it ends; `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires: Option<Moment>,
    /// When it was renewed last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub renewed: Option<Moment>,
    /// No renewal goes beyond `created` plus this; zero: none.
    #[serde(default)]
    pub explicit_max_ttl: Duration,
    /// Each renewal gives this life anew; zero: not periodic.
    #[serde(default)]
    pub period: Duration,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Whose it is; empty: nobody's.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub entity_id: String,
    /// Id of its namespace.
    pub namespace: String,
    /// Where it may be used from; empty: from anywhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bound_cidrs: Vec<IpNet>,
    /// The token role that it was made with.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub role: String,
    /// What the auth method wants to see again when the token is renewed.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub internal: Value,
    /// The key of the row that goes when the token ends (see [`Beside`](crate::call::Beside)), in the whole store.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub beside: String,
    /// The second factor that its holder passed last. A child has none of its parent's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mfa: Option<MfaPassed>,
}

/// When somebody passed a second factor, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MfaPassed {
    /// When.
    pub at: Moment,
    /// Ids of the methods.
    pub methods: Vec<String>,
}

impl TokenRecord {
    /// Whether its time is up.
    #[must_use]
    pub fn is_expired(&self, now: Moment) -> bool {
        self.expires.is_some_and(|end| end <= now)
    }

    /// Whether it has the policy `root`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.policies.iter().any(|name| name == "root")
    }

    /// Whether it may be used from an address. An unknown address passes only when there are no bounds.
    #[must_use]
    pub fn may_come_from(&self, address: Option<IpAddr>) -> bool {
        self.bound_cidrs.is_empty()
            || address.is_some_and(|a| self.bound_cidrs.iter().any(|net| net.contains(&a.to_canonical())))
    }

    /// Time left, rounded down to seconds; zero when it never ends.
    #[must_use]
    pub fn time_left(&self, now: Moment) -> Duration {
        self.expires.map_or(Duration::ZERO, |end| Duration::from_secs(end.since(now).as_secs()))
    }
}

/// The `token_*` fields that every auth method's roles share.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TokenParams {
    /// Policies beside `default`.
    pub policies: Vec<String>,
    /// First life; zero: the mount's default.
    pub ttl: Duration,
    /// Longest life; zero: the mount's.
    pub max_ttl: Duration,
    /// A hard end that no renewal passes; zero: none.
    pub explicit_max_ttl: Duration,
    /// Periodic when not zero.
    pub period: Duration,
    /// Uses; zero: no limit.
    pub num_uses: i64,
    /// `None`: as the mount says.
    pub kind: Option<TokenKind>,
    /// Where it may be used from.
    pub bound_cidrs: Vec<IpNet>,
    /// Leaves the policy `default` out.
    pub no_default_policy: bool,
    /// Cannot be used from another address than the one that logged in.
    pub strictly_bind_ip: bool,
}

/// A token as the API shows it to whoever gets it.
#[derive(Serialize, Clone)]
pub struct AuthView {
    /// The token's text.
    pub client_token: String,
    /// Its public name.
    pub accessor: String,
    /// All policies.
    pub policies: Vec<String>,
    /// Those of the token itself.
    pub token_policies: Vec<String>,
    /// Those that come by identity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub identity_policies: Vec<String>,
    /// Free words.
    pub metadata: Option<BTreeMap<String, String>>,
    /// Seconds.
    pub lease_duration: u64,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Whose it is.
    pub entity_id: String,
    /// Service or batch.
    pub token_type: TokenKind,
    /// Whether it has no parent.
    pub orphan: bool,
    /// Always null here: who has a token needs no second factor for it any more.
    pub mfa_requirement: Option<()>,
    /// Uses left; zero: no limit.
    pub num_uses: i64,
}

impl std::fmt::Debug for AuthView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AuthView({})", self.accessor)
    }
}

impl AuthView {
    /// A token with its text (empty for one that is only renewed by accessor) and the policies of its identity.
    #[must_use]
    pub fn new(text: &str, record: &TokenRecord, identity_policies: Vec<String>, now: Moment) -> Self {
        let mut policies = [record.policies.clone(), identity_policies.clone()].concat();
        policies.sort();
        policies.dedup();
        Self {
            client_token: text.to_owned(),
            accessor: record.accessor.clone(),
            policies,
            token_policies: record.policies.clone(),
            identity_policies,
            metadata: Some(record.meta.clone()).filter(|meta| !meta.is_empty()),
            lease_duration: record.time_left(now).as_secs(),
            renewable: record.renewable,
            entity_id: record.entity_id.clone(),
            token_type: record.kind,
            orphan: record.parent.is_none(),
            mfa_requirement: None,
            num_uses: record.num_uses,
        }
    }
}

/// Where a wrapped answer is.
#[derive(Serialize, Clone)]
pub struct WrapView {
    /// The wrapping token's text.
    pub token: String,
    /// Its public name.
    pub accessor: String,
    /// Seconds.
    pub ttl: u64,
    /// When it was made.
    pub creation_time: String,
    /// The path whose answer it holds.
    pub creation_path: String,
    /// The accessor of the token within, when a token was wrapped.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub wrapped_accessor: String,
}

impl std::fmt::Debug for WrapView {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "WrapView({})", self.accessor)
    }
}
