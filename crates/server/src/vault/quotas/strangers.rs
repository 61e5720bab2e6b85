//! A limit that is always there: who fails without a valid token too often, by address, is refused for the rest of a
//! minute before anything is looked up. Requests with a valid token from the same address go on.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dewdrop_core::{Fault, Kind};

use super::window::{Bounded, Pace, Window};

/// The window.
pub const INTERVAL: Duration = Duration::from_secs(60);

/// What a listener lets one address fail in a window; 0: any number. The usual number is generous: it is there to keep
/// one stranger from taking the machine, and many honest clients may share an address.
fn pace(failures: u32) -> Pace {
    Pace { limit: failures.into(), interval: INTERVAL, block: Duration::ZERO }
}

/// Who failed how often.
#[derive(Default)]
pub struct Strangers {
    /// Somebody failed, ever. Until then a request costs one load.
    any: AtomicBool,
    seen: Bounded<IpAddr, Window>,
}

impl Strangers {
    /// Refuses an address that has failed as often as its listener allows. `now` is steady time.
    ///
    /// # Errors
    /// 429, with when to come back.
    pub fn check(&self, address: Option<IpAddr>, failures: u32, now: Duration) -> Result<(), Fault> {
        let pace = pace(failures);
        if failures == 0 || !self.any.load(Ordering::Relaxed) {
            return Ok(());
        }
        let Some(network) = address.map(network) else { return Ok(()) };
        if self.seen.look(&network, |window| window.is_used_up(&pace, now)) != Some(true) {
            return Ok(());
        }
        let mut fault = Fault::new(
            Kind::TooMany,
            "too many requests without a valid token from this address failed: try again later",
        );
        fault.retry_after = self.seen.with(&network, |window| Some(window.look(&pace, now).retry));
        Err(fault)
    }

    /// A request without a valid token failed.
    pub fn failed(&self, address: Option<IpAddr>, failures: u32, now: Duration) {
        if failures == 0 {
            return;
        }
        if let Some(network) = address.map(network) {
            self.any.store(true, Ordering::Relaxed);
            self.seen.with(&network, |window| window.take(&pace(failures), now));
        }
    }
}

/// Of IPv6 the first 64 bits: whoever has one address there has them all.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => IpAddr::V6((six.to_bits() >> 64 << 64).into()),
        four => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: u32 = 20;

    #[test]
    fn one_address_is_refused_the_others_are_not() {
        let strangers = Strangers::default();
        let now = Duration::from_secs(5);
        let bad: IpAddr = "2001:db8::1".parse().unwrap();
        for _ in 0..MOST {
            assert_eq!(strangers.check(Some(bad), MOST, now), Ok(()));
            strangers.failed(Some(bad), MOST, now);
        }
        assert_eq!(strangers.check(Some(bad), 0, now), Ok(()), "a listener without a limit");
        let neighbour: IpAddr = "2001:db8::2:3".parse().unwrap();
        assert_eq!(strangers.check(Some(neighbour), MOST, now).unwrap_err().retry_after, Some(INTERVAL));
        assert_eq!(strangers.check(Some("2001:db8:0:1::1".parse().unwrap()), MOST, now), Ok(()));
        assert_eq!(strangers.check(None, MOST, now), Ok(()));
        assert_eq!(strangers.check(Some(bad), MOST, now + INTERVAL), Ok(()), "the next window");
    }
}
