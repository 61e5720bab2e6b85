//! Read, decide, write if nobody else wrote: the loop around it. Writers of one process queue up per name, so that they do
//! not push each other back; writers of other processes are met by trying again.

use std::hash::{DefaultHasher, Hash, Hasher};

use dewdrop_core::Fault;
use dewdrop_core::store::{Batch, Store, StoreError};
use tokio::sync::{Mutex, MutexGuard};

/// How often a write is tried before the caller is told to come back. Each failure means that another writer got through.
pub const TRIES: usize = 64;

/// Commits; `false`: a precondition did not hold, so read again.
///
/// # Errors
/// The store's own, but not a conflict.
pub async fn commits(store: &dyn Store, batch: Batch) -> Result<bool, Fault> {
    match store.commit(batch).await {
        Ok(_) => Ok(true),
        Err(StoreError::Conflict) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// What the caller reads after [`TRIES`] lost races.
#[must_use]
pub fn gave_up() -> Fault {
    StoreError::Conflict.into()
}

/// Queues of the writers of this process, by name. Two names may share one.
pub struct Queues(Vec<Mutex<()>>);

impl Default for Queues {
    fn default() -> Self {
        Self((0..64).map(|_| Mutex::new(())).collect())
    }
}

impl Queues {
    /// Waits for the turn of a name.
    pub async fn turn(&self, name: &str) -> Option<MutexGuard<'_, ()>> {
        let mut hasher = DefaultHasher::new();
        name.hash(&mut hasher);
        let at = hasher.finish() % self.0.len() as u64;
        let queue = usize::try_from(at).ok().and_then(|at| self.0.get(at))?;
        Some(queue.lock().await)
    }
}
