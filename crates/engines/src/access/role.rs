//! `roles/{name}`: what may be asked for, by whom, and who must approve.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::access::{Rule, Scope, dangers};
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, get_json};
use dewdrop_core::wire::{Flag, Strings, Text, Ttl};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::hours::Hours;
use super::left::Sweep;
use super::who::{self, People, Requirement};
use super::{Access, keys};

/// What is kept of a role.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Role {
    /// The most that can be asked for.
    pub scope: Scope,
    /// Groups of the person towards the API server.
    pub kubernetes_groups: Vec<String>,
    /// Who may ask.
    pub requesters: People,
    /// Who must approve.
    pub approvals: Vec<Requirement>,
    /// Nobody needs to approve. Said outright, since an empty list could be a slip.
    pub auto_approve: bool,
    /// Who may have it at once.
    pub break_glass: People,
    /// How long.
    pub times: Times,
    /// What must be said.
    pub demands: Demands,
    /// Whether sessions go on without being recorded. Said outright: the usual is that nothing passes unrecorded.
    #[serde(default)]
    pub unrecorded: bool,
    /// What happens at the end of a grant to what was made by it and could keep access.
    #[serde(default)]
    pub sweep: Sweep,
}

/// How long things last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Times {
    /// A grant that asks for no time.
    pub default_ttl: Duration,
    /// The longest grant.
    pub max_ttl: Duration,
    /// A request waits for approval this long.
    pub wait: Duration,
    /// A grant waits to be started this long.
    pub start_within: Duration,
}

/// What must be said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Demands {
    /// A regular expression for the reason; empty: any that is not empty.
    pub reason: String,
    /// A regular expression for the ticket; empty: none is needed.
    pub ticket: String,
    /// When it may be asked for; empty: always.
    pub hours: String,
    /// Whoever starts a grant has shown a second factor within this time; zero: none is needed.
    #[serde(default)]
    pub mfa_max_age: Duration,
}

/// Fields of a role.
#[derive(Deserialize, JsonSchema)]
pub(super) struct RoleFields {
    /// Clusters that can be asked for; a name may end in `*`.
    clusters: Option<Strings>,
    /// Namespaces that can be asked for; a name may end in `*`. `*` alone has the resources of the cluster as well.
    namespaces: Option<Strings>,
    /// Rules as in RBAC: a list of `api_groups`, `resources`, `resource_names`, `verbs`.
    rules: Option<Value>,
    /// Groups of the person towards the API server.
    kubernetes_groups: Option<Strings>,
    /// Groups whose members may ask.
    requester_groups: Option<Strings>,
    /// Entities that may ask.
    requester_entities: Option<Strings>,
    /// Who must approve: a list of `groups`, `entities`, `count`. Each person counts once.
    approvals: Option<Value>,
    /// Nobody needs to approve.
    auto_approve: Option<Flag>,
    /// Groups whose members may have it at once, with alarm and review.
    break_glass_groups: Option<Strings>,
    /// Entities that may have it at once.
    break_glass_entities: Option<Strings>,
    /// A grant that asks for no time; 30 minutes when unset.
    default_ttl: Option<Ttl>,
    /// The longest grant; 8 hours when unset.
    max_ttl: Option<Ttl>,
    /// A request waits for approval this long; 8 hours when unset.
    request_ttl: Option<Ttl>,
    /// A grant waits to be started this long; 1 hour when unset.
    start_within: Option<Ttl>,
    /// A regular expression that the reason must match.
    reason_pattern: Option<Text>,
    /// A regular expression that the ticket must match; unset: no ticket is needed.
    ticket_pattern: Option<Text>,
    /// When it may be asked for: `mon-fri 08:00-18:00 +01:00`.
    hours: Option<Text>,
    /// Exec and attach are recorded, and cut when that is not possible; true when unset.
    record_sessions: Option<Flag>,
    /// What happens at the end of a grant to bindings, ServiceAccounts and other ways to keep access that were made by it: `none`,
    /// `report` (shown with the grant; when unset) or `delete`.
    sweep: Option<Text>,
    /// Whoever starts a grant must have shown a second factor within this time; 0: none is needed.
    mfa_max_age: Option<Ttl>,
}

const MINUTE: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);

impl Default for Times {
    fn default() -> Self {
        let hour = MINUTE * 60;
        Self { default_ttl: MINUTE * 30, max_ttl: hour * 8, wait: hour * 8, start_within: hour }
    }
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("").at("roles", "The roles.", |route| route.list("Lists the roles.", list)).at(
        "roles/{name}",
        "What may be asked for, by whom, and who must approve.",
        |route| {
            route
                .exists(|access: Arc<Access>, at| async move {
                    let name = at.get("name").map_or("", String::as_str);
                    Ok(access.role(name).await?.is_some())
                })
                .read("Reads a role.", read)
                .write("Makes or changes a role. Grants that it no longer covers end at once.", write)
                .delete("Deletes a role, and with it what was granted by it.", delete)
        },
    )
}

async fn list(access: Arc<Access>, _: Call, _: NoFields) -> Result<Reply, Fault> {
    Reply::keys(access.names(keys::ROLES).await?)
}

async fn read(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let role = access.role(call.capture("name")).await?.ok_or_else(Fault::not_found)?;
    Ok(Reply::data(shown(&role)))
}

async fn write(access: Arc<Access>, call: Call, fields: RoleFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    let key = keys::role(name);
    let _turn = access.queues.turn(&key).await;
    let found = get_json::<Role>(&*access.store, key.as_bytes()).await?;
    let (old, revision) = found.map_or_else(|| (Role::default(), 0), |(role, revision)| (role, revision));
    let role = merged(old, fields).map_err(Fault::bad_request)?;
    let batch = Batch::new().put_json(key.as_str(), &role)?.expect(key.as_str(), revision);
    access.store.commit(batch).await?;
    access.news.notify_waiters();
    let dangers = dangers(&role.scope.rules).into_iter();
    let warnings = dangers.map(|danger| format!("this role reaches beyond its grants: {danger}"));
    Ok(warnings.chain(access.not_direct(name, &role).await?).fold(Reply::nothing(), Reply::warn))
}

async fn delete(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    let key = keys::role(name);
    let _turn = access.queues.turn(&key).await;
    access.store.commit(Batch::new().delete(key)).await?;
    // From here on nothing is allowed by it; that each grant is over is written down, and told, below.
    access.news.notify_waiters();
    let by = access.author(&call).await;
    access.end_without_role(&call.mount, name, &by, call.now).await?;
    Ok(Reply::nothing())
}

/// A role with the fields that were given, checked as a whole.
fn merged(mut role: Role, fields: RoleFields) -> Result<Role, String> {
    let set = |own: &mut Vec<String>, given: Option<Strings>| {
        if let Some(given) = given {
            *own = given.0;
        }
    };
    set(&mut role.scope.clusters, fields.clusters);
    set(&mut role.scope.namespaces, fields.namespaces);
    set(&mut role.kubernetes_groups, fields.kubernetes_groups);
    set(&mut role.requesters.groups, fields.requester_groups);
    set(&mut role.requesters.entities, fields.requester_entities);
    set(&mut role.break_glass.groups, fields.break_glass_groups);
    set(&mut role.break_glass.entities, fields.break_glass_entities);
    if let Some(rules) = fields.rules {
        role.scope.rules = rules_of(rules)?;
    }
    if let Some(approvals) = fields.approvals {
        role.approvals = list_of(approvals, "approvals", "groups, entities, count")?;
    }
    role.auto_approve = fields.auto_approve.map_or(role.auto_approve, |flag| flag.0);
    for (own, given) in [
        (&mut role.times.default_ttl, fields.default_ttl),
        (&mut role.times.max_ttl, fields.max_ttl),
        (&mut role.times.wait, fields.request_ttl),
        (&mut role.times.start_within, fields.start_within),
        (&mut role.demands.mfa_max_age, fields.mfa_max_age),
    ] {
        *own = given.map_or(*own, |ttl| ttl.0);
    }
    for (own, given) in [
        (&mut role.demands.reason, fields.reason_pattern),
        (&mut role.demands.ticket, fields.ticket_pattern),
        (&mut role.demands.hours, fields.hours),
    ] {
        if let Some(given) = given {
            *own = given.0;
        }
    }
    role.sweep = fields.sweep.map_or(Ok(role.sweep), |text| Sweep::parse(&text.0))?;
    role.unrecorded = fields.record_sessions.map_or(role.unrecorded, |flag| !flag.0);
    check(&role)?;
    Ok(role)
}

fn check(role: &Role) -> Result<(), String> {
    let scope = &role.scope;
    if scope.clusters.is_empty() || scope.namespaces.is_empty() || scope.rules.is_empty() {
        return Err("a role needs clusters, namespaces and rules".into());
    }
    scope.rules.iter().try_for_each(Rule::check)?;
    if role.requesters.is_nobody() {
        return Err("a role needs requester_groups or requester_entities; otherwise nobody could ask".into());
    }
    who::check(&role.approvals)?;
    if role.approvals.is_empty() != role.auto_approve {
        return Err(if role.auto_approve {
            "auto_approve says that nobody needs to approve, and approvals says who must: remove one of them".into()
        } else {
            "a role needs approvals; if nobody shall approve, say so with auto_approve=true".into()
        });
    }
    if role.kubernetes_groups.iter().any(|group| group.starts_with("system:")) {
        return Err("kubernetes_groups: groups that start with system: are Kubernetes' own; bind one of yours".into());
    }
    check_times(&role.times)?;
    for (name, pattern) in [("reason_pattern", &role.demands.reason), ("ticket_pattern", &role.demands.ticket)] {
        regex_lite::Regex::new(pattern).map_err(|_| format!("{name} is no regular expression"))?;
    }
    if role.demands.hours.is_empty() { Ok(()) } else { Hours::parse(&role.demands.hours).map(drop) }
}

fn check_times(times: &Times) -> Result<(), String> {
    if times.max_ttl > LONGEST || times.max_ttl < MINUTE {
        return Err("max_ttl must lie between 1 minute and 7 days".into());
    }
    if times.default_ttl > times.max_ttl || times.default_ttl < MINUTE {
        return Err("default_ttl must lie between 1 minute and max_ttl".into());
    }
    if times.wait < MINUTE || times.wait > LONGEST || times.start_within < MINUTE || times.start_within > LONGEST {
        return Err("request_ttl and start_within must lie between 1 minute and 7 days".into());
    }
    Ok(())
}

/// Rules from JSON, or from text that holds JSON.
pub(super) fn rules_of(given: Value) -> Result<Vec<Rule>, String> {
    let rules: Vec<Rule> = list_of(given, "rules", "api_groups, resources, resource_names, verbs")?;
    if rules.len() > 64 {
        return Err("at most 64 rules".into());
    }
    rules.iter().try_for_each(Rule::check)?;
    Ok(rules)
}

fn list_of<T: serde::de::DeserializeOwned>(given: Value, name: &str, of: &str) -> Result<Vec<T>, String> {
    let given = match given {
        Value::String(text) => serde_json::from_str(&text).map_err(|_| format!("{name} is no JSON"))?,
        Value::Null => Value::Array(Vec::new()),
        other => other,
    };
    serde_json::from_value(given).map_err(|_| format!("{name} must be a list of objects with {of}"))
}

/// A role as it is read.
fn shown(role: &Role) -> Map<String, Value> {
    let data = json!({
        "clusters": role.scope.clusters,
        "namespaces": role.scope.namespaces,
        "rules": role.scope.rules,
        "kubernetes_groups": role.kubernetes_groups,
        "requester_groups": role.requesters.groups,
        "requester_entities": role.requesters.entities,
        "approvals": role.approvals,
        "auto_approve": role.auto_approve,
        "break_glass_groups": role.break_glass.groups,
        "break_glass_entities": role.break_glass.entities,
        "default_ttl": role.times.default_ttl.as_secs(),
        "max_ttl": role.times.max_ttl.as_secs(),
        "request_ttl": role.times.wait.as_secs(),
        "start_within": role.times.start_within.as_secs(),
        "reason_pattern": role.demands.reason,
        "ticket_pattern": role.demands.ticket,
        "hours": role.demands.hours,
        "record_sessions": !role.unrecorded,
        "sweep": role.sweep,
        "mfa_max_age": role.demands.mfa_max_age.as_secs(),
    });
    match data {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
