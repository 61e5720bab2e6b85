//! The embedded store: one redb file, one process.
//!
//! Reads look into the newest committed view without a lock, an await or another thread. Writes go to one thread
//! ([`writer`]) that commits what many clients wait for with one fsync. The file is ours alone (mode 0600, locked); a
//! second process is told so.

mod apply;
mod disk;
mod snapshot;
mod view;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use async_trait::async_trait;
use dewdrop_core::store::{Batch, Entry, Hold, Revision, Row, Store, StoreError, Watch};
use tokio::sync::{Semaphore, mpsc, oneshot};

use self::disk::Opener;
use self::view::View;
use self::writer::{Commit, Job, Writer};
use crate::check;
use crate::holds::Holds;
use crate::hub::Hub;

/// Batches that wait for the writer hold at most this much memory together; larger ones go alone.
const QUEUE_KIB: u32 = 64 << 10;

/// How the file is used.
#[derive(Debug, Clone)]
pub struct RedbOptions {
    /// The most memory, in bytes, that the page cache grows to with use. An idle store uses next to nothing.
    pub cache_bytes: usize,
    /// With less free disk space than this, in bytes, writes are refused ([`StoreError::Unavailable`]) before the disk is
    /// really full; removals still work.
    pub min_free_bytes: u64,
    /// A file larger than this, in bytes, is written so that it opens at once after a crash, at the cost of a second
    /// fsync per group. A smaller one is walked instead (about 2 s per GB).
    pub quick_repair_above: u64,
    /// Batches that may wait for the writer; more wait in their callers.
    pub queue: usize,
}

/// Why the file did not open.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("{0} is in use by another process; one server at a time can open it")]
    InUse(String),
    /// The folder or file is not fit to hold secrets.
    #[error("{0}")]
    Unfit(String),
    /// The file is not a redb file, or is damaged beyond repair.
    #[error("{path} cannot be opened: {why}")]
    Damaged {
        /// The file.
        path: String,
        /// What redb says.
        why: String,
    },
    /// The operating system said no.
    #[error("open {path}")]
    Io {
        /// The file or folder.
        path: String,
        /// Its reason.
        #[source]
        source: std::io::Error,
    },
}

/// The embedded store. Dropping it ends the writer and releases the file.
pub struct Redb {
    shared: Arc<Shared>,
    jobs: Option<mpsc::Sender<Job>>,
    /// Room for waiting batches, in KiB.
    room: Arc<Semaphore>,
    folder: PathBuf,
    thread: Option<JoinHandle<()>>,
}

/// What the writer and the readers share.
struct Shared {
    /// The newest committed state. Empty for the moment in which the file is opened anew after a failure.
    view: ArcSwapOption<View>,
    hub: Hub,
    holds: Holds,
}

impl Default for RedbOptions {
    fn default() -> Self {
        Self { cache_bytes: 64 << 20, min_free_bytes: 16 << 20, quick_repair_above: 256 << 20, queue: 1024 }
    }
}

// === impl Redb ===

impl Redb {
    /// Opens the file, or makes it (mode 0600) if it is not there; its folder is made too (0700) if its parent is there.
    /// After a crash this repairs: see [`RedbOptions::quick_repair_above`]. Blocks.
    ///
    /// # Errors
    /// [`OpenError`], each with what to do about it.
    pub fn open(path: &Path, options: RedbOptions) -> Result<Self, OpenError> {
        disk::prepare(path)?;
        Self::start(Opener::file(path), options)
    }

    /// Opens what the opener opens, and starts the writer.
    fn start(opener: Opener, options: RedbOptions) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared { view: ArcSwapOption::empty(), hub: Hub::default(), holds: Holds::default() });
        let (jobs, inbox) = mpsc::channel(options.queue.max(1));
        let folder = opener.folder();
        let writer = Writer::open(opener, options, shared.clone())?;
        let thread = std::thread::Builder::new()
            .name("store-writer".into())
            .spawn(move || writer.run(inbox))
            .map_err(|source| OpenError::Io { path: "the writer's thread".into(), source })?;
        let room = Arc::new(Semaphore::new(QUEUE_KIB as usize));
        Ok(Self { shared, jobs: Some(jobs), room, folder, thread: Some(thread) })
    }

    fn view(&self) -> Result<Arc<View>, StoreError> {
        self.shared.view.load_full().ok_or_else(reopening)
    }

    /// Asks the writer to open the file anew when a read found it broken, since there may be no write to find out.
    fn noting<T>(&self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(StoreError::Unavailable(_)), Some(jobs)) = (&result, &self.jobs) {
            // A full queue means that a write is about to find out.
            let _ = jobs.try_send(Job::Check);
        }
        result
    }

    async fn send(&self, job: Job) -> Result<(), StoreError> {
        let Some(jobs) = &self.jobs else { return Err(stopped()) };
        jobs.send(job).await.map_err(|_| stopped())
    }
}

impl Drop for Redb {
    fn drop(&mut self) {
        drop(self.jobs.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer had panicked");
        }
    }
}

#[async_trait]
impl Store for Redb {
    async fn get(&self, key: &[u8]) -> Result<Option<Entry>, StoreError> {
        let view = self.shared.view.load();
        let result = view.as_ref().ok_or_else(reopening).and_then(|view| view.get(key));
        self.noting(result)
    }

    async fn scan(&self, prefix: &[u8], after: Option<&[u8]>, limit: usize) -> Result<Vec<Row>, StoreError> {
        let view = self.view()?;
        self.noting(view.scan(prefix, after, limit, usize::MAX))
    }

    async fn commit(&self, batch: Batch) -> Result<Revision, StoreError> {
        check::batch(&batch)?;
        let room = u32::try_from(check::bytes(&batch) / 1024 + 1).unwrap_or(QUEUE_KIB).min(QUEUE_KIB);
        let room = self.room.clone().acquire_many_owned(room).await.map_err(|_| stopped())?;
        let (reply, answer) = oneshot::channel();
        self.send(Job::Commit(Commit { batch, reply, room })).await?;
        answer.await.unwrap_or_else(|_| Err(stopped()))
    }

    async fn watch(&self, prefix: &[u8]) -> Result<Box<dyn Watch>, StoreError> {
        Ok(self.shared.hub.watch(prefix))
    }

    async fn hold(&self, name: &str, _ttl: Duration) -> Result<Option<Box<dyn Hold>>, StoreError> {
        Ok(self.shared.holds.take(name))
    }

    async fn revision(&self) -> Result<Revision, StoreError> {
        Ok(self.view()?.revision())
    }
}

fn reopening() -> StoreError {
    StoreError::Unavailable("the database file is being opened anew after a failure".into())
}

fn stopped() -> StoreError {
    StoreError::Unavailable("the writer of the database file has stopped; restart the server".into())
}

#[cfg(test)]
mod tests;
