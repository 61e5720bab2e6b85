//! Roles: make, read, list, change, remove; and their role ids.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, Revision, StoreError, get_json};
use serde_json::{Map, Value, json};

use super::role::{Role, parse_role_id};
use super::wire::{RoleIdOnly, RoleRequest};
use super::{AppRole, keys};
use crate::listing::{Page, list};
use crate::names::parse_name;

/// How many times a change starts anew because another write came first.
pub const TRIES: usize = 1000;

/// `role` and what lies right below.
pub fn routes() -> Routes<AppRole> {
    Routes::new("")
        .at("role", "The names of all roles.", |route| route.list("Lists the roles.", AppRole::list_roles))
        .at("role/{role_name}", "A role: who may log in, and what tokens they get.", |route| {
            route
                .exists(AppRole::role_exists)
                .read("Reads the role.", AppRole::read_role)
                .write("Makes or changes the role.", AppRole::write_role)
                .delete("Removes the role with its secret ids.", AppRole::delete_role)
        })
        .at("role/{role_name}/role-id", "The id by which a login names the role.", |route| {
            route
                .read("Reads the role id.", AppRole::read_role_id)
                .write("Changes the role id.", AppRole::write_role_id)
        })
}

impl AppRole {
    /// A role with the revision of its record. `name` must be as [`parse_name`] gives it.
    pub(super) async fn role(&self, name: &str) -> Result<Option<(Role, Revision)>, Fault> {
        Ok(get_json(&*self.place.store, &keys::role(name)).await?)
    }

    /// The role that a path names.
    pub(super) async fn role_of(&self, call: &Call) -> Result<Option<(Role, Revision)>, Fault> {
        self.role(&parse_name(call.capture("role_name"))?).await
    }

    /// The role that a path names, or 404 with a sentence.
    pub(super) async fn known_role(&self, call: &Call) -> Result<(Role, Revision), Fault> {
        let name = parse_name(call.capture("role_name"))?;
        self.role(&name).await?.ok_or_else(|| Fault::missing(format!("role {name:?} does not exist")))
    }

    async fn role_exists(self: Arc<Self>, captures: BTreeMap<&'static str, String>) -> Result<bool, Fault> {
        let name = parse_name(captures.get("role_name").map_or("", String::as_str))?;
        Ok(self.place.store.get(&keys::role(&name)).await?.is_some())
    }

    async fn list_roles(self: Arc<Self>, _call: Call, page: Page) -> Result<Reply, Fault> {
        list(&*self.place.store, keys::ROLES, &page).await
    }

    async fn read_role(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let (role, _) = self.role_of(&call).await?.ok_or_else(Fault::not_found)?;
        Ok(Reply::data(role.show()))
    }

    async fn write_role(self: Arc<Self>, call: Call, mut ask: RoleRequest) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("role_name"))?;
        let mut reply = Reply::nothing();
        if let Some(kind) = &mut ask.token_type
            && let Some(plain @ ("service" | "batch")) = kind.0.strip_prefix("default-")
        {
            let plain = plain.to_owned();
            reply = reply.warn(format!("{} has no useful meaning; adjusting to {plain}", kind.0));
            kind.0 = plain;
        }
        let role = self.change_role(&name, true, |role, is_new| role.apply(&ask, is_new)).await?;
        if role.token.params.max_ttl > call.mount.max_lease_ttl() {
            reply = reply.warn(
                "token_max_ttl is greater than the backend mount's maximum TTL value; \
                 issued tokens' max TTL value will be truncated",
            );
        }
        Ok(reply)
    }

    async fn delete_role(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        for _ in 0..TRIES {
            let Some((role, revision)) = self.role_of(&call).await? else { return Ok(Reply::nothing()) };
            let hasher = self.index.get_or_make().await?;
            let batch = Batch::new()
                .expect(keys::role(&role.name), revision)
                .delete(keys::role(&role.name))
                .delete(keys::role_id(&hasher.role_id(&role.role_id)))
                .delete_prefix(keys::secrets_of(&role.uid))
                .delete_prefix(keys::accessors_of(&role.uid));
            match self.place.store.commit(batch).await {
                Ok(_) => return Ok(Reply::nothing()),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    async fn read_role_id(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let (role, _) = self.role_of(&call).await?.ok_or_else(Fault::not_found)?;
        Ok(Reply::data(Map::from_iter([("role_id".to_owned(), json!(role.role_id))])))
    }

    async fn write_role_id(self: Arc<Self>, call: Call, ask: RoleIdOnly) -> Result<Reply, Fault> {
        let (role, _) = self.known_role(&call).await?;
        let role_id = parse_role_id(ask.role_id.as_ref().map_or("", |t| &t.0), "missing role_id")?;
        self.change_role(&role.name, false, |role, _| {
            role.role_id.clone_from(&role_id);
            Ok(())
        })
        .await?;
        Ok(Reply::nothing())
    }

    /// Reads a role, changes it and writes it back, with its role id; anew when another write came first.
    pub(super) async fn change_role(
        &self,
        name: &str,
        may_be_new: bool,
        change: impl Fn(&mut Role, bool) -> Result<(), Fault> + Send + Sync,
    ) -> Result<Role, Fault> {
        let hasher = self.index.get_or_make().await?;
        for _ in 0..TRIES {
            let found = self.role(name).await?;
            if found.is_none() && !may_be_new {
                return Err(Fault::missing(format!("role {name:?} does not exist")));
            }
            let (old, revision) = found.map_or((None, 0), |(role, revision)| (Some(role), revision));
            let mut role = old.clone().unwrap_or_else(|| Role::new(name.to_owned()));
            change(&mut role, old.is_none())?;
            let mut batch = Batch::new().expect(keys::role(name), revision).put_json(keys::role(name), &role)?;
            let new_id = keys::role_id(&hasher.role_id(&role.role_id));
            let old_id = old.map(|old| keys::role_id(&hasher.role_id(&old.role_id)));
            if old_id.as_ref() != Some(&new_id) {
                if self.place.store.get(&new_id).await?.is_some() {
                    return Err(Fault::bad_request("role_id already in use"));
                }
                batch = batch.expect(new_id.clone(), 0).put(new_id, name.as_bytes().to_vec());
                batch = old_id.into_iter().fold(batch, Batch::delete);
            }
            match self.place.store.commit(batch).await {
                Ok(_) => return Ok(role),
                Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(StoreError::Conflict.into())
    }

    /// Answers one field of the role that a path names.
    pub(super) async fn show_part(&self, call: &Call, part: fn(&Role) -> Value) -> Result<Reply, Fault> {
        let (role, _) = self.role_of(call).await?.ok_or_else(Fault::not_found)?;
        Reply::of(&part(&role))
    }
}
