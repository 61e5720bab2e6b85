//! Walks offline from a lease, a database user or an accessor to the request that made it, who asked, how that one had
//! logged in, and how it ended.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::Value;

use super::AuditError;
use super::grants::{Found, grants};
use super::line::find;
use super::verify::each_line;

/// What the log knows.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Trace {
    /// What was asked for.
    pub needle: String,
    /// Credentials under a lease.
    pub credentials: Vec<Credential>,
    /// Tokens that are named, by accessor.
    pub tokens: Vec<Token>,
    /// Requests for access, and what was done by them.
    pub access: Found,
}

/// One credential.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Credential {
    /// Its lease.
    pub lease_id: String,
    /// Its user at the target; empty when the log does not show it.
    pub username: String,
    /// The mount that made it.
    pub mount: String,
    /// The request that made it.
    pub issued: Act,
    /// Later requests about it: renewals, look-ups.
    pub later: Vec<Act>,
    /// How it ended; `None`: the log does not say that it did.
    pub ended: Option<Act>,
}

/// A token.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Token {
    /// Its accessor.
    pub accessor: String,
    /// The login or request that made it; `None`: before this log begins.
    pub made: Option<Act>,
    /// How it was ended by a request; `None`: the log shows no such request.
    pub ended: Option<Act>,
}

/// One line, in short.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Act {
    /// The line's number.
    pub seq: u64,
    /// When.
    pub time: String,
    /// The request's id; empty: the server itself did it.
    pub request_id: String,
    /// The verb.
    pub operation: String,
    /// The namespace's path.
    pub namespace: String,
    /// The path within the namespace.
    pub path: String,
    /// Where the request came from.
    pub remote_address: String,
    /// The caller's name.
    pub display_name: String,
    /// The caller's entity.
    pub entity_id: String,
    /// The caller's token.
    pub accessor: String,
    /// The caller's metadata: the workload, for logins that say it.
    pub metadata: Value,
    /// The caller's policies.
    pub policies: Value,
    /// The refusal, when it was one.
    pub error: String,
}

impl Trace {
    /// Nothing of it is in the log.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let access = self.access.grants.is_empty() && self.access.without_grant.is_empty();
        self.credentials.is_empty() && self.tokens.is_empty() && access
    }
}

/// Finds all that the files say about a lease id, a user at a target or an accessor; or about a person's request, grant,
/// recording or command.
///
/// # Errors
/// A file cannot be read.
pub fn trace(paths: &[PathBuf], needle: &str) -> Result<Trace, AuditError> {
    let mut out = Trace { needle: needle.to_owned(), ..Trace::default() };
    // First: which leases the needle names.
    let mut leases = BTreeSet::new();
    let mut accessors = BTreeSet::new();
    scan(paths, &[needle.to_owned()], &mut |value| {
        let lease = text(value, "/response/secret/lease_id");
        let is_user = text(value, "/response/data/username") == needle;
        if !lease.is_empty()
            && (lease == needle || is_user || text(value, "/auth/accessor") == needle)
            && is_issue(value)
        {
            leases.insert(lease.to_owned());
        }
        if [text(value, "/auth/accessor"), text(value, "/response/auth/accessor")].contains(&needle) {
            accessors.insert(needle.to_owned());
        }
        if text(value, "/lease/lease_id") == needle {
            leases.insert(needle.to_owned());
        }
    })?;
    out.credentials = credentials(paths, &leases)?;
    accessors.extend(
        out.credentials
            .iter()
            .map(|credential| credential.issued.accessor.clone())
            .filter(|accessor| !accessor.is_empty()),
    );
    out.tokens = tokens(paths, &accessors)?;
    out.access = grants(paths, needle)?;
    Ok(out)
}

/// The answer that first names a lease is the one that made it; renewals come from `sys/`.
fn is_issue(value: &Value) -> bool {
    text(value, "/type") == "response" && text(value, "/request/mount_type") != "system"
}

fn credentials(paths: &[PathBuf], leases: &BTreeSet<String>) -> Result<Vec<Credential>, AuditError> {
    let mut found: Vec<Credential> =
        leases.iter().map(|id| Credential { lease_id: id.clone(), ..Credential::default() }).collect();
    // A revocation by prefix names no lease, so every line about revocation is read as well.
    let mut wanted: Vec<String> = leases.iter().cloned().collect();
    if !wanted.is_empty() {
        wanted.push("sys/leases/revoke-".to_owned());
        wanted.push("sys/revoke-".to_owned());
    }
    scan(paths, &wanted, &mut |value| found.iter_mut().for_each(|credential| credential.meet(value)))?;
    Ok(found)
}

impl Credential {
    fn meet(&mut self, value: &Value) {
        let act = act(value);
        if text(value, "/type") == "revoked" {
            if text(value, "/lease/lease_id") == self.lease_id {
                self.ended =
                    Some(Act { operation: "revoke".into(), path: text(value, "/lease/mount_point").to_owned(), ..act });
            }
            return;
        }
        if text(value, "/type") != "response" {
            return;
        }
        let answered = text(value, "/response/secret/lease_id");
        if answered == self.lease_id && is_issue(value) {
            text(value, "/response/data/username").clone_into(&mut self.username);
            text(value, "/request/mount_point").clone_into(&mut self.mount);
            self.issued = act;
            return;
        }
        let path = act.path.as_str();
        let named = text(value, "/request/data/lease_id") == self.lease_id
            || path.ends_with(&format!("/{}", self.lease_id))
            || answered == self.lease_id;
        let below = |head: &str| {
            path.strip_prefix(head).is_some_and(|prefix| self.lease_id.starts_with(prefix.trim_start_matches('/')))
        };
        let by_prefix =
            ["sys/leases/revoke-prefix", "sys/leases/revoke-force", "sys/revoke-prefix", "sys/revoke-force"]
                .iter()
                .any(|head| below(head));
        let succeeded = act.error.is_empty();
        let is_revocation = path.starts_with("sys/leases/revoke") || path.starts_with("sys/revoke");
        if (named && is_revocation || by_prefix) && succeeded {
            // The server's own line, when there is one, says when it was really gone.
            self.ended.get_or_insert(act);
        } else if named {
            self.later.push(act);
        }
    }
}

fn tokens(paths: &[PathBuf], accessors: &BTreeSet<String>) -> Result<Vec<Token>, AuditError> {
    let mut found: Vec<Token> =
        accessors.iter().map(|accessor| Token { accessor: accessor.clone(), ..Token::default() }).collect();
    let wanted: Vec<String> = accessors.iter().cloned().collect();
    scan(paths, &wanted, &mut |value| {
        for token in &mut found {
            let path = text(value, "/request/path");
            let succeeded = text(value, "/type") == "response" && text(value, "/error").is_empty();
            if !succeeded {
                continue;
            }
            if token.made.is_none()
                && text(value, "/response/auth/accessor") == token.accessor
                && !path.contains("renew")
            {
                token.made = Some(act(value));
            }
            let itself = path.starts_with("auth/token/revoke-self") && text(value, "/auth/accessor") == token.accessor;
            let named = path.starts_with("auth/token/revoke-accessor")
                && (text(value, "/request/data/accessor") == token.accessor || path.ends_with(&token.accessor));
            if itself || named {
                token.ended = Some(act(value));
            }
        }
    })?;
    Ok(found)
}

/// Shows each line that has one of the words in it.
pub(super) fn scan(paths: &[PathBuf], words: &[String], visit: &mut dyn FnMut(&Value)) -> Result<(), AuditError> {
    if words.is_empty() {
        return Ok(());
    }
    for path in paths {
        each_line(path, &mut |_, bytes| {
            let named = words.iter().any(|word| find(bytes, word.as_bytes()).is_some());
            if let Some(value) = named.then(|| serde_json::from_slice::<Value>(bytes).ok()).flatten() {
                visit(&value);
            }
            true
        })?;
    }
    Ok(())
}

pub(super) fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

pub(super) fn act(value: &Value) -> Act {
    let part = |pointer: &str| text(value, pointer).to_owned();
    Act {
        seq: value.get("seq").and_then(Value::as_u64).unwrap_or_default(),
        time: part("/time"),
        request_id: part("/request/id"),
        operation: part("/request/operation"),
        namespace: part("/request/namespace/path"),
        path: part("/request/path"),
        remote_address: part("/request/remote_address"),
        display_name: part("/auth/display_name"),
        entity_id: part("/auth/entity_id"),
        accessor: part("/auth/accessor"),
        metadata: value.pointer("/auth/metadata").cloned().unwrap_or_default(),
        policies: value.pointer("/auth/policies").cloned().unwrap_or_default(),
        error: part("/error"),
    }
}
