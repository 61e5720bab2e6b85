//! Who is in. Anybody in the cluster can reach the port, and the API server must get through whatever others do. It cannot be
//! told from them by what it says: it shows no certificate, and anybody can ask what it asks. But it needs little. So nobody
//! waits for a place: when the last one is taken, whoever holds the most gives one up. And no address has more bytes of
//! bodies than are left for the others.

use std::cmp::Reverse;
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// How much there is.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once; at least two.
    pub connections: usize,
    /// Of those, of one address. The API server needs one or two, and one for each question with HTTP/1.1.
    pub of_one: usize,
    /// Bytes of bodies at once; one of the largest must fit in twice.
    pub room: usize,
}

/// All who are in.
pub struct Guests {
    limits: Limits,
    inside: Mutex<Inside>,
}

/// A connection; it is no longer in when this is dropped.
pub struct Guest {
    guests: Arc<Guests>,
    address: IpAddr,
    stay: Arc<Stay>,
}

/// Room for a part of a body; it is free again when this is dropped.
#[must_use]
pub struct Room {
    guests: Arc<Guests>,
    address: IpAddr,
    bytes: usize,
}

/// A question that is not answered yet; it is when this is dropped.
#[must_use]
pub struct Asking(Arc<Stay>);

#[derive(Default)]
struct Inside {
    parties: HashMap<IpAddr, Party>,
    connections: usize,
    bytes: usize,
    /// Of all who ever came.
    count: u64,
}

/// Those of one address, in the order in which they came.
#[derive(Default)]
struct Party {
    stays: VecDeque<Arc<Stay>>,
    bytes: usize,
}

struct Stay {
    number: u64,
    out: Notify,
    questions: AtomicUsize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { connections: 1024, of_one: 128, room: 64 << 20 }
    }
}

// === impl Guests ===

impl Guests {
    /// Nobody yet.
    pub fn new(limits: Limits) -> Arc<Self> {
        Arc::new(Self { limits, inside: Mutex::default() })
    }

    /// Lets somebody in, always. Where that takes the last place, or one too many of his address, another is shown out.
    pub fn enter(self: &Arc<Self>, address: IpAddr) -> Guest {
        let mut inside = self.inside();
        let stay = inside.add(address);
        if inside.parties.get(&address).is_some_and(|party| party.stays.len() > self.limits.of_one) {
            inside.show_out(address, &stay);
        } else if inside.connections >= self.limits.connections
            && let Some(largest) = inside.largest()
        {
            inside.show_out(largest, &stay);
        }
        Guest { guests: Arc::clone(self), address, stay }
    }

    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Inside ===

impl Inside {
    fn add(&mut self, address: IpAddr) -> Arc<Stay> {
        self.count += 1;
        self.connections += 1;
        let stay = Arc::new(Stay { number: self.count, out: Notify::new(), questions: AtomicUsize::new(0) });
        self.parties.entry(address).or_default().stays.push_back(Arc::clone(&stay));
        stay
    }

    /// The address with the most connections; of several, the one that has been in for longest.
    fn largest(&self) -> Option<IpAddr> {
        let rank = |party: &Party| (party.stays.len(), Reverse(party.stays.front().map_or(u64::MAX, |it| it.number)));
        self.parties.iter().max_by_key(|(_, party)| rank(party)).map(|(address, _)| *address)
    }

    /// Shows one of an address out, though not the newcomer: the first who asks nothing just now, or else the first.
    fn show_out(&mut self, address: IpAddr, newcomer: &Arc<Stay>) {
        let Some(party) = self.parties.get(&address) else { return };
        let mut others = party.stays.iter().filter(|stay| !Arc::ptr_eq(stay, newcomer));
        let chosen = others.clone().find(|stay| stay.questions.load(Ordering::Relaxed) == 0).or_else(|| others.next());
        if let Some(stay) = chosen.cloned() {
            stay.out.notify_one();
            self.remove(address, &stay);
        }
    }

    fn remove(&mut self, address: IpAddr, stay: &Arc<Stay>) {
        let Some(party) = self.parties.get_mut(&address) else { return };
        let before = party.stays.len();
        party.stays.retain(|other| !Arc::ptr_eq(other, stay));
        self.connections -= before - party.stays.len();
        self.forget(address);
    }

    /// Nothing is kept of an address that has nothing here.
    fn forget(&mut self, address: IpAddr) {
        if self.parties.get(&address).is_some_and(|party| party.stays.is_empty() && party.bytes == 0) {
            self.parties.remove(&address);
        }
    }
}

// === impl Guest ===

impl Guest {
    /// Resolves when another needs the place.
    pub async fn shown_out(&self) {
        self.stay.out.notified().await;
    }

    /// Counts a question.
    pub fn asks(&self) -> Asking {
        self.stay.questions.fetch_add(1, Ordering::Relaxed);
        Asking(Arc::clone(&self.stay))
    }

    /// Room for so many bytes of a body, unless this address would have more then than is left for the others.
    pub fn take(&self, bytes: usize) -> Option<Room> {
        let mut inside = self.guests.inside();
        let own = inside.parties.get(&self.address).map_or(0, |party| party.bytes);
        let left = self.guests.limits.room.checked_sub(inside.bytes + bytes)?;
        if own + bytes > left {
            return None;
        }
        inside.bytes += bytes;
        inside.parties.entry(self.address).or_default().bytes += bytes;
        Some(Room { guests: Arc::clone(&self.guests), address: self.address, bytes })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.guests.inside().remove(self.address, &self.stay);
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut inside = self.guests.inside();
        inside.bytes -= self.bytes;
        if let Some(party) = inside.parties.get_mut(&self.address) {
            party.bytes -= self.bytes;
        }
        inside.forget(self.address);
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        self.0.questions.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    const LIMITS: Limits = Limits { connections: 8, of_one: 4, room: 100 };

    fn at(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    fn is_out(guest: &Guest) -> bool {
        let is_out = guest.shown_out().now_or_never().is_some();
        if is_out {
            guest.stay.out.notify_one();
        }
        is_out
    }

    #[test]
    fn strangers_take_no_place_of_who_holds_fewer() {
        let guests = Guests::new(LIMITS);
        let api_server = guests.enter(at(1));
        let mut strangers = Vec::new();
        for n in 0..100 {
            let next = guests.enter(at(2 + n % 2));
            assert!(!is_out(&next), "a newcomer is let in");
            strangers.push(next);
            let second = guests.enter(at(1));
            assert!(!is_out(&second), "and so is the API server, at any time");
        }
        assert!(!is_out(&api_server));
        assert!(strangers.iter().filter(|stranger| !is_out(stranger)).count() < 8);
        assert!(guests.inside().connections < 8, "one place is left for who comes next");
    }

    /// More addresses than places: the API server may have to come again, and is let in again.
    #[test]
    fn among_equals_the_first_goes_and_none_is_kept_out() {
        let guests = Guests::new(LIMITS);
        let all: Vec<Guest> = (0..50).map(|n| guests.enter(at(n))).collect();
        let inside: Vec<usize> = (0..50).filter(|n| !is_out(&all[*n])).collect();
        assert_eq!(inside, [43, 44, 45, 46, 47, 48, 49]);
    }

    #[test]
    fn of_one_address_those_go_first_who_ask_nothing() {
        let guests = Guests::new(LIMITS);
        let all: Vec<Guest> = (0..4).map(|_| guests.enter(at(1))).collect();
        let first = all[0].asks();
        let next = guests.enter(at(1));
        assert_eq!([is_out(&all[0]), is_out(&all[1]), is_out(&next)], [false, true, false]);
        drop(first);
        let third = guests.enter(at(1));
        assert!(is_out(&all[0]));
        let _busy: Vec<Asking> = all.iter().chain([&next, &third]).map(Guest::asks).collect();
        let last = guests.enter(at(1));
        assert!(is_out(&all[2]) && !is_out(&last), "questions that never end keep nobody out");
    }

    #[test]
    fn nobody_has_more_room_than_is_left() {
        let guests = Guests::new(LIMITS);
        let (one, two, three) = (guests.enter(at(1)), guests.enter(at(2)), guests.enter(at(3)));
        assert!(one.take(51).is_none());
        let half = one.take(50).unwrap();
        assert!(one.take(1).is_none() && two.take(26).is_none());
        let _quarter = two.take(25).unwrap();
        assert!(three.take(12).is_some(), "and there is always some left");
        drop(half);
        assert!(one.take(30).is_some());
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let guests = Guests::new(LIMITS);
        let guest = guests.enter(at(1));
        let room = guest.take(10).unwrap();
        drop(guest);
        assert_eq!(guests.inside().bytes, 10);
        drop(room);
        let inside = guests.inside();
        assert!(inside.parties.is_empty() && inside.connections == 0 && inside.bytes == 0);
    }
}
