//! What a declaration means at the server, if the grants reach so far. Nothing is asked or written here.

use std::collections::BTreeSet;

use dewdrop_core::wire::parse_ttl;
use serde_json::{Value, json};

use super::kinds::{Grant, Path, SecretAccess};

/// What may be granted at all: neither `sudo` nor `deny`.
const CAPABILITIES: &[&str] = &["create", "delete", "list", "patch", "read", "update"];
/// Whoever may write there makes policies and roles of his own.
const NEVER: &[&str] = &["auth", "cubbyhole", "identity", "sys"];

/// Names and audience at the server.
#[derive(Debug, Clone)]
pub struct House {
    /// Begins the name of each role and policy of ours, so that the operator can be kept from all others.
    prefix: String,
    /// Whom the pods' tokens are for.
    audience: String,
}

/// A policy and a role, both of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The policy's text.
    pub policy: String,
    /// The role's fields.
    pub role: Value,
}

/// Why nothing is written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No grant reaches there.
    #[error(
        "{path}: no SecretAccessGrant lets namespace {namespace} {capability} there; a cluster's administrator can write one"
    )]
    NotGranted {
        /// What was asked for.
        path: String,
        /// By whom.
        namespace: String,
        /// To do what.
        capability: String,
    },
    /// A grant reaches there, but not for so long.
    #[error("{path}: ttl {ttl} is longer than maxTTL of the SecretAccessGrant that lets namespace {namespace} there")]
    TooLong {
        /// What was asked for.
        path: String,
        /// By whom.
        namespace: String,
        /// For how long.
        ttl: String,
    },
    /// It could mean more than it says.
    #[error("{path}: {why}")]
    Path {
        /// What was asked for.
        path: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A name that could match more than one thing.
    #[error("{0:?} is no name of a ServiceAccount or a container: name each, as `*` would be all of them")]
    Name(String),
    /// Nobody or nothing is named: that could mean all.
    #[error("{0} is empty: name at least one")]
    Empty(&'static str),
    /// The server would put a life of its own in its place.
    #[error("ttl {0:?} is no time of a second or more, such as 30m or 1h")]
    Ttl(String),
}

impl Refusal {
    /// One word for the condition.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotGranted { .. } => "PathNotGranted",
            Self::TooLong { .. } => "TooLong",
            Self::Path { .. } | Self::Name(_) | Self::Empty(_) | Self::Ttl(_) => "Invalid",
        }
    }
}

impl House {
    /// Names begin with `prefix`, which must not begin another cluster's prefix: they would remove each other's roles.
    ///
    /// # Errors
    /// It has another dot than the one at its end, or what the server would write otherwise.
    pub fn new(prefix: &str, audience: &str) -> Result<Self, String> {
        let plain =
            |word: &str| !word.is_empty() && word.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'));
        if !prefix.strip_suffix('.').is_some_and(plain) {
            let why = "small letters (the server knows no others in names), digits, - and _ with a dot at the end";
            return Err(format!("the prefix must be {why}, not {prefix:?}"));
        }
        Ok(Self { prefix: prefix.to_owned(), audience: audience.to_owned() })
    }

    /// The name of the role and the policy: a namespace has no dot in its name, so no other namespace's can be the same.
    pub fn name(&self, access: &SecretAccess) -> String {
        format!("{}{}.{}", self.prefix, access.metadata.namespace, access.metadata.name)
    }

    /// Whether a name at the server is one that we give.
    pub fn owns(&self, name: &str) -> bool {
        name.strip_prefix(&self.prefix).is_some_and(|rest| rest.contains('.'))
    }

    /// What is to be written.
    ///
    /// # Errors
    /// Something is asked for that is not granted, or that could mean more than it says.
    pub fn plan(&self, access: &SecretAccess, grants: &[Grant]) -> Result<Plan, Refusal> {
        let (spec, namespace) = (&access.spec, &access.metadata.namespace);
        let ttl = ttl(access);
        for (list, is_empty) in [
            ("serviceAccountNames", spec.service_account_names.is_empty()),
            ("containers", spec.containers.is_empty()),
            ("paths", spec.paths.is_empty()),
        ] {
            if is_empty {
                return Err(Refusal::Empty(list));
            }
        }
        if parse_ttl(ttl).map_or(true, |ttl| ttl.as_secs() == 0) {
            return Err(Refusal::Ttl(ttl.to_owned()));
        }
        for name in spec.service_account_names.iter().chain(&spec.containers) {
            if !is_name(name) {
                return Err(Refusal::Name(name.clone()));
            }
        }
        let mut policy = String::new();
        for wanted in &spec.paths {
            check(wanted)?;
            for capability in &wanted.capabilities {
                let reaching = grants.iter().filter(|grant| reaches(grant, namespace, &wanted.path, capability));
                let mut long_enough = reaching.map(|grant| lets(grant, ttl)).peekable();
                let (path, namespace) = (wanted.path.clone(), namespace.clone());
                if long_enough.peek().is_none() {
                    return Err(Refusal::NotGranted { path, namespace, capability: capability.clone() });
                }
                if !long_enough.any(|is_so| is_so) {
                    return Err(Refusal::TooLong { path, namespace, ttl: ttl.to_owned() });
                }
            }
            let capabilities: BTreeSet<_> = wanted.capabilities.iter().collect();
            let capabilities = capabilities.into_iter().map(|one| format!("\"{one}\"")).collect::<Vec<_>>().join(", ");
            // Neither a path nor a capability has a quotation mark: `check` has seen to it.
            policy.push_str(&format!("path \"{}\" {{ capabilities = [{capabilities}] }}\n", wanted.path));
        }
        Ok(Plan { policy, role: self.role(access) })
    }

    /// Every field, each time: what is left out at an update would stay as it was.
    fn role(&self, access: &SecretAccess) -> Value {
        json!({
            "audience": self.audience,
            "bound_service_account_names": access.spec.service_account_names,
            "bound_service_account_namespaces": [access.metadata.namespace],
            "bound_container_names": access.spec.containers,
            "token_policies": [self.name(access)],
            "token_ttl": ttl(access),
        })
    }
}

fn reaches(grant: &Grant, namespace: &str, path: &str, capability: &str) -> bool {
    grant.spec.namespaces.iter().any(|name| name == namespace || name == "*")
        && grant.spec.paths.iter().any(|granted| {
            granted.capabilities.iter().any(|one| one == capability)
                && covers(&granted.path.replace("{namespace}", namespace), path)
        })
}

fn ttl(access: &SecretAccess) -> &str {
    access.spec.ttl.as_deref().unwrap_or("1h")
}

/// Whether a grant lets tokens live so long. What cannot be read lets nothing.
fn lets(grant: &Grant, ttl: &str) -> bool {
    let Some(most) = &grant.spec.max_ttl else { return true };
    matches!((parse_ttl(ttl), parse_ttl(most)), (Ok(ttl), Ok(most)) if ttl <= most)
}

/// `a/b/*` covers what is below `a/b`; anything else covers itself.
fn covers(granted: &str, path: &str) -> bool {
    match granted.strip_suffix('*') {
        Some(folder) => folder.ends_with('/') && path.starts_with(folder),
        None => granted == path,
    }
}

fn check(wanted: &Path) -> Result<(), Refusal> {
    let wrong = |why| Err(Refusal::Path { path: wanted.path.clone(), why });
    let parts: Vec<&str> = wanted.path.split('/').collect();
    let (first, last) = (parts.first().copied().unwrap_or_default(), parts.len() - 1);
    if NEVER.contains(&first) {
        return wrong("nobody may be given a way to policies and roles by a SecretAccess");
    }
    for (at, part) in parts.iter().enumerate() {
        let is_rest = *part == "*" && at == last && at > 0;
        if !is_rest && (!part.bytes().all(is_plain) || matches!(*part, "" | "." | "..")) {
            return wrong("a path has parts of letters, digits and - _ . @ :, and `*` at most as its whole last part");
        }
    }
    if wanted.capabilities.is_empty() || !wanted.capabilities.iter().all(|one| CAPABILITIES.contains(&one.as_str())) {
        return wrong("capabilities are some of create, delete, list, patch, read, update");
    }
    Ok(())
}

fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-_.@:".contains(&byte)
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests;
