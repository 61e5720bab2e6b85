//! Aliases of external groups by the API: which group of an auth method gives membership.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::model::{Alias, Group, MountOf};
use super::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

/// What a write of a group's alias takes.
#[derive(Deserialize, JsonSchema)]
pub struct GroupAliasAsk {
    /// Its id, to change one that exists.
    #[serde(default)]
    id: Text,
    /// The group's name at the auth method.
    #[serde(default)]
    name: Text,
    /// Accessor of the mount.
    #[serde(default)]
    mount_accessor: Text,
    /// The group, an external one; a new one is made when this is left out.
    #[serde(default)]
    canonical_id: Text,
}

/// An ask, checked.
struct Wanted {
    id: String,
    name: String,
    mount: MountOf,
    canonical: String,
}

pub(super) fn routes() -> Routes<Identities> {
    Routes::new("")
        .at("group-alias", "Makes or changes aliases of groups", |r| {
            r.write("Makes an alias, or changes it", Identities::write_group_alias)
        })
        .at("group-alias/id", "Aliases of groups by id", |r| r.list("Lists the ids", Identities::list_group_aliases))
        .at("group-alias/id/{id}", "One alias of a group", |route| {
            route
                .read("Reads it", Identities::read_group_alias)
                .write("Changes it", Identities::write_group_alias)
                .delete("Deletes it", Identities::delete_group_alias)
        })
}

impl Identities {
    async fn write_group_alias(self: Arc<Self>, call: Call, ask: GroupAliasAsk) -> Result<Reply, Fault> {
        let id = if call.capture("id").is_empty() { ask.id.0 } else { call.capture("id").to_owned() };
        if ask.name.0.is_empty() {
            return Err(Fault::bad_request("missing alias name"));
        }
        if ask.name.0.chars().any(char::is_control) {
            return Err(Fault::bad_request("the name of an alias cannot hold control characters"));
        }
        if ask.mount_accessor.0.is_empty() {
            return Err(Fault::bad_request("missing mount_accessor"));
        }
        let mount = self.mount_of(&call.mount.namespace.id, &ask.mount_accessor.0).await?;
        let wanted = Wanted { id, name: ask.name.0, mount, canonical: ask.canonical_id.0 };
        let _turn = self.writer.lock().await;
        for _ in 0..TRIES {
            if let Some((canonical, id)) = self.try_write_group_alias(&wanted, call.now).await? {
                return Reply::of(&json!({ "canonical_id": canonical, "id": id }));
            }
        }
        Err(gave_up())
    }

    async fn try_write_group_alias(&self, wanted: &Wanted, now: Moment) -> Result<Option<(String, String)>, Fault> {
        let factor = keys::group_factor(&wanted.mount.accessor, &wanted.name);
        let (held, at_factor) = (self.group_of_alias(&wanted.id).await?, self.pointed(&factor).await?);
        let target = match (wanted.canonical.as_str(), &held) {
            ("", Some((group, _))) => group.id.clone(),
            ("", None) => at_factor.clone().unwrap_or_default(),
            (id, _) => id.to_owned(),
        };
        let (mut group, revision) = match target.as_str() {
            "" => (Group::new(true, &self.namespace, now), 0),
            id => {
                let found = self.get::<Group>(&keys::group(id)).await?;
                found.ok_or_else(|| Fault::bad_request("invalid group ID given in 'canonical_id'"))?
            }
        };
        if !group.external {
            return Err(Fault::bad_request("alias can't be set on an internal group"));
        }
        if at_factor.is_some_and(|owner| owner != group.id && held.as_ref().is_none_or(|(from, _)| from.id != owner)) {
            return Err(Fault::bad_request("combination of mount and group alias name is already in use"));
        }
        let mut batch = Batch::new();
        let mut alias = Alias::new(&wanted.mount, &wanted.name, now);
        // The alias moves, and the one that the group had gives way; one at the same place stays the same.
        let previous = group.alias.take();
        let moved = match held {
            Some((mut from, at)) if from.id != group.id => {
                let moved = from.alias.take();
                let key = keys::group(&from.id);
                batch = batch.put_json(key.clone(), &from)?.expect(key, at);
                moved
            }
            _ => None,
        };
        let kept = moved.clone().or_else(|| previous.clone().filter(|p| p.id == wanted.id || p.is_at(wanted)));
        for old in previous.into_iter().chain(moved) {
            batch = batch.delete(keys::group_alias(&old.id)).delete(keys::group_factor(&old.accessor, &old.name));
        }
        if let Some(old) = kept {
            (alias.id, alias.created) = (old.id, old.created);
        }
        if revision == 0 {
            batch = batch.put(keys::group_name(&group.name), group.id.clone());
        }
        let id = alias.id.clone();
        group.alias = Some(alias);
        group.updated = now;
        group.modify_index += 1;
        let key = keys::group(&group.id);
        let batch = batch
            .put(keys::group_alias(&id), group.id.clone())
            .expect(factor.clone(), self.revision(&factor).await?)
            .put(factor, group.id.clone())
            .put_json(key.clone(), &group)?
            .expect(key, revision);
        Ok(self.commit_group(batch).await?.then_some((group.id, id)))
    }

    /// The group of an alias; none for the empty id.
    async fn group_of_alias(&self, id: &str) -> Result<Option<(Group, u64)>, Fault> {
        if id.is_empty() {
            return Ok(None);
        }
        let unknown = || Fault::bad_request("invalid group alias ID provided");
        let owner = self.pointed(&keys::group_alias(id)).await?.ok_or_else(unknown)?;
        Ok(Some(self.get::<Group>(&keys::group(&owner)).await?.ok_or_else(unknown)?))
    }

    async fn read_group_alias(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let owner = self.pointed(&keys::group_alias(call.capture("id"))).await?.ok_or_else(Fault::not_found)?;
        let (group, _) = self.get::<Group>(&keys::group(&owner)).await?.ok_or_else(Fault::not_found)?;
        let alias = group.alias.ok_or_else(Fault::not_found)?;
        Ok(Reply::data(alias.view(&group.id, Some(&call.mount.namespace.id))))
    }

    async fn list_group_aliases(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let groups = self.records::<Group>(&keys::group("")).await?;
        let lines = groups.iter().filter_map(|g| g.alias.as_ref().map(|a| (a.id.clone(), a.line(&g.id).into())));
        Reply::listed(lines.collect::<BTreeMap<String, Value>>())
    }

    async fn delete_group_alias(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let id = call.capture("id");
        let _turn = self.writer.lock().await;
        for _ in 0..TRIES {
            let Some(owner) = self.pointed(&keys::group_alias(id)).await? else { return Ok(Reply::nothing()) };
            let mut batch = Batch::new().delete(keys::group_alias(id));
            if let Some((mut group, revision)) = self.get::<Group>(&keys::group(&owner)).await? {
                if let Some(alias) = group.alias.take_if(|alias| alias.id == id) {
                    batch = batch.delete(keys::group_factor(&alias.accessor, &alias.name));
                }
                batch = batch.put_json(keys::group(&owner), &group)?.expect(keys::group(&owner), revision);
            }
            if self.commit_group(batch).await? {
                return Ok(Reply::nothing());
            }
        }
        Err(gave_up())
    }
}

impl Alias {
    fn is_at(&self, wanted: &Wanted) -> bool {
        self.accessor == wanted.mount.accessor && self.name == wanted.name
    }
}
