//! Watching etcd. Its streams end when a server goes away, so ours opens them again at the revision after the last one
//! seen: nothing is missed. Only when etcd has compacted that revision away is the watcher told that it lost events.

use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::store::{Revision, Seen, Watch};
use etcd_client::{WatchClient, WatchOptions, WatchResponse, WatchStream};
use tokio::sync::mpsc;

use super::{Etcd, REPLY_BYTES, unsigned, within};
use crate::range;

/// Events that may wait for the watcher; then the stream waits, and etcd keeps the rest.
const AHEAD: usize = 1024;
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

struct EtcdWatch(mpsc::Receiver<Seen>);

/// The task behind a watch.
struct Follower {
    client: WatchClient,
    timeout: Duration,
    from: Vec<u8>,
    end: Vec<u8>,
    /// Bytes of each key that are not the watcher's affair.
    cut: usize,
    next: Revision,
    to: mpsc::Sender<Seen>,
}

/// Why a stream is read no further.
enum Ended {
    /// Nobody listens any more.
    Unheard,
    /// The stream broke, or etcd ended it.
    Broken,
}

/// Watches every commit from a revision on.
pub(super) fn start(etcd: &Etcd, prefix: &[u8], next: Revision) -> Box<dyn Watch> {
    let (to, inbox) = mpsc::channel(AHEAD);
    let from = [&etcd.place.rows, prefix].concat();
    let follower = Follower {
        client: etcd.client.watch_client().max_decoding_message_size(REPLY_BYTES),
        timeout: etcd.timeout,
        end: range::end(&from).unwrap_or_default(),
        from,
        cut: etcd.place.rows.len(),
        next,
        to,
    };
    tokio::spawn(follower.run());
    Box::new(EtcdWatch(inbox))
}

// === impl Follower ===

impl Follower {
    async fn run(mut self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let options = WatchOptions::new()
                .with_range(self.end.clone())
                .with_start_revision(super::signed(self.next))
                .with_progress_notify();
            let opened = within(self.timeout, self.client.watch(self.from.clone(), Some(options))).await;
            match opened {
                Ok(stream) => {
                    let before = self.next;
                    match self.read(stream).await {
                        Ended::Unheard => return,
                        Ended::Broken if self.next > before => pause = FIRST_PAUSE,
                        Ended::Broken => {}
                    }
                }
                Err(error) => tracing::debug!(%error, "a watch of etcd could not be opened"),
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = self.to.closed() => return,
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn read(&mut self, mut stream: WatchStream) -> Ended {
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                () = self.to.closed() => return Ended::Unheard,
            };
            let Ok(Some(response)) = message else { return Ended::Broken };
            if let Err(ended) = self.tell(&response).await {
                return ended;
            }
        }
    }

    async fn tell(&mut self, response: &WatchResponse) -> Result<(), Ended> {
        let compacted = unsigned(response.compact_revision());
        if compacted > 0 {
            self.next = compacted;
            self.send(Seen::Lost(compacted)).await?;
        }
        if response.canceled() {
            return Err(Ended::Broken);
        }
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let revision = unsigned(kv.mod_revision());
            let key = kv.key().get(self.cut..).unwrap_or_default().to_vec();
            self.send(Seen::Changed(key, revision)).await?;
            self.next = revision;
        }
        // All events of a revision come in one response, so the next stream begins after it. A response without events
        // says that nothing happened up to its revision.
        if !response.events().is_empty() {
            self.next += 1;
        } else if !response.created() {
            let quiet = response.header().map_or(0, |header| unsigned(header.revision()));
            self.next = self.next.max(quiet + 1);
        }
        Ok(())
    }

    async fn send(&self, seen: Seen) -> Result<(), Ended> {
        self.to.send(seen).await.map_err(|_| Ended::Unheard)
    }
}

// === impl EtcdWatch ===

#[async_trait]
impl Watch for EtcdWatch {
    async fn next(&mut self) -> Option<Seen> {
        self.0.recv().await
    }
}
