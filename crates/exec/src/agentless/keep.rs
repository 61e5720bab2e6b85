//! Renews the token and the leases while the command runs. A running command cannot be given other variables: what cannot
//! be renewed any more is told, and the command gets the signal that the pod asked for, so that its next start has a new
//! credential.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

use dewdrop_api::SecretText;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

use super::server::{Server, Trouble};
use crate::clock::now;

/// After a renewal that failed, at first and at the longest.
const AGAIN: Duration = Duration::from_secs(1);
const LATEST: Duration = Duration::from_secs(30);

/// Something that ends unless it is renewed.
#[derive(Debug)]
pub struct Life {
    /// The lease; `None`: the token itself.
    lease: Option<String>,
    renewable: bool,
    /// How long it had at first.
    first: Duration,
    /// When it ends.
    until: Duration,
    /// When something is to be done.
    next: Duration,
    failed: u32,
}

/// What follows from what was heard of a life.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on.
    Lives,
    /// It will end and nothing can be done.
    Ends(String),
}

/// The thread that renews.
pub struct Keeper {
    stop: Sender<()>,
}

// === impl Life ===

impl Life {
    /// The token's own.
    pub fn of_token(seconds: u64, renewable: bool, now: Duration) -> Self {
        Self::new(None, seconds, renewable, now)
    }

    /// A lease's.
    pub fn of_lease(lease: String, seconds: u64, renewable: bool, now: Duration) -> Self {
        Self::new(Some(lease), seconds, renewable, now)
    }

    fn new(lease: Option<String>, seconds: u64, renewable: bool, now: Duration) -> Self {
        let first = Duration::from_secs(seconds);
        let mut life = Self { lease, renewable, first, until: now, next: now, failed: 0 };
        life.goes_on(first, now);
        life
    }

    /// It ends never.
    fn is_endless(&self) -> bool {
        self.first.is_zero()
    }

    fn goes_on(&mut self, left: Duration, now: Duration) {
        // The token is what a kill leaves behind, so it is short, and a server that starts anew shall find it alive.
        let part = if self.lease.is_none() { 3 } else { 2 };
        // The server says how long, and may say anything.
        (self.until, self.next, self.failed) = (now.saturating_add(left), now.saturating_add(left / part), 0);
    }

    /// A renewal gave so many seconds. Much less than at first says that a ceiling is near.
    pub fn renewed(&mut self, seconds: u64, now: Duration) -> Fate {
        let left = Duration::from_secs(seconds);
        self.goes_on(left, now);
        if left.saturating_mul(2) < self.first {
            return Fate::Ends(format!("ends in {seconds} s and can be renewed no further"));
        }
        Fate::Lives
    }

    /// A renewal failed.
    fn failed(&mut self, trouble: Trouble, now: Duration) -> Fate {
        match trouble {
            Trouble::Final(why) => Fate::Ends(format!("cannot be renewed: {why}")),
            Trouble::Passing(why) if now >= self.until => Fate::Ends(format!("has ended: {why}")),
            Trouble::Passing(_) => {
                self.next = now + (AGAIN * 2u32.saturating_pow(self.failed.min(8))).min(LATEST);
                self.failed += 1;
                Fate::Lives
            }
        }
    }

    fn name(&self) -> &'static str {
        if self.lease.is_none() { "this container's token" } else { "a credential of this container" }
    }
}

// === impl Keeper ===

impl Keeper {
    /// Begins.
    pub fn start(server: Arc<Server>, token: SecretText, lives: Vec<Life>, child: Pid, signal: Option<Signal>) -> Self {
        let (stop, stopped) = channel();
        // The process itself: its number may soon be another's.
        let process = pidfd_open(child, PidfdFlags::empty());
        std::thread::spawn(move || {
            let mut lives: Vec<Life> = lives.into_iter().filter(|life| !life.is_endless()).collect();
            while let Some(next) = lives.iter().map(|life| life.next).min() {
                match stopped.recv_timeout(next.saturating_sub(now())) {
                    Err(RecvTimeoutError::Timeout) => {}
                    _ => return,
                }
                lives.retain_mut(|life| match step(life, &server, &token) {
                    Fate::Lives => true,
                    Fate::Ends(why) => {
                        let then =
                            if signal.is_some() { "the command is told to end" } else { "no DEWDROP_SIGNAL is set" };
                        eprintln!("dewdrop-exec: {} {why}; {then}", life.name());
                        if let (Some(signal), Ok(process)) = (signal, &process) {
                            pidfd_send_signal(process, signal).ok();
                        }
                        false
                    }
                });
            }
        });
        Self { stop }
    }

    /// Ends. A renewal that is under way does no harm.
    pub fn stop(self) {
        self.stop.send(()).ok();
    }
}

fn step(life: &mut Life, server: &Server, token: &SecretText) -> Fate {
    if life.next > now() {
        return Fate::Lives;
    }
    if !life.renewable {
        return Fate::Ends("cannot be renewed and ends soon".into());
    }
    let renewed = match &life.lease {
        None => server.renew_token(token),
        Some(lease) => server.renew_lease(token, lease, life.first.as_secs()),
    };
    match renewed {
        Ok(seconds) => life.renewed(seconds, now()),
        Err(trouble) => life.failed(trouble, now()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_token_is_renewed_at_a_third_and_a_lease_at_half() {
        assert_eq!(Life::of_token(60, true, at(100)).next, at(120));
        assert_eq!(Life::of_lease("l".into(), 60, true, at(100)).next, at(130));
        assert!(Life::of_token(0, false, at(1)).is_endless());
    }

    #[test]
    fn a_ceiling_shows_by_what_is_left() {
        let mut life = Life::of_lease("l".into(), 3600, true, at(0));
        assert_eq!((life.renewed(3600, at(1800)), life.next), (Fate::Lives, at(3600)));
        assert!(matches!(life.renewed(1799, at(3600)), Fate::Ends(_)));
    }

    #[test]
    fn a_life_without_end_in_sight_is_none_to_break_at() {
        let mut life = Life::of_lease("l".into(), u64::MAX, true, at(100));
        assert_eq!((life.until, life.renewed(u64::MAX, at(200))), (Duration::new(u64::MAX, 999_999_999), Fate::Lives));
    }

    #[test]
    fn trouble_is_tried_again_until_the_end() {
        let mut life = Life::of_token(60, true, at(0));
        let passing = || Trouble::Passing("away".into());
        let mut waits = Vec::new();
        for _ in 0..7 {
            assert_eq!(life.failed(passing(), at(20)), Fate::Lives);
            waits.push(life.next.as_secs() - 20);
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
        assert!(matches!(life.failed(passing(), at(60)), Fate::Ends(_)));
        assert!(matches!(life.failed(Trouble::Final("403".into()), at(20)), Fate::Ends(_)));
    }
}
