//! What a token may do: its own policies and those that come by identity, compiled; and the check of one request.

use std::sync::Arc;

use dewdrop_core::mount::Namespace;
use dewdrop_core::policy::{Ask, KeyFilter, Permit, PolicySet};
use dewdrop_core::route::Spot;
use dewdrop_core::token::TokenRecord;
use dewdrop_core::{Fault, Moment, Operation};
use serde_json::{Map, Value};

use super::Asked;
use crate::mounts::Mounted;
use crate::tokens::LiveToken;
use crate::vault::{Compiled, Vault};

/// What a token may be asked in any namespace.
const OF_THE_TOKEN_ITSELF: [&str; 3] = ["auth/token/lookup-self", "auth/token/renew-self", "auth/token/revoke-self"];

/// One request to be checked.
pub struct PermitAsk<'a> {
    /// The vault.
    pub vault: &'a Vault,
    /// Who asks.
    pub live: &'a LiveToken,
    /// Where.
    pub namespace: &'a Namespace,
    /// What.
    pub asked: &'a Asked,
    /// Namespace, mount and path in one.
    pub full: &'a str,
    /// Body or query fields.
    pub fields: &'a Map<String, Value>,
}

/// What a token may do now. Kept at the token until a policy or an identity changes.
///
/// # Errors
/// 403: its entity is disabled; the store's.
pub async fn rights(vault: &Vault, live: &LiveToken) -> Result<Arc<PolicySet>, Fault> {
    let generation = vault.policies.generation();
    if let Some(kept) = live.rights.load_full().filter(|kept| kept.generation == generation) {
        return Ok(kept.set.clone());
    }
    let compiled = rights_of(vault, &live.record).await?;
    live.rights.store(Some(Arc::new(compiled.clone())));
    Ok(compiled.set)
}

/// [`rights`] of a record that no request came with.
///
/// # Errors
/// 403: its entity is disabled; the store's.
pub async fn rights_of(vault: &Vault, record: &TokenRecord) -> Result<Compiled, Fault> {
    let generation = vault.policies.generation();
    if record.is_root() {
        return Ok(Compiled { set: Arc::new(PolicySet::root()), generation });
    }
    let home =
        vault.namespaces.by_id(&record.namespace).ok_or_else(|| Fault::denied("the token's namespace is gone"))?;
    let mut names: Vec<(String, String)> = record.policies.iter().map(|name| (home.id.clone(), name.clone())).collect();
    let view = match record.entity_id.as_str() {
        "" => None,
        entity => vault.mounts.identities(&home)?.view(entity).await?,
    };
    let Some(view) = view else {
        if !record.entity_id.is_empty() && !is_above(vault, &home, &record.entity_id).await? {
            return Err(Fault::denied(format!("entity {} is gone", record.entity_id)));
        }
        return Ok(vault.policies.compile(&names, None));
    };
    if view.disabled {
        return Err(Fault::denied(format!("entity {} is disabled", view.id)));
    }
    names.extend(view.policies.iter().map(|name| (home.id.clone(), name.clone())));
    names.sort();
    names.dedup();
    let values = view.template_values();
    Ok(vault.policies.compile(&names, Some((&view.id, &values))))
}

/// Whether an entity is one of the namespaces above: a token that was made across namespaces keeps its maker's entity.
///
/// # Errors
/// 403: it is disabled; the store's.
async fn is_above(vault: &Vault, home: &Namespace, entity: &str) -> Result<bool, Fault> {
    let mut path = home.path.as_str();
    while let Some(above) = path.strip_suffix('/') {
        path = above.rfind('/').map_or("", |at| &above[..=at]);
        let Some(namespace) = vault.namespaces.at(path) else { continue };
        if let Some(view) = vault.mounts.identities(&namespace)?.view(entity).await? {
            return if view.disabled { Err(Fault::denied(format!("entity {entity} is disabled"))) } else { Ok(true) };
        }
    }
    Ok(false)
}

/// Asks the policies about a request.
///
/// # Errors
/// 403; the operator's log says which rule decided.
pub async fn permit(ask: &PermitAsk<'_>, mounted: Option<&Mounted>, spot: Option<&Spot>) -> Result<Permit, Fault> {
    let record = &ask.live.record;
    let home =
        ask.vault.namespaces.by_id(&record.namespace).ok_or_else(|| Fault::denied("the token's namespace is gone"))?;
    let own = own_path(ask, &home);
    if own.is_none() && !ask.namespace.path.starts_with(&home.path) {
        return Err(Fault::denied(format!(
            "the token belongs to the namespace {:?}, which does not contain this one",
            home.path
        )));
    }
    let ask = &PermitAsk { full: own.as_deref().unwrap_or(ask.full), ..*ask };
    let rights = rights(ask.vault, ask.live).await?;
    let operation = ask.asked.operation;
    let writes_anew = operation == Operation::Update && spot.is_some_and(|s| s.tells_create);
    if !writes_anew {
        return check(&rights, ask, spot, operation);
    }
    // Only where the two rights differ does it matter whether the thing is there.
    let (update, create) = (check(&rights, ask, spot, Operation::Update), check(&rights, ask, spot, Operation::Create));
    match (update, create) {
        (Ok(permit), Ok(_)) => Ok(permit),
        (Err(refused), Err(_)) => Err(refused),
        (update, create) => {
            let exists = match (mounted, spot) {
                (Some(mounted), Some(spot)) => mounted.room.exists(spot).await?,
                _ => true,
            };
            if exists { update } else { create }
        }
    }
}

/// A token looks after itself from wherever it is used: what it may do there, its own namespace says.
fn own_path(ask: &PermitAsk<'_>, home: &Namespace) -> Option<String> {
    let path = ask.full.strip_prefix(ask.namespace.path.as_str())?;
    OF_THE_TOKEN_ITSELF.contains(&path).then(|| format!("{}{path}", home.path))
}

fn check(rights: &PolicySet, ask: &PermitAsk<'_>, spot: Option<&Spot>, operation: Operation) -> Result<Permit, Fault> {
    let path = match operation {
        Operation::List | Operation::Scan if !ask.full.ends_with('/') => format!("{}/", ask.full),
        _ => ask.full.to_owned(),
    };
    let question = Ask {
        parameters: Some(ask.fields),
        wrap_ttl: ask.asked.wrap_ttl,
        needs_sudo: spot.is_some_and(|s| s.needs_sudo),
        list_limit: ask.fields.get("limit").and_then(list_limit),
        ..Ask::new(operation, &path, ask.asked.now)
    };
    rights.permit(&question).map_err(|denied| Fault::denied(denied.why()))
}

fn list_limit(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

/// Which keys of a list its caller sees.
pub struct ListRule {
    filter: Arc<KeyFilter>,
    rights: Arc<PolicySet>,
}

impl ListRule {
    /// What a permit says of the list that it allows; its limit takes the place of the request's.
    #[must_use]
    pub fn of(permit: &Permit, live: Option<&LiveToken>, fields: &mut Map<String, Value>) -> Option<Self> {
        if let Some(limit) =
            permit.list_limit().filter(|limit| fields.get("limit").and_then(list_limit) != Some(*limit))
        {
            fields.insert("limit".into(), limit.into());
        }
        let filter = permit.key_filter()?.clone();
        // The permit was just made from these.
        let rights = live?.rights.load_full()?.set.clone();
        Some(Self { filter, rights })
    }

    /// Leaves out what the caller does not see. `full` is the path of the list, with the namespace.
    ///
    /// # Errors
    /// 404: nothing is left.
    pub fn apply(&self, mut data: Map<String, Value>, full: &str, now: Moment) -> Result<Map<String, Value>, Fault> {
        let list_path = format!("{}/", full.trim_end_matches('/'));
        let shows = |key: &str| self.rights.shows_key(&self.filter, &list_path, key, now);
        if let Some(Value::Array(keys)) = data.get_mut("keys") {
            keys.retain(|key| key.as_str().is_some_and(shows));
            if keys.is_empty() {
                return Err(Fault::not_found());
            }
        }
        if let Some(Value::Object(info)) = data.get_mut("key_info") {
            info.retain(|key, _| shows(key));
        }
        Ok(data)
    }
}
