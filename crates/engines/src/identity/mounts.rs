//! What aliases need of mounts, and the end of the aliases of a mount.

use dewdrop_core::Fault;
use dewdrop_core::engine::MountBy;
use dewdrop_core::store::Batch;

use super::model::{Entity, Group, MountOf};
use super::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

impl Identities {
    /// The mount of an accessor, as it is now.
    pub(super) async fn mount_of(&self, namespace: &str, accessor: &str) -> Result<MountOf, Fault> {
        let found = self.house.mount_by(namespace, MountBy::Accessor(accessor)).await?;
        let found = found.ok_or_else(|| Fault::bad_request("invalid mount accessor"))?;
        Ok(MountOf { accessor: accessor.to_owned(), path: found.path, kind: found.kind })
    }

    /// Removes every alias at a mount, of entities and of groups; for the server, when an auth method is disabled.
    /// Entities and groups stay. Safe to repeat.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove_aliases_of(&self, mount_accessor: &str) -> Result<(), Fault> {
        let _turn = self.writer.lock().await;
        for name in self.ends_below(&keys::factor(mount_accessor, "")).await? {
            self.remove_alias_at(mount_accessor, &name).await?;
        }
        for name in self.ends_below(&keys::group_factor(mount_accessor, "")).await? {
            self.remove_group_alias_at(mount_accessor, &name).await?;
        }
        Ok(())
    }

    async fn remove_alias_at(&self, accessor: &str, name: &str) -> Result<(), Fault> {
        let factor = keys::factor(accessor, name);
        for _ in 0..TRIES {
            let Some(id) = self.pointed(&factor).await? else { return Ok(()) };
            let mut batch = Batch::new().delete(factor.clone());
            if let Some((mut entity, revision)) = self.get::<Entity>(&keys::entity(&id)).await? {
                for alias in entity.aliases.extract_if(.., |alias| alias.accessor == accessor) {
                    batch = batch.delete(keys::alias(&alias.id));
                }
                batch = batch.put_json(keys::entity(&id), &entity)?.expect(keys::entity(&id), revision);
            }
            if self.commit(batch, &[&id]).await? {
                return Ok(());
            }
        }
        Err(gave_up())
    }

    async fn remove_group_alias_at(&self, accessor: &str, name: &str) -> Result<(), Fault> {
        let factor = keys::group_factor(accessor, name);
        for _ in 0..TRIES {
            let Some(id) = self.pointed(&factor).await? else { return Ok(()) };
            let mut batch = Batch::new().delete(factor.clone());
            if let Some((mut group, revision)) = self.get::<Group>(&keys::group(&id)).await? {
                if let Some(alias) = group.alias.take_if(|alias| alias.accessor == accessor) {
                    batch = batch.delete(keys::group_alias(&alias.id));
                }
                batch = batch.put_json(keys::group(&id), &group)?.expect(keys::group(&id), revision);
            }
            if self.commit_group(batch).await? {
                return Ok(());
            }
        }
        Err(gave_up())
    }
}
