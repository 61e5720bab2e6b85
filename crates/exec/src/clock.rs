//! The time since the machine started.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Now. Goes on while the machine sleeps: leases do, too.
pub fn now() -> Duration {
    let time = clock_gettime(ClockId::Boottime);
    let (seconds, nanos) = (time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0));
    Duration::new(seconds, nanos)
}
