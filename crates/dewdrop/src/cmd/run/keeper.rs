//! Renews the session and its leases while the program runs. A server that is down is waited for, with growing pauses;
//! nothing is ever made anew.

use std::time::Duration;

use dewdrop_api::{Backoff, Call, Client, Error};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::mint::Minted;
use super::session::{PATIENCE, Session, granted, renewal};
use super::tell;
use crate::duration::human;

/// The task that renews. Stopped, or dropped, it renews no more.
pub struct Keeper {
    task: JoinHandle<()>,
}

/// Something to renew.
struct Item {
    what: What,
    client: Client,
    name: String,
    /// Seconds we ask for; 0 leaves it to the server.
    wanted: u64,
    /// When to renew it next.
    due: Instant,
    backoff: Backoff,
    /// Whether the last try failed, and was told.
    troubled: bool,
    /// Whether it was told that its end is near.
    ending: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    Session,
    Parent,
    Lease(String),
}

/// What a try came to.
enum Try {
    Renewed(u64),
    Later(Error),
    Never(Error),
}

impl Keeper {
    /// Begins to renew. The receiver hears once when the server has ended the session.
    pub fn start(session: &Session, minted: &[Minted]) -> (Self, mpsc::Receiver<()>) {
        let (lost, hears) = mpsc::channel(1);
        let items = items(session, minted);
        (Self { task: tokio::spawn(keep(items, lost)) }, hears)
    }

    /// Stops renewing. A renewal under way is given up; the session is about to be revoked.
    pub async fn stop(&mut self) {
        self.task.abort();
        // Aborted or ended: either is what we want.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn items(session: &Session, minted: &[Minted]) -> Vec<Item> {
    let mut items = Vec::new();
    let client = session.client().with_retries(0);
    if session.is_own() && session.granted > 0 {
        items.push(Item::new(What::Session, client.clone(), "the session", session.wanted, session.granted));
    }
    if let Some((parent, ttl)) = &session.parent {
        items.push(Item::new(What::Parent, parent.clone(), "the token in force", 0, *ttl));
    }
    for one in minted.iter().filter(|m| m.renewable && !m.lease_id.is_empty() && m.lease_duration > 0) {
        items.push(Item::new(
            What::Lease(one.lease_id.clone()),
            client.clone(),
            &one.spec.path,
            one.lease_duration,
            one.lease_duration,
        ));
    }
    items
}

async fn keep(mut items: Vec<Item>, lost: mpsc::Sender<()>) {
    while let Some(at) = (0..items.len()).min_by_key(|at| items[*at].due) {
        tokio::time::sleep_until(items[at].due).await;
        let outcome = items[at].renew().await;
        if items[at].settle(outcome) {
            continue;
        }
        let gone = items.swap_remove(at);
        if gone.what == What::Session {
            // All leases hang on it: there is nothing left to renew.
            // A main task that no longer listens is about to end the session anyway.
            let _ = lost.send(()).await;
            return;
        }
    }
    // Nothing to renew; the channel stays open, so that nobody takes its end for a loss.
    std::future::pending::<()>().await;
}

// === impl Item ===

impl Item {
    fn new(what: What, client: Client, name: &str, wanted: u64, granted: u64) -> Self {
        let ceiling = Duration::from_secs((granted / 6).clamp(1, 30));
        let seed = u64::from(std::process::id()) ^ (name.len() as u64) << 32;
        let backoff = Backoff::new(Duration::from_millis(250), ceiling, seed);
        let mut item = Self {
            what,
            client,
            name: name.to_owned(),
            wanted,
            due: Instant::now(),
            backoff,
            troubled: false,
            ending: false,
        };
        item.due += item.pause(granted);
        item
    }

    /// A third of the time that was granted: two tries may fail.
    fn pause(&self, granted: u64) -> Duration {
        Duration::from_secs(granted).div_f64(3.0).clamp(Duration::from_millis(500), Duration::from_secs(3600))
    }

    async fn renew(&self) -> Try {
        let call = match &self.what {
            What::Session => renewal(self.wanted),
            What::Parent => Call::write("auth/token/renew-self", &json!({})).map(|c| c.patient(PATIENCE)),
            What::Lease(id) => Call::write("sys/leases/renew", &json!({"lease_id": id, "increment": self.wanted}))
                .map(|c| c.patient(PATIENCE)),
        };
        let call = match call {
            Ok(call) => call,
            Err(e) => return Try::Never(e),
        };
        match self.client.call(call).await {
            Ok(reply) => granted(reply.as_ref()).map_or(Try::Renewed(self.wanted), Try::Renewed),
            Err(e) if e.is_passing() => Try::Later(e),
            Err(e) => Try::Never(e),
        }
    }

    /// Takes note of a try, and says whether there will be another.
    fn settle(&mut self, outcome: Try) -> bool {
        match outcome {
            Try::Renewed(seconds) => {
                if std::mem::take(&mut self.troubled) {
                    tell(&format!("{} is renewed again", self.name));
                }
                self.backoff.reset();
                self.due = Instant::now() + self.pause(seconds);
                if self.wanted > 0 && seconds < self.wanted / 2 && !std::mem::replace(&mut self.ending, true) {
                    let end = human(i64::try_from(seconds).unwrap_or(i64::MAX));
                    tell(&format!(
                        "{} reaches its longest life: it ends in {end}. Start the program anew before that",
                        self.name
                    ));
                }
                true
            }
            Try::Later(e) => {
                if !std::mem::replace(&mut self.troubled, true) {
                    tell(&format!(
                        "{} cannot be renewed just now ({}); the program keeps running, and it is tried again",
                        self.name,
                        brief(&e)
                    ));
                }
                self.due = Instant::now() + self.backoff.wait();
                true
            }
            Try::Never(e) => {
                tell(&format!("{} cannot be renewed any more: {}", self.name, brief(&e)));
                false
            }
        }
    }
}

/// An error in one line.
fn brief(error: &Error) -> String {
    match error {
        Error::Api(api) => format!("status {}: {}", api.status, api.errors.join("; ")),
        other => other.to_string(),
    }
}
