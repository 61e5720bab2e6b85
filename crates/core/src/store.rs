//! The joint to whatever keeps bytes: an embedded file, an etcd cluster, memory; and, in the same shape, the layers
//! above it (the encrypting barrier, the slice of one mount).
//!
//! Keys are byte strings, ordered bytewise. Each value carries the revision of the commit that wrote it; a
//! revision grows with every commit of the store and is never reused.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Fault;

/// The number of a commit. Zero: "not there".
pub type Revision = u64;

/// A value with the commit that wrote it.
#[derive(Clone, PartialEq, Eq)]
pub struct Entry {
    /// The bytes. Behind the barrier these are plaintext, so this type does not print them.
    pub value: Bytes,
    /// The commit that wrote them.
    pub revision: Revision,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Entry({} bytes at {})", self.value.len(), self.revision)
    }
}

/// One row of a scan. Value and revision as in [`Entry`].
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// The key, relative to the store that was asked.
    pub key: Vec<u8>,
    /// What it holds.
    pub entry: Entry,
}

/// What must still be so when a batch is committed, or nothing of it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Precondition {
    /// The key that is looked at.
    pub key: Vec<u8>,
    /// The revision that its value must have; zero: the key must be absent.
    pub revision: Revision,
}

/// One change.
#[derive(Clone, PartialEq, Eq)]
pub enum Change {
    /// Write a value.
    Put(Vec<u8>, Bytes),
    /// Remove a key; already gone is fine.
    Delete(Vec<u8>),
    /// Remove every key that starts with this prefix.
    DeletePrefix(Vec<u8>),
}

/// Changes that happen together or not at all.
#[derive(Clone, Default)]
pub struct Batch {
    /// What must still be so.
    pub expect: Vec<Precondition>,
    /// What changes.
    pub changes: Vec<Change>,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a write.
    #[must_use]
    pub fn put(mut self, key: impl Into<Vec<u8>>, value: impl Into<Bytes>) -> Self {
        self.changes.push(Change::Put(key.into(), value.into()));
        self
    }

    /// Adds a write of JSON.
    ///
    /// # Errors
    /// The value cannot be written as JSON (a defect).
    pub fn put_json<T: Serialize>(self, key: impl Into<Vec<u8>>, value: &T) -> Result<Self, Fault> {
        let bytes = serde_json::to_vec(value).map_err(|e| Fault::internal(format!("encode a record: {e}")))?;
        Ok(self.put(key, bytes))
    }

    /// Adds a removal.
    #[must_use]
    pub fn delete(mut self, key: impl Into<Vec<u8>>) -> Self {
        self.changes.push(Change::Delete(key.into()));
        self
    }

    /// Adds the removal of all below a prefix.
    #[must_use]
    pub fn delete_prefix(mut self, prefix: impl Into<Vec<u8>>) -> Self {
        self.changes.push(Change::DeletePrefix(prefix.into()));
        self
    }

    /// Demands that `key` still has `revision` (zero: is absent).
    #[must_use]
    pub fn expect(mut self, key: impl Into<Vec<u8>>, revision: Revision) -> Self {
        self.expect.push(Precondition { key: key.into(), revision });
        self
    }
}

/// Why a store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A precondition did not hold; nothing was changed. Read again and decide anew.
    #[error("another write came first")]
    Conflict,
    /// The barrier is sealed.
    #[error("the barrier is sealed")]
    Sealed,
    /// The place does not answer now (network, disk full); trying later makes sense.
    #[error("the storage does not answer: {0}")]
    Unavailable(String),
    /// What was read is not what was written (decryption failed, damaged file).
    #[error("the storage is damaged: {0}")]
    Damaged(String),
    /// The request cannot be served by this store (a value too large, an empty prefix delete).
    #[error("the storage refuses: {0}")]
    Refused(String),
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Conflict => Fault::unavailable("another write to the same place came first; try again"),
            StoreError::Sealed => Fault::sealed(),
            StoreError::Unavailable(why) => Fault::unavailable("the storage does not answer").knowing(why),
            StoreError::Damaged(why) => Fault::internal(why),
            StoreError::Refused(why) => Fault::bad_request(why),
        }
    }
}

/// One thing that a watcher is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// This key was written or removed in that commit.
    Changed(Vec<u8>, Revision),
    /// Events may have been missed (a broken stream): whoever caches must forget all below its prefix.
    Lost(Revision),
}

/// A stream of changes below a prefix. Dropping it ends the watch.
#[async_trait]
pub trait Watch: Send {
    /// The next event; `None` when the store was closed.
    async fn next(&mut self) -> Option<Seen>;
}

/// A lock that is held until it is dropped, or until the process cannot renew it within its time to live.
pub trait Hold: Send + Sync {
    /// Whether it is still ours.
    fn is_held(&self) -> bool;
}

/// Keeps bytes durably. A [`commit`](Store::commit) that answered `Ok` survives `kill -9` and power loss;
/// reads see it at once. All methods may be called from many tasks at a time.
#[async_trait]
pub trait Store: Send + Sync {
    /// The value of a key.
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError>;

    /// Rows whose keys start with `prefix` and lie after `after` (a whole key; `None`: from the start), in the order
    /// of their keys, at most `limit`. Fewer than `limit` rows mean that there are no more.
    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError>;

    /// Applies all changes, or none when a precondition fails ([`StoreError::Conflict`]).
    /// Dropping the future does not undo a commit that was under way.
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError>;

    /// Tells of every change below a prefix from now on.
    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError>;

    /// Takes the lock `name`, or says `None` when another process holds it.
    async fn hold(&self, name: &str, ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError>;

    /// The newest revision that reads here are sure to see.
    async fn revision(&self) -> Result<Revision, StoreError>;
}

/// A store as rooms hold it.
pub type SharedStore = Arc<dyn Store>;

/// Reads a JSON record with its revision; a missing key is `None`.
///
/// # Errors
/// The store's own, or a record that is not the JSON it should be ([`StoreError::Damaged`]).
pub async fn get_json<T: DeserializeOwned>(store: &dyn Store, key: &[u8]) -> Result<Option<(T, Revision)>, StoreError> {
    let Some(entry) = store.get(key).await? else { return Ok(None) };
    Ok(Some((decode(key, &entry)?, entry.revision)))
}

/// Reads the JSON of a row or entry.
///
/// # Errors
/// [`StoreError::Damaged`], naming the key and never the content.
pub fn decode<T: DeserializeOwned>(key: &[u8], entry: &Entry) -> Result<T, StoreError> {
    serde_json::from_slice(&entry.value).map_err(|e| {
        StoreError::Damaged(format!(
            "record {} at line {} column {}",
            String::from_utf8_lossy(key),
            e.line(),
            e.column()
        ))
    })
}

/// Writes one JSON record.
///
/// # Errors
/// The store's own.
pub async fn put_json<T: Serialize + Sync>(store: &dyn Store, key: &[u8], value: &T) -> Result<Revision, Fault> {
    Ok(store.commit(Batch::new().put_json(key, value)?).await?)
}

/// All rows below a prefix, read in pages, so that no page is larger than `page` rows.
///
/// # Errors
/// The store's own.
pub async fn scan_all(store: &dyn Store, prefix: &[u8], page: usize) -> Result<Vec<Row>, StoreError> {
    let mut all = Vec::new();
    loop {
        let after = all.last().map(|row: &Row| row.key.clone());
        let rows = store.scan(prefix, after.as_deref(), page).await?;
        let done = rows.len() < page;
        all.extend(rows);
        if done {
            return Ok(all);
        }
    }
}
