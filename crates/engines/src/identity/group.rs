//! Groups by the API.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::{Pairs, Strings, Text};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::entity::{Which, check_metadata, check_policies, policy_names};
use super::model::Group;
use super::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

/// What a write of a group takes. What is left out stays.
#[derive(Deserialize, JsonSchema)]
pub struct GroupAsk {
    /// Its id, to change one that exists.
    #[serde(default)]
    id: Text,
    /// Its name.
    name: Option<Text>,
    /// `internal` (members are given here) or `external` (members come by the group's alias at login).
    #[serde(default, rename = "type")]
    kind: Text,
    /// Free words.
    metadata: Option<Pairs>,
    /// Policies for all members.
    policies: Option<Strings>,
    /// Ids of entities.
    member_entity_ids: Option<Strings>,
    /// Ids of groups.
    member_group_ids: Option<Strings>,
}

pub(super) fn routes() -> Routes<Identities> {
    Routes::new("")
        .at("group", "Makes or changes groups", |r| {
            r.write("Makes a group, or changes the one of that id or name", Identities::write_group)
        })
        .at("group/id", "Groups by id", |r| r.list("Lists the ids", Identities::list_groups))
        .at("group/id/{id}", "One group", |route| {
            route
                .read("Reads it", Identities::read_group)
                .write("Changes it", Identities::write_group)
                .delete("Deletes it", Identities::delete_group)
        })
        .at("group/name", "Groups by name", |r| r.list("Lists the names", Identities::list_group_names))
        .at("group/name/{name*}", "One group by name", |route| {
            route
                .read("Reads it", Identities::read_group)
                .write("Makes or changes it", Identities::write_group)
                .delete("Deletes it", Identities::delete_group)
        })
}

impl Identities {
    async fn write_group(self: Arc<Self>, call: Call, ask: GroupAsk) -> Result<Reply, Fault> {
        ask.check()?;
        let which = Which::of(&call, &ask.id.0, ask.name());
        let _turn = self.writer.lock().await;
        for _ in 0..TRIES {
            if let Some(reply) = self.try_write_group(&call, &ask, &which).await? {
                return Ok(reply);
            }
        }
        Err(gave_up())
    }

    async fn try_write_group(&self, call: &Call, ask: &GroupAsk, which: &Which<'_>) -> Result<Option<Reply>, Fault> {
        let fresh = || (Group::new(ask.kind.0 == "external", &self.namespace, call.now), 0);
        let (mut group, revision) = match which {
            Which::Id(id) => {
                let found = self.get::<Group>(&keys::group(id)).await?;
                found.ok_or_else(|| Fault::bad_request("invalid group ID"))?
            }
            Which::Name(name) => self.group_by_name(name).await?.unwrap_or_else(fresh),
            // As the API has it: left out, a name is made; empty, it is none.
            Which::New if ask.name.is_some() => return Err(Fault::bad_request("empty group name")),
            Which::New => fresh(),
        };
        ask.check_kind(&group)?;
        let name = which.name_for(ask.name(), &group.name);
        let mut batch = self.rename_group(revision == 0, &group, &name).await?;
        group.name = name;
        if let Some(wanted) = &ask.member_group_ids {
            batch = self.change_member_groups(&mut group, &wanted.0, batch).await?;
        }
        let mut changes = match &ask.member_entity_ids {
            Some(wanted) => self.member_changes(&group.id, &wanted.0).await?.into_iter(),
            None => Vec::new().into_iter(),
        };
        if let Some(first) = changes.next() {
            batch.changes.extend(first.changes);
            batch.expect.extend(first.expect);
        }
        ask.apply(&mut group);
        group.updated = call.now;
        group.modify_index += 1;
        let key = keys::group(&group.id);
        if !self.commit_group(batch.put_json(key.clone(), &group)?.expect(key, revision)).await? {
            return Ok(None);
        }
        for batch in changes {
            if !self.commit_group(batch).await? {
                return Ok(None);
            }
        }
        Ok(Some(match revision {
            0 => Reply::of(&json!({ "id": group.id, "name": group.name }))?,
            _ => Reply::nothing(),
        }))
    }

    async fn rename_group(&self, is_new: bool, group: &Group, name: &str) -> Result<Batch, Fault> {
        let (old, new) = (keys::group_name(&group.name), keys::group_name(name));
        if old == new && !is_new {
            return Ok(Batch::new());
        }
        if self.pointed(&new).await?.is_some() {
            return Err(Fault::bad_request("group name is already in use"));
        }
        let batch = if is_new { Batch::new() } else { Batch::new().delete(old) };
        Ok(batch.expect(new.clone(), 0).put(new, group.id.clone()))
    }

    pub(super) async fn group_by_name(&self, name: &str) -> Result<Option<(Group, u64)>, Fault> {
        match self.pointed(&keys::group_name(name)).await? {
            Some(id) => self.get(&keys::group(&id)).await,
            None => Ok(None),
        }
    }

    async fn read_group(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let found = match call.capture("id") {
            "" => self.group_by_name(call.capture("name")).await?,
            id => self.get(&keys::group(id)).await?,
        };
        let (group, _) = found.ok_or_else(Fault::not_found)?;
        self.group_reply(&call, &group).await
    }

    pub(super) async fn group_reply(&self, call: &Call, group: &Group) -> Result<Reply, Fault> {
        let members = self.ends_below(&keys::member_of(&group.id, "")).await?;
        let parents = self.ends_below(&keys::parent_of(&group.id, "")).await?;
        Ok(Reply::data(group.view(&call.mount.namespace.id, &members, &parents)))
    }

    async fn list_groups(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let mut lines = Vec::new();
        for group in self.records::<Group>(&keys::group("")).await? {
            let mut line = json!({
                "name": group.name,
                "num_member_entities": self.ends_below(&keys::member_of(&group.id, "")).await?.len(),
                "num_parent_groups": self.ends_below(&keys::parent_of(&group.id, "")).await?.len(),
            });
            if let Some(alias) = &group.alias {
                line["alias"] = alias.brief();
            }
            lines.push((group.id, line));
        }
        Reply::listed(lines)
    }

    async fn list_group_names(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        Reply::keys(self.records::<Group>(&keys::group("")).await?.into_iter().map(|group| group.name).collect())
    }

    async fn delete_group(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let id = match call.capture("id") {
            "" => self.pointed(&keys::group_name(call.capture("name"))).await?.unwrap_or_default(),
            id => id.to_owned(),
        };
        let _turn = self.writer.lock().await;
        for _ in 0..TRIES {
            let Some((group, revision)) = self.get::<Group>(&keys::group(&id)).await? else {
                return Ok(Reply::nothing());
            };
            let batch = self.without_group(&group, revision).await?;
            // Rows of members go last: a row of a group that is gone gives nothing.
            if self.commit_group(batch).await? {
                for members in self.member_changes(&id, &[]).await? {
                    self.commit_group(members).await?;
                }
                return Ok(Reply::nothing());
            }
        }
        Err(gave_up())
    }

    async fn without_group(&self, group: &Group, revision: u64) -> Result<Batch, Fault> {
        let id = &group.id;
        let mut batch = Batch::new()
            .expect(keys::group(id), revision)
            .expect(keys::GRAPH, self.revision(keys::GRAPH).await?)
            .put(keys::GRAPH, "")
            .delete(keys::group(id))
            .delete(keys::group_name(&group.name))
            .delete_prefix(keys::parent_of(id, ""));
        if let Some(alias) = &group.alias {
            batch = batch.delete(keys::group_alias(&alias.id)).delete(keys::group_factor(&alias.accessor, &alias.name));
        }
        for child in &group.member_groups {
            batch = batch.delete(keys::parent_of(child, id));
        }
        for parent in self.ends_below(&keys::parent_of(id, "")).await? {
            if let Some((mut parent, at)) = self.get::<Group>(&keys::group(&parent)).await? {
                parent.member_groups.retain(|member| member != id);
                let key = keys::group(&parent.id);
                batch = batch.put_json(key.clone(), &parent)?.expect(key, at);
            }
        }
        Ok(batch)
    }
}

impl GroupAsk {
    fn name(&self) -> &str {
        self.name.as_ref().map_or("", |name| &name.0)
    }

    fn check(&self) -> Result<(), Fault> {
        if !matches!(self.kind.0.as_str(), "" | "internal" | "external") {
            return Err(Fault::bad_request("invalid group type: use internal or external"));
        }
        self.metadata.as_ref().map_or(Ok(()), |words| check_metadata(&words.0))?;
        self.policies.as_ref().map_or(Ok(()), check_policies)
    }

    fn check_kind(&self, group: &Group) -> Result<(), Fault> {
        if !self.kind.0.is_empty() && group.external != (self.kind.0 == "external") {
            return Err(Fault::bad_request("group type cannot be changed"));
        }
        let has = |ids: &Option<Strings>| ids.as_ref().is_some_and(|ids| !ids.0.is_empty());
        if group.external && has(&self.member_entity_ids) {
            return Err(Fault::bad_request("member entities can't be set manually for external groups"));
        }
        if group.external && has(&self.member_group_ids) {
            return Err(Fault::bad_request("member groups can't be set for external groups"));
        }
        Ok(())
    }

    fn apply(&self, group: &mut Group) {
        if let Some(words) = &self.metadata {
            group.metadata.clone_from(&words.0);
        }
        if let Some(policies) = &self.policies {
            group.policies = policy_names(policies);
        }
    }
}
