//! A store in a map, for engines under test, with a switch that makes it fail.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::store::{Batch, Change, Entry, Hold, Revision, Row, Store, StoreError, Watch};
use parking_lot::Mutex;

/// The store. No watching and no locks: engines under test need neither.
#[derive(Default)]
pub struct MapStore {
    rows: Mutex<(Revision, BTreeMap<Vec<u8>, Entry>)>,
    down: AtomicBool,
}

impl MapStore {
    /// From now on every call fails with `Unavailable` (or works again).
    pub fn set_down(&self, down: bool) {
        self.down.store(down, Ordering::SeqCst);
    }

    /// Every key and value, to look for what should not be there.
    pub fn dump(&self) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.rows.lock().1.iter().map(|(k, e)| (k.clone(), e.value.to_vec())).collect()
    }

    fn check(&self) -> Result<(), StoreError> {
        if self.down.load(Ordering::SeqCst) { Err(StoreError::Unavailable("the test says so".into())) } else { Ok(()) }
    }
}

#[async_trait]
impl Store for MapStore {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.check()?;
        Ok(self.rows.lock().1.get(key).cloned())
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.check()?;
        let rows = self.rows.lock();
        let below = rows.1.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        let wanted = below.filter(|(key, _)| after.is_none_or(|a| key.as_slice() > a)).take(limit);
        Ok(wanted.map(|(key, entry)| Row { key: key.clone(), entry: entry.clone() }).collect())
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        self.check()?;
        let mut rows = self.rows.lock();
        for expected in &batch.expect {
            if rows.1.get(&expected.key).map_or(0, |entry| entry.revision) != expected.revision {
                return Err(StoreError::Conflict);
            }
        }
        rows.0 += 1;
        let revision = rows.0;
        for change in batch.changes {
            match change {
                Change::Put(key, value) => {
                    rows.1.insert(key, Entry { value, revision });
                }
                Change::Delete(key) => {
                    rows.1.remove(&key);
                }
                Change::DeletePrefix(prefix) => rows.1.retain(|key, _| !key.starts_with(&prefix)),
            }
        }
        Ok(revision)
    }

    async fn watch(&self, _prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
        Err(StoreError::Refused("this store is not watched".into()))
    }

    async fn hold(&self, _name: &str, _ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
        Err(StoreError::Refused("this store has no locks".into()))
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.rows.lock().0)
    }
}
