//! Roles as methods that know them by name alone keep them: one row each. AppRole's have more, and a home of their own.

use std::collections::BTreeMap;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::store::{Batch, Store, StoreError, get_json};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::names::parse_name;
use crate::token_params::TokenSettings;

/// What stands before their names.
pub const ROLES: &str = "role/";
/// How many times a change starts anew because another write came first.
const TRIES: usize = 100;

fn key(name: &str) -> Vec<u8> {
    format!("{ROLES}{name}").into_bytes()
}

/// A role by the name that a caller gives; `None`: there is none.
pub async fn find<R: DeserializeOwned>(store: &dyn Store, name: &str) -> Result<Option<R>, Fault> {
    let Ok(name) = parse_name(name) else { return Ok(None) };
    Ok(get_json(store, &key(&name)).await?.map(|(role, _)| role))
}

/// Whether there is the role that a path names.
pub async fn exists(store: &dyn Store, captures: &BTreeMap<&'static str, String>) -> Result<bool, Fault> {
    let name = parse_name(captures.get("name").map_or("", String::as_str))?;
    Ok(store.get(&key(&name)).await?.is_some())
}

/// The role that a path names, or 404.
pub async fn named<R: DeserializeOwned>(store: &dyn Store, call: &Call) -> Result<R, Fault> {
    find(store, &parse_name(call.capture("name"))?).await?.ok_or_else(Fault::not_found)
}

/// Changes the role that a path names, or makes it; answers it as it is then.
pub async fn change<R: Serialize + DeserializeOwned>(
    store: &dyn Store,
    call: &Call,
    new: impl Fn(String) -> R,
    apply: impl Fn(&mut R) -> Result<(), Fault>,
) -> Result<R, Fault> {
    let name = parse_name(call.capture("name"))?;
    for _ in 0..TRIES {
        let found = get_json::<R>(store, &key(&name)).await?;
        let (mut role, revision) = found.unwrap_or_else(|| (new(name.clone()), 0));
        apply(&mut role)?;
        match store.commit(Batch::new().expect(key(&name), revision).put_json(key(&name), &role)?).await {
            Ok(_) => return Ok(role),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(StoreError::Conflict.into())
}

/// Removes the role that a path names.
pub async fn remove(store: &dyn Store, call: &Call) -> Result<Reply, Fault> {
    store.commit(Batch::new().delete(key(&parse_name(call.capture("name"))?))).await?;
    Ok(Reply::nothing())
}

/// The answer to a write: nothing, or a warning when the mount cuts the tokens' life. `field` is what the API calls it.
pub fn written(token: &TokenSettings, call: &Call, field: &str) -> Reply {
    if token.params.max_ttl <= call.mount.max_lease_ttl() {
        return Reply::nothing();
    }
    Reply::nothing().warn(format!(
        "{field} is greater than the system or backend mount's maximum TTL value; \
         issued tokens' max TTL value will be truncated"
    ))
}
