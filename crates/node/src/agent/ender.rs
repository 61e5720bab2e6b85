//! Starts that are over: the server is told until it has heard. Each is on the journal before anybody relies on it, so a
//! killed agent goes on where it stopped. What the agent never gets said, the server finds out: by the node's silence, or by
//! the credential's own end.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_api::Backoff;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::fail::Fail;
use super::journal::Journal;
use super::vault::{StartName, Vault};

/// The most that one call names.
const AT_ONCE: usize = 100;
/// Between two tries.
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(10);

/// The queue of ends.
pub struct Ender {
    vault: Vault,
    journal: Journal,
    waiting: Mutex<HashMap<String, StartName>>,
    news: Notify,
}

// === impl Ender ===

impl Ender {
    /// The queue with what a former agent left in it.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub fn open(vault: Vault, journal: Journal) -> Result<Arc<Self>, Fail> {
        let left: Vec<StartName> = journal.all()?;
        let waiting = left.into_iter().map(|name| (name.start.clone(), name)).collect();
        Ok(Arc::new(Self { vault, journal, waiting: Mutex::new(waiting), news: Notify::new() }))
    }

    /// This start is over. Returns at once.
    pub fn end(&self, name: StartName) {
        if let Err(why) = self.journal.put(&name.start, &name) {
            tracing::warn!(%why, "an end is not on the journal: if the agent is killed now, the server takes the start back later");
        }
        self.waiting.lock().insert(name.start.clone(), name);
        self.news.notify_one();
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.lock().len()
    }

    /// Tells the server, for ever.
    pub async fn run(self: Arc<Self>) {
        let mut backoff = Backoff::new(LEAST, MOST, std::process::id().into());
        loop {
            let some: Vec<StartName> = self.waiting.lock().values().take(AT_ONCE).cloned().collect();
            if some.is_empty() {
                self.news.notified().await;
                continue;
            }
            match self.vault.end(&some).await {
                Ok(()) => {
                    self.told(&some);
                    backoff = Backoff::new(LEAST, MOST, std::process::id().into());
                }
                Err(why) => {
                    tracing::warn!(waiting = self.waiting(), %why, "starts that are over cannot be ended yet");
                    tokio::time::sleep(backoff.wait()).await;
                }
            }
        }
    }

    fn told(&self, names: &[StartName]) {
        for name in names {
            self.waiting.lock().remove(&name.start);
            if let Err(why) = self.journal.remove(&name.start) {
                // It is told once more after a restart, which does no harm.
                tracing::warn!(%why, "a start that was ended stays on the journal");
            }
        }
    }
}
