//! Aliases of entities by the API.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, Revision};
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::model::{Alias, Entity, MountOf, Words};
use super::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};
use crate::shared::words::{check_custom_metadata, words_of};

/// What a write of an alias takes. What is left out stays.
#[derive(Deserialize, JsonSchema)]
pub struct AliasAsk {
    /// Its id, to change one that exists.
    #[serde(default)]
    id: Text,
    /// Who the entity is to the auth method.
    #[serde(default)]
    name: Text,
    /// Accessor of the mount.
    #[serde(default)]
    mount_accessor: Text,
    /// The entity; a new one is made when this is left out.
    #[serde(default)]
    canonical_id: Text,
    /// Older name of `canonical_id`.
    #[serde(default)]
    entity_id: Text,
    /// At most 64 words that describe the alias.
    custom_metadata: Option<Value>,
}

/// An ask, checked.
struct Wanted {
    id: String,
    name: String,
    mount: Option<MountOf>,
    canonical: String,
    words: Option<Words>,
}

/// What came of a write.
enum Written {
    /// This alias of this entity is new, or has changed.
    Changed { canonical: String, id: String },
    /// It was so before.
    Same,
}

/// An entity with the revision of its record; zero: it is new.
type Held = (Entity, Revision);

pub(super) fn routes() -> Routes<Identities> {
    let one = |route: dewdrop_core::route::Route<Identities>| {
        let route = route.read("Reads it", Identities::read_alias).write("Changes it", Identities::write_alias);
        route.delete("Deletes it", Identities::delete_alias)
    };
    Routes::new("")
        .at("entity-alias", "Makes or changes aliases", |r| {
            r.write("Makes an alias, or changes it", Identities::write_alias)
        })
        .at("entity-alias/id", "Aliases by id", |r| r.list("Lists the ids", Identities::list_aliases))
        .at("entity-alias/id/{id}", "One alias", one)
        .at("alias", "Older name of entity-alias", |r| {
            r.write("Makes an alias, or changes it", Identities::write_alias)
        })
        .at("alias/id", "Older name of entity-alias/id", |r| r.list("Lists the ids", Identities::list_aliases))
        .at("alias/id/{id}", "Older name of entity-alias/id", one)
        .at("persona", "Older name of entity-alias", |r| {
            r.write("Makes an alias, or changes it", Identities::write_alias)
        })
        .at("persona/id", "Older name of entity-alias/id", |r| r.list("Lists the ids", Identities::list_aliases))
        .at("persona/id/{id}", "Older name of entity-alias/id", one)
}

impl Identities {
    async fn write_alias(self: Arc<Self>, call: Call, ask: AliasAsk) -> Result<Reply, Fault> {
        let mut wanted = ask.check(call.capture("id"))?;
        let accessor = ask.mount_accessor.0;
        if !accessor.is_empty() {
            wanted.mount = Some(self.mount_of(&call.mount.namespace.id, &accessor).await?);
        }
        let _turn = self.writer.lock().await;
        for _ in 0..TRIES {
            match self.try_write_alias(&wanted, call.now).await? {
                Some(Written::Changed { canonical, id }) => {
                    return Reply::of(&json!({ "canonical_id": canonical, "id": id }));
                }
                Some(Written::Same) => return Ok(Reply::nothing()),
                None => {}
            }
        }
        Err(gave_up())
    }

    /// `None` when somebody else was faster.
    async fn try_write_alias(&self, wanted: &Wanted, now: Moment) -> Result<Option<Written>, Fault> {
        let at = match (wanted.id.as_str(), &wanted.mount) {
            ("", Some(mount)) => self.pointed(&keys::factor(&mount.accessor, &wanted.name)).await?,
            ("", None) => None,
            (id, _) => self.pointed(&keys::alias(id)).await?,
        };
        let held = match at {
            Some(id) => self.get::<Entity>(&keys::entity(&id)).await?,
            None if wanted.id.is_empty() => None,
            None => return Err(Fault::bad_request("invalid alias ID provided")),
        };
        match held {
            Some((entity, revision)) => self.change_alias(wanted, (entity, revision), now).await,
            None => self.make_alias(wanted, now).await,
        }
    }

    async fn make_alias(&self, wanted: &Wanted, now: Moment) -> Result<Option<Written>, Fault> {
        let Some(mount) = &wanted.mount else { return Err(incomplete()) };
        let (mut entity, revision) = self.owner(&wanted.canonical, now).await?;
        if entity.alias_at(&mount.accessor).is_some() {
            return Err(taken());
        }
        let mut alias = Alias::new(mount, &wanted.name, now);
        alias.custom_metadata = wanted.words.clone().unwrap_or_default();
        let factor = keys::factor(&mount.accessor, &wanted.name);
        let mut batch = Batch::new()
            .expect(factor.clone(), self.revision(&factor).await?)
            .put(factor, entity.id.clone())
            .put(keys::alias(&alias.id), entity.id.clone());
        if revision == 0 {
            batch = batch.put(keys::entity_name(&entity.name), entity.id.clone());
        }
        let id = alias.id.clone();
        entity.aliases.push(alias);
        let key = keys::entity(&entity.id);
        let batch = batch.put_json(key.clone(), &entity)?.expect(key, revision);
        Ok(self.commit(batch, &[&entity.id]).await?.then_some(Written::Changed { canonical: entity.id, id }))
    }

    async fn change_alias(&self, wanted: &Wanted, held: Held, now: Moment) -> Result<Option<Written>, Fault> {
        let (mut from, revision) = held;
        let position = from.aliases.iter().position(|alias| match (&wanted.mount, wanted.id.as_str()) {
            (Some(mount), "") => alias.accessor == mount.accessor,
            (_, id) => alias.id == id,
        });
        let position = position.ok_or_else(|| Fault::internal("a row points to an alias that is not there"))?;
        let mut alias = from.aliases.remove(position);
        if wanted.is_same(&alias, &from.id) {
            return Ok(Some(Written::Same));
        }
        let old = keys::factor(&alias.accessor, &alias.name);
        if let Some(mount) = wanted.mount.as_ref().filter(|mount| mount.accessor != alias.accessor) {
            if from.alias_at(&mount.accessor).is_some() {
                return Err(Fault::bad_request(
                    "Alias cannot be updated as the entity already has an alias for the given 'mount_accessor' ",
                ));
            }
            (alias.accessor, alias.mount_path, alias.mount_type) =
                (mount.accessor.clone(), mount.path.clone(), mount.kind.clone());
        }
        if !wanted.name.is_empty() {
            alias.name.clone_from(&wanted.name);
        }
        if let Some(words) = &wanted.words {
            alias.custom_metadata.clone_from(words);
        }
        alias.updated = now;
        let new = keys::factor(&alias.accessor, &alias.name);
        let mut batch = Batch::new().expect(keys::entity(&from.id), revision);
        if new != old {
            if self.pointed(&new).await?.is_some() {
                return Err(Fault::bad_request("combination of mount and alias name is already in use"));
            }
            batch = batch.expect(new.clone(), 0).delete(old);
        }
        let id = alias.id.clone();
        if wanted.canonical.is_empty() || wanted.canonical == from.id {
            from.aliases.insert(position, alias);
            let batch = batch.put(new, from.id.clone()).put_json(keys::entity(&from.id), &from)?;
            return Ok(self.commit(batch, &[&from.id]).await?.then_some(Written::Changed { canonical: from.id, id }));
        }
        let (mut to, to_revision) = self.owner(&wanted.canonical, now).await?;
        if to.alias_at(&alias.accessor).is_some() {
            return Err(taken());
        }
        to.aliases.push(alias);
        let batch = batch
            .expect(keys::entity(&to.id), to_revision)
            .put(new, to.id.clone())
            .put(keys::alias(&id), to.id.clone())
            .put_json(keys::entity(&from.id), &from)?
            .put_json(keys::entity(&to.id), &to)?;
        Ok(self.commit(batch, &[&from.id, &to.id]).await?.then_some(Written::Changed { canonical: to.id, id }))
    }

    /// The entity that an alias is made for: the one that is named, or a new one.
    async fn owner(&self, canonical: &str, now: Moment) -> Result<Held, Fault> {
        if canonical.is_empty() {
            return Ok((Entity::new(&self.namespace, now), 0));
        }
        self.get(&keys::entity(canonical)).await?.ok_or_else(|| Fault::bad_request("invalid canonical ID"))
    }

    async fn read_alias(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let id = call.capture("id");
        let owner = self.pointed(&keys::alias(id)).await?.ok_or_else(Fault::not_found)?;
        let (entity, _) = self.get::<Entity>(&keys::entity(&owner)).await?.ok_or_else(Fault::not_found)?;
        let alias = entity.aliases.iter().find(|alias| alias.id == id).ok_or_else(Fault::not_found)?;
        Ok(Reply::data(alias.view(&entity.id, Some(&call.mount.namespace.id))))
    }

    async fn list_aliases(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let entities = self.records::<Entity>(&keys::entity("")).await?;
        let lines = entities.iter().flat_map(|e| e.aliases.iter().map(|a| (a.id.clone(), a.line(&e.id).into())));
        Reply::listed(lines.collect::<BTreeMap<String, Value>>())
    }

    async fn delete_alias(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let id = call.capture("id");
        let _turn = self.writer.lock().await;
        for _ in 0..TRIES {
            let Some(owner) = self.pointed(&keys::alias(id)).await? else { return Ok(Reply::nothing()) };
            let mut batch = Batch::new().delete(keys::alias(id));
            if let Some((mut entity, revision)) = self.get::<Entity>(&keys::entity(&owner)).await? {
                for alias in entity.aliases.extract_if(.., |alias| alias.id == id) {
                    batch = batch.delete(keys::factor(&alias.accessor, &alias.name));
                }
                batch = batch.put_json(keys::entity(&owner), &entity)?.expect(keys::entity(&owner), revision);
            }
            if self.commit(batch, &[&owner]).await? {
                return Ok(Reply::nothing());
            }
        }
        Err(gave_up())
    }
}

impl AliasAsk {
    fn check(&self, id_in_path: &str) -> Result<Wanted, Fault> {
        let id = if id_in_path.is_empty() { self.id.0.clone() } else { id_in_path.to_owned() };
        if id.is_empty() && (self.name.0.is_empty() || self.mount_accessor.0.is_empty()) {
            return Err(incomplete());
        }
        if self.name.0.chars().any(char::is_control) {
            return Err(Fault::bad_request("the name of an alias cannot hold control characters"));
        }
        let words = match &self.custom_metadata {
            None | Some(Value::Null) => None,
            Some(Value::Object(words)) => Some(words_of(words)?),
            Some(_) => return Err(Fault::bad_request("custom_metadata must be a JSON object of texts")),
        };
        words.as_ref().map_or(Ok(()), check_custom_metadata)?;
        let canonical = if self.canonical_id.0.is_empty() { &self.entity_id.0 } else { &self.canonical_id.0 };
        Ok(Wanted { id, name: self.name.0.clone(), mount: None, canonical: canonical.clone(), words })
    }
}

impl Wanted {
    /// Whether an alias of the entity `owner` is as wanted already.
    fn is_same(&self, alias: &Alias, owner: &str) -> bool {
        self.mount.as_ref().is_none_or(|mount| mount.accessor == alias.accessor)
            && (self.name.is_empty() || self.name == alias.name)
            && (self.canonical.is_empty() || self.canonical == owner)
            && self.words.as_ref().is_none_or(|words| *words == alias.custom_metadata)
    }
}

fn incomplete() -> Fault {
    Fault::bad_request("'id' or 'mount_accessor' and 'name' must be provided")
}

fn taken() -> Fault {
    Fault::bad_request("Alias already exists for requested entity and mount accessor")
}
