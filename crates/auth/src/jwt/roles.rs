//! Roles: make, read, list, change, remove.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, StoreError, get_json};

use super::Jwt;
use super::role::Role;
use super::wire::RoleRequest;
use crate::listing::{Page, list};
use crate::names::parse_name;

const ROLES: &str = "role/";
/// How many times a change starts anew because another write came first.
const TRIES: usize = 100;

/// `role` and below.
pub fn routes() -> Routes<Jwt> {
    Routes::new("").at("role", "The names of all roles.", |route| route.list("Lists the roles.", Jwt::list_roles)).at(
        "role/{name}",
        "A role: who may log in, and what tokens they get.",
        |route| {
            route
                .exists(Jwt::role_exists)
                .read("Reads the role.", Jwt::read_role)
                .write("Makes or changes the role.", Jwt::write_role)
                .delete("Removes the role.", Jwt::delete_role)
        },
    )
}

fn key(name: &str) -> Vec<u8> {
    format!("{ROLES}{name}").into_bytes()
}

impl Jwt {
    /// A role by the name that a caller gives; `None`: there is none.
    pub(super) async fn role(&self, name: &str) -> Result<Option<Role>, Fault> {
        let Ok(name) = parse_name(name) else { return Ok(None) };
        Ok(get_json(&*self.place.store, &key(&name)).await?.map(|(role, _)| role))
    }

    async fn role_exists(self: Arc<Self>, captures: BTreeMap<&'static str, String>) -> Result<bool, Fault> {
        let name = parse_name(captures.get("name").map_or("", String::as_str))?;
        Ok(self.place.store.get(&key(&name)).await?.is_some())
    }

    async fn list_roles(self: Arc<Self>, _: Call, page: Page) -> Result<Reply, Fault> {
        list(&*self.place.store, ROLES, &page).await
    }

    async fn read_role(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("name"))?;
        let role = self.role(&name).await?.ok_or_else(Fault::not_found)?;
        Ok(Reply::data(role.show()))
    }

    async fn write_role(self: Arc<Self>, call: Call, ask: RoleRequest) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("name"))?;
        for _ in 0..TRIES {
            let found = get_json::<Role>(&*self.place.store, &key(&name)).await?;
            let (mut role, revision) = found.unwrap_or_else(|| (Role::new(name.clone()), 0));
            role.apply(&ask)?;
            match self.place.store.commit(Batch::new().expect(key(&name), revision).put_json(key(&name), &role)?).await
            {
                Ok(_) => return Ok(answer(&role, &call)),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    async fn delete_role(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.place.store.commit(Batch::new().delete(key(&parse_name(call.capture("name"))?))).await?;
        Ok(Reply::nothing())
    }
}

fn answer(role: &Role, call: &Call) -> Reply {
    if role.token.params.max_ttl <= call.mount.max_lease_ttl() {
        return Reply::nothing();
    }
    Reply::nothing().warn(
        "token max ttl is greater than the system or backend mount's maximum TTL value; \
         issued tokens' max TTL value will be truncated",
    )
}
