//! Direct mode: a cluster whose API server trusts an authority of ours, or us as an issuer of tokens, and which has no access proxy.
//! Nobody judges its requests by the grant. So whatever would not be enforced there is refused before somebody reads it as a promise, and what is weaker is
//! said to whoever approves. See docs/decisions/0029.

use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::access::{Rule, Scope};
use serde::{Deserialize, Serialize};

use super::Access;
use super::case::Case;
use super::clusters::{Credential, Direct};
use super::issuer::no_issuer;
use super::keys;
use super::left::Sweep;
use super::role::Role;

/// What the API server is told of a person: part of what was asked, so that approvers decide about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// The group; what the cluster has bound to it is what the grant allows.
    pub group: String,
    /// The life of a certificate or token.
    pub ttl: Duration,
    /// Which of both it is.
    #[serde(default, skip_serializing_if = "Credential::is_certificate")]
    pub credential: Credential,
}

/// A kube-apiserver does not look again at a token that it took within the last ten seconds.
const REMEMBERED: &str = " for whoever has it (and 10 s, for which an API server remembers it)";

/// A role among others of the mount.
struct Named<'r> {
    name: &'r str,
    role: &'r Role,
}

impl Terms {
    /// What is weaker than through the proxy, each sentence once.
    #[must_use]
    pub fn weaker(&self) -> Vec<String> {
        vec![
            format!(
                "without the access proxy: what the cluster has bound to the group {} holds, and no request is judged by \
                 this grant",
                self.group
            ),
            format!(
                "a revocation stops the next {} only: the last one is good for up to {} more{}, and what runs is not cut",
                self.credential.name(),
                in_words(self.ttl),
                if self.credential.is_certificate() { "" } else { REMEMBERED }
            ),
            format!(
                "nothing is recorded here but the {}s: no requests, no command lines, no sessions; what is made to keep \
                 access is neither seen nor swept",
                self.credential.name()
            ),
        ]
    }
}

fn in_words(ttl: Duration) -> String {
    match ttl.as_secs() {
        seconds if seconds % 60 == 0 => format!("{} min", seconds / 60),
        seconds => format!("{seconds} s"),
    }
}

// === impl Named ===

impl Named<'_> {
    /// Whether it can be had without a proxy, among all roles of the mount. Answers its group.
    ///
    /// # Errors
    /// A sentence that says what to change.
    fn group(&self, cluster: &str, all: &[(String, Role)]) -> Result<String, String> {
        let [group] = self.role.kubernetes_groups.as_slice() else {
            return Err("kubernetes_groups of the role must be one group of its own, to which the cluster binds what \
                        the role says (`dewdrop kube rbac` prints that)"
                .into());
        };
        check_group(group)?;
        if !self.role.unrecorded {
            return Err(
                "sessions cannot be recorded without the access proxy: the role must say record_sessions=false".into(),
            );
        }
        if self.role.sweep == Sweep::Delete {
            return Err("nothing can be swept without the access proxy: the role cannot say sweep=delete".into());
        }
        let is_pattern = |name: &&String| name.len() > 1 && name.ends_with('*');
        if let Some(pattern) = self.role.scope.namespaces.iter().find(is_pattern) {
            return Err(format!("RBAC has no patterns of namespaces: name those of {pattern} in the role, one by one"));
        }
        self.shares_with(group, cluster, all)?;
        Ok(group.clone())
    }

    /// Two roles of one group would each have what is bound for the other.
    fn shares_with(&self, group: &String, cluster: &str, all: &[(String, Role)]) -> Result<(), String> {
        let is_other = |(name, role): &&(String, Role)| {
            name != self.name && role.kubernetes_groups.contains(group) && reaches(&role.scope, cluster)
        };
        let same = |role: &Role| is_same(&role.scope, &self.role.scope);
        match all.iter().filter(is_other).find(|(_, role)| !same(role)) {
            None => Ok(()),
            Some((name, _)) => Err(format!(
                "the role {name} has the group {group} too, with other rules: without the access proxy each would have \
                 what is bound for both; give each role a group of its own"
            )),
        }
    }
}

/// Kubernetes' own names never stand in a certificate or token of ours.
fn check_group(group: &str) -> Result<(), String> {
    if group.starts_with("system:") {
        return Err("kubernetes_groups: groups that start with system: are Kubernetes' own; bind one of yours".into());
    }
    if group.is_empty() || group.len() > 253 || group.chars().any(char::is_control) {
        return Err("kubernetes_groups: a group has from 1 to 253 printable characters".into());
    }
    Ok(())
}

/// The API server takes the person's name as it is: it must not be one that Kubernetes has given rights to.
fn check_person(name: &str) -> Result<(), String> {
    if ["system:", "dewdrop:"].iter().any(|start| name.starts_with(start)) {
        return Err("nobody whose name begins with system: or dewdrop: can have access".into());
    }
    if name.is_empty() || name.len() > 253 || name.chars().any(char::is_control) {
        return Err("a person's name must have from 1 to 253 printable characters to be told to an API server".into());
    }
    Ok(())
}

/// RBAC knows the group, not the grant: less than all of the role cannot be had.
fn check_whole(asked: &Scope, role: &Role) -> Result<(), String> {
    if is_same(asked, &role.scope) {
        return Ok(());
    }
    Err("without the access proxy a grant has all that its role has: leave namespaces and rules out, or ask for a role \
         that has no more than you need"
        .into())
}

/// Whether two scopes have the same namespaces and rules, in whatever order.
fn is_same(one: &Scope, other: &Scope) -> bool {
    let namespaces = |a: &[String], b: &[String]| a.iter().all(|name| b.contains(name));
    let rules = |a: &[Rule], b: &[Rule]| a.iter().all(|rule| b.contains(rule));
    namespaces(&one.namespaces, &other.namespaces)
        && namespaces(&other.namespaces, &one.namespaces)
        && rules(&one.rules, &other.rules)
        && rules(&other.rules, &one.rules)
}

fn reaches(scope: &Scope, cluster: &str) -> bool {
    let one = Scope { clusters: vec![cluster.to_owned()], ..Scope::default() };
    one.within(scope).is_ok()
}

impl Access {
    /// The terms on which a role can be asked for at a cluster; `None`: it has a proxy.
    ///
    /// # Errors
    /// It cannot be had there, or not by this person, or not in part.
    pub(super) async fn terms(
        &self,
        name: &str,
        role: &Role,
        asked: &Scope,
        person: &str,
    ) -> Result<Option<Terms>, Fault> {
        let cluster = asked.clusters.first().map_or("", String::as_str);
        let Some(Direct { ttl, entry, .. }) = self.direct(cluster).await? else { return Ok(None) };
        let credential = entry.credential();
        if credential == Credential::Token && self.issuer().await?.is_none() {
            return Err(no_issuer());
        }
        let all = self.roles().await?;
        let told = |why: String| Fault::bad_request(format!("the cluster {cluster} is reached directly: {why}"));
        let group = Named { name, role }.group(cluster, &all).map_err(told)?;
        check_person(person).map_err(told)?;
        check_whole(asked, role).map_err(told)?;
        Ok(Some(Terms { group, ttl, credential }))
    }

    /// The terms of a request, which are still those that approvers read. The shorter life counts.
    ///
    /// # Errors
    /// Cluster or role were changed since.
    pub(super) async fn terms_of(&self, case: &Case, role: &Role, person: &str) -> Result<Option<Terms>, Fault> {
        let asked = &case.asked;
        let changed = || {
            Fault::denied_saying(
                "how the cluster is reached, the role's group or the person's name was changed since this was asked; ask anew",
            )
        };
        match (self.terms(&asked.role, role, &asked.scope, person).await?, &asked.direct) {
            (None, None) => Ok(None),
            (Some(now), Some(then))
                if now.group == then.group && now.credential == then.credential && person == asked.by.name =>
            {
                Ok(Some(Terms { ttl: now.ttl.min(then.ttl), ..now }))
            }
            _ => Err(changed()),
        }
    }

    /// Why a role cannot be had at those direct clusters that it names, a sentence for each.
    pub(super) async fn not_direct(&self, name: &str, role: &Role) -> Result<Vec<String>, Fault> {
        let (mut said, all) = (Vec::new(), self.roles().await?);
        for cluster in self.names(keys::CLUSTERS).await? {
            if !reaches(&role.scope, &cluster) || self.direct(&cluster).await?.is_none() {
                continue;
            }
            if let Err(why) = (Named { name, role }).group(&cluster, &all) {
                said.push(format!("it cannot be had at the cluster {cluster}, which is reached directly: {why}"));
            }
        }
        Ok(said)
    }

    async fn roles(&self) -> Result<Vec<(String, Role)>, Fault> {
        let mut roles = Vec::new();
        for name in self.names(keys::ROLES).await? {
            roles.extend(self.role(&name).await?.map(|role| (name, role)));
        }
        Ok(roles)
    }
}
