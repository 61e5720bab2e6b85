//! The keeper: reads what is due from the time index and takes it back. Off the request path; a crash or a restart loses
//! nothing, since the index is on disk.
//!
//! It walks along the index, so that what waits for a target that is down is not read over and over and holds up nobody
//! behind it. What is written just behind it (a commit takes its time) lies within [`OVERLAP`]; what was left because a queue
//! was full is found by going back to the start, once there is room and in any case after [`ROUND`].

use std::sync::{Arc, Weak};
use std::time::Duration;

use dewdrop_core::lease::LeaseState;
use dewdrop_core::store::Row;
use dewdrop_core::{Fault, Moment};

use super::index::{self, Due};
use super::queue::LeaseRef;
use super::{below, revoke, token_ref};
use crate::tokens::{AT_ONCE, end_tokens, finish_tombstone};
use crate::vault::Vault;

/// How often the time index is looked at.
const LOOK: Duration = Duration::from_millis(200);
/// The keeper stays so far behind the present.
const OVERLAP: Duration = Duration::from_secs(5);
/// The longest until the keeper goes back to the start of the index.
const ROUND: Duration = Duration::from_secs(30);
const PAGE: usize = 500;
/// Token chunks at the same time.
const CHUNKS: usize = 8;
/// Tombstones that are finished at the same time.
const STONES: usize = 8;

/// Runs until the vault is dropped.
pub async fn run(vault: Weak<Vault>) {
    if let Some(vault) = vault.upgrade()
        && let Err(fault) = revoke_intents(&vault).await
    {
        tracing::error!(known = %fault.known, "cannot look for half-made credentials");
    }
    let mut place = Place::default();
    loop {
        let Some(strong) = vault.upgrade() else { return };
        let looked = async {
            unfinished(&strong).await?;
            sweep(&strong, &mut place).await
        };
        if let Err(fault) = looked.await {
            tracing::warn!(told = %fault.told, known = %fault.known, "the lease keeper cannot read what is due");
        }
        let woken = strong.leases.wake.notified();
        drop(tokio::time::timeout(LOOK, woken).await);
    }
}

/// After a start, nothing can be in the making: what was is revoked at once instead of after its grace.
async fn revoke_intents(vault: &Arc<Vault>) -> Result<(), Fault> {
    let now = vault.clock.now();
    let horizon = now.plus(super::INTENT_GRACE);
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = vault.store.scan(index::DUE, after.as_deref(), PAGE).await?;
        for row in &rows {
            let Some((at, due)) = index::parse_due(&row.key) else { continue };
            if at > horizon {
                return Ok(());
            }
            let Due::Lease(namespace, id) = due else { continue };
            let lease = vault.leases.read(&namespace, &id).await?;
            if lease.is_some_and(|(lease, _)| lease.state == LeaseState::Intent && lease.issued < now) {
                vault.leases.expire_now(vault, &[(namespace, id)], None).await?;
            }
        }
        if rows.len() < PAGE {
            return Ok(());
        }
        after = rows.last().map(|row| row.key.clone());
    }
}

/// Goes on with what was begun and is not finished: the ends of tokens, revocations by prefix.
async fn unfinished(vault: &Arc<Vault>) -> Result<(), Fault> {
    for row in vault.store.scan(index::GONE, None, STONES).await? {
        let Some(accessor) = row.key.strip_prefix(index::GONE).and_then(|a| std::str::from_utf8(a).ok()) else {
            continue;
        };
        let (vault, accessor) = (vault.clone(), accessor.to_owned());
        tokio::spawn(async move {
            let Some(_held) = vault.leases.take_token(&accessor) else { return };
            if let Err(fault) = finish_tombstone(&vault, &accessor).await {
                tracing::warn!(told = %fault.told, known = %fault.known, "the end of a token is tried again");
            }
        });
    }
    below::go_on(vault).await
}

/// How far the keeper has come in the time index.
#[derive(Default)]
struct Place {
    after: Option<Vec<u8>>,
    /// When it was at the start.
    started: Moment,
}

impl Place {
    /// Where to read on at `now`; from the start when `again` says so, or when the last round was long ago.
    fn begin(&mut self, now: Moment, again: bool) -> Option<Vec<u8>> {
        if again || now.since(self.started) >= ROUND || now < self.started {
            *self = Self { after: None, started: now };
        }
        let latest = index::due_from(now.minus(OVERLAP));
        self.after.take().map(|after| after.min(latest))
    }
}

/// Puts all that is due into the queues and starts what may start.
async fn sweep(vault: &Arc<Vault>, place: &mut Place) -> Result<(), Fault> {
    let now = vault.clock.now();
    let again = vault.leases.queues.lock().has_room_again();
    let mut after = place.begin(now, again);
    loop {
        let rows = vault.store.scan(index::DUE, after.as_deref(), PAGE).await?;
        let due: Vec<(&Row, Due)> = rows
            .iter()
            .filter_map(|row| index::parse_due(&row.key).map(|(at, due)| (row, at, due)))
            .take_while(|(_, at, _)| *at <= now)
            .map(|(row, _, due)| (row, due))
            .collect();
        let last = due.last().map(|(row, _)| row.key.clone());
        let more = due.len() == PAGE;
        take_in(vault, due).await?;
        start(vault, now);
        after = last.or(after);
        if !more {
            place.after = after;
            return Ok(());
        }
    }
}

async fn take_in(vault: &Arc<Vault>, due: Vec<(&Row, Due)>) -> Result<(), Fault> {
    let mut tokens = Vec::new();
    for (row, due) in due {
        match due {
            Due::Token(accessor) => {
                if vault.leases.queues.lock().take(token_ref(&accessor)) {
                    tokens.push(accessor);
                }
            }
            Due::Lease(namespace, id) => {
                let mount = String::from_utf8_lossy(&row.entry.value);
                vault.leases.queues.lock().push(&mount, LeaseRef::from((namespace, id)));
            }
        }
    }
    end_expired(vault, tokens).await;
    Ok(())
}

/// Ends tokens whose time is up, in chunks side by side.
async fn end_expired(vault: &Arc<Vault>, tokens: Vec<String>) {
    let mut running = tokio::task::JoinSet::new();
    for chunk in tokens.chunks(AT_ONCE) {
        if running.len() >= CHUNKS {
            running.join_next().await;
        }
        let (vault, chunk) = (vault.clone(), chunk.to_vec());
        running.spawn(async move {
            if let Err(fault) = end_tokens(&vault, &chunk, false).await {
                tracing::warn!(told = %fault.told, known = %fault.known, "expired tokens are tried again");
            }
            let mut queues = vault.leases.queues.lock();
            chunk.iter().for_each(|accessor| queues.release(&token_ref(accessor)));
        });
    }
    while running.join_next().await.is_some() {}
}

/// Starts what the queues let start.
pub(super) fn start(vault: &Arc<Vault>, now: Moment) {
    let started = vault.leases.queues.lock().start(now);
    for (mount, lease) in started {
        let vault = vault.clone();
        tokio::spawn(async move { take_back(vault, mount, lease).await });
    }
}

/// Takes one lease back and hands the place in the queue on.
async fn take_back(vault: Arc<Vault>, mount: String, lease: LeaseRef) {
    let outcome = revoke::revoke_now(&vault, &lease.0, &lease.1).await;
    let now = vault.clock.now();
    let why = outcome.as_ref().err().map(|fault| format!("{} {}", fault.told, fault.known).trim().to_owned());
    if let Some(why) = &why {
        tracing::warn!(lease = lease.1, why, "a revocation failed and is tried again");
    }
    vault.leases.queues.lock().done(&mount, &lease, why.as_deref().map_or(Ok(()), Err), now, revoke::jitter());
    start(&vault, now);
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment(1_000_000);

    #[test]
    fn it_reads_on_where_it_was_but_not_beyond_what_may_still_be_written() {
        let mut place = Place { after: Some(index::due_token(Moment(900_000), "a")), started: NOW };
        assert_eq!(place.begin(NOW, false), Some(index::due_token(Moment(900_000), "a")));
        place.after = Some(index::due_token(Moment(999_999), "a"));
        assert_eq!(place.begin(NOW, false), Some(index::due_from(NOW.minus(OVERLAP))));
    }

    #[test]
    fn it_goes_back_when_there_is_room_and_after_a_while() {
        let far = || Some(index::due_token(Moment(900_000), "a"));
        let mut place = Place { after: far(), started: NOW };
        assert_eq!(place.begin(NOW, true), None);
        place.after = far();
        assert_eq!(place.begin(NOW.plus(ROUND), false), None);
        // A clock that was set back.
        place.after = far();
        assert_eq!(place.begin(NOW, false), None);
    }
}
