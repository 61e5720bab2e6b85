//! For tests: a store that counts what is asked of it, and lets others run between a read and what follows it, so that
//! races happen every time and not once in a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::store::{Batch, Entry, Hold, Revision, Row, SharedStore, Store, StoreError, Watch};

#[derive(Default)]
pub struct Counts {
    pub gets: AtomicUsize,
    pub commits: AtomicUsize,
}

impl Counts {
    /// Gets and commits since the last call.
    pub fn take(&self) -> (usize, usize) {
        (self.gets.swap(0, Ordering::SeqCst), self.commits.swap(0, Ordering::SeqCst))
    }
}

pub struct Counting {
    pub inner: SharedStore,
    pub counts: Arc<Counts>,
}

#[async_trait]
impl Store for Counting {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.counts.gets.fetch_add(1, Ordering::SeqCst);
        let entry = self.inner.get(key).await;
        tokio::task::yield_now().await;
        entry
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.inner.scan(prefix, after, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        self.counts.commits.fetch_add(1, Ordering::SeqCst);
        self.inner.commit(batch).await
    }

    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
        self.inner.watch(prefix).await
    }

    async fn hold(&self, name: &str, ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
        self.inner.hold(name, ttl).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.inner.revision().await
    }
}
