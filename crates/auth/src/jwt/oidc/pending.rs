//! Sign-ins that are under way. Each has a state of 256 random bits, lives ten minutes and is used once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Secret;
use dewdrop_core::secret::same_bytes;
use parking_lot::Mutex;

use super::browser::Callback;
use crate::jose::Claims;

/// How long a person may take.
pub const LIFE: Duration = Duration::from_secs(600);
/// The most sign-ins of one mount at once: a bound for memory, far above what people do.
const MOST: usize = 10_000;
/// The most of one address (of IPv6: of one /64); beyond it that address's oldest ends.
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
    /// Begins one. Where there is no room, another ends: the oldest of the address that has the most. So whoever fills it has
    /// his own end, and nobody else is kept out.
    pub fn add(&self, state: String, pending: Pending, now: Duration) {
        let mut all = self.0.lock();
        if all.len() >= MOST {
            all.retain(|_, one| !one.is_over(now));
        }
        let home = home_of(pending.address);
        let own = all.values().filter(|one| home_of(one.address) == home).count();
        if home.is_some() && own >= MOST_OF_ONE {
            end_oldest(&mut all, home);
        } else if all.len() >= MOST {
            let greediest = greediest(&all);
            end_oldest(&mut all, greediest);
        }
        all.insert(state, pending);
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

/// Who counts as one: an address, or the network of one customer where addresses are plenty.
fn home_of(address: Option<IpAddr>) -> Option<IpAddr> {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V6(six)) => Some(IpAddr::V6((six.to_bits() >> 64 << 64).into())),
        other => other,
    }
}

fn greediest(all: &HashMap<String, Pending>) -> Option<IpAddr> {
    let mut homes = HashMap::<Option<IpAddr>, usize>::new();
    for one in all.values() {
        *homes.entry(home_of(one.address)).or_default() += 1;
    }
    homes.into_iter().max_by_key(|(_, many)| *many).and_then(|(home, _)| home)
}

fn end_oldest(all: &mut HashMap<String, Pending>, home: Option<IpAddr>) {
    let its = all.iter().filter(|(_, one)| home_of(one.address) == home);
    if let Some(oldest) = its.min_by_key(|(_, one)| one.begun).map(|(state, _)| state.clone()) {
        all.remove(&oldest);
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
            all.add(format!("s{at}"), pending(1, at), now);
        }
        assert!(all.find("s0", now).is_none());
        assert!(all.find("s1", now).is_some() && all.find("s500", now).is_some());
    }

    #[test]
    fn one_network_is_one_address() {
        let all = Pendings::default();
        for at in 0..1000u16 {
            let address = IpAddr::from([0x2001, 0xdb8, 0, 1, at, 0, 0, 1]);
            all.add(format!("s{at}"), Pending { address: Some(address), ..pending(1, at.into()) }, Duration::ZERO);
        }
        assert_eq!(all.0.lock().len(), MOST_OF_ONE);
    }

    #[test]
    fn many_addresses_keep_nobody_else_out() {
        let all = Pendings::default();
        for at in 0..MOST {
            let address = 1 + u8::try_from(at / MOST_OF_ONE).unwrap();
            all.0.lock().insert(format!("s{at}"), pending(address, 1));
        }
        all.add("hers".into(), pending(200, 2), Duration::ZERO);
        all.add("his".into(), pending(201, 3), Duration::ZERO);
        assert!(all.find("hers", Duration::ZERO).is_some() && all.find("his", Duration::ZERO).is_some());
        assert_eq!(all.0.lock().len(), MOST);
        all.add("late".into(), pending(2, 600_001), LIFE + Duration::from_millis(2));
        assert_eq!(all.0.lock().len(), 2, "those that are over make room first");
    }

    #[test]
    fn each_is_used_once_and_in_time() {
        let all = Pendings::default();
        all.add("s".into(), pending(1, 0), Duration::ZERO);
        assert!(all.take("s", Duration::ZERO).is_some());
        assert!(all.take("s", Duration::ZERO).is_none());
        all.add("s".into(), pending(1, 0), Duration::ZERO);
        assert!(all.take("s", LIFE).is_none());
        all.add("s".into(), pending(1, 0), Duration::ZERO);
        assert!(all.begin_asking("s") && !all.begin_asking("s"));
        all.tidy(LIFE);
        assert!(all.0.lock().is_empty());
    }
}
