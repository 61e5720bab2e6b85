//! Tells watchers within this process what was committed. Each watcher has a bounded inbox: one that does not keep up
//! is told that it lost events ([`Seen::Lost`]) instead of holding up a writer or filling memory.

use std::collections::VecDeque;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use dewdrop_core::store::{Revision, Seen, Watch};
use parking_lot::Mutex;
use tokio::sync::Notify;

/// Events that a watcher may leave unread.
pub(crate) const INBOX: usize = 4096;

/// All watchers of a store.
#[derive(Default)]
pub(crate) struct Hub {
    feeds: Mutex<Vec<Weak<Feed>>>,
}

struct Feed {
    prefix: Vec<u8>,
    inbox: Mutex<Inbox>,
    bell: Notify,
}

#[derive(Default)]
struct Inbox {
    events: VecDeque<Seen>,
    closed: bool,
}

struct Watcher(Arc<Feed>);

// === impl Hub ===

impl Hub {
    /// A watch of every later commit below `prefix`.
    pub(crate) fn watch(&self, prefix: &[u8]) -> Box<dyn Watch> {
        let feed = Arc::new(Feed { prefix: prefix.to_vec(), inbox: Mutex::default(), bell: Notify::new() });
        self.feeds.lock().push(Arc::downgrade(&feed));
        Box::new(Watcher(feed))
    }

    /// Whether anyone looks: a writer need not collect keys for nobody.
    pub(crate) fn is_watched(&self) -> bool {
        !self.feeds.lock().is_empty()
    }

    /// Tells of one commit. Call in the order of revisions.
    pub(crate) fn publish(&self, keys: &[Vec<u8>], revision: Revision) {
        self.each(|feed| {
            let mine: Vec<Seen> = keys
                .iter()
                .filter(|key| key.starts_with(&feed.prefix))
                .map(|key| Seen::Changed(key.clone(), revision))
                .collect();
            if !mine.is_empty() {
                feed.put(mine, revision);
            }
        });
    }

    /// Tells those that look below `prefix` that anything there may have changed.
    pub(crate) fn lost_below(&self, prefix: &[u8], revision: Revision) {
        self.each(|feed| {
            if feed.prefix.starts_with(prefix) || prefix.starts_with(&feed.prefix) {
                feed.lose(revision);
            }
        });
    }

    /// Ends all watches.
    pub(crate) fn close(&self) {
        self.each(|feed| {
            feed.inbox.lock().closed = true;
            feed.bell.notify_one();
        });
    }

    fn each(&self, tell: impl Fn(&Feed)) {
        self.feeds.lock().retain(|feed| {
            feed.upgrade().is_some_and(|feed| {
                tell(&feed);
                true
            })
        });
    }
}

// === impl Feed ===

impl Feed {
    fn put(&self, events: Vec<Seen>, revision: Revision) {
        let mut inbox = self.inbox.lock();
        if inbox.events.len() + events.len() > INBOX {
            inbox.events.clear();
            inbox.events.push_back(Seen::Lost(revision));
        } else {
            inbox.events.extend(events);
        }
        drop(inbox);
        self.bell.notify_one();
    }

    fn lose(&self, revision: Revision) {
        let mut inbox = self.inbox.lock();
        inbox.events.clear();
        inbox.events.push_back(Seen::Lost(revision));
        drop(inbox);
        self.bell.notify_one();
    }
}

// === impl Watcher ===

#[async_trait]
impl Watch for Watcher {
    async fn next(&mut self) -> Option<Seen> {
        loop {
            {
                let mut inbox = self.0.inbox.lock();
                if let Some(event) = inbox.events.pop_front() {
                    return Some(event);
                }
                if inbox.closed {
                    return None;
                }
            }
            // `notify_one` leaves a permit behind when nobody waits, so nothing is missed in between.
            self.0.bell.notified().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slow_watcher_is_told_that_it_lost_events() {
        let hub = Hub::default();
        let mut watch = hub.watch(b"k");
        for revision in 1..=INBOX as u64 + 1 {
            hub.publish(&[b"k1".to_vec()], revision);
        }
        hub.publish(&[b"k2".to_vec()], 9999);
        assert_eq!(watch.next().await, Some(Seen::Lost(INBOX as u64 + 1)));
        assert_eq!(watch.next().await, Some(Seen::Changed(b"k2".to_vec(), 9999)));
        hub.close();
        assert_eq!(watch.next().await, None);
    }

    #[tokio::test]
    async fn a_dropped_watcher_is_forgotten() {
        let hub = Hub::default();
        drop(hub.watch(b""));
        hub.publish(&[b"a".to_vec()], 1);
        assert!(!hub.is_watched());
    }
}
