//! A store in memory: for `-dev` and for tests. Nothing survives the process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use dewdrop_core::store::{Batch, Change, Entry, Hold, Precondition, Revision, Row, Store, StoreError, Watch};
use parking_lot::RwLock;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::check;
use crate::holds::Holds;
use crate::hub::Hub;
use crate::range;
use crate::snapshot::{self, SnapshotError, SnapshotInfo, SnapshotStore};

/// A store in memory. Clones are the same store.
#[derive(Clone, Default)]
pub struct Memory(Arc<Shared>);

#[derive(Default)]
struct Shared {
    state: RwLock<State>,
    hub: Hub,
    holds: Holds,
}

#[derive(Default)]
struct State {
    rows: BTreeMap<Vec<u8>, Entry>,
    revision: Revision,
}

// === impl Memory ===

impl Memory {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

#[async_trait]
impl Store for Memory {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        Ok(self.0.state.read().rows.get(key).cloned())
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let end = range::end(prefix);
        let Some(bounds) = range::bounds(prefix, end.as_deref(), after) else { return Ok(Vec::new()) };
        let state = self.0.state.read();
        Ok(state
            .rows
            .range::<[u8], _>(bounds)
            .take(limit)
            .map(|(key, entry)| Row { key: key.clone(), entry: entry.clone() })
            .collect())
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        check::batch(&batch)?;
        let mut state = self.0.state.write();
        if !batch.expect.iter().all(|expect| state.holds_true(expect)) {
            return Err(StoreError::Conflict);
        }
        if batch.changes.is_empty() {
            return Ok(state.revision);
        }
        state.revision += 1;
        let revision = state.revision;
        let mut keys = Vec::new();
        for change in batch.changes {
            state.apply(change, revision, &mut keys);
        }
        keys.sort_unstable();
        keys.dedup();
        // Within the lock, so that watchers see commits in order.
        self.0.hub.publish(&keys, revision);
        Ok(revision)
    }

    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
        Ok(self.0.hub.watch(prefix))
    }

    async fn hold(&self, name: &str, _ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
        Ok(self.0.holds.take(name))
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.0.state.read().revision)
    }
}

#[async_trait]
impl SnapshotStore for Memory {
    async fn snapshot(&self, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError> {
        // A clone shares the values (`Bytes`), so only the keys are copied.
        let (rows, revision) = {
            let state = self.0.state.read();
            (state.rows.clone(), state.revision)
        };
        let mut writer = snapshot::Writer::start(to, revision, rows.len() as u64).await?;
        for (key, entry) in &rows {
            writer.row(key, &entry.value).await?;
        }
        writer.finish().await
    }

    async fn restore(&self, from: &mut (dyn AsyncRead + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError> {
        let mut reader = snapshot::Reader::start(from).await?;
        let mut rows = BTreeMap::new();
        while let Some((key, value)) = reader.row().await? {
            rows.insert(key, Bytes::from(value));
        }
        let info = reader.finish().await?;
        let mut state = self.0.state.write();
        let revision = state.revision.max(info.revision) + 1;
        state.rows = rows.into_iter().map(|(key, value)| (key, Entry { value, revision })).collect();
        state.revision = revision;
        self.0.hub.lost_below(b"", revision);
        Ok(info)
    }
}

// === impl State ===

impl State {
    fn holds_true(&self, expect: &Precondition) -> bool {
        self.rows.get(&expect.key).map_or(0, |entry| entry.revision) == expect.revision
    }

    fn apply(&mut self, change: Change, revision: Revision, keys: &mut Vec<Vec<u8>>) {
        match change {
            Change::Put(key, value) => {
                keys.push(key.clone());
                self.rows.insert(key, Entry { value, revision });
            }
            Change::Delete(key) => {
                if self.rows.remove(&key).is_some() {
                    keys.push(key);
                }
            }
            Change::DeletePrefix(prefix) => {
                let end = range::end(&prefix);
                let Some(bounds) = range::bounds(&prefix, end.as_deref(), None) else { return };
                let gone: Vec<Vec<u8>> = self.rows.range::<[u8], _>(bounds).map(|(key, _)| key.clone()).collect();
                for key in &gone {
                    self.rows.remove(key);
                }
                keys.extend(gone);
            }
        }
    }
}
