//! Roles: make, read, list, change, remove.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};

use super::Cert;
use super::role::Role;
use super::wire::RoleRequest;
use crate::kept_roles as kept;
use crate::listing::{Page, list};

/// `certs` and below.
pub fn routes() -> Routes<Cert> {
    Routes::new("").at("certs", "The names of all roles.", |route| route.list("Lists the roles.", Cert::list_roles)).at(
        "certs/{name}",
        "A role: which certificates it trusts, and what tokens their holders get.",
        |route| {
            route
                .exists(Cert::role_exists)
                .read("Reads the role.", Cert::read_role)
                .write("Makes or changes the role.", Cert::write_role)
                .delete("Removes the role.", Cert::delete_role)
        },
    )
}

impl Cert {
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
        let opening = self.opening.lock().await;
        let role = kept::change(&*self.place.store, &call, Role::new, |role| role.apply(&ask)).await;
        self.changed(opening);
        Ok(kept::written(&role?.token, &call, "token max ttl"))
    }

    async fn delete_role(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let opening = self.opening.lock().await;
        let reply = kept::remove(&*self.place.store, &call).await;
        self.changed(opening);
        reply
    }
}
