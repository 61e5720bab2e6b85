//! Quota rules as they are kept, and the question which one holds for a request: the most specific.
//!
//! A role's rule comes before a path's, that before the mount's, that before the namespace's own, that before the nearest
//! inheritable one of the namespaces above. Among paths an exact one comes before those with `*`, and of these the
//! longest wins. A rule names its mount by uuid, so it goes with a mount that is moved and means nothing once the mount
//! (or the namespace) is gone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::mount::{MountClass, Namespace};
use serde::{Deserialize, Serialize};

use crate::vault::{Namespaces, Vault};

/// Auth methods whose logins name a role.
const WITH_ROLES: [&str; 4] = ["approle", "jwt", "kubernetes", "oidc"];

/// A rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rule {
    /// Unique among the rules of its kind.
    pub name: String,
    /// How much.
    pub limit: Limit,
    /// Of what.
    pub on: Target,
    /// Whether it holds for the namespaces below as well; of meaning for rules of namespaces.
    pub inheritable: bool,
}

/// How much.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// Requests of one client.
    Rate {
        /// Requests in one interval; a part of one counts as one.
        rate: f64,
        /// At least a second.
        interval: Duration,
        /// How long a client that asks for more is refused; zero: until the interval ends.
        block: Duration,
    },
    /// Leases that live at the same time.
    Leases {
        /// At most so many.
        max: u64,
    },
}

/// Of what.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// Id of the namespace.
    pub namespace: String,
    /// Uuid of the mount; empty: the whole namespace.
    pub mount: String,
    /// The path below the mount, perhaps with `*` at its end; empty: the whole mount.
    pub path: String,
    /// The role of a login; empty: all.
    pub role: String,
}

impl Target {
    /// Reads what an operator writes: `team/`, `team/secret`, `secret/data/a*`, empty for everything.
    ///
    /// # Errors
    /// 400: there is no such mount, or it has no roles.
    pub fn parse(vault: &Vault, path: &str, role: &str) -> Result<Self, Fault> {
        let path = path.trim_start_matches('/');
        let whole = if path.is_empty() || path.ends_with('/') { path.to_owned() } else { format!("{path}/") };
        let (namespace, rest) = vault.namespaces.split(&whole);
        let no_auth = |path: &str| {
            Fault::bad_request(format!(
                "Mount path {path:?} is not a valid auth method and therefore unsuitable for use with role-based quotas"
            ))
        };
        if rest.is_empty() {
            return match role {
                "" => Ok(Self {
                    namespace: namespace.id.clone(),
                    mount: String::new(),
                    path: String::new(),
                    role: String::new(),
                }),
                _ => Err(no_auth(&whole)),
            };
        }
        let found = vault.mounts.find(&whole).filter(|(mounted, _)| mounted.mount.namespace.id == namespace.id);
        let Some((mounted, below)) = found else {
            return Err(Fault::bad_request(format!("invalid mount path {rest:?}")));
        };
        // The slash that was only added above is not part of what was written.
        let below = if path.ends_with('/') { below } else { below.trim_end_matches('/') };
        if !role.is_empty() {
            if !below.is_empty() {
                return Err(Fault::bad_request(
                    "Quotas cannot contain both a path suffix and a role. If a role is provided, path must be a valid auth mount with a concept of roles",
                ));
            }
            if mounted.mount.class != MountClass::Auth {
                return Err(no_auth(&mounted.mount.full_path()));
            }
            if !WITH_ROLES.contains(&mounted.mount.kind.as_str()) {
                return Err(Fault::bad_request(format!(
                    "Mount path {:?} does not support use with role-based quotas",
                    mounted.mount.full_path()
                )));
            }
        }
        Ok(Self {
            namespace: namespace.id.clone(),
            mount: mounted.mount.uuid.clone(),
            path: below.to_owned(),
            role: role.to_owned(),
        })
    }

    /// The path as an operator reads it; `None` when the mount or the namespace is gone.
    #[must_use]
    pub fn show(&self, vault: &Vault) -> Option<String> {
        if self.mount.is_empty() {
            return vault.namespaces.by_id(&self.namespace).map(|ns| ns.path.clone());
        }
        vault.mounts.by_uuid(&self.mount).map(|mounted| format!("{}{}", mounted.mount.full_path(), self.path))
    }
}

/// Rules, ready to be found.
pub struct Index<T> {
    namespaces: HashMap<String, (bool, Arc<T>)>,
    mounts: HashMap<String, OfMount<T>>,
}

struct OfMount<T> {
    whole: Option<Arc<T>>,
    exact: HashMap<String, Arc<T>>,
    /// Beginnings, the longest first.
    beginnings: Vec<(String, Arc<T>)>,
    roles: HashMap<String, Arc<T>>,
}

/// Where something happens.
#[derive(Clone, Copy)]
pub struct Spot<'a> {
    /// The namespace.
    pub namespace: &'a Namespace,
    /// Uuid of the mount; empty when there is none.
    pub mount: &'a str,
    /// The path below it.
    pub below: &'a str,
    /// The role of a login, when it is known.
    pub role: Option<&'a str>,
}

impl<T> Default for Index<T> {
    fn default() -> Self {
        Self { namespaces: HashMap::new(), mounts: HashMap::new() }
    }
}

impl<T> Default for OfMount<T> {
    fn default() -> Self {
        Self { whole: None, exact: HashMap::new(), beginnings: Vec::new(), roles: HashMap::new() }
    }
}

impl<T> OfMount<T> {
    fn items(&self) -> impl Iterator<Item = &Arc<T>> {
        let paths = self.exact.values().chain(self.beginnings.iter().map(|(_, item)| item));
        self.whole.iter().chain(paths).chain(self.roles.values())
    }
}

impl<T> Index<T> {
    /// Puts rules in order; `rule` says what each holds for.
    pub fn new<'a>(all: &'a [Arc<T>], rule: impl Fn(&'a T) -> &'a Rule) -> Self {
        let mut index = Self::default();
        for item in all {
            let rule = rule(item);
            let on = &rule.on;
            if on.mount.is_empty() {
                index.namespaces.insert(on.namespace.clone(), (rule.inheritable, item.clone()));
                continue;
            }
            let mount = index.mounts.entry(on.mount.clone()).or_default();
            if !on.role.is_empty() {
                mount.roles.insert(on.role.clone(), item.clone());
            } else if let Some(beginning) = on.path.strip_suffix('*') {
                mount.beginnings.push((beginning.to_owned(), item.clone()));
            } else if on.path.is_empty() {
                mount.whole = Some(item.clone());
            } else {
                mount.exact.insert(on.path.trim_end_matches('/').to_owned(), item.clone());
            }
        }
        for mount in index.mounts.values_mut() {
            mount.beginnings.sort_by_key(|(beginning, _)| std::cmp::Reverse(beginning.len()));
        }
        index
    }

    /// All of them, in no order.
    pub fn all(&self) -> impl Iterator<Item = &Arc<T>> {
        self.namespaces.values().map(|(_, item)| item).chain(self.mounts.values().flat_map(OfMount::items))
    }

    /// Whether a mount has rules for roles, so that it is worth to find out the role.
    #[must_use]
    pub fn wants_role(&self, mount: &str) -> bool {
        self.mounts.get(mount).is_some_and(|of| !of.roles.is_empty())
    }

    /// The rule that holds.
    #[must_use]
    pub fn find(&self, namespaces: &Namespaces, spot: Spot<'_>) -> Option<&Arc<T>> {
        let below = spot.below.trim_end_matches('/');
        if let Some(mount) = self.mounts.get(spot.mount) {
            let found = spot
                .role
                .and_then(|role| mount.roles.get(role))
                .or_else(|| mount.exact.get(below))
                .or_else(|| {
                    mount
                        .beginnings
                        .iter()
                        .find(|(start, _)| spot.below.starts_with(start.as_str()))
                        .map(|(_, item)| item)
                })
                .or(mount.whole.as_ref());
            if found.is_some() {
                return found;
            }
        }
        if self.namespaces.is_empty() {
            return None;
        }
        if let Some((_, own)) = self.namespaces.get(&spot.namespace.id) {
            return Some(own);
        }
        let mut path = spot.namespace.path.as_str();
        while !path.is_empty() {
            let above = path.trim_end_matches('/');
            path = above.rfind('/').and_then(|slash| above.get(..=slash)).unwrap_or_default();
            let id = namespaces.at(path).map(|ns| ns.id.clone())?;
            if let Some((true, inherited)) = self.namespaces.get(&id) {
                return Some(inherited);
            }
        }
        None
    }
}
