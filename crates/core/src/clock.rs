//! Time comes in as an argument or from a [`Clock`], so that leases can be tested without waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A moment of wall-clock time: milliseconds since 1970-01-01 UTC. What is written to disk holds these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Moment(pub u64);

impl Moment {
    /// This moment and some time more; saturates.
    #[must_use]
    pub fn plus(self, time: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }

    /// This long before; not before the epoch.
    #[must_use]
    pub fn minus(self, time: Duration) -> Self {
        Self(self.0.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX)))
    }

    /// The time from `earlier` to here; zero when it lies ahead.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// Whole seconds since 1970.
    #[must_use]
    pub fn seconds(self) -> u64 {
        self.0 / 1000
    }

    /// RFC 3339 in UTC with milliseconds, as the API prints times.
    #[must_use]
    pub fn rfc3339(self) -> String {
        let millis = i64::try_from(self.0).unwrap_or(i64::MAX);
        jiff::Timestamp::from_millisecond(millis).map_or_else(|_| "9999-12-31T23:59:59Z".into(), |t| format!("{t:.3}"))
    }

    /// Reads RFC 3339.
    ///
    /// # Errors
    /// The text is not a time, or lies before 1970. The words do not hold the text.
    pub fn parse_rfc3339(text: &str) -> Result<Self, String> {
        let time: jiff::Timestamp =
            text.parse().map_err(|_| "not an RFC 3339 time (2030-01-01T00:00:00Z)".to_owned())?;
        u64::try_from(time.as_millisecond()).map(Self).map_err(|_| "the time lies before 1970".to_owned())
    }
}

/// Where the time comes from.
pub trait Clock: Send + Sync {
    /// The wall clock, for what is written down.
    fn now(&self) -> Moment;
    /// Time since some fixed point, which never jumps: for intervals within the process.
    fn steady(&self) -> Duration;
}

/// The clock of the machine. The one place that reads it.
#[derive(Debug)]
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// A clock that is shared by all of a process.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that all others ask")]
    pub fn shared() -> Arc<dyn Clock> {
        Arc::new(Self { start: std::time::Instant::now() })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the Clock that all others ask")]
    fn now(&self) -> Moment {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        Moment(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    fn steady(&self) -> Duration {
        self.start.elapsed()
    }
}

/// A clock that a test moves by hand.
#[derive(Debug)]
pub struct FakeClock {
    wall: AtomicU64,
    steady: AtomicU64,
}

impl FakeClock {
    /// A clock that stands at a moment.
    #[must_use]
    pub fn at(moment: Moment) -> Arc<Self> {
        Arc::new(Self { wall: AtomicU64::new(moment.0), steady: AtomicU64::new(0) })
    }

    /// Both hands move on.
    pub fn advance(&self, time: Duration) {
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.wall.fetch_add(millis, Ordering::SeqCst);
        self.steady.fetch_add(millis, Ordering::SeqCst);
    }

    /// The wall clock alone jumps, as after a bad time server.
    pub fn jump_to(&self, moment: Moment) {
        self.wall.store(moment.0, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Moment {
        Moment(self.wall.load(Ordering::SeqCst))
    }

    fn steady(&self) -> Duration {
        Duration::from_millis(self.steady.load(Ordering::SeqCst))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_reads_its_own_writing() {
        let moment = Moment(1_700_000_000_123);
        assert_eq!(moment.rfc3339(), "2023-11-14T22:13:20.123Z");
        assert_eq!(Moment::parse_rfc3339(&moment.rfc3339()), Ok(moment));
    }

    #[test]
    fn the_end_of_time_does_not_overflow() {
        assert_eq!(Moment(u64::MAX).plus(Duration::from_secs(1)), Moment(u64::MAX));
        assert!(Moment(u64::MAX).rfc3339().starts_with("9999"));
    }
}
