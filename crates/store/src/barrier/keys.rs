//! Opening and changing the keys: initialize, unseal, rotate, change the root key, follow what other servers do.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::secret::same_bytes;
use dewdrop_core::store::{Batch, Revision, StoreError};

use super::keyring::{Keyring, Meter, Unsealed};
use super::record::{self, ROOT_TERM, Unopened};
use super::{Barrier, BarrierError, COUNT, KEYRING, KeyStatus, ROOT};
use crate::locked::LockedKey;

/// Encryptions that are counted on disk at a time: one small commit for so many. A restart loses at most one block.
const BLOCK: u64 = 1 << 16;

impl Barrier {
    /// Whether the store holds a keyring.
    ///
    /// # Errors
    /// The store's own.
    pub async fn is_initialized(&self) -> Result<bool, StoreError> {
        Ok(self.of.get(KEYRING).await?.is_some())
    }

    /// Makes a first data key under a root key. The barrier stays sealed. `with` is committed in the same step, below the
    /// barrier: the wrapped root key belongs there, so that no crash leaves one without the other.
    ///
    /// # Errors
    /// Already initialized, or the store's own.
    pub async fn initialize(&self, root: &LockedKey, with: Batch) -> Result<(), BarrierError> {
        let _one = self.changing.lock().await;
        let keyring = Keyring::first(self.clock.now())?;
        let record = self.under_root(root, &keyring)?;
        match self.of.commit(with.put(KEYRING, record).expect(KEYRING, 0)).await {
            Ok(_) => Ok(()),
            Err(StoreError::Conflict) => Err(BarrierError::AlreadyInitialized),
            Err(other) => Err(other.into()),
        }
    }

    /// Opens the barrier. The key is copied into memory of its own. Already open: the key is still checked.
    ///
    /// # Errors
    /// [`BarrierError::WrongKey`], [`BarrierError::NotInitialized`], or the store's own.
    pub async fn unseal(&self, root: &LockedKey) -> Result<(), BarrierError> {
        let _one = self.changing.lock().await;
        let record = self.of.get(KEYRING).await?.ok_or(BarrierError::NotInitialized)?.value;
        let keyring = opened(root, &record)?;
        let state = self.knowing(Arc::new(root.duplicate()?), keyring).await?;
        self.state.store(Some(Arc::new(state)));
        Ok(())
    }

    /// Shuts the barrier (whoever uses it meanwhile hears that it is sealed) while `work` replaces what lies below, then opens it
    /// with the root key that it had. Gives what `work` gave, and whether it is open again: what lies there now may belong to
    /// another root key, and the barrier is sealed then. When `work` fails nothing was replaced, and all is as before.
    ///
    /// # Errors
    /// Sealed before; what `work` answers; the store's own (sealed then).
    pub async fn while_shut<T, E: From<StoreError>>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<(T, bool), E> {
        let _one = self.changing.lock().await;
        let before = self.unsealed()?;
        self.seal();
        // A write that has its values encrypted already must not land on what comes.
        while Arc::strong_count(&before) > 1 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let done = match work.await {
            Ok(done) => done,
            Err(error) => {
                self.state.store(Some(before));
                return Err(error);
            }
        };
        let record = self.of.get(KEYRING).await?.map(|entry| entry.value).unwrap_or_default();
        let Ok(keyring) = opened(&before.root, &record) else { return Ok((done, false)) };
        match self.knowing(before.root.clone(), keyring).await {
            Ok(state) => self.state.store(Some(Arc::new(state))),
            Err(BarrierError::Store(error)) => return Err(error.into()),
            Err(_) => return Ok((done, false)),
        }
        Ok((done, true))
    }

    /// Whether this is the root key in use.
    ///
    /// # Errors
    /// Sealed.
    pub fn is_root_key(&self, key: &LockedKey) -> Result<bool, StoreError> {
        Ok(same_bytes(self.unsealed()?.root.expose(), key.expose()))
    }

    /// Puts the keyring under a new root key. `with` is committed in the same step, below the barrier: the new wrapped
    /// root key belongs there.
    ///
    /// # Errors
    /// Sealed, or the store's own; then the old root key stays in force.
    pub async fn change_root_key(&self, new: &LockedKey, with: Batch) -> Result<(), BarrierError> {
        let _one = self.changing.lock().await;
        let new = Arc::new(new.duplicate()?);
        loop {
            let revision = self.reload_locked().await?;
            let state = self.key_for_locked(1).await?;
            let keyring = self.under_root(&new, &state.keyring)?;
            // The other servers know the data keys: they find the new root key here.
            let told = state.close(ROOT, new.expose(), &self.nonces)?;
            let batch = with.clone().put(KEYRING, keyring).put(ROOT, told);
            match self.of.commit(batch.expect(KEYRING, revision)).await {
                Ok(_) => {
                    self.publish(Unsealed { root: new, keyring: state.keyring.clone(), meter: state.meter.clone() });
                    return Ok(());
                }
                // Another server rotated meanwhile, or `with` had preconditions of its own that fail for good.
                Err(StoreError::Conflict) if with.expect.is_empty() => {}
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Makes a new data key, which encrypts from now on. Gives its term.
    ///
    /// # Errors
    /// Sealed, or the store's own; then the old key stays in force.
    pub async fn rotate(&self) -> Result<u32, BarrierError> {
        let _one = self.changing.lock().await;
        self.rotate_locked(None).await
    }

    /// About the key that encrypts now.
    ///
    /// # Errors
    /// Sealed.
    pub fn key_status(&self) -> Result<KeyStatus, StoreError> {
        let state = self.unsealed()?;
        let term = state.keyring.newest();
        Ok(KeyStatus { term: term.number, created: term.created, encryptions: state.meter.used() })
    }

    /// Reads the keyring again: another server may have changed it. The barrier does so by itself when it meets an unknown
    /// key; call it on a change of the keyring too ([`Barrier::follow`] does).
    ///
    /// # Errors
    /// Sealed, a keyring that cannot be opened any more, or the store's own.
    pub async fn reload(&self) -> Result<(), BarrierError> {
        let _one = self.changing.lock().await;
        self.reload_locked().await.map(|_| ())
    }

    /// Follows changes of the keyring by other servers, until the store is closed. Run it as a task where the store is
    /// shared; on a store of one process it does nothing but wait.
    ///
    /// # Errors
    /// The store's own, when the watch cannot be opened.
    pub async fn follow(&self) -> Result<(), StoreError> {
        let mut watch = self.of.watch(KEYRING).await?;
        while watch.next().await.is_some() {
            if let Err(error) = self.reload().await
                && !matches!(error, BarrierError::Store(StoreError::Sealed))
            {
                tracing::error!(%error, "the keyring was changed by another server and cannot be read again");
            }
        }
        Ok(())
    }

    /// The keys with which so many encryptions may be made now: counted, and rotated where due.
    pub(super) async fn key_for(&self, count: u64) -> Result<Arc<Unsealed>, StoreError> {
        let state = self.unsealed()?;
        if count == 0 {
            return Ok(state);
        }
        if self.too_old(&state)
            && let Ok(_one) = self.changing.try_lock()
        {
            // Age is no emergency: a rotation that fails is tried again by the next write.
            if let Err(error) = self.rotate_locked(Some(state.keyring.newest().number)).await {
                tracing::warn!(%error, "the encryption key is old and could not be rotated");
            }
            return self.key_for_locked(count).await;
        }
        if state.meter.take(count) {
            return Ok(state);
        }
        let _one = self.changing.lock().await;
        self.key_for_locked(count).await
    }

    /// As [`Barrier::key_for`], with the lock taken.
    async fn key_for_locked(&self, count: u64) -> Result<Arc<Unsealed>, StoreError> {
        loop {
            let state = self.unsealed()?;
            if state.meter.take(count) {
                return Ok(state);
            }
            self.reserve_locked(&state, count.max(BLOCK)).await?;
        }
    }

    /// Counts a block on disk before it is used, so that the count is never too low; rotates instead when the limit is near.
    async fn reserve_locked(&self, state: &Unsealed, block: u64) -> Result<(), StoreError> {
        let term = state.meter.term;
        loop {
            let Some((used, revision)) = self.counted(state).await? else {
                // Another server has rotated: the caller tries again with the new key.
                return self.reload_locked().await.map(|_| ()).map_err(into_store);
            };
            let end = used.saturating_add(block);
            if end > self.rotation().encryptions && used > 0 {
                return self.rotate_locked(Some(term)).await.map(|_| ()).map_err(into_store);
            }
            let mut record = [0; 12];
            let (head, tail) = record.split_at_mut(4);
            head.copy_from_slice(&term.to_be_bytes());
            tail.copy_from_slice(&end.to_be_bytes());
            let record = state.close(COUNT, &record, &self.nonces)?;
            match self.of.commit(Batch::new().put(COUNT, record).expect(COUNT, revision)).await {
                Ok(_) => {
                    // One for the record itself.
                    state.meter.begin(used + 1, end);
                    return Ok(());
                }
                Err(StoreError::Conflict) => {}
                Err(other) => return Err(other),
            }
        }
    }

    /// How many encryptions of the newest term are counted on disk, and the revision of that record; `None` when it was
    /// written with a key that is newer than ours.
    async fn counted(&self, state: &Unsealed) -> Result<Option<(u64, Revision)>, StoreError> {
        let Some(entry) = self.of.get(COUNT).await? else { return Ok(Some((0, 0))) };
        let revision = entry.revision;
        match state.open(COUNT, entry.value) {
            Ok(record) => match record
                .split_first_chunk::<4>()
                .map(|(term, used)| (u32::from_be_bytes(*term), used.first_chunk::<8>()))
            {
                Some((term, Some(used))) if term == state.meter.term => Ok(Some((u64::from_be_bytes(*used), revision))),
                Some((_, Some(_))) => Ok(Some((0, revision))),
                _ => Err(super::reading(COUNT, "it has an unknown form")),
            },
            Err(Unopened::UnknownTerm(..)) => Ok(None),
            Err(why) => Err(super::reading(COUNT, &why.to_string())),
        }
    }

    /// Makes a new data key. With `instead_of`, only if that term is still the newest (another server may have been faster).
    async fn rotate_locked(&self, instead_of: Option<u32>) -> Result<u32, BarrierError> {
        loop {
            let revision = self.reload_locked().await?;
            let state = self.unsealed()?;
            let newest = state.keyring.newest().number;
            if instead_of.is_some_and(|term| term != newest) {
                return Ok(newest);
            }
            let keyring = state.keyring.rotated(self.clock.now())?;
            let record = self.under_root(&state.root, &keyring)?;
            match self.of.commit(Batch::new().put(KEYRING, record).expect(KEYRING, revision)).await {
                Ok(_) => {
                    let term = keyring.newest().number;
                    self.publish(Unsealed { root: state.root.clone(), keyring, meter: Meter::starting(term, 0) });
                    tracing::info!(term, "a new encryption key is in use");
                    return Ok(term);
                }
                Err(StoreError::Conflict) => {}
                Err(other) => return Err(other.into()),
            }
        }
    }

    /// Reads the keyring, and the root key too if that was changed elsewhere. Gives the keyring's revision.
    async fn reload_locked(&self) -> Result<Revision, BarrierError> {
        let state = self.unsealed()?;
        let entry = self.of.get(KEYRING).await?.ok_or(BarrierError::NotInitialized)?;
        match opened(&state.root, &entry.value) {
            Ok(keyring) => self.publish(self.knowing(state.root.clone(), keyring).await?),
            Err(BarrierError::WrongKey) => {
                let told = self.of.get(ROOT).await?.ok_or(BarrierError::WrongKey)?.value;
                let root = state.open_key(ROOT, &told).map_err(|_| BarrierError::WrongKey)??;
                let keyring = opened(&root, &entry.value)?;
                self.publish(self.knowing(Arc::new(root), keyring).await?);
            }
            Err(other) => return Err(other),
        }
        Ok(entry.revision)
    }

    /// These keys, with the count of the newest: ours if it is the same key, else what the disk says.
    async fn knowing(&self, root: Arc<LockedKey>, keyring: Keyring) -> Result<Unsealed, BarrierError> {
        let term = keyring.newest().number;
        if let Some(state) = self.state.load_full().filter(|state| state.meter.term == term) {
            return Ok(Unsealed { root, keyring, meter: state.meter.clone() });
        }
        let state = Unsealed { root, keyring, meter: Meter::starting(term, 0) };
        // Nothing is reserved yet, so the first write looks again in any case.
        let used = self.counted(&state).await?.map_or(0, |(used, _)| used);
        state.meter.begin(used, used);
        Ok(state)
    }

    /// Puts new keys in force, unless the barrier was sealed meanwhile: that must not open it again.
    fn publish(&self, state: Unsealed) {
        let state = Arc::new(state);
        self.state.rcu(|now| now.as_ref().map(|_| state.clone()));
    }

    fn under_root(&self, root: &LockedKey, keyring: &Keyring) -> Result<Vec<u8>, StoreError> {
        record::close(&record::ready(root)?, ROOT_TERM, KEYRING, &keyring.encode(), &self.nonces)
    }

    fn too_old(&self, state: &Unsealed) -> bool {
        self.rotation.load().age.is_some_and(|age| self.clock.now().since(state.keyring.newest().created) >= age)
    }
}

/// Opens the keyring's record.
fn opened(root: &LockedKey, bytes: &[u8]) -> Result<Keyring, BarrierError> {
    let plain =
        record::open_key(&record::ready(root)?, ROOT_TERM, KEYRING, bytes).map_err(|_| BarrierError::WrongKey)?;
    Keyring::decode(&plain)
}

/// What a failed rotation means to a writer.
fn into_store(error: BarrierError) -> StoreError {
    match error {
        BarrierError::Store(error) => error,
        other => StoreError::Unavailable(format!("the encryption key is used up and could not be rotated: {other}")),
    }
}
