//! The desk: sends what waits. Each notice has a queue of its own on disk, and at most one task that works on it, so one
//! that is slow or down holds up no other and no request. What fails is tried again with back-off for a day.
//!
//! A letter is removed after it was taken, so it may arrive twice; its id is the same then.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use aws_lc_rs::rand::fill;
use dewdrop_core::lease::back_off;
use dewdrop_core::store::{Batch, SharedStore, decode, get_json, scan_all};
use dewdrop_core::{Clock, Fault, Moment};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::config::{Notice, Way};
use super::letter::Letter;
use crate::access::keys;
use crate::shared::cas::commits;

/// What could not be delivered for so long is given up.
const GIVE_UP: Duration = Duration::from_secs(24 * 3600);
/// Letters that wait for one notice; of more, the oldest are dropped, alarms last.
const LONGEST: usize = 1000;
/// Tests at the same time.
const TESTS: usize = 4;
const PAGE: usize = 256;

/// The desk of a mount.
pub struct Desk {
    store: SharedStore,
    clock: Arc<dyn Clock>,
    lines: Mutex<Lines>,
    tests: Semaphore,
    /// Letters of one moment lie in the order in which they were written.
    written: AtomicU64,
}

#[derive(Default)]
struct Lines {
    /// Whether the disk was looked at for what waited before.
    is_read: bool,
    of: BTreeMap<String, Line>,
}

/// The queue of one notice, as memory has it.
#[derive(Default)]
struct Line {
    is_running: bool,
    /// There is something new.
    rung: bool,
    is_waiting: bool,
    failures: u32,
    not_before: Duration,
    tries: HashMap<String, u32>,
}

/// How it went, on disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Outcome {
    /// Letters that were taken.
    pub sent: u64,
    /// The last time.
    pub last_sent: Option<Moment>,
    /// Why the last failure failed.
    pub last_error: String,
    /// When.
    pub failed_at: Option<Moment>,
    /// Letters that were not taken for a day.
    pub given_up: u64,
    /// Letters for which there was no room.
    pub dropped: u64,
}

/// Letters with their keys, in the order of these.
type Letters = Vec<(String, Letter)>;

/// How a round over one queue ended.
enum Round {
    /// Nothing waits.
    Empty,
    /// This letter was not taken; more may wait.
    Failed(String),
}

impl Desk {
    /// A desk over a mount's store.
    pub fn new(store: SharedStore, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self {
            store,
            clock,
            lines: Mutex::default(),
            tests: Semaphore::new(TESTS),
            written: AtomicU64::new(0),
        })
    }

    /// The number of a new letter.
    pub fn number(&self) -> u64 {
        self.written.fetch_add(1, Ordering::Relaxed)
    }

    /// Something new waits for a notice: it is tried now, whatever failed before.
    pub fn ring(self: &Arc<Self>, name: &str) {
        let mut lines = self.lines.lock();
        let line = lines.of.entry(name.to_owned()).or_default();
        line.rung = true;
        self.run(name, line);
    }

    /// The disk is looked at again for what waits: others wrote to it.
    pub fn look_again(&self) {
        self.lines.lock().is_read = false;
    }

    /// Goes on with what is due, and after a start with what waited before.
    pub async fn tick(self: &Arc<Self>) -> Result<(), Fault> {
        if !self.lines.lock().is_read {
            let rows = scan_all(&*self.store, keys::NOTICES.as_bytes(), PAGE).await?;
            let mut lines = self.lines.lock();
            for row in rows {
                let name = String::from_utf8_lossy(row.key.get(keys::NOTICES.len()..).unwrap_or_default());
                lines.of.entry(name.into_owned()).or_default().is_waiting = true;
            }
            lines.is_read = true;
        }
        let now = self.clock.steady();
        for (name, line) in &mut self.lines.lock().of {
            if line.is_waiting && line.not_before <= now {
                self.run(name, line);
            }
        }
        Ok(())
    }

    /// One letter at once, beside the queue.
    ///
    /// # Errors
    /// 503: others are being tried.
    pub async fn try_now(&self, notice: &Notice, letter: &Letter) -> Result<Result<(), String>, Fault> {
        let busy = |_| Fault::unavailable("other notices are being tried; try again in a moment");
        let _place = self.tests.try_acquire().map_err(busy)?;
        Ok(match notice.to.way() {
            Ok(way) => notice.to.send(&way, letter, self.clock.now()).await,
            Err(why) => Err(why),
        })
    }

    fn run(self: &Arc<Self>, name: &str, line: &mut Line) {
        if !std::mem::replace(&mut line.is_running, true) {
            tokio::spawn(work(Arc::downgrade(self), name.to_owned()));
        }
    }

    /// Sends what waits, until one is not taken.
    async fn round(&self, name: &str) -> Result<Round, Fault> {
        let letters = self.letters(name).await?;
        let mut way: Option<(u64, Way)> = None;
        for (key, letter) in letters {
            let found = get_json::<Notice>(&*self.store, keys::notice(name).as_bytes()).await?;
            let Some((notice, revision)) = found else {
                // Deleted, and told meanwhile by somebody who had not seen that.
                self.store.commit(Batch::new().delete_prefix(keys::outbox(name))).await?;
                return Ok(Round::Empty);
            };
            let now = self.clock.now();
            let sent = send(&mut way, &notice, revision, &letter, now).await;
            if let Err(why) = sent {
                let (event, request) = (letter.event.name(), letter.of_request("id"));
                tracing::warn!(notice = name, event, request, why, "a notice was not delivered and is tried again");
                self.note(name, Some(revision), None, |outcome| {
                    outcome.last_error = why;
                    outcome.failed_at = Some(now);
                })
                .await?;
                return Ok(Round::Failed(key));
            }
            self.note(name, Some(revision), Some(&key), |outcome| {
                outcome.last_sent = Some(now);
                outcome.sent += 1;
            })
            .await?;
            self.forget(name, &key);
        }
        Ok(Round::Empty)
    }

    /// What waits, in the order in which it is tried: those that failed least, alarms, the oldest.
    async fn letters(&self, name: &str) -> Result<Letters, Fault> {
        let mut letters = Letters::new();
        for row in scan_all(&*self.store, keys::outbox(name).as_bytes(), PAGE).await? {
            let letter: Letter = decode(&row.key, &row.entry)?;
            letters.push((String::from_utf8_lossy(&row.key).into_owned(), letter));
        }
        self.give_up(name, &mut letters).await?;
        self.drop_oldest(name, &mut letters).await?;
        let mut lines = self.lines.lock();
        if let Some(line) = lines.of.get_mut(name) {
            line.tries.retain(|key, _| letters.binary_search_by(|(own, _)| own.cmp(key)).is_ok());
            letters.sort_by_key(|(key, _)| line.tries.get(key).copied().unwrap_or_default());
        }
        Ok(letters)
    }

    async fn give_up(&self, name: &str, letters: &mut Letters) -> Result<(), Fault> {
        let now = self.clock.now();
        let old: Letters = letters.extract_if(.., |(_, letter)| now.since(letter.at) >= GIVE_UP).collect();
        if old.is_empty() {
            return Ok(());
        }
        let count = self.remove(old).await?;
        tracing::error!(notice = name, count, "notices were not delivered for a day and are given up");
        self.note(name, None, None, |outcome| outcome.given_up = outcome.given_up.saturating_add(count)).await
    }

    /// They lie in the order of keys: alarms first, and each kind by time.
    async fn drop_oldest(&self, name: &str, letters: &mut Letters) -> Result<(), Fault> {
        let surplus = letters.len().saturating_sub(LONGEST);
        if surplus == 0 {
            return Ok(());
        }
        let alarms = letters.iter().take_while(|(_, letter)| letter.event.is_alarm()).count();
        let others = surplus.min(letters.len().saturating_sub(alarms));
        let mut dropped: Letters = letters.drain(alarms..alarms + others).collect();
        dropped.extend(letters.drain(..surplus.saturating_sub(others)));
        let count = self.remove(dropped).await?;
        tracing::warn!(notice = name, count, "more waits than there is room for: the oldest letters are dropped");
        self.note(name, None, None, |outcome| outcome.dropped = outcome.dropped.saturating_add(count)).await
    }

    async fn remove(&self, letters: Letters) -> Result<u64, Fault> {
        for some in letters.chunks(PAGE) {
            let batch = some.iter().fold(Batch::new(), |batch, (key, _)| batch.delete(key.as_str()));
            self.store.commit(batch).await?;
        }
        Ok(u64::try_from(letters.len()).unwrap_or(u64::MAX))
    }

    /// Writes down how it went, and that a letter is done; unless the notice was deleted or changed meanwhile: then only
    /// the letter is.
    async fn note(
        &self,
        name: &str,
        revision: Option<u64>,
        done: Option<&str>,
        change: impl FnOnce(&mut Outcome),
    ) -> Result<(), Fault> {
        let found = get_json::<Notice>(&*self.store, keys::notice(name).as_bytes()).await?;
        let revision = revision.or(found.map(|(_, revision)| revision)).unwrap_or_default();
        let key = keys::outcome(name);
        let mut outcome = get_json::<Outcome>(&*self.store, key.as_bytes()).await?.unwrap_or_default().0;
        change(&mut outcome);
        let without = done.into_iter().fold(Batch::new(), |batch, key| batch.delete(key));
        let batch = without.clone().put_json(key, &outcome)?.expect(keys::notice(name), revision);
        let is_there = revision != 0;
        if (!is_there || !commits(&*self.store, batch).await?) && done.is_some() {
            self.store.commit(without).await?;
        }
        Ok(())
    }

    fn forget(&self, name: &str, key: &str) {
        if let Some(line) = self.lines.lock().of.get_mut(name) {
            line.failures = 0;
            line.tries.remove(key);
        }
    }

    /// Whether there is more to do at once.
    fn goes_on(&self, name: &str, round: Result<Round, Fault>) -> bool {
        let mut lines = self.lines.lock();
        let Some(line) = lines.of.get_mut(name) else { return false };
        line.is_waiting = !matches!(round, Ok(Round::Empty));
        match round {
            Ok(Round::Empty) => line.failures = 0,
            Ok(Round::Failed(key)) => {
                *line.tries.entry(key).or_default() += 1;
                rest(line, self.clock.steady());
            }
            Err(fault) => {
                tracing::warn!(notice = name, told = %fault.told, known = %fault.known, "notices are sent later");
                rest(line, self.clock.steady());
                line.rung = false;
            }
        }
        line.is_running = line.rung;
        let goes_on = line.is_running;
        if !goes_on && !line.is_waiting {
            lines.of.remove(name);
        }
        goes_on
    }
}

/// Sends a letter, in the same way as the one before as long as the notice is the same.
async fn send(
    way: &mut Option<(u64, Way)>,
    notice: &Notice,
    revision: u64,
    letter: &Letter,
    now: Moment,
) -> Result<(), String> {
    let fits = way.take().filter(|(made, _)| *made == revision);
    let (_, way) = way.insert(match fits {
        Some(way) => way,
        None => (revision, notice.to.way()?),
    });
    notice.to.send(way, letter, now).await
}

/// Works on the queue of one notice until nothing is to be done at once.
async fn work(desk: Weak<Desk>, name: String) {
    loop {
        let Some(desk) = desk.upgrade() else { return };
        if let Some(line) = desk.lines.lock().of.get_mut(&name) {
            line.rung = false;
        }
        let round = desk.round(&name).await;
        if !desk.goes_on(&name, round) {
            return;
        }
    }
}

fn rest(line: &mut Line, now: Duration) {
    let mut jitter = [0u8; 1];
    // Without randomness all wait the full time.
    let _ = fill(&mut jitter);
    line.failures = line.failures.saturating_add(1);
    line.not_before = now + back_off(line.failures, jitter[0]);
}
