//! Sign-ins that are under way. Each has a state of 256 random bits, lives ten minutes and is used once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::secret::same_bytes;
use dewdrop_core::{Fault, Secret};
use parking_lot::Mutex;

use super::browser::Callback;
use crate::jose::Claims;

/// How long a person may take.
pub const LIFE: Duration = Duration::from_secs(600);
/// The most sign-ins of one mount at once: a bound for memory, far above what people do.
const MOST: usize = 10_000;
/// The most of one address; beyond it that address's oldest ends.
const MOST_OF_ONE: usize = 500;

/// One sign-in.
#[derive(Clone)]
pub struct Pending {
    /// Name of the role.
    pub role: String,
    /// Where the browser is sent back to.
    pub redirect: String,
    /// Who hears from the provider.
    pub callback: Callback,
    /// What the client must say again; empty: nothing.
    pub client_nonce: String,
    /// What the provider's token must say.
    pub nonce: String,
    /// The proof for the provider that we began.
    pub verifier: Arc<Secret<String>>,
    /// Who began.
    pub address: Option<IpAddr>,
    /// When it began, by the steady clock.
    pub begun: Duration,
    /// How far it is.
    pub stage: Stage,
}

/// How far a sign-in is.
#[derive(Clone)]
pub enum Stage {
    /// The person is at the provider.
    Waiting,
    /// A device's person is at the provider; we ask there.
    Device {
        /// What we ask with.
        code: Arc<Secret<String>>,
        /// The shortest time between two asks.
        pause: Duration,
        /// When the next ask may be, by the steady clock.
        next: Duration,
        /// When the provider's code ends, by the steady clock.
        ends: Duration,
    },
    /// The provider is being asked.
    Asking,
    /// It is known who it is; the client has not asked since.
    Known(Claims),
}

/// All of one mount.
#[derive(Default)]
pub struct Pendings(Mutex<HashMap<String, Pending>>);

impl Pendings {
    /// Begins one.
    ///
    /// # Errors
    /// 503: too many are under way.
    pub fn add(&self, state: String, pending: Pending, now: Duration) -> Result<(), Fault> {
        let mut all = self.0.lock();
        if all.len() >= MOST {
            all.retain(|_, one| !one.is_over(now));
        }
        let same = || all.iter().filter(|(_, one)| one.address == pending.address);
        if pending.address.is_some() && same().count() >= MOST_OF_ONE {
            let oldest = same().min_by_key(|(_, one)| one.begun).map(|(state, _)| state.clone());
            oldest.map(|state| all.remove(&state));
        }
        if all.len() >= MOST {
            return Err(Fault::unavailable("too many sign-ins are under way; try again in some minutes"));
        }
        all.insert(state, pending);
        Ok(())
    }

    /// One that is under way, as it is now.
    pub fn find(&self, state: &str, now: Duration) -> Option<Pending> {
        self.0.lock().get(state).filter(|one| !one.is_over(now)).cloned()
    }

    /// Ends one: whoever gets it is the only one.
    pub fn take(&self, state: &str, now: Duration) -> Option<Pending> {
        self.0.lock().remove(state).filter(|one| !one.is_over(now))
    }

    /// Takes the step from waiting to asking; `false`: somebody else has, or it has ended.
    pub fn begin_asking(&self, state: &str) -> bool {
        let mut all = self.0.lock();
        match all.get_mut(state) {
            Some(one) if matches!(one.stage, Stage::Waiting) => {
                one.stage = Stage::Asking;
                true
            }
            _ => false,
        }
    }

    /// Sets how far one is, if it has not ended.
    pub fn set(&self, state: &str, stage: Stage) {
        if let Some(one) = self.0.lock().get_mut(state) {
            one.stage = stage;
        }
    }

    /// Ends all.
    pub fn clear(&self) {
        self.0.lock().clear();
    }

    /// Forgets those that are over.
    pub fn tidy(&self, now: Duration) {
        let mut all = self.0.lock();
        if !all.is_empty() {
            all.retain(|_, one| !one.is_over(now));
        }
    }
}

impl Pending {
    fn is_over(&self, now: Duration) -> bool {
        now >= self.begun + LIFE
    }

    /// Whether it is the client that began. Takes the same time whatever is given.
    pub fn is_of(&self, client_nonce: &str) -> bool {
        same_bytes(self.client_nonce.as_bytes(), client_nonce.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pending(address: u8, begun: u64) -> Pending {
        Pending {
            role: "r".into(),
            redirect: "u".into(),
            callback: Callback::Client,
            client_nonce: String::new(),
            nonce: "n".into(),
            verifier: Arc::new(Secret::new("v".into())),
            address: (address > 0).then(|| IpAddr::from([127, 0, 0, address])),
            begun: Duration::from_millis(begun),
            stage: Stage::Waiting,
        }
    }

    #[test]
    fn one_address_does_not_fill_it() {
        let all = Pendings::default();
        let now = Duration::from_secs(1);
        for at in 0..=500u64 {
            all.add(format!("s{at}"), pending(1, at), now).unwrap();
        }
        assert!(all.find("s0", now).is_none());
        assert!(all.find("s1", now).is_some() && all.find("s500", now).is_some());
    }

    #[test]
    fn there_is_a_most_and_the_old_make_room() {
        let all = Pendings::default();
        for at in 0..MOST {
            all.add(format!("s{at}"), pending(0, 0), Duration::ZERO).unwrap();
        }
        assert!(all.add("more".into(), pending(2, 0), Duration::ZERO).is_err());
        all.add("more".into(), pending(2, 600_000), LIFE).unwrap();
        assert!(all.find("s1", LIFE).is_none());
        assert_eq!(all.0.lock().len(), 1);
    }

    #[test]
    fn each_is_used_once_and_in_time() {
        let all = Pendings::default();
        all.add("s".into(), pending(1, 0), Duration::ZERO).unwrap();
        assert!(all.take("s", Duration::ZERO).is_some());
        assert!(all.take("s", Duration::ZERO).is_none());
        all.add("s".into(), pending(1, 0), Duration::ZERO).unwrap();
        assert!(all.take("s", LIFE).is_none());
        all.add("s".into(), pending(1, 0), Duration::ZERO).unwrap();
        assert!(all.begin_asking("s") && !all.begin_asking("s"));
        all.tidy(LIFE);
        assert!(all.0.lock().is_empty());
    }
}
