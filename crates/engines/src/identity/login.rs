//! Logins: find the entity of an alias, or make it, and keep its external groups as the auth method says. A login that
//! changes nothing writes nothing.

use std::collections::{BTreeMap, BTreeSet};

use dewdrop_core::Fault;
use dewdrop_core::store::Batch;

use super::model::{Alias, Entity, Group, MountOf};
use super::view::EntityView;
use super::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

/// Whose login it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoginIdentity {
    /// The entity.
    pub entity_id: String,
    /// Whether it may have no tokens.
    pub disabled: bool,
    /// Whether something was written: rights that were worked out before are out of date.
    pub changed: bool,
}

/// A login as the auth method tells it.
struct Seen<'a> {
    mount: MountOf,
    name: &'a str,
    metadata: &'a BTreeMap<String, String>,
    groups: &'a [String],
}

impl Identities {
    /// Finds the entity of an alias, or makes both in one commit; brings the alias's metadata and the membership in external
    /// groups with an alias at that mount up to date.
    ///
    /// # Errors
    /// The store's.
    pub async fn on_login(
        &self,
        mount_accessor: &str,
        mount_path: &str,
        mount_type: &str,
        alias_name: &str,
        alias_metadata: &BTreeMap<String, String>,
        group_alias_names: &[String],
    ) -> Result<LoginIdentity, Fault> {
        let mount = MountOf { accessor: mount_accessor.into(), path: mount_path.into(), kind: mount_type.into() };
        let seen = Seen { mount, name: alias_name, metadata: alias_metadata, groups: group_alias_names };
        let factor = keys::factor(mount_accessor, alias_name);
        if let Some(id) = self.pointed(&factor).await?
            && let Some(view) = self.view(&id).await?
            && seen.is_known(&view)
            && self.external_groups(&seen).await? == external_groups_of(&view, mount_accessor)
        {
            return Ok(LoginIdentity { entity_id: id, disabled: view.disabled, changed: false });
        }
        let _turn = self.logins.turn(&factor).await;
        for _ in 0..TRIES {
            if let Some(identity) = self.try_login(&seen, &factor).await? {
                return Ok(identity);
            }
        }
        Err(gave_up())
    }

    async fn try_login(&self, seen: &Seen<'_>, factor: &str) -> Result<Option<LoginIdentity>, Fault> {
        let now = self.clock.now();
        let found = match self.pointed(factor).await? {
            Some(id) => self.get::<Entity>(&keys::entity(&id)).await?,
            None => None,
        };
        let mut batch = Batch::new();
        let is_new = found.is_none();
        let (mut entity, revision) = found.unwrap_or_else(|| (Entity::new(&self.namespace, now), 0));
        if is_new {
            batch = batch
                .expect(factor, self.revision(factor).await?)
                .expect(keys::entity_name(&entity.name), 0)
                .put(keys::entity_name(&entity.name), entity.id.clone());
        }
        let before = entity.aliases.clone();
        let at = entity.aliases.iter().position(|alias| alias.accessor == seen.mount.accessor);
        let at = at.unwrap_or(entity.aliases.len());
        if at == entity.aliases.len() {
            let alias = Alias::new(&seen.mount, seen.name, now);
            batch = batch.put(factor, entity.id.clone()).put(keys::alias(&alias.id), entity.id.clone());
            entity.aliases.push(alias);
        }
        if let Some(alias) = entity.aliases.get_mut(at).filter(|alias| !seen.agrees(alias)) {
            alias.metadata.clone_from(seen.metadata);
            alias.mount_path.clone_from(&seen.mount.path);
            alias.mount_type.clone_from(&seen.mount.kind);
            alias.updated = now;
        }
        let key = keys::entity(&entity.id);
        if is_new || before != entity.aliases {
            batch = batch.put_json(key.clone(), &entity)?;
        }
        batch = self.keep_groups(&entity.id, seen, batch.expect(key, revision)).await?;
        let identity = LoginIdentity {
            entity_id: entity.id.clone(),
            disabled: entity.disabled,
            changed: !batch.changes.is_empty(),
        };
        if batch.changes.is_empty() || self.commit(batch, &[&entity.id]).await? {
            return Ok(Some(identity));
        }
        Ok(None)
    }

    /// Adds what must change for the entity to be a member of just those external groups at the mount that the login names.
    async fn keep_groups(&self, entity: &str, seen: &Seen<'_>, mut batch: Batch) -> Result<Batch, Fault> {
        let wanted = self.external_groups(seen).await?;
        let held = self.groups_of(entity).await?.direct;
        let held: BTreeSet<String> =
            held.into_iter().filter(|group| is_at(group, &seen.mount.accessor)).map(|g| g.id).collect();
        if wanted == held {
            return Ok(batch);
        }
        for group in wanted.difference(&held) {
            // The group must still be there and have its alias when the member is added.
            let revision = self.revision(&keys::group(group)).await?;
            if revision == 0 {
                continue;
            }
            batch = batch.expect(keys::group(group), revision);
            batch = batch.put(keys::group_of(entity, group), "").put(keys::member_of(group, entity), "");
        }
        for group in held.difference(&wanted) {
            batch = batch.delete(keys::group_of(entity, group)).delete(keys::member_of(group, entity));
        }
        Ok(batch.put(keys::memberships(entity), ""))
    }

    /// The groups whose aliases the login names.
    async fn external_groups(&self, seen: &Seen<'_>) -> Result<BTreeSet<String>, Fault> {
        let mut found = BTreeSet::new();
        for name in seen.groups {
            found.extend(self.pointed(&keys::group_factor(&seen.mount.accessor, name)).await?);
        }
        Ok(found)
    }
}

impl Seen<'_> {
    fn agrees(&self, alias: &Alias) -> bool {
        alias.metadata == *self.metadata && alias.mount_path == self.mount.path && alias.mount_type == self.mount.kind
    }

    fn is_known(&self, view: &EntityView) -> bool {
        view.aliases.get(&self.mount.accessor).is_some_and(|alias| {
            alias.metadata == *self.metadata && alias.mount.0 == self.mount.path && alias.mount.1 == self.mount.kind
        })
    }
}

fn is_at(group: &Group, accessor: &str) -> bool {
    group.alias.as_ref().is_some_and(|alias| alias.accessor == accessor)
}

fn external_groups_of(view: &EntityView, accessor: &str) -> BTreeSet<String> {
    let at =
        view.groups.iter().filter(|group| group.direct && group.alias.as_ref().is_some_and(|(at, _)| at == accessor));
    at.map(|group| group.id.clone()).collect()
}
