//! The encrypting barrier: a store over any store. Whoever can read or write the storage below learns key names and
//! sizes, and nothing else; a value that was changed, moved to another key or taken from another barrier is refused.
//!
//! Below, the barrier uses these keys: `d/…` for what is stored through it, `barrier/keyring` (the data keys, under
//! the root key), `barrier/root` (the root key under a data key, so that the other servers of a cluster follow a
//! change of the root key), `barrier/count` (how often the active key was used). Nothing of the latter is visible through it.
//!
//! Open or sealed is one pointer ([`Unsealed`]), swapped whole: readers take no lock, and sealing drops the keys, which
//! wipes them.

pub(crate) mod fuzzing;
mod keyring;
mod keys;
mod record;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use async_trait::async_trait;
use dewdrop_core::store::{Batch, Change, Entry, Hold, Revision, Row, Seen, SharedStore, Store, StoreError, Watch};
use dewdrop_core::{Clock, Moment};
use tokio::sync::{Mutex, watch};

use self::keyring::Unsealed;
use self::record::{Nonces, Unopened};
use crate::check;
use crate::locked::LockedError;

/// Everything that is stored through the barrier lies below this.
const DATA: &[u8] = b"d/";
const KEYRING: &[u8] = b"barrier/keyring";
const ROOT: &[u8] = b"barrier/root";
const COUNT: &[u8] = b"barrier/count";

/// An encrypting store. Starts sealed.
pub struct Barrier {
    of: SharedStore,
    clock: Arc<dyn Clock>,
    rotation: ArcSwap<Rotation>,
    state: ArcSwapOption<Unsealed>,
    /// One change of the keys at a time; readers and writers do not take it.
    changing: Mutex<()>,
    nonces: Nonces,
    /// Tells watches that the barrier was sealed: counts the times.
    seals: watch::Sender<u64>,
}

/// When the data key is replaced by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// After so many encryptions. Keep it below 2^32: random nonces of 96 bits may repeat after that (with a probability
    /// of 2^-33 until then; NIST SP 800-38D, 8.3).
    pub encryptions: u64,
    /// At this age, if any.
    pub age: Option<Duration>,
}

/// About the key that encrypts now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyStatus {
    /// Its number, from 1.
    pub term: u32,
    /// When it was made.
    pub created: Moment,
    /// How often it was used: counted in blocks ahead of use, so rather too high than too low.
    pub encryptions: u64,
}

/// Why the keys were not opened or changed.
#[derive(Debug, thiserror::Error)]
pub enum BarrierError {
    /// The store holds no keyring.
    #[error("the storage is not initialized")]
    NotInitialized,
    /// The store holds a keyring.
    #[error("the storage is already initialized")]
    AlreadyInitialized,
    /// The root key does not open the keyring.
    #[error("this root key does not open the keyring")]
    WrongKey,
    /// Keys could not be made or held.
    #[error("no key could be made")]
    Key(#[from] LockedError),
    /// The store below failed, or the barrier is sealed.
    #[error("the storage failed")]
    Store(#[from] StoreError),
}

impl Default for Rotation {
    fn default() -> Self {
        // As OpenBao: 90 % of 2^32.
        Self { encryptions: 3_865_470_566, age: None }
    }
}

/// A watch that ends when the barrier is sealed.
struct BarrierWatch {
    of: Box<dyn Watch>,
    seals: watch::Receiver<u64>,
}

// === impl Barrier ===

impl Barrier {
    /// A sealed barrier over a store.
    #[must_use]
    pub fn new(of: SharedStore, clock: Arc<dyn Clock>, rotation: Rotation) -> Self {
        Self {
            of,
            clock,
            rotation: ArcSwap::from_pointee(rotation),
            state: ArcSwapOption::empty(),
            changing: Mutex::new(()),
            nonces: Nonces::default(),
            seals: watch::Sender::new(0),
        }
    }

    /// Whether every call answers [`StoreError::Sealed`].
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.state.load().is_none()
    }

    /// Forgets the keys. What is under way may still end; the keys are wiped when the last of it has.
    pub fn seal(&self) {
        self.state.store(None);
        self.seals.send_modify(|times| *times += 1);
    }

    /// When keys are replaced from now on.
    pub fn set_rotation(&self, rotation: Rotation) {
        self.rotation.store(Arc::new(rotation));
    }

    /// When keys are replaced.
    #[must_use]
    pub fn rotation(&self) -> Rotation {
        **self.rotation.load()
    }

    fn unsealed(&self) -> Result<Arc<Unsealed>, StoreError> {
        self.state.load_full().ok_or(StoreError::Sealed)
    }

    fn check_unsealed(&self) -> Result<(), StoreError> {
        if self.is_sealed() { Err(StoreError::Sealed) } else { Ok(()) }
    }

    /// Opens one value. A key that is not known may be one that another server has made meanwhile.
    async fn open(&self, key: &[u8], entry: Entry) -> Result<Entry, StoreError> {
        let revision = entry.revision;
        match self.unsealed()?.open(key, entry.value) {
            Ok(value) => Ok(Entry { value, revision }),
            Err(Unopened::UnknownTerm(term, value)) => {
                self.reload().await.map_err(|error| reading(key, &format!("key {term}: {error}")))?;
                let value = self.unsealed()?.open(key, value).map_err(|why| reading(key, &why.to_string()))?;
                Ok(Entry { value, revision })
            }
            Err(why) => Err(reading(key, &why.to_string())),
        }
    }
}

#[async_trait]
impl Store for Barrier {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.check_unsealed()?;
        let full = full(key);
        match self.of.get(&full).await? {
            Some(entry) => Ok(Some(self.open(&full, entry).await?)),
            None => Ok(None),
        }
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.check_unsealed()?;
        let mut rows = Vec::new();
        for row in self.of.scan(&full(prefix), after.map(full).as_deref(), limit).await? {
            let Row { mut key, entry } = row;
            let entry = self.open(&key, entry).await?;
            key.drain(..DATA.len());
            rows.push(Row { key, entry });
        }
        Ok(rows)
    }

    async fn commit(&self, mut batch: Batch) -> Result<Revision, StoreError> {
        self.check_unsealed()?;
        check::batch(&batch)?;
        let puts = batch.changes.iter().filter(|change| matches!(change, Change::Put(..))).count();
        let state = self.key_for(puts as u64).await?;
        for precondition in &mut batch.expect {
            precondition.key = full(&precondition.key);
        }
        for change in &mut batch.changes {
            match change {
                Change::Put(key, value) => {
                    *key = full(key);
                    *value = state.close(key, value, &self.nonces)?.into();
                }
                Change::Delete(key) | Change::DeletePrefix(key) => *key = full(key),
            }
        }
        self.of.commit(batch).await
    }

    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
        let seals = self.seals.subscribe();
        // After the subscription, so that a seal in between ends the watch.
        self.check_unsealed()?;
        Ok(Box::new(BarrierWatch { of: self.of.watch(&full(prefix)).await?, seals }))
    }

    async fn hold(&self, name: &str, ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
        self.check_unsealed()?;
        self.of.hold(name, ttl).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.check_unsealed()?;
        self.of.revision().await
    }
}

fn full(key: &[u8]) -> Vec<u8> {
    [DATA, key].concat()
}

fn reading(key: &[u8], why: &str) -> StoreError {
    StoreError::Damaged(format!("{}: {why}", check::shown(key)))
}

// === impl BarrierWatch ===

#[async_trait]
impl Watch for BarrierWatch {
    async fn next(&mut self) -> Option<Seen> {
        let seen = tokio::select! {
            biased;
            _ = self.seals.changed() => return None,
            seen = self.of.next() => seen?,
        };
        Some(match seen {
            Seen::Changed(mut key, revision) => {
                key.drain(..DATA.len().min(key.len()));
                Seen::Changed(key, revision)
            }
            lost @ Seen::Lost(_) => lost,
        })
    }
}

#[cfg(test)]
mod tests;
