//! Entities by the API.

use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::{Flag, Pairs, Strings, Text};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::model::{Entity, Group, Words};
use super::{Identities, keys, mfa};
use crate::shared::cas::{TRIES, gave_up};

/// What a write of an entity takes. What is left out stays.
#[derive(Deserialize, JsonSchema)]
pub struct EntityAsk {
    /// Its id, to change one that exists.
    #[serde(default)]
    id: Text,
    /// Its name.
    #[serde(default)]
    name: Text,
    /// Free words.
    metadata: Option<Pairs>,
    /// Policies for all its tokens.
    policies: Option<Strings>,
    /// Whether its tokens are refused.
    disabled: Option<Flag>,
}

/// What `entity/batch-delete` takes.
#[derive(Deserialize, JsonSchema)]
pub struct BatchDeleteAsk {
    /// The entities.
    #[serde(default)]
    entity_ids: Strings,
}

/// Which entity or group is meant.
pub(super) enum Which<'a> {
    /// This one, which must exist.
    Id(&'a str),
    /// The one of this name, made when it is not there.
    Name(&'a str),
    /// A new one.
    New,
}

pub(super) fn routes(routes: Routes<Identities>) -> Routes<Identities> {
    routes
        .at("entity", "Makes or changes entities", |r| {
            r.write("Makes an entity, or changes the one of that id or name", Identities::write_entity)
        })
        .at("entity/id", "Entities by id", |r| r.list("Lists the ids", Identities::list_entities))
        .at("entity/id/{id}", "One entity", |route| {
            route
                .read("Reads it", Identities::read_entity)
                .write("Changes it", Identities::write_entity)
                .delete("Deletes it with its aliases", Identities::delete_entity)
        })
        .at("entity/name", "Entities by name", |r| r.list("Lists the names", Identities::list_entity_names))
        .at("entity/name/{name*}", "One entity by name", |route| {
            route
                .read("Reads it", Identities::read_entity)
                .write("Makes or changes it", Identities::write_entity)
                .delete("Deletes it with its aliases", Identities::delete_entity)
        })
        .at("entity/batch-delete", "Deletes many entities", |r| r.write("Deletes them", Identities::delete_entities))
        .at("entity/merge", "Makes one entity of several", |r| r.write("Merges them", Identities::merge_entities))
}

impl Identities {
    async fn write_entity(self: Arc<Self>, call: Call, ask: EntityAsk) -> Result<Reply, Fault> {
        ask.check()?;
        let which = Which::of(&call, &ask.id.0, &ask.name.0);
        let _turn = self.writer.lock().await;
        for _ in 0..TRIES {
            let (mut entity, revision) = match &which {
                Which::Id(id) => {
                    let found = self.get::<Entity>(&keys::entity(id)).await?;
                    found.ok_or_else(|| Fault::bad_request("entity not found from id"))?
                }
                Which::Name(name) => {
                    self.entity_by_name(name).await?.unwrap_or_else(|| (Entity::new(&self.namespace, call.now), 0))
                }
                Which::New => (Entity::new(&self.namespace, call.now), 0),
            };
            let name = which.name_for(&ask.name.0, &entity.name);
            let mut batch = self.rename(revision == 0, &entity, &name).await?;
            entity.name = name;
            ask.apply(&mut entity, call.now);
            let key = keys::entity(&entity.id);
            batch = batch.put_json(key.clone(), &entity)?.expect(key, revision);
            if self.commit(batch, &[&entity.id]).await? {
                return match revision {
                    0 => Reply::of(&json!({ "aliases": null, "id": entity.id, "name": entity.name })),
                    _ => Ok(Reply::nothing()),
                };
            }
        }
        Err(gave_up())
    }

    /// Moves the row of the name.
    async fn rename(&self, is_new: bool, entity: &Entity, name: &str) -> Result<Batch, Fault> {
        let (old, new) = (keys::entity_name(&entity.name), keys::entity_name(name));
        if old == new && !is_new {
            return Ok(Batch::new());
        }
        if self.pointed(&new).await?.is_some() {
            return Err(Fault::bad_request("entity name is already in use"));
        }
        let batch = if is_new { Batch::new() } else { Batch::new().delete(old) };
        Ok(batch.expect(new.clone(), 0).put(new, entity.id.clone()))
    }

    pub(super) async fn entity_by_name(&self, name: &str) -> Result<Option<(Entity, u64)>, Fault> {
        match self.pointed(&keys::entity_name(name)).await? {
            Some(id) => self.get(&keys::entity(&id)).await,
            None => Ok(None),
        }
    }

    async fn read_entity(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let found = match call.capture("id") {
            "" => self.entity_by_name(call.capture("name")).await?,
            id => self.get(&keys::entity(id)).await?,
        };
        let (entity, _) = found.ok_or_else(Fault::not_found)?;
        self.entity_reply(&call, &entity).await
    }

    pub(super) async fn entity_reply(&self, call: &Call, entity: &Entity) -> Result<Reply, Fault> {
        let groups = self.groups_of(&entity.id).await?;
        let ids = |groups: &[Group]| groups.iter().map(|group| group.id.clone()).collect::<Vec<_>>();
        let view = entity.view(&call.mount.namespace.id, &ids(&groups.direct), &ids(&groups.inherited));
        Ok(Reply::data(view))
    }

    async fn list_entities(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let lines = self.records::<Entity>(&keys::entity("")).await?.into_iter().map(|entity| {
            let mut line = json!({ "name": entity.name });
            if !entity.aliases.is_empty() {
                line["aliases"] = entity.aliases.iter().map(super::model::Alias::brief).collect();
            }
            (entity.id, line)
        });
        Reply::listed(lines)
    }

    async fn list_entity_names(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        Reply::keys(self.records::<Entity>(&keys::entity("")).await?.into_iter().map(|entity| entity.name).collect())
    }

    async fn delete_entity(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let id = match call.capture("id") {
            "" => self.pointed(&keys::entity_name(call.capture("name"))).await?.unwrap_or_default(),
            id => id.to_owned(),
        };
        self.remove_entity(&id).await?;
        Ok(Reply::nothing())
    }

    async fn delete_entities(self: Arc<Self>, _: Call, ask: BatchDeleteAsk) -> Result<Reply, Fault> {
        if ask.entity_ids.0.is_empty() {
            return Err(Fault::bad_request("missing entity ids to delete"));
        }
        for id in &ask.entity_ids.0 {
            self.remove_entity(id).await?;
        }
        Ok(Reply::nothing())
    }

    async fn remove_entity(&self, id: &str) -> Result<(), Fault> {
        let _turn = self.writer.lock().await;
        for _ in 0..TRIES {
            let Some((entity, revision)) = self.get::<Entity>(&keys::entity(id)).await? else { return Ok(()) };
            let batch = self.without(&entity, revision).await?;
            let batch = entity.aliases.iter().fold(batch, |batch, alias| {
                batch.delete(keys::alias(&alias.id)).delete(keys::factor(&alias.accessor, &alias.name))
            });
            let batch = entity.merged.iter().fold(batch, |batch, id| batch.delete(keys::merged(id)));
            if self.commit(batch, &[id]).await? {
                return Ok(());
            }
        }
        Err(gave_up())
    }

    /// The end of an entity and its memberships; its aliases are left to the caller.
    pub(super) async fn without(&self, entity: &Entity, revision: u64) -> Result<Batch, Fault> {
        let id = &entity.id;
        let marker = keys::memberships(id);
        let batch = Batch::new()
            .expect(marker.clone(), self.revision(&marker).await?)
            .expect(keys::entity(id), revision)
            .delete(keys::entity(id))
            .delete(keys::entity_name(&entity.name))
            .delete(marker)
            .delete_prefix(keys::group_of(id, ""));
        let batch = mfa::forget(batch, id);
        let groups = self.ends_below(&keys::group_of(id, "")).await?;
        Ok(groups.iter().fold(batch, |batch, group| batch.delete(keys::member_of(group, id))))
    }
}

impl<'a> Which<'a> {
    /// By the path, else by the fields.
    pub(super) fn of(call: &'a Call, id: &'a str, name: &'a str) -> Self {
        match (call.capture("id"), call.capture("name"), id, name) {
            ("", "", "", "") => Self::New,
            ("", "", "", name) | ("", name, ..) if !name.is_empty() => Self::Name(name),
            ("", _, id, _) | (id, ..) => Self::Id(id),
        }
    }

    /// The name that it is to have.
    pub(super) fn name_for(&self, asked: &str, held: &str) -> String {
        match self {
            Self::Name(name) => (*name).to_owned(),
            _ if asked.is_empty() => held.to_owned(),
            _ => asked.to_owned(),
        }
    }
}

impl EntityAsk {
    fn check(&self) -> Result<(), Fault> {
        self.metadata.as_ref().map_or(Ok(()), |words| check_metadata(&words.0))?;
        self.policies.as_ref().map_or(Ok(()), check_policies)
    }

    fn apply(&self, entity: &mut Entity, now: Moment) {
        if let Some(words) = &self.metadata {
            entity.metadata.clone_from(&words.0);
        }
        if let Some(policies) = &self.policies {
            entity.policies = policy_names(policies);
        }
        entity.disabled = self.disabled.map_or(entity.disabled, |flag| flag.0);
        entity.updated = now;
    }
}

/// Names of policies as they are kept: in lower case, sorted, each once.
pub(super) fn policy_names(policies: &Strings) -> Vec<String> {
    let mut names: Vec<String> = policies.0.iter().map(|name| name.to_lowercase()).collect();
    names.sort();
    names.dedup();
    names
}

pub(super) fn check_policies(policies: &Strings) -> Result<(), Fault> {
    if policies.0.iter().any(|name| name.eq_ignore_ascii_case("root")) {
        return Err(Fault::bad_request("policies cannot contain root"));
    }
    Ok(())
}

/// At most 64 words, names up to 128 bytes and not empty, words up to 512.
pub(super) fn check_metadata(words: &Words) -> Result<(), Fault> {
    if words.len() > 64 {
        return Err(Fault::bad_request(
            "invalid entity metadata: metadata cannot contain more than 64 key/value pairs",
        ));
    }
    for (name, word) in words {
        let why = match (name.len(), word.len()) {
            (0, _) => "key cannot be blank",
            (129.., _) => "key cannot be longer than 128 bytes",
            (_, 513..) => "value cannot be longer than 512 bytes",
            _ => continue,
        };
        return Err(Fault::bad_request(format!("invalid entity metadata: {why} (key {name:?})")));
    }
    Ok(())
}
