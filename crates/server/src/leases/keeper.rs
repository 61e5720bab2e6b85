//! The keeper: reads what is due from the time index and takes it back. Off the request path; a crash or a restart loses
//! nothing, since the index is on disk.

use std::sync::{Arc, Weak};
use std::time::Duration;

use dewdrop_core::engine::Credential;
use dewdrop_core::lease::{Lease, LeaseState, back_off};
use dewdrop_core::store::StoreError;
use dewdrop_core::{Fault, Moment};

use super::index::{self, Due};
use super::queue::LeaseRef;
use super::replace;
use crate::ids;
use crate::tokens::{end_tokens, finish_tombstone};
use crate::vault::Vault;

/// How often the head of the time index is looked at.
const LOOK: Duration = Duration::from_millis(200);
const PAGE: usize = 500;
/// Tokens that are ended in one commit; below the limit of an etcd transaction.
const TOKENS_AT_ONCE: usize = 20;
/// Token chunks at the same time.
const CHUNKS: usize = 8;
/// How often, and how long, somebody who waits for a revocation looks whether the keeper has let go of the lease.
const TURN: Duration = Duration::from_millis(10);
const PATIENCE: u32 = 2_000;
/// In hand, a token is told from a lease by this in place of a namespace.
const TOKEN: &str = "\u{0}token";

/// Runs until the vault is dropped.
pub async fn run(vault: Weak<Vault>) {
    if let Some(vault) = vault.upgrade()
        && let Err(fault) = revoke_intents(&vault).await
    {
        tracing::error!(known = %fault.known, "cannot look for half-made credentials");
    }
    loop {
        let Some(strong) = vault.upgrade() else { return };
        let more = match sweep(&strong).await {
            Ok(more) => more,
            Err(fault) => {
                tracing::warn!(told = %fault.told, known = %fault.known, "the lease keeper cannot read what is due");
                false
            }
        };
        if !more {
            let woken = strong.leases.wake.notified();
            drop(tokio::time::timeout(LOOK, woken).await);
        }
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

/// Puts all that is due into the queues and starts what may start. Answers whether to come back at once.
async fn sweep(vault: &Arc<Vault>) -> Result<bool, Fault> {
    let now = vault.clock.now();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = vault.store.scan(index::DUE, after.as_deref(), PAGE).await?;
        let due: Vec<Due> = rows
            .iter()
            .filter_map(|row| index::parse_due(&row.key))
            .filter(|(at, _)| *at <= now)
            .map(|(_, due)| due)
            .collect();
        let all_due = due.len() == rows.len();
        let found_new = take_in(vault, due, now).await?;
        start(vault, now);
        if !all_due || rows.len() < PAGE {
            return Ok(false);
        }
        // A page in which nothing was new is a backlog that is already in hand: leave it to those who work on it.
        if !found_new {
            return Ok(false);
        }
        after = rows.last().map(|row| row.key.clone());
    }
}

async fn take_in(vault: &Arc<Vault>, due: Vec<Due>, now: Moment) -> Result<bool, Fault> {
    let mut tokens = Vec::new();
    let mut found_new = false;
    for due in due {
        match due {
            Due::Token(accessor) => {
                if vault.leases.queues.lock().take(token_ref(&accessor)) {
                    tokens.push(accessor);
                }
            }
            Due::Gone(accessor) => finish_tombstone(vault, &accessor).await?,
            Due::Lease(namespace, id) => {
                let lease_ref = (namespace, id);
                if vault.leases.queues.lock().has(&lease_ref) {
                    continue;
                }
                match vault.leases.read(&lease_ref.0, &lease_ref.1).await? {
                    Some((lease, _)) => found_new |= vault.leases.queues.lock().push(&lease.mount, lease_ref),
                    None => drop_stray(vault, &lease_ref, now).await?,
                }
            }
        }
    }
    found_new |= !tokens.is_empty();
    end_expired(vault, tokens).await;
    Ok(found_new)
}

/// A row of the time index whose lease is gone: cannot be left by any commit of ours, but must not block the head.
async fn drop_stray(vault: &Vault, lease: &LeaseRef, now: Moment) -> Result<(), Fault> {
    tracing::warn!(lease = lease.1, at = now.0, "a row of the time index without lease is removed");
    let rows = vault.store.scan(index::DUE, None, PAGE).await?;
    let named = rows.iter().filter(
        |row| matches!(index::parse_due(&row.key), Some((_, Due::Lease(ns, id))) if (&ns, &id) == (&lease.0, &lease.1)),
    );
    let batch = named.fold(dewdrop_core::store::Batch::new(), |batch, row| batch.delete(row.key.clone()));
    vault.store.commit(batch).await?;
    Ok(())
}

/// Ends tokens whose time is up, in chunks side by side.
async fn end_expired(vault: &Arc<Vault>, tokens: Vec<String>) {
    let mut running = tokio::task::JoinSet::new();
    for chunk in tokens.chunks(TOKENS_AT_ONCE) {
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

fn token_ref(accessor: &str) -> LeaseRef {
    (TOKEN.to_owned(), accessor.to_owned())
}

fn start(vault: &Arc<Vault>, now: Moment) {
    let started = vault.leases.queues.lock().start(now);
    for (mount, lease) in started {
        let vault = vault.clone();
        tokio::spawn(async move { take_back(vault, mount, lease).await });
    }
}

/// Takes one lease back and hands the place in the queue on.
async fn take_back(vault: Arc<Vault>, mount: String, lease: LeaseRef) {
    let outcome = revoke_now(&vault, &lease.0, &lease.1).await;
    let now = vault.clock.now();
    let why = outcome.as_ref().err().map(|fault| format!("{} {}", fault.told, fault.known).trim().to_owned());
    if let Some(why) = &why {
        tracing::warn!(lease = lease.1, why, "a revocation failed and is tried again");
    }
    let rescan = {
        let mut queues = vault.leases.queues.lock();
        queues.done(&mount, &lease, why.as_deref().map_or(Ok(()), Err), now, jitter())
    };
    if rescan {
        vault.leases.wake();
    }
    start(&vault, now);
}

/// Makes a lease due and takes it back now, while the caller waits. The keeper leaves it alone meanwhile: two that drop the
/// same user at the same time would only disturb each other.
///
/// # Errors
/// The engine's, or the store's; the lease stays due and is tried again.
pub async fn revoke_and_wait(vault: &Vault, namespace: &str, id: &str) -> Result<(), Fault> {
    let lease: LeaseRef = (namespace.to_owned(), id.to_owned());
    let mut turns = 0;
    while !vault.leases.queues.lock().take(lease.clone()) {
        turns += 1;
        if turns > PATIENCE {
            return Err(Fault::unavailable(
                "the lease waits in its target's queue and is tried again; sys/leases/waiting says why",
            ));
        }
        tokio::time::sleep(TURN).await;
    }
    let _held = Held { leases: &vault.leases, lease: lease.clone() };
    vault.leases.expire_now(vault, &[lease], None).await?;
    revoke_now(vault, namespace, id).await
}

/// A lease that is in hand until this is dropped, also when the caller's future is.
struct Held<'a> {
    leases: &'a super::Leases,
    lease: LeaseRef,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.leases.queues.lock().release(&self.lease);
        self.leases.wake();
    }
}

/// Takes a lease's credential back and forgets the lease; when that fails, the lease says why and when the next try is.
///
/// # Errors
/// The engine's, or the store's.
async fn revoke_now(vault: &Vault, namespace: &str, id: &str) -> Result<(), Fault> {
    let Some((lease, revision)) = vault.leases.read(namespace, id).await? else { return Ok(()) };
    let now = vault.clock.now();
    if super::due_at(&lease) > now {
        return Ok(()); // renewed meanwhile
    }
    match call_engine(vault, &lease).await {
        Ok(()) => {
            write_down(vault, &lease);
            vault.leases.forget(&lease).await
        }
        Err(fault) => {
            let tries = if let LeaseState::Revoking { tries, .. } = lease.state { tries } else { 0 };
            let tries = tries.saturating_add(1);
            let mut after = lease.clone();
            let why = format!("{} {}", fault.told, fault.known).trim().to_owned();
            after.state = LeaseState::Revoking { tries, next: now.plus(back_off(tries, jitter())), why };
            match replace(&vault.leases.store, &lease, &after, revision).await {
                Ok(()) | Err(StoreError::Conflict) => Err(fault),
                Err(error) => Err(error.into()),
            }
        }
    }
}

/// The end of a credential is an act as well, though nobody asked for it.
fn write_down(vault: &Vault, lease: &Lease) {
    let mount = vault.mounts.by_uuid(&lease.mount).map(|mounted| mounted.mount);
    if let (Some(mount), Some(namespace)) = (mount, vault.namespaces.by_id(&lease.namespace)) {
        vault.audit.lease_ended(lease, &mount.path, &namespace);
    }
}

async fn call_engine(vault: &Vault, lease: &Lease) -> Result<(), Fault> {
    let mounted =
        vault.mounts.by_uuid(&lease.mount).ok_or_else(|| Fault::internal("the mount of the lease is gone"))?;
    let credential = Credential {
        lease_id: lease.id.clone(),
        internal: lease.internal.clone(),
        issued: lease.issued,
        mount: mounted.mount.clone(),
    };
    mounted.room.revoke(&credential).await
}

fn jitter() -> u8 {
    let mut byte = [0u8];
    match ids::fill(&mut byte) {
        Ok(()) => byte[0],
        Err(_) => 0,
    }
}
