//! Making one entity of several: aliases and memberships move over, the rest of the others ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::store::{Batch, Revision};
use dewdrop_core::wire::{Flag, Strings, Text};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::model::{Alias, Entity};
use super::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

/// What `entity/merge` takes.
#[derive(Deserialize, JsonSchema)]
pub struct MergeAsk {
    /// The entities that go up in the other.
    #[serde(default)]
    from_entity_ids: Strings,
    /// The entity that stays.
    #[serde(default)]
    to_entity_id: Text,
    /// Taken for old clients; second factors are not kept here.
    #[serde(default, rename = "force")]
    _force: Flag,
    /// Where both have an alias at one mount: the ids of those to keep. For one entity at a time.
    #[serde(default)]
    conflicting_alias_ids_to_keep: Strings,
}

impl Identities {
    pub(super) async fn merge_entities(self: Arc<Self>, call: Call, ask: MergeAsk) -> Result<Reply, Fault> {
        ask.check()?;
        let _turn = self.writer.lock().await;
        for _ in 0..TRIES {
            if self.try_merge(&ask, call.now).await? {
                return Ok(Reply::nothing());
            }
        }
        Err(gave_up())
    }

    async fn try_merge(&self, ask: &MergeAsk, now: Moment) -> Result<bool, Fault> {
        let to = self.get::<Entity>(&keys::entity(&ask.to_entity_id.0)).await?;
        let (mut to, revision) = to.ok_or_else(|| Fault::bad_request("entity id to merge to is invalid"))?;
        let mut others: Vec<(Entity, Revision)> = Vec::new();
        for id in ask.from_entity_ids.0.iter().collect::<BTreeSet<_>>() {
            let from = self.get::<Entity>(&keys::entity(id)).await?;
            others.push(from.ok_or_else(|| Fault::bad_request("entity id to merge from is invalid"))?);
        }
        let mut batch = Batch::new();
        for (from, at) in &others {
            let ended = self.without(from, *at).await?;
            batch.changes.extend(ended.changes);
            batch.expect.extend(ended.expect);
            for group in self.ends_below(&keys::group_of(&from.id, "")).await? {
                batch = batch.put(keys::group_of(&to.id, &group), "").put(keys::member_of(&group, &to.id), "");
            }
            for alias in &from.aliases {
                batch = take_alias(&mut to, from, alias, ask, batch)?;
            }
            to.merged.push(from.id.clone());
            to.merged.extend(from.merged.iter().cloned());
            // Tokens of the other go on as tokens of this one.
            for id in std::iter::once(&from.id).chain(&from.merged) {
                batch = batch.put(keys::merged(id), to.id.clone());
            }
        }
        to.updated = now;
        let key = keys::entity(&to.id);
        let batch = batch.put(keys::memberships(&to.id), "").put_json(key.clone(), &to)?.expect(key, revision);
        let mut touched: Vec<&str> = others.iter().map(|(entity, _)| entity.id.as_str()).collect();
        touched.push(&to.id);
        self.commit(batch, &touched).await
    }
}

/// Moves one alias over, or settles which of two stays.
fn take_alias(to: &mut Entity, from: &Entity, alias: &Alias, ask: &MergeAsk, mut batch: Batch) -> Result<Batch, Fault> {
    let keep = &ask.conflicting_alias_ids_to_keep.0;
    if let Some(at) = to.aliases.iter().position(|held| held.accessor == alias.accessor) {
        let held = to.aliases.remove(at);
        match (keep.contains(&held.id), keep.contains(&alias.id)) {
            _ if ask.from_entity_ids.0.len() != 1 => return Err(clash(to, &held, from, alias)),
            (true, false) => {
                to.aliases.insert(at, held);
                return Ok(batch.delete(keys::alias(&alias.id)).delete(keys::factor(&alias.accessor, &alias.name)));
            }
            (false, true) => {
                batch = batch.delete(keys::alias(&held.id)).delete(keys::factor(&held.accessor, &held.name));
            }
            _ => return Err(clash(to, &held, from, alias)),
        }
    }
    let mut moved = alias.clone();
    moved.merged_from.push(from.id.clone());
    batch =
        batch.put(keys::alias(&moved.id), to.id.clone()).put(keys::factor(&moved.accessor, &moved.name), to.id.clone());
    to.aliases.push(moved);
    Ok(batch)
}

fn clash(to: &Entity, held: &Alias, from: &Entity, alias: &Alias) -> Fault {
    let side = |entity: &Entity, alias: &Alias| -> Value {
        json!({
            "alias": alias.name,
            "entity": entity.name,
            "entity_id": entity.id,
            "mount": alias.mount_type,
            "mount_path": alias.mount_path,
        })
    };
    Fault::bad_request(format!(
        "toEntity and at least one fromEntity have aliases with the same mount accessor, repeat the merge request specifying \
         exactly one fromEntity and conflicting_alias_ids_to_keep, clashes: mountAccessor: {}, toEntity ID: {}, fromEntity \
         ID: {}, conflicting toEntity alias ID: {}, conflicting fromEntity alias ID: {}",
        held.accessor, to.id, from.id, held.id, alias.id
    ))
    .with_data(json!([side(to, held), side(from, alias)]))
}

impl MergeAsk {
    fn check(&self) -> Result<(), Fault> {
        let told = match (self.to_entity_id.0.as_str(), self.from_entity_ids.0.as_slice()) {
            ("", _) => "missing entity id to merge to",
            (_, []) => "missing entity ids to merge from",
            (to, from) if from.iter().any(|id| id == to) => "to_entity_id should not be present in from_entity_ids",
            _ => return Ok(()),
        };
        Err(Fault::bad_request(told))
    }
}
