//! A connection: what is kept of it, and how it becomes a target.

use std::time::Duration;

use dewdrop_core::wire::{Flag, Int, Text, Ttl, read_fields};
use dewdrop_core::{Fault, Moment};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::username::Template;
use crate::postgres::Settings;

/// The one plugin that is built.
pub(super) const PLUGIN: &str = "postgresql-database-plugin";
/// Connections at a time when the operator names no number.
const DEFAULT_OPEN: usize = 8;

/// What is kept of a connection. No `Debug`: it holds passwords.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Connection {
    /// Random; leases hold it, so that a new connection of the same name is not taken for this one.
    pub(super) id: String,
    /// Random; another one when it leads elsewhere, or as somebody else: what was proved of roles holds no longer.
    #[serde(default)]
    pub(super) way: String,
    pub(super) name: String,
    #[serde(default)]
    pub(super) plugin_version: String,
    /// All fields but the secret ones, as they came: the API shows them so.
    pub(super) details: Map<String, Value>,
    #[serde(default)]
    pub(super) password: String,
    #[serde(default)]
    pub(super) private_key: String,
    #[serde(default)]
    pub(super) allowed_roles: Vec<String>,
    #[serde(default)]
    pub(super) password_policy: String,
    #[serde(default)]
    pub(super) root_statements: Vec<String>,
    /// A new password whose use is not proved yet: after a crash, one of the two is right.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) pending: Option<Pending>,
    /// When it was deleted, for one that only waits for its last lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retired: Option<Moment>,
}

/// A password that was written down before it was set.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) password: String,
    pub(super) since: Moment,
}

/// The fields of `details` that mean something to us.
#[derive(Deserialize)]
#[serde(default)]
pub(super) struct Details {
    pub(super) connection_url: Text,
    pub(super) username: Text,
    pub(super) username_template: Text,
    pub(super) password_authentication: PasswordAuthentication,
    pub(super) disable_escaping: Flag,
    pub(super) max_open_connections: Int,
    pub(super) max_idle_connections: Int,
    pub(super) max_connection_lifetime: Ttl,
    pub(super) tls_ca: Text,
    pub(super) tls_certificate: Text,
    pub(super) reconcile: Reconcile,
    pub(super) reconcile_period: Ttl,
}

impl Default for Details {
    fn default() -> Self {
        Self {
            connection_url: Text::default(),
            username: Text::default(),
            username_template: Text::default(),
            password_authentication: PasswordAuthentication::Unset,
            disable_escaping: Flag(false),
            max_open_connections: Int(0),
            max_idle_connections: Int(0),
            max_connection_lifetime: Ttl::default(),
            tls_ca: Text::default(),
            tls_certificate: Text::default(),
            reconcile: Reconcile::Report,
            reconcile_period: Ttl(Duration::from_secs(3600)),
        }
    }
}

/// What a password is to the target.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum PasswordAuthentication {
    /// A verifier wherever the statements allow it (see [`takes_verifier`](crate::postgres::fill::takes_verifier)).
    #[serde(rename = "")]
    Unset,
    /// The plain text.
    #[serde(rename = "password")]
    Password,
    /// Always a verifier.
    #[serde(rename = "scram-sha-256")]
    Scram,
}

/// What is done about users that no lease knows.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Reconcile {
    /// They are counted in the log and can be asked for.
    Report,
    /// They are dropped.
    Drop,
    /// Users are not marked and not looked for.
    Off,
}

// === impl Connection ===

impl Connection {
    /// The typed fields.
    pub(super) fn details(&self) -> Result<Details, Fault> {
        serde_path_to_fault(&self.details)
    }

    /// Whether it reaches the same target in the same way.
    pub(super) fn reaches_like(&self, other: &Self) -> bool {
        self.details == other.details && self.password == other.password && self.private_key == other.private_key
    }

    /// Whether it leads to the same place as the same user, as far as its fields say.
    pub(super) fn leads_like(&self, other: &Self) -> bool {
        ["connection_url", "username"].iter().all(|name| self.details.get(*name) == other.details.get(*name))
    }

    /// Whether a role may use it: names with `*` for any text.
    pub(super) fn allows(&self, role: &str) -> bool {
        self.allowed_roles.iter().any(|pattern| glob(pattern, role))
    }

    /// The template of usernames.
    pub(super) fn template(&self) -> Result<Template, Fault> {
        Ok(Template::parse(&self.details()?.username_template.0)?)
    }
}

impl Details {
    pub(super) fn settings<'a>(&'a self, connection: &'a Connection, password: &'a str) -> Settings<'a> {
        Settings {
            url: &self.connection_url.0,
            username: &self.username.0,
            password,
            disable_escaping: self.disable_escaping.0,
            tls_ca: &self.tls_ca.0,
            tls_certificate: &self.tls_certificate.0,
            private_key: &connection.private_key,
            max_open: self.max_open(),
            database: None,
        }
    }

    /// How many idle connections are kept.
    pub(super) fn max_idle(&self) -> usize {
        match self.max_idle_connections.0 {
            0 => self.max_open(),
            some => usize::try_from(some).unwrap_or(0).min(self.max_open()),
        }
    }

    fn max_open(&self) -> usize {
        match self.max_open_connections.0 {
            0 => DEFAULT_OPEN,
            // "Unlimited" still has a bound: a server of 100 connections is common.
            some => usize::try_from(some).unwrap_or(100).min(1000),
        }
    }
}

fn serde_path_to_fault(details: &Map<String, Value>) -> Result<Details, Fault> {
    if let Some(kind) = details.get("password_authentication").and_then(Value::as_str)
        && !matches!(kind, "" | "password" | "scram-sha-256")
    {
        return Err(Fault::bad_request("not a valid password authentication type"));
    }
    read_fields(details.clone())
}

/// Matches a text against a pattern with `*`.
fn glob(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else { return false };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn role_patterns() {
        for (pattern, text, fits) in [
            ("*", "any", true),
            ("app", "app", true),
            ("app", "apps", false),
            ("ap*", "app", true),
            ("*-ro", "app-ro", true),
            ("*-ro", "app-rw", false),
            ("a*b*c", "axxbyyc", true),
            ("a*b*c", "axxc", false),
            ("a*a", "a", false),
            ("", "x", false),
        ] {
            assert_eq!(glob(pattern, text), fits, "{pattern} {text}");
        }
    }
}
