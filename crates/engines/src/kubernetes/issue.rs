//! `creds/{name}`: a token for the caller, and what it needs.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Made, Mint, Outcome, Reply};
use dewdrop_core::lease::{LifeAsk, life};
use dewdrop_core::selector::Selector;
use dewdrop_core::wire::{Flag, Strings, Text, Ttl};
use dewdrop_core::{Fault, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::objects::{Kind, Known, Objects, TemplateOfNames, Uids, is_name};
use super::role::{self, LEAST_TTL, Role};
use super::shared::Shared;
use super::target::{Failed, Target, TokenAsk};

/// What a caller asks.
#[derive(Deserialize, JsonSchema)]
pub(super) struct CredsFields {
    /// Where; may be left out when the role has one namespace.
    kubernetes_namespace: Option<Text>,
    /// Bind the account in the whole cluster instead of in the namespace.
    cluster_role_binding: Option<Flag>,
    /// The life of the credential.
    ttl: Option<Ttl>,
    /// The audiences of the token.
    audiences: Option<Strings>,
}

/// A credential that is to be made.
struct Order {
    target: Arc<Target>,
    role: Arc<Role>,
    objects: Objects,
    /// The account whose token it is.
    account: String,
    seconds: u64,
    audiences: Vec<String>,
}

pub(super) async fn creds(engine: &Arc<Shared>, call: &Call, fields: CredsFields) -> Result<Reply, Fault> {
    let name = role::name_of(call);
    let role = engine.roles.find(&name).await?;
    let role = role.ok_or_else(|| Fault::bad_request(format!("role '{name}' does not exist")))?;
    let namespace = role.namespace(fields.kubernetes_namespace)?;
    let cluster_wide = fields.cluster_role_binding.is_some_and(|flag| flag.0);
    if cluster_wide && !role.source.cluster_role {
        return Err(Fault::bad_request("a ClusterRoleBinding cannot ref a Role"));
    }
    let target = engine.target().await?;
    role.admits(&target, &namespace).await?;
    let mut life = life(&LifeAsk {
        issued: call.now,
        now: call.now,
        increment: fields.ttl.map(|ttl| ttl.0).unwrap_or_default(),
        role_ttl: role.default_ttl,
        role_max: role.max_ttl,
        mount_default: call.mount.default_lease_ttl(),
        mount_max: call.mount.max_lease_ttl(),
    });
    if life.ttl < LEAST_TTL && !role.ends_with_lease() {
        life.ttl = LEAST_TTL;
        life.warnings.push("Kubernetes makes no token of less than 10m, and this one does not end with its lease (bind_token of the role): its TTL is 10m".into());
    }
    let made_name = TemplateOfNames::parse(&role.name_template)?.name(call.caller.display_name(), &name, call.now)?;
    let objects = Objects {
        cluster: target.id().to_owned(),
        namespace,
        mark: uuid::Uuid::new_v4().to_string(),
        kinds: Objects::kinds_of(&role, cluster_wide),
        name: made_name,
        uids: Uids::new(),
    };
    let account = if role.source.account.is_empty() { &objects.name } else { &role.source.account }.clone();
    let internal = objects.internal()?;
    let audiences = fields.audiences.map(|list| list.0).filter(|list| !list.is_empty());
    let audiences = audiences.unwrap_or_else(|| role.audiences.clone());
    let seconds = seconds(life.ttl);
    let order = Order { target, role, objects, account, seconds, audiences };
    let mint = Mint {
        ttl: life.ttl,
        // A token cannot be extended.
        max_ttl: life.ttl,
        renewable: false,
        internal,
        create: Box::pin(create(engine.clone(), order)),
    };
    Ok(life.warnings.into_iter().fold(Outcome::Mint(mint).into(), Reply::warn))
}

/// What Kubernetes is asked for; the lease's end, where it is sooner, ends the token.
fn seconds(ttl: Duration) -> u64 {
    ttl.max(LEAST_TTL).as_millis().div_ceil(1000).try_into().unwrap_or(u64::MAX)
}

/// Makes everything. The lease is written by now, and takes away whatever of it is there when this fails.
async fn create(engine: Arc<Shared>, order: Order) -> Result<Made, Fault> {
    let mut uids = Uids::new();
    let made = make(&order, &mut uids).await;
    // What had no answer may yet appear.
    let is_over = !matches!(made, Err(Making::Failed(_, Failed::Unknown(_))));
    engine.learn(&order.objects.mark, Known { uids: uids.clone(), is_over });
    let token = made.map_err(|why| match why {
        Making::Fault(fault) => fault,
        Making::Failed(what, why) => Fault::target(format!("{what}: {why}")),
    })?;
    let Order { account, mut objects, .. } = order;
    objects.uids = uids;
    let internal = Some(objects.internal()?);
    let data = [
        ("service_account_name", account),
        ("service_account_namespace", objects.namespace),
        ("service_account_token", token.expose().clone()),
    ]
    .into_iter()
    .map(|(name, text)| (name.to_owned(), Value::String(text)))
    .collect();
    Ok(Made { data, internal })
}

enum Making {
    Fault(Fault),
    /// What was being done, and why it was not.
    Failed(String, Failed),
}

/// `uids`: of what was made, also when the rest fails.
async fn make(order: &Order, uids: &mut Uids) -> Result<Secret<String>, Making> {
    let Order { target, role, objects, account, .. } = order;
    for kind in &objects.kinds {
        let body = objects.body(*kind, role).map_err(Making::Fault)?;
        let made = target.make(&objects.collection(*kind), &body).await;
        let uid = made.map_err(|why| Making::Failed(format!("failed to create {kind:?} {}", objects.name), why))?;
        uids.insert(*kind, uid);
    }
    let ask = TokenAsk {
        namespace: &objects.namespace,
        account,
        seconds: order.seconds,
        audiences: &order.audiences,
        bound: uids.get(&Kind::Secret).map(|uid| (objects.name.as_str(), uid.as_str())),
    };
    target.token(&ask).await.map_err(|why| {
        let what = format!("failed to create a service account token for {}/{account}", objects.namespace);
        Making::Failed(what, why)
    })
}

// === impl Role ===

impl Role {
    /// The namespace that is asked for, or the only one that there is.
    fn namespace(&self, asked: Option<Text>) -> Result<String, Fault> {
        let asked = asked.map(|text| text.0).filter(|text| !text.is_empty());
        let only = || match self.namespaces.as_slice() {
            [only] if only != "*" && self.selector.is_empty() => Some(only.clone()),
            _ => None,
        };
        let namespace = asked.or_else(only).ok_or_else(|| {
            Fault::bad_request("'kubernetes_namespace' is required unless the role has a single namespace specified")
        })?;
        if is_name(&namespace) && !namespace.contains('.') {
            return Ok(namespace);
        }
        Err(Fault::bad_request("'kubernetes_namespace' is no name of a namespace"))
    }

    /// Whether credentials may be made in a namespace: by its name, or by its labels.
    async fn admits(&self, target: &Target, namespace: &str) -> Result<(), Fault> {
        if self.namespaces.iter().any(|allowed| allowed == "*" || allowed == namespace) {
            return Ok(());
        }
        if let Some(selector) = Selector::parse(&self.selector) {
            let labels = target.labels_of(namespace).await;
            let labels = labels.map_err(|why| Fault::target(format!("labels of namespace {namespace}: {why}")))?;
            if selector.matches(&labels) {
                return Ok(());
            }
        }
        Err(Fault::bad_request(format!(
            "kubernetes_namespace '{namespace}' is not present in role's allowed_kubernetes_namespaces or does not match role's label selector allowed_kubernetes_namespace_selector"
        )))
    }
}
