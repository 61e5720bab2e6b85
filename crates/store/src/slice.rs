//! The view of one mount: every key below a prefix, with the prefix taken away. A room that holds a slice cannot
//! name a key outside of it.

use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::store::{Batch, Change, Entry, Hold, Revision, Row, Seen, SharedStore, Store, StoreError, Watch};

use crate::check;

/// A store below a prefix of another.
#[derive(Clone)]
pub struct Slice {
    of: SharedStore,
    prefix: Vec<u8>,
}

struct SliceWatch {
    of: Box<dyn Watch>,
    cut: usize,
}

// === impl Slice ===

impl Slice {
    /// The part of `of` below `prefix`. End the prefix with a separator, or `ab` would see into `abc`.
    #[must_use]
    pub fn new(of: SharedStore, prefix: impl Into<Vec<u8>>) -> Self {
        Self { of, prefix: prefix.into() }
    }

    fn full(&self, key: &[u8]) -> Vec<u8> {
        let mut full = Vec::with_capacity(self.prefix.len() + key.len());
        full.extend_from_slice(&self.prefix);
        full.extend_from_slice(key);
        full
    }
}

#[async_trait]
impl Store for Slice {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.of.get(&self.full(key)).await
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let after = after.map(|after| self.full(after));
        let mut rows = self.of.scan(&self.full(prefix), after.as_deref(), limit).await?;
        for row in &mut rows {
            row.key.drain(..self.prefix.len());
        }
        Ok(rows)
    }

    async fn commit(&self, mut batch: Batch) -> Result<Revision, StoreError> {
        // Checked here too: an empty key would become the bare prefix below.
        check::batch(&batch)?;
        for precondition in &mut batch.expect {
            precondition.key = self.full(&precondition.key);
        }
        for change in &mut batch.changes {
            let (Change::Put(key, _) | Change::Delete(key) | Change::DeletePrefix(key)) = change;
            *key = self.full(key);
        }
        self.of.commit(batch).await
    }

    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
        let of = self.of.watch(&self.full(prefix)).await?;
        Ok(Box::new(SliceWatch { of, cut: self.prefix.len() }))
    }

    async fn hold(&self, name: &str, ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
        // Prefixes are paths made by us; the lossy form of one that is not UTF-8 is still a stable name.
        self.of.hold(&format!("{}{name}", String::from_utf8_lossy(&self.prefix)), ttl).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.of.revision().await
    }
}

// === impl SliceWatch ===

#[async_trait]
impl Watch for SliceWatch {
    async fn next(&mut self) -> Option<Seen> {
        Some(match self.of.next().await? {
            Seen::Changed(mut key, revision) => {
                key.drain(..self.cut.min(key.len()));
                Seen::Changed(key, revision)
            }
            lost @ Seen::Lost(_) => lost,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::Memory;

    #[tokio::test]
    async fn two_slices_do_not_see_each_other() {
        let shared: SharedStore = Arc::new(Memory::new());
        let (a, b) = (Slice::new(shared.clone(), "mount/a/"), Slice::new(shared.clone(), "mount/b/"));
        a.commit(Batch::new().put("k", "of a")).await.unwrap();
        b.commit(Batch::new().put("k", "of b")).await.unwrap();
        assert_eq!(a.get(b"k").await.unwrap().unwrap().value, "of a");
        assert!(matches!(a.commit(Batch::new().delete_prefix("")).await, Err(StoreError::Refused(_))));
        b.commit(Batch::new().delete_prefix("k")).await.unwrap();
        assert_eq!(a.scan(b"", None, 9).await.unwrap().len(), 1);
        assert_eq!(shared.get(b"mount/a/k").await.unwrap().unwrap().value, "of a");
    }

    #[tokio::test]
    async fn equal_names_in_two_slices_are_two_holds() {
        let shared: SharedStore = Arc::new(Memory::new());
        let (a, b) = (Slice::new(shared.clone(), "a/"), Slice::new(shared, "b/"));
        let held = a.hold("tidy", Duration::from_secs(9)).await.unwrap();
        assert!(held.is_some());
        assert!(b.hold("tidy", Duration::from_secs(9)).await.unwrap().is_some());
        assert!(a.hold("tidy", Duration::from_secs(9)).await.unwrap().is_none());
    }
}
