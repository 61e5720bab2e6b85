//! The tree of mounts: which engine serves which path. Readers see whole snapshots; a write goes to the store first.

mod kinds;
mod moves;
mod upgrade;

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use dewdrop_core::Fault;
use dewdrop_core::engine::Place;
use dewdrop_core::mount::{Mount, MountClass, Namespace};
use dewdrop_core::route::Room;
use dewdrop_core::store::{Batch, SharedStore, decode, scan_all};
use dewdrop_engines::identity::Identities;
use dewdrop_store::Slice;
use tokio::sync::Mutex;

use crate::ids;
use crate::vault::Vault;
pub use kinds::known_kinds;
use moves::Moves;
pub use moves::remount;
pub use upgrade::replace;

const PREFIX: &[u8] = b"mount/";
/// Where an engine's slice of the store begins; its mount's uuid follows.
pub const SLICES: &str = "logical/";

/// A mount with its engine.
#[derive(Clone)]
pub struct Mounted {
    /// The mount.
    pub mount: Arc<Mount>,
    /// The engine.
    pub room: Room,
    /// The identities that this mount keeps, when it is an identity mount.
    pub identities: Option<Arc<Identities>>,
}

/// All mounts, by namespace path and mount path in one.
pub struct Mounts {
    store: SharedStore,
    vault: Weak<Vault>,
    table: ArcSwap<HashMap<String, Mounted>>,
    /// Held by whoever changes the tree, so that two writers cannot take the same path.
    writing: Mutex<()>,
    moves: Moves,
}

/// What is asked of a new mount.
pub struct NewMount {
    /// Secrets engine or auth method.
    pub class: MountClass,
    /// Path within the namespace, ending in `/`, with `auth/` in front for auth methods.
    pub path: String,
    /// Engine type.
    pub kind: String,
    /// Free words.
    pub description: String,
    /// Options such as `version=2`.
    pub options: BTreeMap<String, String>,
    /// What can be tuned.
    pub tune: dewdrop_core::mount::Tune,
    /// Kept and shown.
    pub local: bool,
    /// Kept and shown.
    pub seal_wrap: bool,
}

impl Mounts {
    /// No mounts yet; see [`load`](Self::load).
    #[must_use]
    pub fn new(store: SharedStore, vault: Weak<Vault>) -> Self {
        Self { store, vault, table: ArcSwap::default(), writing: Mutex::new(()), moves: Moves::default() }
    }

    /// Reads the tree from the store and opens every engine.
    ///
    /// # Errors
    /// The store's; an engine that does not open is named.
    pub async fn load(&self, vault: &Vault) -> Result<(), Fault> {
        let mut table = HashMap::new();
        for row in scan_all(&*self.store, PREFIX, 500).await? {
            let mut mount: Mount = decode(&row.key, &row.entry)?;
            let Some(namespace) = vault.namespaces.by_id(&mount.namespace.id) else { continue };
            mount.namespace = namespace;
            mount.defaults = vault.limits;
            upgrade::finish(self, &mount, vault.clock.now()).await?;
            let mounted = self.open(vault, Arc::new(mount))?;
            table.insert(mounted.mount.full_path(), mounted);
        }
        self.table.store(Arc::new(table));
        Ok(())
    }

    /// The mount that serves a full path, and the rest of the path. The longest mount path wins.
    #[must_use]
    pub fn find<'p>(&self, path: &'p str) -> Option<(Mounted, &'p str)> {
        let table = self.table.load();
        for (slash, _) in path.rmatch_indices('/') {
            let (head, rest) = path.split_at(slash + 1);
            if let Some(mounted) = table.get(head) {
                return Some((mounted.clone(), rest));
            }
        }
        // `LIST cubbyhole` means the mount itself.
        table.get(&format!("{path}/")).map(|mounted| (mounted.clone(), ""))
    }

    /// The mount at exactly this full path (with the slash at its end).
    #[must_use]
    pub fn at(&self, full_path: &str) -> Option<Mounted> {
        self.table.load().get(full_path).cloned()
    }

    /// The mount with a uuid.
    #[must_use]
    pub fn by_uuid(&self, uuid: &str) -> Option<Mounted> {
        self.table.load().values().find(|mounted| mounted.mount.uuid == uuid).cloned()
    }

    /// The mount with an accessor.
    #[must_use]
    pub fn by_accessor(&self, accessor: &str) -> Option<Mounted> {
        self.table.load().values().find(|mounted| mounted.mount.accessor == accessor).cloned()
    }

    /// All mounts of a namespace, sorted by path.
    #[must_use]
    pub fn of(&self, namespace: &Namespace) -> Vec<Mounted> {
        let table = self.table.load();
        let mut all: Vec<Mounted> = table.values().filter(|m| m.mount.namespace.id == namespace.id).cloned().collect();
        all.sort_by(|a, b| a.mount.path.cmp(&b.mount.path));
        all
    }

    /// All mounts.
    #[must_use]
    pub fn all(&self) -> Vec<Mounted> {
        self.table.load().values().cloned().collect()
    }

    /// The identities of a namespace.
    ///
    /// # Errors
    /// The namespace has no identity mount (a defect).
    pub fn identities(&self, namespace: &Namespace) -> Result<Arc<Identities>, Fault> {
        let mounted = self.at(&format!("{}identity/", namespace.path));
        mounted.and_then(|m| m.identities).ok_or_else(|| Fault::internal("a namespace without identity mount"))
    }

    /// Mounts an engine.
    ///
    /// # Errors
    /// 400: the path is taken or reserved, or the type is not known.
    pub async fn add(&self, vault: &Vault, namespace: Arc<Namespace>, new: NewMount) -> Result<Mounted, Fault> {
        let _writing = self.writing.lock().await;
        self.check_free(vault, &namespace, &new.path)?;
        let mount = Mount {
            path: new.path,
            class: new.class,
            uuid: ids::uuid()?,
            accessor: format!("{}_{}", accessor_word(&new.kind, new.class), hex::encode(random4()?)),
            kind: new.kind,
            description: new.description,
            options: new.options,
            tune: new.tune,
            local: new.local,
            seal_wrap: new.seal_wrap,
            external_entropy_access: false,
            namespace,
            defaults: vault.limits,
        };
        let mounted = self.open(vault, Arc::new(mount))?;
        self.write(&mounted.mount).await?;
        self.change(|table| {
            table.insert(mounted.mount.full_path(), mounted.clone());
        });
        Ok(mounted)
    }

    /// Replaces what is said of a mount that stays where it is.
    ///
    /// # Errors
    /// 400: the mount is gone; the store's.
    pub async fn put(&self, mount: Mount) -> Result<(), Fault> {
        let _writing = self.writing.lock().await;
        let old = self.by_uuid(&mount.uuid).filter(|old| old.mount.path == mount.path);
        let old = old.ok_or_else(|| Fault::bad_request("the mount is gone"))?;
        let mounted = Mounted { mount: Arc::new(mount), ..old };
        self.write(&mounted.mount).await?;
        self.change(|table| {
            table.insert(mounted.mount.full_path(), mounted.clone());
        });
        Ok(())
    }

    /// Checks that a path may be mounted: no mount and no other namespace there, above it or below it.
    ///
    /// # Errors
    /// 400 with the mount that is in the way.
    pub fn check_free(&self, vault: &Vault, namespace: &Namespace, path: &str) -> Result<(), Fault> {
        let taken = |mount: &str| Fault::bad_request(format!("path is already in use at {mount}"));
        for mounted in self.of(namespace) {
            let existing = &mounted.mount.path;
            if existing.starts_with(path) || path.starts_with(existing.as_str()) {
                return Err(taken(existing));
            }
        }
        let full = format!("{}{path}", namespace.path);
        let children = vault.namespaces.below(&namespace.path);
        for child in children.iter().filter(|child| child.id != namespace.id) {
            if full.starts_with(&child.path) || child.path.starts_with(&full) {
                return Err(taken(&child.path));
            }
        }
        Ok(())
    }

    /// Takes a mount out of the tree and removes its slice of the store. Its leases must be gone before.
    ///
    /// # Errors
    /// The store's.
    pub async fn remove(&self, mount: &Mount) -> Result<(), Fault> {
        let _writing = self.writing.lock().await;
        let batch = Batch::new().delete(key(&mount.uuid)).delete_prefix(slice_prefix(&mount.uuid));
        self.store.commit(batch).await?;
        self.change(|table| {
            table.remove(&mount.full_path());
        });
        Ok(())
    }

    /// The slice of the store that a mount's engine owns.
    #[must_use]
    pub fn slice(&self, mount: &Mount) -> SharedStore {
        Arc::new(Slice::new(self.store.clone(), slice_prefix(&mount.uuid)))
    }

    fn open(&self, vault: &Vault, mount: Arc<Mount>) -> Result<Mounted, Fault> {
        let place = Place {
            store: self.slice(&mount),
            clock: vault.clock.clone(),
            mount_uuid: mount.uuid.clone(),
            mount_accessor: mount.accessor.clone(),
            options: mount.options.clone(),
            house: vault.house(),
        };
        let opened = kinds::open(&mount, place, self.vault.clone())?;
        Ok(Mounted { mount, room: opened.room, identities: opened.identities })
    }

    async fn write(&self, mount: &Mount) -> Result<(), Fault> {
        self.store.commit(Batch::new().put_json(key(&mount.uuid), mount)?).await?;
        Ok(())
    }

    fn change(&self, mut edit: impl FnMut(&mut HashMap<String, Mounted>)) {
        self.table.rcu(|table| {
            let mut table = HashMap::clone(table);
            edit(&mut table);
            table
        });
    }
}

fn key(uuid: &str) -> Vec<u8> {
    [PREFIX, uuid.as_bytes()].concat()
}

fn slice_prefix(uuid: &str) -> Vec<u8> {
    format!("{SLICES}{uuid}/").into_bytes()
}

/// The key in the whole store of what an engine keeps under `key`.
pub fn slice_key(mount: &Mount, key: &str) -> String {
    format!("{SLICES}{}/{key}", mount.uuid)
}

fn random4() -> Result<[u8; 4], Fault> {
    let mut bytes = [0; 4];
    ids::fill(&mut bytes)?;
    Ok(bytes)
}

fn accessor_word(kind: &str, class: MountClass) -> String {
    match class {
        MountClass::Secret => kind.to_owned(),
        MountClass::Auth => format!("auth_{kind}"),
    }
}

/// Takes a mount away: its leases are made due, and it goes once they are gone. Until then it serves nothing but their
/// revocation; a crash in between is finished by whoever reads the table next.
///
/// # Errors
/// The store's; the engine's, when its credentials cannot be taken back now: the mount stays, and says why.
pub async fn unmount(vault: &Vault, mounted: &Mounted) -> Result<(), Fault> {
    let mount = &mounted.mount;
    for lease in vault.leases.of_mount(&mount.uuid).await? {
        if let Err(fault) = crate::leases::revoke_and_wait(vault, &lease.namespace, &lease.id).await {
            let told = format!("lease {} cannot be revoked, so the mount stays: {}", lease.id, fault.told);
            return Err(Fault::bad_request(told).knowing(fault.known));
        }
    }
    if mount.class == MountClass::Auth {
        end_logins(vault, mount).await?;
        vault.mounts.identities(&mount.namespace)?.remove_aliases_of(&mount.accessor).await?;
    }
    vault.mounts.remove(mount).await
}

/// Tokens of an auth method end with it.
async fn end_logins(vault: &Vault, mount: &Mount) -> Result<(), Fault> {
    let prefix = crate::leases::index::token_lease(&mount.namespace.id, &mount.path);
    loop {
        let rows = vault.store.scan(&prefix, None, 200).await?;
        for row in &rows {
            let accessor = row.key.rsplit(|byte| *byte == b'/').next().and_then(|last| std::str::from_utf8(last).ok());
            if let Some(accessor) = accessor.and_then(|last| last.strip_prefix('h')) {
                crate::tokens::end_token(vault, accessor, false).await?;
            }
            // What is left of a token that is gone would be found again for ever.
            vault.store.commit(Batch::new().delete(row.key.clone())).await?;
        }
        if rows.len() < 200 {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests;
