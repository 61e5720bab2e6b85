//! The objects of one lease: how they are named, what they say, and where they lie. Pure.

use std::collections::BTreeMap;

use dewdrop_core::{Fault, Moment};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::role::Role;
use super::rules;
use crate::database::username::{Inputs, Template};
use crate::shared::random::random;

/// `v-<display 8>-<role 8>-<unix time>-<random 24>`, as the API documents.
const DEFAULT_TEMPLATE: &str = r#"{{ printf "v-%s-%s-%s-%s" (.DisplayName | truncate 8) (.RoleName | truncate 8) (unix_time) (random 24) | truncate 62 | lowercase }}"#;
/// The annotation by which we know our own where no uid tells.
pub(super) const MARK: &str = "dewdrop.dev/mint";
const RBAC: &str = "rbac.authorization.k8s.io";

/// Kinds of objects, in the order in which they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) enum Kind {
    Role,
    ClusterRole,
    RoleBinding,
    ClusterRoleBinding,
    ServiceAccount,
    Secret,
}

/// The uids of objects that were made. Kubernetes gives each of them once and to nobody else.
pub(super) type Uids = BTreeMap<Kind, String>;

/// Makes names.
pub(super) struct TemplateOfNames(Template);

/// The objects of one lease; what the lease keeps of them.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Objects {
    /// Id of the cluster.
    pub(super) cluster: String,
    /// The namespace of those that have one.
    pub(super) namespace: String,
    /// The name of all of them.
    pub(super) name: String,
    /// What each of them is marked with.
    pub(super) mark: String,
    /// In the order in which they are made.
    pub(super) kinds: Vec<Kind>,
    /// Their uids, once all of them are there and the token is too.
    #[serde(default, skip_serializing_if = "Uids::is_empty")]
    pub(super) uids: Uids,
}

/// What is known of how the objects of a lease were made.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    /// Of those that were.
    pub(super) uids: Uids,
    /// Whether no other will be.
    pub(super) is_over: bool,
}

/// To whom an object belongs that bears the name of a lease's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    Ours,
    Others,
    /// Nothing tells.
    Unclear,
}

// === impl TemplateOfNames ===

impl TemplateOfNames {
    pub(super) fn parse(text: &str) -> Result<Self, Fault> {
        let text = if text.is_empty() { DEFAULT_TEMPLATE } else { text };
        let template = Template::parse(text)
            .map_err(|why| Fault::bad_request(format!("unable to initialize name template: {}", why.0)))?;
        Ok(Self(template))
    }

    /// A name that Kubernetes takes: what it does not know becomes `-`.
    pub(super) fn name(&self, display_name: &str, role_name: &str, now: Moment) -> Result<String, Fault> {
        let inputs = Inputs { display_name, role_name, now, random: &mut random };
        let filled = self.0.fill(inputs).map_err(|why| Fault::bad_request(format!("name_template: {}", why.0)))?;
        let fit = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
        let name: String = filled.chars().map(fit).collect();
        let name = name.trim_matches('-').to_owned();
        if name.is_empty() { Err(Fault::bad_request("name_template makes an empty name")) } else { Ok(name) }
    }
}

// === impl Objects ===

impl Objects {
    /// What the lease keeps.
    pub(super) fn internal(&self) -> Result<Value, Fault> {
        serde_json::to_value(self).map_err(|e| Fault::internal(format!("encode a lease: {e}")))
    }

    /// What a role needs: nothing is made for a token that is not bound.
    pub(super) fn kinds_of(role: &Role, cluster_wide: bool) -> Vec<Kind> {
        let mut kinds = Vec::new();
        if !role.source.rules.is_empty() {
            kinds.push(if role.source.cluster_role { Kind::ClusterRole } else { Kind::Role });
        }
        if role.source.account.is_empty() {
            kinds.push(if cluster_wide { Kind::ClusterRoleBinding } else { Kind::RoleBinding });
            kinds.push(Kind::ServiceAccount);
        } else if role.ends_with_lease() {
            kinds.push(Kind::Secret);
        }
        kinds
    }

    /// Where an object is made.
    pub(super) fn collection(&self, kind: Kind) -> String {
        let namespace = &self.namespace;
        match kind {
            Kind::Role => format!("/apis/{RBAC}/v1/namespaces/{namespace}/roles"),
            Kind::ClusterRole => format!("/apis/{RBAC}/v1/clusterroles"),
            Kind::RoleBinding => format!("/apis/{RBAC}/v1/namespaces/{namespace}/rolebindings"),
            Kind::ClusterRoleBinding => format!("/apis/{RBAC}/v1/clusterrolebindings"),
            Kind::ServiceAccount => format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
            Kind::Secret => format!("/api/v1/namespaces/{namespace}/secrets"),
        }
    }

    /// Where an object is.
    pub(super) fn path(&self, kind: Kind) -> String {
        format!("{}/{}", self.collection(kind), self.name)
    }

    /// What an object says.
    pub(super) fn body(&self, kind: Kind, role: &Role) -> Result<Value, Fault> {
        let api = if matches!(kind, Kind::ServiceAccount | Kind::Secret) { "v1".into() } else { format!("{RBAC}/v1") };
        let mut body = json!({ "apiVersion": api, "kind": format!("{kind:?}"), "metadata": self.metadata(kind, role) });
        match kind {
            Kind::Role | Kind::ClusterRole => {
                body["rules"] = rules::read(&role.source.rules).map_err(Fault::bad_request)?;
            }
            Kind::RoleBinding | Kind::ClusterRoleBinding => {
                let name = if role.source.rules.is_empty() { &role.source.role } else { &self.name };
                let of = if role.source.cluster_role { "ClusterRole" } else { "Role" };
                body["roleRef"] = json!({ "apiGroup": RBAC, "kind": of, "name": name });
                body["subjects"] =
                    json!([{ "kind": "ServiceAccount", "name": self.name, "namespace": self.namespace }]);
            }
            Kind::ServiceAccount => {}
            Kind::Secret => body["type"] = json!("dewdrop.dev/token-bond"),
        }
        Ok(body)
    }

    fn metadata(&self, kind: Kind, role: &Role) -> Value {
        let (mut labels, mut annotations) = (role.labels.clone(), role.annotations.clone());
        labels.insert("app.kubernetes.io/managed-by".into(), "dewdrop".into());
        annotations.insert(MARK.into(), self.mark.clone());
        let mut metadata = json!({ "name": self.name, "labels": labels, "annotations": annotations });
        if !matches!(kind, Kind::ClusterRole | Kind::ClusterRoleBinding) {
            metadata["namespace"] = json!(self.namespace);
        }
        metadata
    }
}

// === impl Known ===

impl Known {
    /// Judges by the uid, which nobody can change. The mark, which whoever may write the object can take off, only tells what
    /// is ours where no uid was heard; that it is not there tells nothing.
    pub(super) fn whose(&self, objects: &Objects, kind: Kind, uid: &str, mark: Option<&str>) -> Whose {
        match self.uids.get(&kind) {
            Some(known) if known == uid => Whose::Ours,
            Some(_) => Whose::Others,
            None if mark == Some(&objects.mark) => Whose::Ours,
            None if self.is_over => Whose::Others,
            None => Whose::Unclear,
        }
    }
}

/// Whether a text is a name of the API: it may become a part of a path.
pub(super) fn is_name(text: &str) -> bool {
    let is_word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=253).contains(&text.len())
        && text.starts_with(is_word)
        && text.ends_with(is_word)
        && !text.contains("..")
        && text.chars().all(|c| is_word(c) || c == '-' || c == '.')
}
