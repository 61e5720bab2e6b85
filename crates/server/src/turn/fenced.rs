//! The store during one turn: it answers and writes only as long as the turn lasts.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::store::{Batch, Entry, Hold, Revision, Row, SharedStore, Store, StoreError, Watch};

use super::Turn;

/// A store that ends with a turn.
pub struct Fenced {
    pub(super) of: SharedStore,
    /// The row that the turn began with.
    pub(super) at: &'static [u8],
    /// The commit that wrote it.
    pub(super) revision: Revision,
    pub(super) turn: Arc<Turn>,
}

impl Fenced {
    fn check(&self) -> Result<(), StoreError> {
        if self.turn.is_ours() { Ok(()) } else { Err(over()) }
    }

    /// A conflict that is nobody's but the end of the turn.
    async fn is_over(&self) -> Result<bool, StoreError> {
        let row = self.of.get(self.at).await?;
        Ok(row.is_none_or(|row| row.revision != self.revision))
    }
}

fn over() -> StoreError {
    StoreError::Unavailable("another server is active now".into())
}

#[async_trait]
impl Store for Fenced {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.check()?;
        self.of.get(key).await
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.check()?;
        self.of.scan(prefix, after, limit).await
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        self.check()?;
        match self.of.commit(batch.expect(self.at, self.revision)).await {
            Err(StoreError::Conflict) if self.is_over().await? => {
                self.turn.end();
                Err(over())
            }
            outcome => outcome,
        }
    }

    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
        self.check()?;
        self.of.watch(prefix).await
    }

    async fn hold(&self, name: &str, ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
        self.check()?;
        self.of.hold(name, ttl).await
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        self.check()?;
        self.of.revision().await
    }
}
