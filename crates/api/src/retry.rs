//! When to try again, and how long to wait before it.

use std::time::Duration;

/// Waits that double up to a ceiling, each spread by chance so that many clients do not come back at once.
#[derive(Debug, Clone)]
pub struct Backoff {
    next: Duration,
    first: Duration,
    ceiling: Duration,
    seed: u64,
}

impl Backoff {
    /// From `first`, doubling, to `ceiling`. The seed is anything that differs between clients.
    #[must_use]
    pub fn new(first: Duration, ceiling: Duration, seed: u64) -> Self {
        Self { next: first, first, ceiling, seed: seed | 1 }
    }

    /// The next wait: between half and the whole of the present step.
    pub fn wait(&mut self) -> Duration {
        let step = self.next.min(self.ceiling);
        self.next = (step * 2).min(self.ceiling);
        step / 2 + step.mul_f64(self.chance() / 2.0)
    }

    /// Begins anew, after a success.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// A number in 0..1. Spreading needs no secrecy, so xorshift will do.
    fn chance(&mut self) -> f64 {
        self.seed ^= self.seed << 13;
        self.seed ^= self.seed >> 7;
        self.seed ^= self.seed << 17;
        f64::from(u32::try_from(self.seed >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
    }
}

/// Whether the client itself tries a reply with this status again: the state the caller needs has not arrived (412),
/// too many requests (429), or the server's fault, except for "not implemented" (501).
pub(crate) fn is_retried(status: u16) -> bool {
    status == 412 || status == 429 || (status >= 500 && status != 501)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_and_stay_below_the_ceiling() {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(1), 42);
        let waits: Vec<_> = (0..8).map(|_| backoff.wait()).collect();
        assert!(waits[0] >= Duration::from_millis(50) && waits[0] <= Duration::from_millis(100));
        assert!(waits.iter().all(|w| *w <= Duration::from_secs(1)));
        assert!(waits[7] >= Duration::from_millis(500));
        backoff.reset();
        assert!(backoff.wait() <= Duration::from_millis(100));
    }

    #[test]
    fn only_passing_states_are_retried() {
        assert!(is_retried(412) && is_retried(429) && is_retried(500) && is_retried(503));
        assert!(!is_retried(400) && !is_retried(403) && !is_retried(404) && !is_retried(501));
    }
}
