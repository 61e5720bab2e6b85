//! What must be true after a kill.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::load::{Notes, User, Written};
use super::stage::{SHORT, Stage};
use crate::parts::output_of;
use crate::say;

/// What a lease may take to be gone. One whose user is not in PostgreSQL after a kill stays for 35 s, in which PostgreSQL
/// might still run what the dead server had sent, and then until the next try of its back-off: at most 64 s after the kill.
const GRACE: Duration = Duration::from_secs(90);
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// Everything that was acknowledged and is not checked for good.
#[derive(Default)]
pub struct Expected {
    keys: BTreeMap<String, Written>,
    tokens: Vec<String>,
    ended_tokens: Vec<String>,
    users: Vec<User>,
    ended_users: Vec<User>,
}

impl Expected {
    /// Users of long life, to be revoked in the next round.
    pub fn users_to_end(&mut self) -> Vec<User> {
        std::mem::take(&mut self.users)
    }

    /// Takes over what the clients saw in one round. Tokens are checked once.
    pub fn learn(&mut self, all: Vec<Notes>) {
        (self.tokens, self.ended_tokens, self.ended_users) = Default::default();
        for notes in all {
            for (key, now) in notes.keys {
                let entry = self.keys.entry(key).or_default();
                entry.acknowledged = now.acknowledged.or(entry.acknowledged);
                entry.tried = now.tried;
            }
            self.tokens.extend(notes.tokens);
            self.ended_tokens.extend(notes.ended_tokens);
            self.ended_users.extend(notes.ended_users);
            self.users.extend(notes.users.into_iter().filter(|user| user.lease.contains("/long/")));
        }
    }
}

/// Everything that was acknowledged is so.
pub fn acknowledged(stage: &Stage, expected: &mut Expected) -> Result<Vec<String>> {
    let mut problems = keys(stage, expected)?;
    let root = stage.vault.caller();
    for (tokens, wanted, what) in [(&expected.tokens, 200, "handed out"), (&expected.ended_tokens, 403, "revoked")] {
        for token in tokens {
            let own = root.with_token(token);
            let (status, _) = own.send("GET", "auth/token/lookup-self", None)?;
            if status != wanted {
                problems.push(format!("a token was {what} and acknowledged, and now answers {status}"));
            }
        }
    }
    let leases: BTreeSet<String> = stage.leases("long")?.into_iter().collect();
    let users: BTreeSet<String> = stage.users("long")?.into_iter().collect();
    for user in &expected.users {
        let has_lease = leases.contains(user.lease.rsplit('/').next().unwrap_or_default());
        let has_user = users.contains(&user.name);
        if !has_lease || !has_user {
            problems.push(format!("{} was handed out; lease: {has_lease}, user in PostgreSQL: {has_user}", user.name));
        }
    }
    for user in expected.ended_users.iter().filter(|user| users.contains(&user.name)) {
        problems.push(format!("{} was revoked and acknowledged, and is still in PostgreSQL", user.name));
    }
    Ok(problems)
}

fn keys(stage: &Stage, expected: &mut Expected) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let client = stage.client();
    for (path, written) in &mut expected.keys {
        let (status, answer) = client.send("GET", path, None)?;
        let found = answer.pointer("/data/data/value").and_then(serde_json::Value::as_u64);
        let none_is_fine = written.acknowledged.is_none() && status == 404;
        let is_known = found.is_some() && (found == written.acknowledged || found == written.tried);
        if !is_known && !none_is_fine {
            problems.push(format!(
                "{path} answers {status} with {found:?}; acknowledged was {:?}, tried {:?}",
                written.acknowledged, written.tried
            ));
        }
        *written = Written { acknowledged: found, tried: None };
    }
    Ok(problems)
}

/// Short leases end by themselves, and their users with them; no user of long life is without a lease.
pub fn settled(stage: &Stage) -> Result<Vec<String>> {
    let mut problems = Vec::new();
    let limit = Duration::from_secs(SHORT) + GRACE;
    let clock = say::Stopwatch::start();
    if wait(limit, || Ok(stage.users("short")?.is_empty()))? {
        let users = say::time(clock.elapsed());
        wait(limit, || Ok(stage.leases("short")?.is_empty()))?;
        let leases = say::time(clock.elapsed());
        say::line(&format!(
            "users of {SHORT} s were all gone {users} after the last kill, their leases after {leases}"
        ));
    }
    if !(stage.leases("short")?.is_empty() && stage.users("short")?.is_empty()) {
        let (leases, users) = (stage.leases("short")?, stage.users("short")?);
        problems.push(format!(
            "after {} there are {} leases of {SHORT} s (e.g. {:?}) and {} of their users (e.g. {:?})",
            say::time(limit),
            leases.len(),
            leases.first(),
            users.len(),
            users.first()
        ));
    }
    // A lease whose user was never made ends by itself, too; then the counts are the same.
    if !wait(GRACE, || Ok(stage.leases("long")?.len() == stage.users("long")?.len()))? {
        let (leases, users) = (stage.leases("long")?.len(), stage.users("long")?.len());
        problems.push(format!("{leases} leases of long life and {users} of their users"));
    }
    if !problems.is_empty() {
        problems.push(format!("what waits: {}", stage.vault.ask("GET", "sys/leases/waiting", None)?));
        problems.push(format!("what failed: {}", stage.vault.ask("GET", "sys/leases?type=irrevocable&limit=3", None)?));
        problems.push(format!("the server says: {}", stage.vault.log_tail()));
    }
    Ok(problems)
}

/// All leases are revoked: no user is left.
pub fn nothing_left(stage: &Stage) -> Result<Vec<String>> {
    stage.vault.ask("POST", "sys/leases/revoke-prefix/database/creds", Some(json!({})))?;
    let clean = || {
        let gone = |role: &str| -> Result<bool> { Ok(stage.leases(role)?.is_empty() && stage.users(role)?.is_empty()) };
        Ok(gone("short")? && gone("long")?)
    };
    if wait(Duration::from_secs(120), clean)? {
        return Ok(Vec::new());
    }
    let (leases, users) = (stage.leases("long")?.len(), stage.users("long")?.len());
    Ok(vec![format!("all was revoked, and there are {leases} leases and {users} users")])
}

/// The chain of the audit log holds, over all kills.
pub fn audit(stage: &mut Stage) -> Result<Vec<String>> {
    stage.vault.stop();
    let log = stage.vault.dir().join("data/audit");
    let verified =
        output_of(Command::new(&stage.program).args(["audit", "verify"]).arg(&log).env("HOME", stage.vault.dir()));
    stage.vault.start()?;
    Ok(verified.err().map(|error| format!("the audit log: {error:#}")).into_iter().collect())
}

/// Waits for a condition; false when it did not come.
pub fn wait(limit: Duration, mut is_so: impl FnMut() -> Result<bool>) -> Result<bool> {
    let clock = say::Stopwatch::start();
    loop {
        if is_so()? {
            return Ok(true);
        }
        if clock.elapsed() >= limit {
            return Ok(false);
        }
        sleep(LOOK_AGAIN);
    }
}
