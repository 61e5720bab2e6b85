//! `roles/{name}`: what is made for whoever asks.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::selector::Selector;
use dewdrop_core::store::Batch;
use dewdrop_core::wire::{Flag, Pairs, Strings, Text, Ttl, brief_ttl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::objects::{TemplateOfNames, is_name};
use super::shared::Shared;
use super::{Kubernetes, rules};

/// Kubernetes makes no token of less.
pub(super) const LEAST_TTL: Duration = Duration::from_secs(600);

/// What is kept of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Role {
    pub(super) source: Source,
    pub(super) namespaces: Vec<String>,
    /// JSON or YAML; empty: none.
    pub(super) selector: String,
    pub(super) default_ttl: Duration,
    pub(super) max_ttl: Duration,
    pub(super) audiences: Vec<String>,
    pub(super) name_template: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    /// `None`: not said, which is true.
    pub(super) bind_token: Option<bool>,
}

/// Whose tokens are given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Source {
    /// A service account that is there; or empty.
    pub(super) account: String,
    /// A Role that is there; or empty.
    pub(super) role: String,
    /// The rules of a Role that is made, JSON or YAML; or empty.
    pub(super) rules: String,
    /// Whether the Role is a ClusterRole.
    pub(super) cluster_role: bool,
}

/// Fields of a role.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RoleFields {
    #[serde(flatten)]
    source: SourceFields,
    #[serde(flatten)]
    token: TokenFields,
    /// Where credentials may be made; `*`: everywhere.
    allowed_kubernetes_namespaces: Option<Strings>,
    /// A label selector, in JSON or YAML, of namespaces where credentials may be made as well.
    allowed_kubernetes_namespace_selector: Option<Text>,
    /// How generated objects are named: the language of `username_template` of database connections.
    name_template: Option<Text>,
    /// Labels of all generated objects.
    extra_labels: Option<Pairs>,
    /// Annotations of all generated objects.
    extra_annotations: Option<Pairs>,
}

#[derive(Deserialize, JsonSchema)]
struct SourceFields {
    /// A service account that is there: its tokens are given.
    service_account_name: Option<Text>,
    /// A Role or ClusterRole that is there: a service account is made and bound to it.
    kubernetes_role_name: Option<Text>,
    /// Rules in JSON or YAML: a Role, a service account and a binding are made.
    generated_role_rules: Option<Text>,
    /// `Role` (when unset) or `ClusterRole`.
    kubernetes_role_type: Option<Text>,
}

#[derive(Deserialize, JsonSchema)]
struct TokenFields {
    /// Life of a token that is asked without one.
    token_default_ttl: Option<Ttl>,
    /// The longest life.
    token_max_ttl: Option<Ttl>,
    /// Audiences of a token that is asked without any; unset: those of the cluster.
    token_default_audiences: Option<Strings>,
    /// With `service_account_name`: bind the token to an empty Secret of the lease, so that it ends with it; true when unset.
    bind_token: Option<Flag>,
}

pub(super) fn routes() -> Routes<Kubernetes> {
    Routes::new("")
        .at("roles", "The roles.", |r| {
            r.list("List the roles.", |engine: Arc<Kubernetes>, _, _: NoFields| async move {
                Reply::keys(engine.0.roles.names().await?)
            })
        })
        .at("roles/{name}", "What is made for whoever asks.", |r| {
            r.exists(|engine: Arc<Kubernetes>, at| async move {
                let name = at.get("name").map_or("", String::as_str);
                Ok(engine.0.roles.find(&name.to_lowercase()).await?.is_some())
            })
            .read("Read a role.", |engine, call, _: NoFields| async move { read(&engine.0, &call).await })
            .write("Make or change a role.", |engine, call, body| async move { write(&engine.0, &call, body).await })
            .delete(
                "Delete a role. Its credentials live on until their leases end.",
                |engine, call, _: NoFields| async move {
                    engine.0.roles.remove(&name_of(&call), Batch::new()).await?;
                    Ok(Reply::nothing())
                },
            )
        })
}

/// Names of roles are in lower case, however they are written.
pub(super) fn name_of(call: &Call) -> String {
    call.capture("name").to_lowercase()
}

async fn read(engine: &Shared, call: &Call) -> Result<Reply, Fault> {
    let name = name_of(call);
    let role = engine.roles.find(&name).await?.ok_or_else(Fault::not_found)?;
    Reply::of(&role.shown(&name))
}

async fn write(engine: &Shared, call: &Call, fields: RoleFields) -> Result<Reply, Fault> {
    let name = name_of(call);
    let known = engine.roles.find(&name).await?;
    let role = merged(known.as_deref().cloned().unwrap_or_default(), fields)?;
    engine.roles.put(&name, role).await?;
    Ok(Reply::nothing())
}

fn merged(mut role: Role, fields: RoleFields) -> Result<Role, Fault> {
    let text = |old: &mut String, new: Option<Text>| {
        if let Some(new) = new {
            *old = new.0;
        }
    };
    text(&mut role.source.account, fields.source.service_account_name);
    text(&mut role.source.role, fields.source.kubernetes_role_name);
    text(&mut role.source.rules, fields.source.generated_role_rules);
    text(&mut role.selector, fields.allowed_kubernetes_namespace_selector);
    text(&mut role.name_template, fields.name_template);
    role.namespaces = fields.allowed_kubernetes_namespaces.map_or(role.namespaces, |list| list.0);
    role.audiences = fields.token.token_default_audiences.map_or(role.audiences, |list| list.0);
    role.labels = fields.extra_labels.map_or(role.labels, |pairs| pairs.0);
    role.annotations = fields.extra_annotations.map_or(role.annotations, |pairs| pairs.0);
    role.default_ttl = fields.token.token_default_ttl.map_or(role.default_ttl, |ttl| ttl.0);
    role.max_ttl = fields.token.token_max_ttl.map_or(role.max_ttl, |ttl| ttl.0);
    role.bind_token = fields.token.bind_token.map(|flag| flag.0).or(role.bind_token);
    if let Some(kind) = fields.source.kubernetes_role_type {
        role.source.cluster_role = match kind.0.to_lowercase().as_str() {
            "" | "role" => false,
            "clusterrole" => true,
            _ => return Err(Fault::bad_request("kubernetes_role_type must be either 'Role' or 'ClusterRole'")),
        };
    }
    role.check()?;
    Ok(role)
}

// === impl Role ===

impl Role {
    fn check(&self) -> Result<(), Fault> {
        let refuse = |why: String| Err(Fault::bad_request(why));
        if self.namespaces.is_empty() && self.selector.is_empty() {
            return refuse(
                "one (at least) of allowed_kubernetes_namespaces or allowed_kubernetes_namespace_selector must be set"
                    .into(),
            );
        }
        if !self.selector.is_empty() && Selector::parse(&self.selector).is_none() {
            return refuse(
                "failed to parse 'allowed_kubernetes_namespace_selector' as k8s.io/api/meta/v1/LabelSelector object"
                    .into(),
            );
        }
        let source = &self.source;
        if [&source.account, &source.role, &source.rules].iter().filter(|text| !text.is_empty()).count() != 1 {
            return refuse(
                "one (and only one) of service_account_name, kubernetes_role_name or generated_role_rules must be set"
                    .into(),
            );
        }
        if !source.account.is_empty() && !is_name(&source.account) {
            return refuse("service_account_name is no name of a service account".into());
        }
        // Names of Roles may have colons (`system:node`), and are no part of a path here.
        if source.role.contains(['/', '%']) || source.role.len() > 253 {
            return refuse("kubernetes_role_name is no name of a role".into());
        }
        if !source.rules.is_empty() {
            rules::read(&source.rules).map_err(Fault::bad_request)?;
        }
        if !self.max_ttl.is_zero() && self.default_ttl > self.max_ttl {
            let (ttl, max) = (brief_ttl(self.default_ttl), brief_ttl(self.max_ttl));
            return refuse(format!("token_default_ttl {ttl} cannot be greater than token_max_ttl {max}"));
        }
        if !self.ends_with_lease() && !self.max_ttl.is_zero() && self.max_ttl < LEAST_TTL {
            return refuse("token_max_ttl is less than 10m, and Kubernetes makes no such token: let bind_token be true, so that the lease ends it sooner".into());
        }
        TemplateOfNames::parse(&self.name_template).map(drop)
    }

    /// Whether Kubernetes refuses a token of it once its lease is over.
    pub(super) fn ends_with_lease(&self) -> bool {
        self.source.account.is_empty() || self.bind_token != Some(false)
    }

    fn shown(&self, name: &str) -> Value {
        // The API says `null` for what is empty here.
        let list = |items: &[String]| if items.is_empty() { Value::Null } else { json!(items) };
        let map = |pairs: &BTreeMap<String, String>| if pairs.is_empty() { Value::Null } else { json!(pairs) };
        let mut data = json!({
            "allowed_kubernetes_namespace_selector": self.selector,
            "allowed_kubernetes_namespaces": list(&self.namespaces),
            "extra_annotations": map(&self.annotations),
            "extra_labels": map(&self.labels),
            "generated_role_rules": self.source.rules,
            "kubernetes_role_name": self.source.role,
            "kubernetes_role_type": if self.source.cluster_role { "ClusterRole" } else { "Role" },
            "name": name,
            "name_template": self.name_template,
            "service_account_name": self.source.account,
            "token_default_audiences": list(&self.audiences),
            "token_default_ttl": self.default_ttl.as_secs(),
            "token_max_ttl": self.max_ttl.as_secs(),
        });
        if let Some(bound) = self.bind_token {
            data["bind_token"] = bound.into();
        }
        data
    }
}
