//! What the keeper has in hand: one bounded queue for each target (mount), each with a circuit breaker, so that a target
//! that is slow or down holds up nobody else. No I/O here.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use dewdrop_core::Moment;
use dewdrop_core::lease::back_off;

/// Leases that wait in memory for one target; the rest waits on disk.
const LONGEST: usize = 5_000;
/// Revocations at the same time at one target.
const AT_ONCE: usize = 16;
/// Failures in a row after which a target gets only one try at a time, with back-off.
const TRIPS_AFTER: u32 = 4;

/// A lease by namespace id and lease id.
pub type LeaseRef = (String, String);

/// All queues.
#[derive(Default)]
pub struct Queues {
    targets: HashMap<String, Target>,
    in_hand: HashSet<LeaseRef>,
    room_again: bool,
}

#[derive(Default)]
struct Target {
    waiting: VecDeque<LeaseRef>,
    running: usize,
    failures: u32,
    shut_until: Moment,
    why: String,
    /// Leases were left on disk.
    overflowed: bool,
}

/// What waits at a target.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Waiting {
    /// The mount's uuid.
    pub mount: String,
    /// Leases in the queue.
    pub waiting: usize,
    /// Being taken back now.
    pub running: usize,
    /// Failures in a row.
    pub failures: u32,
    /// Seconds until the next try, when the target is given a rest.
    pub retry_in: u64,
    /// Why the last try failed.
    pub why: String,
}

impl Queues {
    /// Puts a lease into its target's queue, unless it is in hand already. When the queue is full, it stays on disk.
    pub fn push(&mut self, mount: &str, lease: LeaseRef) {
        if self.in_hand.contains(&lease) {
            return;
        }
        if !self.targets.contains_key(mount) {
            self.targets.insert(mount.to_owned(), Target::default());
        }
        let Some(target) = self.targets.get_mut(mount) else { return };
        if target.waiting.len() >= LONGEST {
            target.overflowed = true;
            return;
        }
        self.in_hand.insert(lease.clone());
        target.waiting.push_back(lease);
    }

    /// Whether a queue that was full has room again: what was left on disk should be read again. Answers `true` once.
    pub fn has_room_again(&mut self) -> bool {
        std::mem::take(&mut self.room_again)
    }

    /// Marks something as in hand that has no target (a token); `false`: it is already.
    pub fn take(&mut self, what: LeaseRef) -> bool {
        self.in_hand.insert(what)
    }

    /// What was [taken](Self::take) is done.
    pub fn release(&mut self, what: &LeaseRef) {
        self.in_hand.remove(what);
    }

    /// The next leases to start, each with its mount, one target after the other; they count as running.
    pub fn start(&mut self, now: Moment) -> Vec<(String, LeaseRef)> {
        let mut started = Vec::new();
        for (mount, target) in &mut self.targets {
            let room = match (target.failures >= TRIPS_AFTER, target.shut_until > now) {
                (true, true) => 0,
                (true, false) => 1,
                (false, _) => AT_ONCE,
            };
            while target.running < room {
                let Some(lease) = target.waiting.pop_front() else { break };
                target.running += 1;
                started.push((mount.clone(), lease));
            }
        }
        started
    }

    /// A revocation ended; `Err` holds why it failed.
    pub fn done(&mut self, mount: &str, lease: &LeaseRef, outcome: Result<(), &str>, now: Moment, jitter: u8) {
        self.in_hand.remove(lease);
        let Some(target) = self.targets.get_mut(mount) else { return };
        target.running = target.running.saturating_sub(1);
        match outcome {
            Ok(()) => {
                target.failures = 0;
                target.why.clear();
            }
            Err(why) => {
                target.failures = target.failures.saturating_add(1);
                why.clone_into(&mut target.why);
                let rest = back_off(target.failures.saturating_sub(TRIPS_AFTER) + 1, jitter);
                target.shut_until = now.plus(rest.min(Duration::from_secs(30)));
            }
        }
        if target.overflowed && target.waiting.len() < LONGEST / 2 {
            target.overflowed = false;
            self.room_again = true;
        }
        if target.waiting.is_empty() && target.running == 0 && target.failures == 0 {
            self.targets.remove(mount);
        }
    }

    /// What waits, for the operator.
    #[must_use]
    pub fn waiting(&self, now: Moment) -> Vec<Waiting> {
        let describe = |(mount, target): (&String, &Target)| Waiting {
            mount: mount.clone(),
            waiting: target.waiting.len(),
            running: target.running,
            failures: target.failures,
            retry_in: if target.failures >= TRIPS_AFTER { target.shut_until.since(now).as_secs() } else { 0 },
            why: target.why.clone(),
        };
        self.targets.iter().map(describe).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(n: usize) -> LeaseRef {
        ("root".into(), format!("l{n}"))
    }

    #[test]
    fn a_slow_target_does_not_hold_up_another() {
        let mut queues = Queues::default();
        for n in 0..100 {
            queues.push("slow", lease(n));
        }
        queues.push("quick", lease(1000));
        let started = queues.start(Moment(0));
        assert_eq!(started.iter().filter(|(mount, _)| mount == "slow").count(), AT_ONCE);
        assert_eq!(started.iter().filter(|(mount, _)| mount == "quick").count(), 1);
        assert!(queues.start(Moment(0)).is_empty());
    }

    #[test]
    fn a_lease_is_in_hand_once() {
        let mut queues = Queues::default();
        queues.push("m", lease(1));
        queues.push("m", lease(1));
        let started = queues.start(Moment(0));
        assert_eq!(started.len(), 1);
        queues.push("m", lease(1));
        assert!(queues.start(Moment(0)).is_empty());
        queues.done("m", &started[0].1, Ok(()), Moment(0), 0);
        queues.push("m", lease(1));
        assert_eq!(queues.start(Moment(0)).len(), 1);
    }

    #[test]
    fn a_dead_target_gets_one_try_at_a_time() {
        let mut queues = Queues::default();
        for n in 0..100 {
            queues.push("dead", lease(n));
        }
        for (mount, lease) in queues.start(Moment(0)) {
            queues.done(&mount, &lease, Err("connection refused"), Moment(0), 0);
        }
        assert!(queues.start(Moment(0)).is_empty(), "it rests");
        assert_eq!(queues.waiting(Moment(0))[0].why, "connection refused");
        let probe = queues.start(Moment(60_000));
        assert_eq!(probe.len(), 1);
        let (mount, lease) = &probe[0];
        queues.done(mount, lease, Ok(()), Moment(60_000), 0);
        assert_eq!(queues.start(Moment(60_000)).len(), AT_ONCE, "it is back");
    }

    #[test]
    fn a_full_queue_leaves_the_rest_on_disk_and_asks_for_it_later() {
        let mut queues = Queues::default();
        for n in 0..=LONGEST {
            queues.push("m", lease(n));
        }
        queues.push("other", lease(0));
        assert_eq!(queues.in_hand.len(), LONGEST, "the last one was left; the other has the name of one in hand");
        let mut ended = 0;
        while !queues.has_room_again() {
            let started = queues.start(Moment(0));
            assert!(!started.is_empty());
            ended += started.len();
            started.iter().for_each(|(mount, lease)| queues.done(mount, lease, Ok(()), Moment(0), 0));
        }
        assert!(ended > LONGEST / 2, "not before half of them are done");
        assert!(!queues.has_room_again(), "said once");
    }
}
