//! What a storage that fails in the middle leaves behind.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::store::{Batch, Entry, Hold, Revision, Row, Store, StoreError, Watch};
use dewdrop_store::{SnapshotError, SnapshotInfo, SnapshotStore, WrappedKeys};
use tokio::io::{AsyncRead, AsyncWrite};

use super::*;

/// Fails the commit that brings new wrapped keys, as if the power went just before it.
struct Flaky {
    of: Memory,
    broken: AtomicBool,
}

#[async_trait]
impl Store for Flaky {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        self.of.get(key).await
    }
    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        self.of.scan(prefix, after, limit).await
    }
    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        let brings_keys = format!("{:?}", batch.changes.iter().map(key_of).collect::<Vec<_>>())
            .contains(&format!("{:?}", WrappedKeys::AT));
        if brings_keys && self.broken.load(Ordering::SeqCst) {
            return Err(StoreError::Unavailable("the power is gone".into()));
        }
        self.of.commit(batch).await
    }
    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
        self.of.watch(prefix).await
    }
    async fn hold(&self, name: &str, ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
        self.of.hold(name, ttl).await
    }
    async fn revision(&self) -> Result<Revision, StoreError> {
        self.of.revision().await
    }
}

#[async_trait]
impl SnapshotStore for Flaky {
    async fn snapshot(&self, to: &mut (dyn AsyncWrite + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError> {
        self.of.snapshot(to).await
    }
    async fn restore(&self, from: &mut (dyn AsyncRead + Send + Unpin)) -> Result<SnapshotInfo, SnapshotError> {
        self.of.restore(from).await
    }
}

fn key_of(change: &dewdrop_core::store::Change) -> &[u8] {
    use dewdrop_core::store::Change;
    match change {
        Change::Put(key, _) | Change::Delete(key) | Change::DeletePrefix(key) => key,
    }
}

#[tokio::test]
async fn keys_and_keyring_and_numbers_change_together_or_not_at_all() {
    let store = Arc::new(Flaky { of: Memory::new(), broken: AtomicBool::new(false) });
    let mut server = TestServer::bare(store.clone(), Vec::new());
    server.init(json!({ "secret_shares": 1, "secret_threshold": 1 })).await;
    server.unseal(&server.keys).await;
    let (_, begun) =
        server.root("POST", "sys/rotate/root/init", json!({ "secret_shares": 3, "secret_threshold": 2 })).await;
    let body = json!({ "nonce": begun["data"]["nonce"], "key": server.keys[0] });
    store.broken.store(true, Ordering::SeqCst);
    let (status, told) = server.root("POST", "sys/rotate/root/update", body.clone()).await;
    assert_eq!((status, &told["data"]), (503, &NULL), "no share is told: {told}");

    // The server that comes up after the crash opens with the old key, and shows the old numbers.
    let again = TestServer::bare(store.clone(), Vec::new());
    assert!(again.unseal(&server.keys).await);
    assert_eq!(again.ask("GET", "sys/seal-status", None, NULL).await.1["n"], 1);

    // The one that lived on can be asked once more.
    store.broken.store(false, Ordering::SeqCst);
    let (status, done) = server.root("POST", "sys/rotate/root/update", body).await;
    assert_eq!(status, 200, "{done}");
    let after = TestServer::bare(store, Vec::new());
    assert!(!after.unseal(&server.keys).await);
    assert!(after.unseal(&texts(&done["data"]["keys"])[..2]).await);
}
