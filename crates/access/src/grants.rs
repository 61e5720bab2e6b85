//! The grants that run now, as the server told them last. Nothing is allowed by a list that is too old.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use dewdrop_core::access::Scope;
use dewdrop_core::{Clock, Moment};
use serde::{Deserialize, Deserializer};
use tokio_util::sync::CancellationToken;

/// A list that is older than this allows nothing, and what it allowed is cut: a revocation could be unknown.
pub const STALE: Duration = Duration::from_secs(10);

/// A grant.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Grant {
    /// Its name.
    pub id: String,
    /// The person, as the API server calls him.
    pub user: String,
    /// Groups of the person towards the API server.
    #[serde(default)]
    pub groups: Vec<String>,
    /// The role that it was asked by.
    pub role: String,
    /// Why it was asked.
    #[serde(default)]
    pub reason: String,
    /// Who approved it.
    #[serde(default)]
    pub approvers: Vec<String>,
    /// What it allows.
    pub scope: Scope,
    /// Whether exec and attach are recorded, and cut when that is not possible.
    #[serde(default = "yes")]
    pub record_sessions: bool,
    /// Its end.
    #[serde(deserialize_with = "moment")]
    pub ends_at: Moment,
}

/// A grant, and the bell that rings at its end.
#[derive(Debug)]
pub struct Live {
    /// The grant.
    pub grant: Grant,
    /// Cancelled when it ends, however it ends.
    pub over: CancellationToken,
}

/// Why there is no grant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Miss {
    /// The server was not heard for too long.
    #[error("the access proxy cannot reach its server, and allows nothing meanwhile")]
    Stale,
    /// It ended, was revoked, or there never was one.
    #[error("this grant has ended or was revoked; ask again with `dewdrop access request`")]
    None,
}

/// All of them.
pub struct Grants {
    clock: Arc<dyn Clock>,
    live: ArcSwap<HashMap<String, Arc<Live>>>,
    /// When the server was heard last, in milliseconds of the steady clock; zero: never.
    heard: AtomicU64,
}

// === impl Grants ===

impl Grants {
    /// None yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, live: ArcSwap::default(), heard: AtomicU64::new(0) }
    }

    /// A grant that runs now.
    ///
    /// # Errors
    /// There is none, or it cannot be known.
    pub fn find(&self, id: &str) -> Result<Arc<Live>, Miss> {
        if self.is_stale() {
            return Err(Miss::Stale);
        }
        let found = self.live.load().get(id).cloned();
        let now = self.clock.now();
        found.filter(|live| now < live.grant.ends_at && !live.over.is_cancelled()).ok_or(Miss::None)
    }

    /// What the server says. Those that it does not name any more, or names otherwise than before, end; a later end alone
    /// changes nothing for what is open.
    pub fn take(&self, grants: Vec<Grant>) {
        let old = self.live.load_full();
        let mut new = HashMap::with_capacity(grants.len());
        for grant in grants {
            let kept = old.get(&grant.id).filter(|live| is_same(&live.grant, &grant) && !live.over.is_cancelled());
            let over = kept.map_or_else(CancellationToken::new, |live| live.over.clone());
            new.insert(grant.id.clone(), Arc::new(Live { grant, over }));
        }
        for (id, live) in old.iter() {
            if !new.get(id).is_some_and(|now| is_same(&now.grant, &live.grant)) {
                live.over.cancel();
            }
        }
        self.live.store(Arc::new(new));
        let now = u64::try_from(self.clock.steady().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now.saturating_add(1), Ordering::Relaxed);
    }

    /// Rings for what has ended meanwhile; to be called often.
    pub fn look(&self) {
        let (now, stale) = (self.clock.now(), self.is_stale());
        for live in self.live.load().values().filter(|live| stale || now >= live.grant.ends_at) {
            live.over.cancel();
        }
    }

    /// Whether the server was not heard for too long.
    #[must_use]
    pub fn is_stale(&self) -> bool {
        let heard = self.heard.load(Ordering::Relaxed);
        let now = u64::try_from(self.clock.steady().as_millis()).unwrap_or(u64::MAX);
        heard == 0 || Duration::from_millis(now.saturating_sub(heard)) >= STALE
    }
}

/// The end aside.
fn is_same(one: &Grant, other: &Grant) -> bool {
    Grant { ends_at: other.ends_at, ..one.clone() } == *other
}

fn yes() -> bool {
    true
}

fn moment<'de, D: Deserializer<'de>>(input: D) -> Result<Moment, D::Error> {
    let text = String::deserialize(input)?;
    Moment::parse_rfc3339(&text).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use dewdrop_core::FakeClock;

    use super::*;

    const START: Moment = Moment(1_767_225_600_000);

    fn grant(id: &str, minutes: u64) -> Grant {
        let ends_at = START.plus(Duration::from_secs(60 * minutes)).rfc3339();
        serde_json::from_value(serde_json::json!({
            "id": id, "user": "ann", "role": "look", "ends_at": ends_at, "groups": [],
            "scope": { "clusters": ["prod"], "namespaces": ["shop"], "rules": [] },
        }))
        .unwrap()
    }

    fn grants() -> (Arc<FakeClock>, Grants) {
        let clock = FakeClock::at(START);
        (clock.clone(), Grants::new(clock))
    }

    #[test]
    fn before_the_server_was_heard_nothing_is_allowed() {
        let (_, grants) = grants();
        assert_eq!(grants.find("a").unwrap_err(), Miss::Stale);
        grants.take(vec![grant("a", 5)]);
        assert_eq!(grants.find("a").unwrap().grant.user, "ann");
        assert_eq!(grants.find("b").unwrap_err(), Miss::None);
    }

    #[test]
    fn an_old_list_allows_nothing_and_cuts_what_it_allowed() {
        let (clock, grants) = grants();
        grants.take(vec![grant("a", 5)]);
        let open = grants.find("a").unwrap();
        clock.advance(STALE / 2);
        grants.take(vec![grant("a", 5)]);
        clock.advance(STALE / 2);
        grants.look();
        assert!(!open.over.is_cancelled());
        clock.advance(STALE);
        assert_eq!(grants.find("a").unwrap_err(), Miss::Stale);
        grants.look();
        assert!(open.over.is_cancelled());
        grants.take(vec![grant("a", 5)]);
        assert!(!grants.find("a").unwrap().over.is_cancelled(), "and it goes on when the server is back");
    }

    #[test]
    fn what_is_not_named_any_more_ends() {
        let (_, grants) = grants();
        grants.take(vec![grant("a", 5), grant("b", 5)]);
        let (a, b) = (grants.find("a").unwrap(), grants.find("b").unwrap());
        grants.take(vec![grant("b", 5)]);
        assert!(a.over.is_cancelled() && !b.over.is_cancelled());
        assert_eq!(grants.find("a").unwrap_err(), Miss::None);
        let mut narrower = grant("b", 5);
        narrower.scope.namespaces.clear();
        grants.take(vec![narrower]);
        assert!(b.over.is_cancelled(), "what was opened by wider rules is cut");
        assert!(!grants.find("b").unwrap().over.is_cancelled());
    }

    #[test]
    fn the_end_is_the_end_and_a_later_one_is_later() {
        let (clock, grants) = grants();
        grants.take(vec![grant("a", 5)]);
        let open = grants.find("a").unwrap();
        grants.take(vec![grant("a", 7)]);
        clock.advance(Duration::from_secs(6 * 60));
        grants.take(vec![grant("a", 7)]);
        grants.look();
        assert!(!open.over.is_cancelled() && grants.find("a").is_ok());
        clock.advance(Duration::from_secs(60));
        grants.take(vec![grant("a", 7)]);
        assert_eq!(grants.find("a").unwrap_err(), Miss::None);
        grants.look();
        assert!(open.over.is_cancelled());
    }
}
