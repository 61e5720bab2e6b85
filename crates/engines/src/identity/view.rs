//! An entity as each request needs it: one value with all that comes by its groups, kept in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dewdrop_core::Fault;
use dewdrop_core::policy::{AliasValues, GroupValues, IdentityValues};

use super::model::{Alias, Entity, Group, Words};
use super::{Identities, keys};

/// An entity as each request needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntityView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Whether its tokens are refused.
    pub disabled: bool,
    /// Its own policies and those of all its groups; sorted, each once.
    pub policies: Vec<String>,
    /// Its groups: those that it is a member of, then those that these are members of.
    pub groups: Vec<GroupView>,
    /// What people said of it.
    pub metadata: Words,
    /// Its aliases, by the accessor of their mount.
    pub aliases: BTreeMap<String, AliasView>,
}

/// One group of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupView {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// What people said of it.
    pub metadata: Words,
    /// Whether the entity itself is a member.
    pub direct: bool,
    /// Accessor and name of its alias, for external groups.
    pub alias: Option<(String, String)>,
}

/// One alias of an entity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasView {
    /// Its id.
    pub id: String,
    /// Who the entity is to the auth method.
    pub name: String,
    /// What the auth method said.
    pub metadata: Words,
    /// What operators said.
    pub custom_metadata: Words,
    /// Path and type of the mount, as they were last seen.
    pub(super) mount: (String, String),
}

/// The groups of an entity.
pub(super) struct GroupsOf {
    /// Those that it is a member of, in the order of their ids.
    pub direct: Vec<Group>,
    /// Those that come by them.
    pub inherited: Vec<Group>,
}

impl Identities {
    /// An entity, or the one that it went up in; `None` when there is none of that id.
    ///
    /// # Errors
    /// The store's.
    pub async fn view(&self, entity_id: &str) -> Result<Option<Arc<EntityView>>, Fault> {
        if let Some(view) = self.view_of(entity_id).await? {
            return Ok(Some(view));
        }
        match self.pointed(&keys::merged(entity_id)).await? {
            Some(id) => self.view_of(&id).await,
            None => Ok(None),
        }
    }

    async fn view_of(&self, entity_id: &str) -> Result<Option<Arc<EntityView>>, Fault> {
        if let Some(view) = self.views.get(entity_id) {
            return Ok(Some(view));
        }
        let generation = self.generation.load(Ordering::SeqCst);
        let Some((entity, _)) = self.get::<Entity>(&keys::entity(entity_id)).await? else { return Ok(None) };
        let groups = self.groups_of(entity_id).await?;
        let view = Arc::new(EntityView::new(entity, groups));
        self.views.insert(entity_id.to_owned(), view.clone());
        if self.generation.load(Ordering::SeqCst) != generation {
            self.views.remove(entity_id);
        }
        Ok(Some(view))
    }

    /// The groups of an entity, read from the store. Rows of groups that are gone are passed over.
    pub(super) async fn groups_of(&self, entity: &str) -> Result<GroupsOf, Fault> {
        let mut seen = BTreeSet::new();
        let mut direct = Vec::new();
        for id in self.ends_below(&keys::group_of(entity, "")).await? {
            if let Some((group, _)) = self.get::<Group>(&keys::group(&id)).await? {
                direct.push(group);
                seen.insert(id);
            }
        }
        let mut inherited: Vec<Group> = Vec::new();
        let mut open: Vec<String> = direct.iter().map(|group| group.id.clone()).collect();
        while let Some(child) = open.pop() {
            for id in self.ends_below(&keys::parent_of(&child, "")).await? {
                if seen.contains(&id) {
                    continue;
                }
                if let Some((group, _)) = self.get::<Group>(&keys::group(&id)).await? {
                    seen.insert(id.clone());
                    open.push(id);
                    inherited.push(group);
                }
            }
        }
        Ok(GroupsOf { direct, inherited })
    }
}

impl EntityView {
    fn new(entity: Entity, groups: GroupsOf) -> Self {
        let mut policies = entity.policies;
        let mut views = Vec::with_capacity(groups.direct.len() + groups.inherited.len());
        let both = groups.direct.into_iter().map(|group| (group, true));
        for (group, direct) in both.chain(groups.inherited.into_iter().map(|group| (group, false))) {
            policies.extend(group.policies);
            views.push(GroupView {
                id: group.id,
                name: group.name,
                metadata: group.metadata,
                direct,
                alias: group.alias.map(|alias| (alias.accessor, alias.name)),
            });
        }
        policies.sort();
        policies.dedup();
        let aliases = entity.aliases.into_iter().map(|alias| (alias.accessor.clone(), AliasView::new(alias))).collect();
        Self {
            id: entity.id,
            name: entity.name,
            disabled: entity.disabled,
            policies,
            groups: views,
            metadata: entity.metadata,
            aliases,
        }
    }

    /// What templates in policies may ask.
    #[must_use]
    pub fn template_values(&self) -> IdentityValues {
        let alias = |alias: &AliasView| AliasValues {
            id: alias.id.clone(),
            name: alias.name.clone(),
            metadata: alias.metadata.clone(),
            custom_metadata: alias.custom_metadata.clone(),
        };
        let group = |group: &GroupView| GroupValues {
            id: group.id.clone(),
            name: group.name.clone(),
            metadata: group.metadata.clone(),
        };
        IdentityValues {
            entity_id: self.id.clone(),
            entity_name: self.name.clone(),
            metadata: self.metadata.clone(),
            aliases: self.aliases.iter().map(|(accessor, a)| (accessor.clone(), alias(a))).collect(),
            groups: self.groups.iter().map(group).collect(),
        }
    }
}

impl AliasView {
    fn new(alias: Alias) -> Self {
        Self {
            id: alias.id,
            name: alias.name,
            metadata: alias.metadata,
            custom_metadata: alias.custom_metadata,
            mount: (alias.mount_path, alias.mount_type),
        }
    }
}
