//! Counting in windows of time, for each client, in bounded memory.
//!
//! A client's window begins with its first request and is followed by the next one without a gap. Clients lie in shards,
//! and in each shard in two generations: when the young one is full it becomes the old one, and what was old is forgotten.
//! So whoever comes often is never forgotten, a flood of addresses costs no more than a fixed amount of memory, and
//! nothing has to be swept.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::time::Duration;

use parking_lot::Mutex;

/// Shards; a power of two, so that few requests meet at one lock.
const SHARDS: usize = 16;
/// Entries of one generation of one shard: 65,536 at most in all.
const GENERATION: usize = 2048;

/// A map of bounded size that forgets what was not used for longest (roughly).
pub struct Bounded<K, V> {
    shards: [Mutex<Generations<K, V>>; SHARDS],
    hasher: RandomState,
}

struct Generations<K, V> {
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Hash + Eq + Clone, V: Default> Default for Bounded<K, V> {
    fn default() -> Self {
        Self { shards: std::array::from_fn(|_| Mutex::default()), hasher: RandomState::new() }
    }
}

impl<K, V> Default for Generations<K, V> {
    fn default() -> Self {
        Self { young: HashMap::new(), old: HashMap::new() }
    }
}

impl<K: Hash + Eq + Clone, V: Default> Bounded<K, V> {
    /// Changes the entry of a key, made when it is not there.
    pub fn with<R>(&self, key: &K, act: impl FnOnce(&mut V) -> R) -> R {
        let mut shard = self.shard(key).lock();
        if !shard.young.contains_key(key) {
            let known = shard.old.remove(key).unwrap_or_default();
            if shard.young.len() >= GENERATION {
                shard.old = std::mem::take(&mut shard.young);
            }
            shard.young.insert(key.clone(), known);
        }
        act(shard.young.entry(key.clone()).or_default())
    }

    /// Looks at the entry of a key; makes none.
    pub fn look<R>(&self, key: &K, look: impl FnOnce(&V) -> R) -> Option<R> {
        let shard = self.shard(key).lock();
        shard.young.get(key).or_else(|| shard.old.get(key)).map(look)
    }

    /// Forgets a key.
    pub fn remove(&self, key: &K) {
        let mut shard = self.shard(key).lock();
        shard.young.remove(key);
        shard.old.remove(key);
    }

    #[cfg(test)]
    fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.lock()).map(|shard| shard.young.len() + shard.old.len()).sum()
    }

    fn shard(&self, key: &K) -> &Mutex<Generations<K, V>> {
        let hash = usize::try_from(self.hasher.hash_one(key) >> 32).unwrap_or_default();
        #[expect(clippy::indexing_slicing, reason = "a remainder by the length is an index")]
        &self.shards[hash % SHARDS]
    }
}

/// What is allowed in a window.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Pace {
    /// Requests in one window.
    pub limit: u64,
    /// Length of a window; not zero.
    pub interval: Duration,
    /// Whoever asks for more is refused for this long; zero: until the window ends.
    pub block: Duration,
}

/// One client.
#[derive(Debug, Default)]
pub struct Window {
    /// When it began; `None`: never.
    start: Option<Duration>,
    used: u64,
    blocked_until: Duration,
}

/// What the window says to one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Verdict {
    /// Go on.
    pub allowed: bool,
    /// Requests that are left in the window.
    pub left: u64,
    /// Until the next window.
    pub reset: Duration,
    /// When to come back; zero when allowed.
    pub retry: Duration,
    /// The window was not even asked: the client is blocked from before.
    pub blocked: bool,
}

impl Window {
    /// Counts one request. `now` is steady time.
    pub fn take(&mut self, pace: &Pace, now: Duration) -> Verdict {
        let verdict = self.look(pace, now);
        if verdict.allowed {
            self.used += 1;
            return Verdict { left: verdict.left - 1, ..verdict };
        }
        if !verdict.blocked && !pace.block.is_zero() {
            self.blocked_until = now + pace.block;
            return Verdict { retry: pace.block, ..verdict };
        }
        verdict
    }

    /// What the next request would hear.
    pub fn look(&mut self, pace: &Pace, now: Duration) -> Verdict {
        let start = self.turn(pace, now);
        let left = pace.limit.saturating_sub(self.used);
        let reset = (start + pace.interval).saturating_sub(now);
        let blocked = now < self.blocked_until;
        let allowed = left > 0 && !blocked;
        let retry = match (allowed, blocked) {
            (true, _) => Duration::ZERO,
            (false, true) => self.blocked_until.saturating_sub(now),
            (false, false) => reset,
        };
        Verdict { allowed, left, reset, retry, blocked }
    }

    /// Whether the window that is open now has nothing left; changes nothing.
    #[must_use]
    pub fn is_used_up(&self, pace: &Pace, now: Duration) -> bool {
        self.used >= pace.limit && self.start.is_some_and(|start| now.saturating_sub(start) < pace.interval)
    }

    /// Begins the next window when this one is over.
    fn turn(&mut self, pace: &Pace, now: Duration) -> Duration {
        let passed = self.start.map(|start| now.saturating_sub(start));
        let start = match (self.start, passed) {
            (Some(start), Some(passed)) if passed < pace.interval => return start,
            (Some(_), Some(passed)) => now - remainder(passed, pace.interval),
            _ => now,
        };
        self.start = Some(start);
        self.used = 0;
        start
    }
}

/// What is left of a time after whole intervals.
fn remainder(time: Duration, interval: Duration) -> Duration {
    let nanos = time.as_nanos() % interval.as_nanos().max(1);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn seconds(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_window_ends_and_the_next_begins_where_it_ended() {
        let pace = Pace { limit: 2, interval: seconds(3), block: Duration::ZERO };
        let mut window = Window::default();
        assert_eq!(window.take(&pace, seconds(10)).left, 1);
        assert!(window.take(&pace, seconds(11)).allowed);
        let refused = window.take(&pace, seconds(12));
        assert!(!refused.allowed);
        assert_eq!(refused.retry, seconds(1));
        assert!(window.take(&pace, seconds(13)).allowed, "10 + 3");
        assert_eq!(window.take(&pace, seconds(20)).reset, seconds(2), "windows begin at 10, 13, 16, 19, 22");
    }

    #[test]
    fn a_block_outlasts_the_window() {
        let pace = Pace { limit: 1, interval: seconds(1), block: seconds(10) };
        let mut window = Window::default();
        assert!(window.take(&pace, seconds(0)).allowed);
        assert_eq!(window.take(&pace, seconds(0)).retry, seconds(10));
        let later = window.take(&pace, seconds(5));
        assert!(later.blocked && !later.allowed);
        assert_eq!(later.retry, seconds(5));
        assert!(window.take(&pace, seconds(10)).allowed);
    }

    #[test]
    fn a_flood_of_keys_is_bounded_and_the_busy_one_is_not_forgotten() {
        let map = Bounded::<u32, u64>::default();
        for key in 1..300_000 {
            map.with(&key, |n| *n += 1);
            map.with(&0, |n| *n += 1);
        }
        assert!(map.len() <= 2 * SHARDS * GENERATION);
        assert_eq!(map.look(&0, |n| *n), Some(299_999));
        map.remove(&0);
        assert_eq!(map.look(&0, |n| *n), None);
    }

    #[test]
    fn many_threads_take_exactly_the_limit() {
        let pace = Pace { limit: 1000, interval: seconds(60), block: Duration::ZERO };
        let map = Bounded::<u8, Window>::default();
        let taken: usize = std::thread::scope(|scope| {
            let takers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| (0..1000).filter(|_| map.with(&1, |w| w.take(&pace, seconds(1))).allowed).count())
                })
                .collect();
            takers.into_iter().map(|taker| taker.join().unwrap()).sum()
        });
        assert_eq!(taken, 1000);
    }
}
