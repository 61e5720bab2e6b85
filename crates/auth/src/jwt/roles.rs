//! Roles: make, read, list, change, remove.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};

use super::Jwt;
use super::role::Role;
use super::wire::RoleRequest;
use crate::kept_roles as kept;
use crate::listing::{Page, list};

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

impl Jwt {
    /// A role by the name that a caller gives; `None`: there is none.
    pub(super) async fn role(&self, name: &str) -> Result<Option<Role>, Fault> {
        kept::find(&*self.place.store, name).await
    }

    async fn role_exists(self: Arc<Self>, captures: BTreeMap<&'static str, String>) -> Result<bool, Fault> {
        kept::exists(&*self.place.store, &captures).await
    }

    async fn list_roles(self: Arc<Self>, _: Call, page: Page) -> Result<Reply, Fault> {
        list(&*self.place.store, kept::ROLES, &page).await
    }

    async fn read_role(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        Ok(Reply::data(kept::named::<Role>(&*self.place.store, &call).await?.show()))
    }

    async fn write_role(self: Arc<Self>, call: Call, ask: RoleRequest) -> Result<Reply, Fault> {
        let role = kept::change(&*self.place.store, &call, Role::new, |role| role.apply(&ask)).await?;
        Ok(kept::written(&role.token, &call, "token max ttl"))
    }

    async fn delete_role(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        kept::remove(&*self.place.store, &call).await
    }
}
