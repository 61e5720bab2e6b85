//! Requests that wait for a second factor, in memory. Each is for what it was opened for and for nothing else, and whoever
//! takes one holds it alone.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use dewdrop_core::call::Login;
use dewdrop_core::{Fault, Moment};
use parking_lot::Mutex;

use super::ask::Challenges;
use super::desk::Desk;
use crate::ids;

/// How long one waits.
const LIFE: Duration = Duration::from_secs(5 * 60);
/// Of all; then the oldest is forgotten.
const MOST: usize = 10_000;
/// Of one person at one mount: who knows a password does not push others out.
const MOST_OF_ONE: usize = 10;
/// Refusals until the person must begin anew.
const TRIES: u8 = 10;

/// All requests that wait.
#[derive(Default)]
pub struct Waiting {
    open: Mutex<HashMap<String, Held>>,
    /// Those that a browser is to answer.
    pub desk: Desk,
}

/// A request that waits.
pub struct Held {
    who: String,
    since: Moment,
    tries: u8,
    /// What keys were asked to sign for this request.
    pub challenges: Challenges,
    /// What for.
    pub what: What,
}

/// What a request waits for.
pub enum What {
    /// The token of a login.
    Login(Box<LoginHeld>),
    /// A token, by its accessor, that shall remember a second factor.
    StepUp {
        /// Whose.
        accessor: String,
    },
}

/// A login that succeeded but for its second factor.
pub struct LoginHeld {
    /// Uuid of the mount.
    pub mount: String,
    /// Id of its namespace.
    pub namespace: String,
    /// The path below the mount.
    pub below: String,
    /// What the auth method answered.
    pub login: Login,
    /// Where the login came from: bounds of the token are made of this.
    pub address: Option<IpAddr>,
}

impl Held {
    fn is_over(&self, now: Moment) -> bool {
        now.since(self.since) >= LIFE
    }
}

impl Waiting {
    /// A new one; its id.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub fn add(&self, who: &str, what: What, now: Moment) -> Result<String, Fault> {
        let id = ids::uuid()?;
        let mut open = self.open.lock();
        if open.len() >= MOST {
            open.retain(|_, held| !held.is_over(now));
        }
        forget_oldest(&mut open, MOST, |_| true);
        forget_oldest(&mut open, MOST_OF_ONE, |held| held.who == who);
        open.insert(
            id.clone(),
            Held { who: who.to_owned(), since: now, tries: 0, challenges: Challenges::new(), what },
        );
        Ok(id)
    }

    /// Takes one out, when it is what is looked for: from here on nobody else can.
    #[must_use]
    pub fn take(&self, id: &str, now: Moment, is_it: impl Fn(&What) -> bool) -> Option<Held> {
        let mut open = self.open.lock();
        let held = open.get(id).filter(|held| !held.is_over(now) && is_it(&held.what)).is_some();
        if held { open.remove(id) } else { None }
    }

    /// Puts one back whose keys have just been asked.
    pub fn put_back_asked(&self, id: &str, held: Held) {
        self.open.lock().insert(id.to_owned(), held);
    }

    /// Puts one back after a refusal, unless there were too many.
    pub fn put_back(&self, id: &str, mut held: Held) {
        held.tries += 1;
        if held.tries < TRIES {
            self.open.lock().insert(id.to_owned(), held);
        }
    }
}

/// Makes room for one more of a kind.
fn forget_oldest(open: &mut HashMap<String, Held>, most: usize, of: impl Fn(&Held) -> bool) {
    let mut kind: Vec<(Moment, &String)> =
        open.iter().filter(|(_, held)| of(held)).map(|(id, held)| (held.since, id)).collect();
    if kind.len() < most {
        return;
    }
    kind.sort();
    let gone: Vec<String> = kind.iter().take(kind.len() + 1 - most).map(|(_, id)| (*id).clone()).collect();
    for id in gone {
        open.remove(&id);
    }
}
