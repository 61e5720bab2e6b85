//! Leases: written before a credential is made, found again by time, owner, mount and path, and taken back by the keeper,
//! which runs off the request path and never gives up.

pub mod below;
pub mod index;
mod keeper;
mod mint;
mod queue;
mod renew;
mod revoke;

use std::sync::Arc;

use dewdrop_core::lease::{Lease, LeaseState, Owner};
use dewdrop_core::store::{Batch, Revision, SharedStore, StoreError, decode, get_json};
use dewdrop_core::{Clock, Fault, Moment};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::vault::Vault;
use crate::vault::quotas::LeaseCounts;
pub use keeper::run;
pub use mint::{MintAsk, mint};
pub use queue::Waiting;
use queue::{LeaseRef, Queues};
pub use renew::renew;
pub use revoke::revoke_and_wait;

/// How long a credential may be in the making before its lease is revoked.
pub const INTENT_GRACE: std::time::Duration = std::time::Duration::from_secs(60);

/// All leases.
pub struct Leases {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    /// What the keeper has in hand.
    queues: Mutex<Queues>,
    /// Something became due.
    wake: Notify,
    /// How many there are, where quotas want to know.
    pub counts: Arc<LeaseCounts>,
}

impl Leases {
    /// Opens the leases of a store.
    #[must_use]
    pub fn new(store: SharedStore, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock, queues: Mutex::default(), wake: Notify::new(), counts: Arc::default() }
    }

    /// A lease as it stands.
    ///
    /// # Errors
    /// The store's.
    pub async fn read(&self, namespace: &str, id: &str) -> Result<Option<(Lease, Revision)>, Fault> {
        Ok(get_json(&*self.store, &index::lease(namespace, id)).await?)
    }

    /// Leases whose ids start with a prefix, after one, at most `limit`.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(
        &self,
        namespace: &str,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Lease>, Fault> {
        let after = after.map(|id| index::lease(namespace, id));
        let rows = self.store.scan(&index::lease(namespace, prefix), after.as_deref(), limit).await?;
        Ok(rows.iter().map(|row| decode(&row.key, &row.entry)).collect::<Result<_, _>>()?)
    }

    /// Leases of a mount in whatever state, read in pages.
    ///
    /// # Errors
    /// The store's.
    pub async fn of_mount(&self, mount: &str) -> Result<Vec<Lease>, Fault> {
        let prefix = index::on_mount_all(mount);
        let mut all = Vec::new();
        for row in dewdrop_core::store::scan_all(&*self.store, &prefix, 1000).await? {
            let Some((namespace, id)) = index::lease_of(&row.key, &prefix) else { continue };
            all.extend(self.read(&namespace, &id).await?.map(|(lease, _)| lease));
        }
        Ok(all)
    }

    /// Makes leases due at once, in one commit; those that are gone are skipped. With `owner` they are also cut loose from
    /// that token, which is ending. At most some tens at a time (an etcd transaction holds 128 changes).
    ///
    /// # Errors
    /// The store's.
    pub async fn expire_now(&self, vault: &Vault, ids: &[(String, String)], owner: Option<&str>) -> Result<(), Fault> {
        loop {
            let now = vault.clock.now();
            let mut batch = Batch::new();
            for (namespace, id) in ids {
                batch = owner.into_iter().fold(batch, |b, accessor| b.delete(index::owned(accessor, namespace, id)));
                let Some((mut lease, revision)) = self.read(namespace, id).await? else { continue };
                if matches!(lease.state, LeaseState::Revoking { .. }) {
                    continue;
                }
                let before = due_at(&lease);
                lease.state = LeaseState::Revoking { tries: 0, next: now, why: String::new() };
                batch = batch
                    .expect(index::lease(namespace, id), revision)
                    .delete(index::due_lease(before, namespace, id))
                    .put_json(index::lease(namespace, id), &lease)?
                    .put(index::due_lease(now, namespace, id), lease.mount);
            }
            match self.store.commit(batch).await {
                Err(StoreError::Conflict) => continue,
                Err(error) => return Err(error.into()),
                Ok(_) => break,
            }
        }
        self.wake.notify_one();
        Ok(())
    }

    /// Makes all leases of a mount due.
    ///
    /// # Errors
    /// The store's.
    pub async fn expire_mount(&self, vault: &Vault, mount: &str) -> Result<(), Fault> {
        let ids: Vec<(String, String)> =
            self.of_mount(mount).await?.into_iter().map(|lease| (lease.namespace, lease.id)).collect();
        for page in ids.chunks(30) {
            self.expire_now(vault, page, None).await?;
        }
        Ok(())
    }

    /// Removes a lease, as it was read at `revision`, with all its indexes: its credential is gone (or the operator says
    /// so).
    ///
    /// # Errors
    /// The store's; 503 when the lease has changed since.
    pub async fn forget(&self, lease: &Lease, revision: Revision) -> Result<(), Fault> {
        let key = index::lease(&lease.namespace, &lease.id);
        self.store.commit(remove(Batch::new().expect(key, revision), lease)).await?;
        self.counts.release(&lease.namespace, &lease.id);
        Ok(())
    }

    /// [`forget`](Self::forget), as it stands in the store by now.
    ///
    /// # Errors
    /// The store's.
    pub async fn forget_whatever_state(&self, lease: &Lease) -> Result<(), Fault> {
        match self.read(&lease.namespace, &lease.id).await? {
            Some((now, revision)) => self.forget(&now, revision).await,
            None => Ok(()),
        }
    }

    /// Tells the keeper that somebody else works on this until the answer is dropped. `None`: somebody does already.
    fn take(&self, what: LeaseRef) -> Option<Held<'_>> {
        self.queues.lock().take(what.clone()).then(|| Held { leases: self, what })
    }

    /// The same for a token that is being ended.
    pub fn take_token(&self, accessor: &str) -> Option<Held<'_>> {
        self.take(token_ref(accessor))
    }

    /// Wakes the keeper: something became due.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// What waits to be taken back, by mount, and why.
    #[must_use]
    pub fn waiting(&self) -> Vec<Waiting> {
        self.queues.lock().waiting(self.clock.now())
    }
}

/// Something in hand until this is dropped, also when the future that holds it is.
pub struct Held<'a> {
    leases: &'a Leases,
    what: LeaseRef,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.leases.queues.lock().release(&self.what);
    }
}

/// In hand, a token is told from a lease by this in place of a namespace.
fn token_ref(accessor: &str) -> LeaseRef {
    ("\u{0}token".to_owned(), accessor.to_owned())
}

/// When the keeper looks at a lease next.
#[must_use]
pub fn due_at(lease: &Lease) -> Moment {
    match &lease.state {
        LeaseState::Intent => lease.issued.plus(INTENT_GRACE),
        LeaseState::Live => lease.expires,
        LeaseState::Revoking { next, .. } => *next,
    }
}

/// Adds the removal of a lease and its indexes.
fn remove(batch: Batch, lease: &Lease) -> Batch {
    let batch = batch
        .delete(index::lease(&lease.namespace, &lease.id))
        .delete(index::due_lease(due_at(lease), &lease.namespace, &lease.id))
        .delete(index::on_mount(&lease.mount, &lease.namespace, &lease.id));
    match &lease.owner {
        Owner::Token(accessor) => batch.delete(index::owned(accessor, &lease.namespace, &lease.id)),
        _ => batch,
    }
}

/// Adds a lease with its indexes.
fn insert(batch: Batch, lease: &Lease) -> Result<Batch, Fault> {
    let key = index::lease(&lease.namespace, &lease.id);
    let batch = batch
        .expect(key.clone(), 0)
        .put_json(key, lease)?
        .put(index::due_lease(due_at(lease), &lease.namespace, &lease.id), lease.mount.clone())
        .put(index::on_mount(&lease.mount, &lease.namespace, &lease.id), "");
    Ok(match &lease.owner {
        Owner::Token(accessor) if !accessor.is_empty() => {
            batch.put(index::owned(accessor, &lease.namespace, &lease.id), "")
        }
        _ => batch,
    })
}

/// Writes a lease that changed, moving it in the time index. `revision` is the one that was read.
async fn replace(store: &SharedStore, before: &Lease, after: &Lease, revision: Revision) -> Result<(), StoreError> {
    let key = index::lease(&after.namespace, &after.id);
    let value = serde_json::to_vec(after).map_err(|e| StoreError::Damaged(e.to_string()))?;
    let mut batch = Batch::new().expect(key.clone(), revision).put(key, value);
    let (old, new) = (due_at(before), due_at(after));
    if old != new {
        batch = batch
            .delete(index::due_lease(old, &after.namespace, &after.id))
            .put(index::due_lease(new, &after.namespace, &after.id), after.mount.clone());
    }
    store.commit(batch).await.map(drop)
}

#[cfg(test)]
mod tests;
