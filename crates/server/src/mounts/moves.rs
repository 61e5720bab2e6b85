//! A mount gets another path. Its slice of the store goes by uuid, so nothing in it is copied.

use std::collections::VecDeque;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::mount::{Mount, MountClass, Namespace};
use parking_lot::Mutex;

use super::{Mounted, Mounts, end_logins};
use crate::ids;
use crate::vault::Vault;

/// So many moves are remembered for who asks how they went.
const REMEMBERED: usize = 256;

/// Moves that are done: id, path before, path after.
#[derive(Default)]
pub(super) struct Moves(Mutex<VecDeque<(String, String, String)>>);

impl Mounts {
    /// The paths before and after of a move, while it is remembered.
    #[must_use]
    pub fn moved(&self, id: &str) -> Option<(String, String)> {
        self.moves.0.lock().iter().find(|done| done.0 == id).map(|(_, before, after)| (before.clone(), after.clone()))
    }

    /// Puts a mount at another path, in the store and then in the tree.
    async fn relocate(
        &self,
        vault: &Vault,
        uuid: &str,
        namespace: Arc<Namespace>,
        path: String,
    ) -> Result<(Mounted, Mounted), Fault> {
        let _writing = self.writing.lock().await;
        let old = self.by_uuid(uuid).ok_or_else(|| Fault::bad_request("the mount is gone"))?;
        self.check_free(vault, &namespace, &path)?;
        let mount = Arc::new(Mount { path, namespace, ..Mount::clone(&old.mount) });
        let new = Mounted { mount, ..old.clone() };
        self.write(&new.mount).await?;
        self.change(|table| {
            table.remove(&old.mount.full_path());
            table.insert(new.mount.full_path(), new.clone());
        });
        Ok((old, new))
    }
}

/// Moves a mount; answers an id for [`Mounts::moved`]. Its leases, or the tokens of its logins, end: they are known by the
/// path that is no more.
///
/// # Errors
/// 400: the path is taken; the store's.
pub async fn remount(
    vault: &Vault,
    mounted: &Mounted,
    namespace: Arc<Namespace>,
    path: String,
) -> Result<String, Fault> {
    vault.mounts.check_free(vault, &namespace, &path)?;
    let (old, new) = vault.mounts.relocate(vault, &mounted.mount.uuid, namespace, path).await?;
    vault.leases.expire_mount(vault, &old.mount.uuid).await?;
    if old.mount.class == MountClass::Auth {
        end_logins(vault, &old.mount).await?;
        if old.mount.namespace.id != new.mount.namespace.id {
            vault.mounts.identities(&old.mount.namespace)?.remove_aliases_of(&old.mount.accessor).await?;
        }
    }
    let id = ids::uuid()?;
    let mut moves = vault.mounts.moves.0.lock();
    if moves.len() == REMEMBERED {
        moves.pop_front();
    }
    moves.push_back((id.clone(), old.mount.full_path(), new.mount.full_path()));
    Ok(id)
}
