//! What a token may do: its own policies and those that come by identity, compiled; and the check of one request.

use std::sync::Arc;

use dewdrop_core::mount::Namespace;
use dewdrop_core::policy::{Ask, Permit, PolicySet};
use dewdrop_core::route::Spot;
use dewdrop_core::token::TokenRecord;
use dewdrop_core::{Fault, Operation};
use serde_json::{Map, Value};

use super::Asked;
use crate::mounts::Mounted;
use crate::tokens::LiveToken;
use crate::vault::{Compiled, Vault};

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
    let home = vault.namespaces.by_id(&record.namespace).ok_or_else(|| Fault::denied("the token's namespace is gone"))?;
    let mut names: Vec<(String, String)> = record.policies.iter().map(|name| (home.id.clone(), name.clone())).collect();
    let view = match record.entity_id.as_str() {
        "" => None,
        entity => vault.mounts.identities(&home)?.view(entity).await?,
    };
    let Some(view) = view else {
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

/// Asks the policies about a request.
///
/// # Errors
/// 403; the operator's log says which rule decided.
pub async fn permit(ask: &PermitAsk<'_>, mounted: &Mounted, spot: Option<&Spot>) -> Result<Permit, Fault> {
    let record = &ask.live.record;
    let home = ask.vault.namespaces.by_id(&record.namespace).ok_or_else(|| Fault::denied("the token's namespace is gone"))?;
    if !ask.namespace.path.starts_with(&home.path) {
        return Err(Fault::denied(format!("the token belongs to the namespace {:?}, which does not contain this one", home.path)));
    }
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
            let exists = match spot {
                Some(spot) => mounted.room.exists(spot).await?,
                None => true,
            };
            if exists { update } else { create }
        }
    }
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
