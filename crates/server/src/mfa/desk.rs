//! Where a terminal and a browser of the same person meet. The terminal's request (a challenge, a registration) is put down
//! here, the browser fetches it by a code that serves once, and what the key answered lies here until the terminal fetches
//! it. Nothing here is decided: whoever opened the request must still bring the answer to it.
//!
//! Who knows somebody's password could begin a sign-in and send the address to that person. So the browser must come from
//! the address from which the terminal asked, unless the method says otherwise, and the page tells who asked from where.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use dewdrop_core::engine::{BrowserAct, BrowserAsk, BrowserTicket};
use dewdrop_core::secret::same_bytes;
use dewdrop_core::{Fault, Moment};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::ids;

/// The page.
pub const PAGE: &str = "/ui/mfa";
/// How long a browser may take: a challenge holds no longer.
const TO_ANSWER: Duration = Duration::from_secs(120);
const TO_REGISTER: Duration = Duration::from_secs(300);
/// Of all, and of one person.
const MOST: usize = 10_000;
const MOST_OF_ONE: usize = 10;
/// Letters of a name, and of a secret (178 bits).
const NAME: usize = 12;
const SECRET: usize = 30;
/// Of what a key answers.
const LONGEST_ANSWER: usize = 16 * 1024;

/// All requests for browsers, by their names.
#[derive(Default)]
pub struct Desk(Mutex<HashMap<String, Lying>>);

struct Lying {
    ask: BrowserAsk,
    until: Moment,
    ticket: String,
    stage: Stage,
}

enum Stage {
    /// For the browser that brings this code.
    Closed(String),
    /// For the page that has this secret.
    Opened(String),
    Answered(Value),
    Failed(String),
}

/// Where a caller is in the world, and when.
#[derive(Clone, Copy)]
pub struct Seen {
    /// After the rules for proxies.
    pub address: Option<IpAddr>,
    /// When.
    pub now: Moment,
}

/// What a page says of the end.
pub enum End {
    /// The key answered.
    Answer(Value),
    /// It did not, and why.
    Failed(String),
}

impl Desk {
    /// Puts a request down.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub fn open(&self, ask: BrowserAsk, now: Moment) -> Result<BrowserTicket, Fault> {
        let life = match ask.act {
            BrowserAct::Register => TO_REGISTER,
            BrowserAct::Answer => TO_ANSWER,
        };
        let (name, code, ticket) = (ids::base62(NAME)?, ids::base62(SECRET)?, ids::base62(SECRET)?);
        let told = BrowserTicket {
            path: PAGE,
            origins: ask.bounds.origins.clone(),
            code: format!("{name}{code}"),
            ticket: format!("{name}{ticket}"),
            life,
        };
        let mut lying = self.0.lock();
        lying.retain(|_, one| one.until > now);
        make_room(&mut lying, MOST, |_| true);
        make_room(&mut lying, MOST_OF_ONE, |one| one.ask.who == ask.who);
        lying.insert(name, Lying { ask, until: now.plus(life), ticket, stage: Stage::Closed(code) });
        Ok(told)
    }

    /// A page fetches what is to be done. The code serves once, whatever comes of it.
    ///
    /// # Errors
    /// 400: no such code; 403: from another address.
    pub fn take(&self, code: &str, seen: Seen) -> Result<Value, Fault> {
        let page = ids::base62(SECRET)?;
        let (name, secret) = parted(code);
        let mut lying = self.0.lock();
        let one = lying.get_mut(name).filter(|one| one.until > seen.now).ok_or_else(used)?;
        match &one.stage {
            Stage::Closed(code) if same_bytes(code.as_bytes(), secret.as_bytes()) => {}
            _ => return Err(used()),
        }
        if !one.is_from(seen) {
            one.stage = Stage::Failed("the page was opened from another network address than the terminal's".into());
            return Err(elsewhere());
        }
        let told = json!({
            "act": match one.ask.act { BrowserAct::Register => "register", BrowserAct::Answer => "answer" },
            "options": one.ask.options,
            "who": one.ask.who,
            "address": one.ask.address.map(|address| address.to_string()),
            "page": format!("{name}{page}"),
        });
        one.stage = Stage::Opened(page);
        Ok(told)
    }

    /// A page brings what the key answered.
    ///
    /// # Errors
    /// 400: no such page, or too much of it; 403: from another address.
    pub fn answer(&self, page: &str, end: End, seen: Seen) -> Result<(), Fault> {
        let (name, secret) = parted(page);
        let mut lying = self.0.lock();
        let one = lying.get_mut(name).filter(|one| one.until > seen.now).ok_or_else(used)?;
        match &one.stage {
            Stage::Opened(page) if same_bytes(page.as_bytes(), secret.as_bytes()) => {}
            _ => return Err(used()),
        }
        if !one.is_from(seen) {
            return Err(elsewhere());
        }
        one.stage = match end {
            End::Answer(answer) if answer.is_object() && answer.to_string().len() <= LONGEST_ANSWER => {
                Stage::Answered(answer)
            }
            End::Answer(_) => return Err(Fault::bad_request("answer must be the answer of a key, as a JSON object")),
            End::Failed(why) => Stage::Failed(shown(&why)),
        };
        Ok(())
    }

    /// The terminal asks how far it is. What has ended is told once.
    ///
    /// # Errors
    /// 400: no such ticket.
    pub fn poll(&self, ticket: &str, now: Moment) -> Result<Value, Fault> {
        let (name, secret) = parted(ticket);
        let mut lying = self.0.lock();
        let is_it = |one: &&Lying| one.until > now && same_bytes(one.ticket.as_bytes(), secret.as_bytes());
        let told = match &lying.get(name).filter(is_it).ok_or_else(used)?.stage {
            Stage::Closed(_) => return Ok(json!({ "state": "waiting" })),
            Stage::Opened(_) => return Ok(json!({ "state": "opened" })),
            Stage::Answered(answer) => json!({ "state": "answered", "answer": answer }),
            Stage::Failed(why) => json!({ "state": "failed", "failed": why }),
        };
        lying.remove(name);
        Ok(told)
    }
}

impl Lying {
    fn is_from(&self, seen: Seen) -> bool {
        !self.ask.bounds.same_address || self.ask.address == seen.address
    }
}

fn make_room(lying: &mut HashMap<String, Lying>, most: usize, of: impl Fn(&Lying) -> bool) {
    let kind = lying.iter().filter(|(_, one)| of(one));
    if kind.clone().count() < most {
        return;
    }
    if let Some(oldest) = kind.min_by_key(|(_, one)| one.until).map(|(name, _)| name.clone()) {
        lying.remove(&oldest);
    }
}

/// A code's name and its secret.
fn parted(code: &str) -> (&str, &str) {
    code.split_at_checked(NAME).unwrap_or(("", ""))
}

/// What a page says of a failure goes to a terminal: plain letters, and not many.
fn shown(why: &str) -> String {
    let plain = |letter: &char| letter.is_ascii_alphanumeric() || " .,:-'()".contains(*letter);
    why.chars().filter(plain).take(120).collect()
}

fn used() -> Fault {
    Fault::bad_request("this address was used already, or it is too old: begin anew in your terminal")
}

fn elsewhere() -> Fault {
    Fault::denied_saying(
        "this was begun from another network address than that of this browser, so it is refused. If somebody sent you the \
         address of this page, he may be trying to sign in as you. If your terminal is on another machine than your browser: \
         an administrator can set same_address=false on the method",
    )
}
