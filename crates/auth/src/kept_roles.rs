//! Roles as methods that know them by name alone keep them, one row each, and the routes over them. AppRole's are known by
//! an id as well, and have a home of their own.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{Body, NoFields, Routes};
use dewdrop_core::store::{Batch, Store, get_json};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::listing::{self, Page};
use crate::names::parse_name;
use crate::rows;
use crate::token_params::TokenSettings;

/// What stands before their names.
pub const ROLES: &str = "role/";

/// A role as it is kept.
pub trait KeptRole: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// What a write takes. What it leaves out stays.
    type Ask: Body + Sync;
    /// What the API calls the tokens' longest life when it warns of it.
    const MAX_TTL: &'static str;

    /// A new one, which nobody can use yet. `name` is as [`parse_name`] gives it.
    fn new(name: String) -> Self;
    /// Takes over what a request gives. `self` may be half changed when that fails: throw it away.
    ///
    /// # Errors
    /// 400 for what cannot be; 501 for what is not built.
    fn apply(&mut self, ask: &Self::Ask) -> Result<(), Fault>;
    /// What a read shows.
    fn show(&self) -> Map<String, Value>;
    /// How its tokens are made.
    fn token(&self) -> &TokenSettings;
}

/// A method with such roles.
#[async_trait]
pub trait KeepsRoles: Send + Sync + 'static {
    /// Its roles.
    type Role: KeptRole;

    /// The mount's slice of the store.
    fn store(&self) -> &dyn Store;

    /// A role by the name that a caller gives; `None`: there is none.
    async fn role(&self, name: &str) -> Result<Option<Self::Role>, Fault> {
        let Ok(name) = parse_name(name) else { return Ok(None) };
        Ok(get_json(self.store(), &key(&name)).await?.map(|(role, _)| role))
    }

    /// Held from before a role is written until it is written, for methods that keep a snapshot of all.
    async fn writing(&self) -> Box<dyn Send + '_> {
        Box::new(())
    }
}

/// The list of all roles at `all`, and one at `one`, a pattern with `{name}` in it.
pub fn routes<M: KeepsRoles>(all: &'static str, one: &'static str, about: &'static str) -> Routes<M> {
    Routes::new("").at(all, "The names of all roles.", |route| route.list("Lists the roles.", list::<M>)).at(
        one,
        about,
        |route| {
            route
                .exists(exists::<M>)
                .read("Reads the role.", read::<M>)
                .write("Makes or changes the role.", write::<M>)
                .delete("Removes the role.", remove::<M>)
        },
    )
}

fn key(name: &str) -> Vec<u8> {
    format!("{ROLES}{name}").into_bytes()
}

async fn exists<M: KeepsRoles>(method: Arc<M>, captures: BTreeMap<&'static str, String>) -> Result<bool, Fault> {
    let name = parse_name(captures.get("name").map_or("", String::as_str))?;
    Ok(method.store().get(&key(&name)).await?.is_some())
}

async fn list<M: KeepsRoles>(method: Arc<M>, _: Call, page: Page) -> Result<Reply, Fault> {
    listing::list(method.store(), ROLES, &page).await
}

async fn read<M: KeepsRoles>(method: Arc<M>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let name = parse_name(call.capture("name"))?;
    let role = method.role(&name).await?.ok_or_else(Fault::not_found)?;
    Ok(Reply::data(role.show()))
}

async fn write<M: KeepsRoles>(method: Arc<M>, call: Call, ask: <M::Role as KeptRole>::Ask) -> Result<Reply, Fault> {
    let name = parse_name(call.capture("name"))?;
    let _writing = method.writing().await;
    let role = rows::change(method.store(), &key(&name), |old: Option<M::Role>| {
        let mut role = old.unwrap_or_else(|| M::Role::new(name.clone()));
        role.apply(&ask)?;
        Ok(role)
    })
    .await?;
    if role.token().params.max_ttl <= call.mount.max_lease_ttl() {
        return Ok(Reply::nothing());
    }
    Ok(Reply::nothing().warn(format!(
        "{} is greater than the system or backend mount's maximum TTL value; \
         issued tokens' max TTL value will be truncated",
        M::Role::MAX_TTL
    )))
}

async fn remove<M: KeepsRoles>(method: Arc<M>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let name = parse_name(call.capture("name"))?;
    let _writing = method.writing().await;
    method.store().commit(Batch::new().delete(key(&name))).await?;
    Ok(Reply::nothing())
}
