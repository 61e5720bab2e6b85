//! Limits for each address that calls. Anybody in the cluster can reach the port, and the API server must get through
//! whatever one other does: so each has limits of its own. All share the places for connections: sixteen addresses together
//! can take them up.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Semaphore;

/// Connections of one address at once. The API server needs one or two, and one for each question with HTTP/1.1.
const CONNECTIONS: usize = 128;

/// Who calls from one address.
pub struct Guest {
    /// A place for each connection.
    pub connections: Arc<Semaphore>,
    /// A place for each byte of a body.
    pub room: Semaphore,
}

/// All who call.
pub struct Guests {
    room: usize,
    known: Mutex<HashMap<IpAddr, Weak<Guest>>>,
}

impl Guests {
    /// Nobody yet; each will have so many bytes of room.
    pub fn new(room: usize) -> Self {
        Self { room, known: Mutex::default() }
    }

    /// The guest of an address; forgotten when nobody holds it any more.
    pub fn from(&self, address: IpAddr) -> Arc<Guest> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(guest) = known.get(&address).and_then(Weak::upgrade) {
            return guest;
        }
        known.retain(|_, guest| guest.strong_count() > 0);
        let guest =
            Arc::new(Guest { connections: Arc::new(Semaphore::new(CONNECTIONS)), room: Semaphore::new(self.room) });
        known.insert(address, Arc::downgrade(&guest));
        guest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_its_own_limits_and_is_forgotten() {
        let guests = Guests::new(1);
        let at = |text: &str| guests.from(text.parse().unwrap());
        let one = at("10.0.0.1");
        let _place = one.connections.try_acquire_many(u32::try_from(CONNECTIONS).unwrap()).unwrap();
        assert!(at("10.0.0.1").connections.try_acquire().is_err());
        assert!(at("10.0.0.2").connections.try_acquire().is_ok());
        drop(at("10.0.0.3"));
        assert_eq!(guests.known.lock().unwrap().len(), 2, "who is gone is forgotten with the next who is new");
    }
}
