//! Locking users out after failed logins: of methods where a name comes with a secret (userpass, AppRole).
//!
//! Failures are counted in memory, in each server for itself; a lock is written to the store as well, so a restart does
//! not open it. Names that nobody has are counted and locked just as real ones: the answers do not tell them apart.
//! Both are bounded: of counts the least used are forgotten, of locks at most [`MOST_LOCKS`] are kept, the first to end
//! going first.

use std::collections::BTreeMap;
use std::time::Duration;

use dewdrop_core::call::{Outcome, Reply};
use dewdrop_core::mount::{Mount, MountClass, UserLockout};
use dewdrop_core::store::{Batch, SharedStore, decode, scan_all};
use dewdrop_core::{Fault, Kind, Moment};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config::Lockout;
use crate::vault::quotas::Bounded;

const PREFIX: &str = "lockout/";
/// Locks that are kept at a time.
pub const MOST_LOCKS: usize = 20_000;
/// Where neither the mount nor the configuration says otherwise.
const DEFAULT: UserLockout = UserLockout {
    threshold: 5,
    duration: Duration::from_secs(15 * 60),
    counter_reset: Duration::from_secs(15 * 60),
    disable: false,
};

/// What the configuration says, with the gaps filled: of a method by what it says for all, of that by the defaults.
#[must_use]
pub fn configured(config: &BTreeMap<String, Lockout>) -> BTreeMap<String, UserLockout> {
    let filled = |given: &Lockout, rest: &UserLockout| UserLockout {
        threshold: given.threshold.map_or(rest.threshold, u64::from),
        duration: given.duration.unwrap_or(rest.duration),
        counter_reset: given.reset.unwrap_or(rest.counter_reset),
        disable: given.disabled.unwrap_or(rest.disable),
    };
    let all = config.get("all").map_or(DEFAULT, |all| filled(all, &DEFAULT));
    config.iter().map(|(method, given)| (method.clone(), filled(given, &all))).collect()
}

/// Who failed, and who is locked out.
pub struct Lockouts {
    store: SharedStore,
    /// By auth method, and `all`: what the configuration says.
    configured: BTreeMap<String, UserLockout>,
    failures: Bounded<User, Failures>,
    locks: Mutex<BTreeMap<User, Moment>>,
}

/// A name at a mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct User {
    /// Uuid of the mount.
    mount: String,
    name: String,
}

#[derive(Debug, Default)]
struct Failures {
    count: u64,
    last: Moment,
}

#[derive(Serialize, Deserialize)]
struct Lock {
    until: Moment,
}

/// A login that is under way.
pub struct Attempt {
    user: User,
    policy: UserLockout,
    now: Moment,
}

impl Lockouts {
    /// Reads the locks from the store; those that are over are removed.
    ///
    /// # Errors
    /// The store's.
    pub async fn load(
        store: SharedStore,
        configured: BTreeMap<String, UserLockout>,
        now: Moment,
    ) -> Result<Self, Fault> {
        let mut locks = BTreeMap::new();
        for row in scan_all(&*store, PREFIX.as_bytes(), 1000).await? {
            let lock: Lock = decode(&row.key, &row.entry)?;
            match user_of(&row.key).filter(|_| lock.until > now) {
                Some(user) => drop(locks.insert(user, lock.until)),
                None => drop(store.commit(Batch::new().delete(row.key)).await?),
            }
        }
        Ok(Self { store, configured, failures: Bounded::default(), locks: Mutex::new(locks) })
    }

    /// Before a login: whether the name that it gives is locked out. `None`: nothing is counted here. `path` is below the
    /// mount.
    ///
    /// # Errors
    /// 403: it is.
    pub fn attempt(
        &self,
        mount: &Mount,
        path: &str,
        fields: &Map<String, Value>,
        now: Moment,
    ) -> Result<Option<Attempt>, Fault> {
        if mount.class != MountClass::Auth {
            return Ok(None);
        }
        let Some(name) = dewdrop_auth::login_name(&mount.kind, path, fields) else { return Ok(None) };
        let policy = self.policy(mount);
        if policy.disable || policy.threshold == 0 {
            return Ok(None);
        }
        let attempt = Attempt { user: User { mount: mount.uuid.clone(), name }, policy, now };
        if self.is_locked(&attempt) {
            return Err(locked());
        }
        Ok(Some(attempt))
    }

    /// After it: counts a failure, forgets all failures after a success. Of many logins at the same time those that end
    /// after the lock are refused, whatever they found out.
    ///
    /// # Errors
    /// The login's own; 403: the name was locked meanwhile; the store's.
    pub async fn conclude(&self, attempt: Attempt, outcome: Result<Reply, Fault>) -> Result<Reply, Fault> {
        let wrong = matches!(&outcome, Err(fault) if fault.kind == Kind::BadCredential);
        let right = matches!(&outcome, Ok(reply) if matches!(reply.outcome, Outcome::Login(_)));
        if (wrong || right) && self.is_locked(&attempt) {
            return Err(locked());
        }
        if right {
            self.failures.remove(&attempt.user);
        }
        if wrong && self.count(&attempt) {
            self.lock(attempt).await?;
        }
        outcome
    }

    /// The names that are locked out at a mount (by uuid), sorted.
    #[must_use]
    pub fn locked_at(&self, mount: &str, now: Moment) -> Vec<String> {
        let first = User { mount: mount.to_owned(), name: String::new() };
        let locks = self.locks.lock();
        let at_mount = locks.range(first..).take_while(|(user, _)| user.mount == mount);
        at_mount.filter(|(_, until)| **until > now).map(|(user, _)| user.name.clone()).collect()
    }

    /// Opens a lock, and forgets the failures. Not locked is fine.
    ///
    /// # Errors
    /// The store's.
    pub async fn unlock(&self, mount: &str, name: &str) -> Result<(), Fault> {
        let user = User { mount: mount.to_owned(), name: name.to_owned() };
        self.store.commit(Batch::new().delete(key(&user))).await?;
        self.failures.remove(&user);
        self.locks.lock().remove(&user);
        Ok(())
    }

    /// What holds for a mount: its own tuning, the configuration for its kind, that for all, the default.
    fn policy(&self, mount: &Mount) -> UserLockout {
        let rest = self.configured.get(&mount.kind).or_else(|| self.configured.get("all")).cloned().unwrap_or(DEFAULT);
        let Some(own) = &mount.tune.user_lockout else { return rest };
        let set = |own: Duration, rest: Duration| if own.is_zero() { rest } else { own };
        UserLockout {
            threshold: if own.threshold == 0 { rest.threshold } else { own.threshold },
            duration: set(own.duration, rest.duration),
            counter_reset: set(own.counter_reset, rest.counter_reset),
            disable: own.disable,
        }
    }

    /// A lock is never longer than the policy of now says, whatever became of the clock.
    fn is_locked(&self, attempt: &Attempt) -> bool {
        let mut locks = self.locks.lock();
        let Some(until) = locks.get_mut(&attempt.user) else { return false };
        *until = (*until).min(attempt.now.plus(attempt.policy.duration));
        *until > attempt.now
    }

    /// Counts a failure; `true`: it was one too many.
    fn count(&self, attempt: &Attempt) -> bool {
        self.failures.with(&attempt.user, |failures| {
            if attempt.now.since(failures.last) > attempt.policy.counter_reset {
                failures.count = 0;
            }
            failures.count += 1;
            failures.last = attempt.now;
            failures.count >= attempt.policy.threshold
        })
    }

    async fn lock(&self, attempt: Attempt) -> Result<(), Fault> {
        let Attempt { user, policy, now } = attempt;
        let until = now.plus(policy.duration);
        // In memory first: from here on nobody gets in.
        let forgotten = {
            let mut locks = self.locks.lock();
            locks.insert(user.clone(), until);
            make_room(&mut locks, now)
        };
        self.failures.remove(&user);
        tracing::warn!(
            mount = user.mount,
            until = until.rfc3339(),
            "a user is locked out after too many failed logins"
        );
        let mut batch = Batch::new().put_json(key(&user), &Lock { until })?;
        for old in forgotten.iter().take(100) {
            batch = batch.delete(key(old));
        }
        self.store.commit(batch).await?;
        Ok(())
    }
}

/// Takes away the locks that are over, and then those that end first, when there are too many.
fn make_room(locks: &mut BTreeMap<User, Moment>, now: Moment) -> Vec<User> {
    if locks.len() <= MOST_LOCKS {
        return Vec::new();
    }
    let mut by_end: Vec<(Moment, User)> = locks.iter().map(|(user, until)| (*until, user.clone())).collect();
    by_end.sort();
    let over = by_end.iter().take_while(|(until, _)| *until <= now).count();
    // Some at a time, so that the next locks find room without this work.
    let gone: Vec<User> = by_end.into_iter().take(over.max(100)).map(|(_, user)| user).collect();
    for user in &gone {
        locks.remove(user);
    }
    gone
}

/// A stranger hears no more than that.
fn locked() -> Fault {
    Fault::denied("the user is locked out after too many failed logins: wait, or unlock at sys/locked-users")
}

/// A name may hold anything, so it is in hex.
fn key(user: &User) -> Vec<u8> {
    format!("{PREFIX}{}/{}", user.mount, hex::encode(&user.name)).into_bytes()
}

fn user_of(key: &[u8]) -> Option<User> {
    let rest = std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?;
    let (mount, name) = rest.split_once('/')?;
    let name = String::from_utf8(hex::decode(name).ok()?).ok()?;
    Some(User { mount: mount.to_owned(), name })
}

#[cfg(test)]
mod tests;
