//! Records of one kind, by name, kept in memory once they were read.

use std::collections::HashMap;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::store::{Batch, Revision, SharedStore, get_json, scan_all};
use parking_lot::RwLock;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// `None` at a revision: removed by that commit. A slow reader cannot put back what is older.
type Known<T> = (Revision, Option<Arc<T>>);

/// Records below a prefix of the mount's store.
pub(crate) struct Records<T> {
    store: SharedStore,
    prefix: &'static str,
    known: RwLock<HashMap<String, Known<T>>>,
}

impl<T: Serialize + DeserializeOwned + Send + Sync> Records<T> {
    pub(crate) fn new(store: SharedStore, prefix: &'static str) -> Self {
        Self { store, prefix, known: RwLock::new(HashMap::new()) }
    }

    pub(crate) async fn find(&self, name: &str) -> Result<Option<Arc<T>>, Fault> {
        Ok(self.find_revision(name).await?.map(|(record, _)| record))
    }

    /// The record with the commit that wrote it.
    pub(crate) async fn find_revision(&self, name: &str) -> Result<Option<(Arc<T>, Revision)>, Fault> {
        if let Some((revision, Some(record))) = self.known.read().get(name) {
            return Ok(Some((record.clone(), *revision)));
        }
        let Some((record, revision)) = get_json::<T>(self.store.as_ref(), self.key(name).as_bytes()).await? else {
            return Ok(None);
        };
        let record = Arc::new(record);
        self.learn(name, revision, Some(record.clone()));
        Ok(Some((record, revision)))
    }

    pub(crate) async fn put(&self, name: &str, record: T) -> Result<Arc<T>, Fault> {
        self.commit(name, record, Batch::new()).await
    }

    /// Writes only over the revision that was read (zero: the name must be free).
    pub(crate) async fn replace(&self, name: &str, record: T, over: Revision) -> Result<Arc<T>, Fault> {
        let written = self.commit(name, record, Batch::new().expect(self.key(name), over)).await;
        if written.is_err() {
            self.known.write().remove(name);
        }
        written
    }

    async fn commit(&self, name: &str, record: T, batch: Batch) -> Result<Arc<T>, Fault> {
        let batch = batch.put_json(self.key(name), &record)?;
        let revision = self.store.commit(batch).await?;
        let record = Arc::new(record);
        self.learn(name, revision, Some(record.clone()));
        Ok(record)
    }

    /// Removes it, with other changes in the same commit.
    pub(crate) async fn remove(&self, name: &str, also: Batch) -> Result<(), Fault> {
        let revision = self.store.commit(also.delete(self.key(name))).await?;
        self.learn(name, revision, None);
        Ok(())
    }

    pub(crate) async fn names(&self) -> Result<Vec<String>, Fault> {
        let rows = scan_all(self.store.as_ref(), self.prefix.as_bytes(), 1000).await?;
        let names = rows.iter().filter_map(|row| row.key.get(self.prefix.len()..));
        Ok(names.map(|name| String::from_utf8_lossy(name).into_owned()).collect())
    }

    pub(crate) fn forget(&self) {
        self.known.write().clear();
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    fn learn(&self, name: &str, revision: Revision, record: Option<Arc<T>>) {
        let mut known = self.known.write();
        if known.get(name).is_none_or(|(older, _)| *older <= revision) {
            known.insert(name.to_owned(), (revision, record));
        }
    }
}
