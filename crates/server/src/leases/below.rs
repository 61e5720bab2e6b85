//! Everything below a path at once: reading it page by page, and taking it back. A revocation that was acknowledged is
//! on disk first, so a crash in its middle does not end it.

use std::sync::Arc;

use dewdrop_core::lease::Lease;
use dewdrop_core::store::Batch;
use dewdrop_core::{Fault, Moment};
use futures_util::future::try_join_all;
use tokio::task::JoinSet;

use super::{index, revoke_and_wait};
use crate::tokens::{AT_ONCE, end_tokens_made_until};
use crate::vault::Vault;

const PAGE: usize = 500;
/// Leases that are made due in one commit; below the limit of an etcd transaction.
const LEASES_AT_ONCE: usize = 30;
/// Leases that are taken back at the same time while somebody waits.
const WAITED_FOR: usize = 16;
/// Chunks of tokens that are ended at the same time.
const CHUNKS: usize = 8;

/// Leases below a path, a page at a time.
pub struct Pages<'a> {
    vault: &'a Vault,
    namespace: &'a str,
    prefix: &'a str,
    after: Option<String>,
    done: bool,
}

/// Reads leases below a path of a namespace.
#[must_use]
pub fn pages<'a>(vault: &'a Vault, namespace: &'a str, prefix: &'a str) -> Pages<'a> {
    Pages { vault, namespace, prefix, after: None, done: false }
}

impl Pages<'_> {
    /// The next page; `None` after the last.
    ///
    /// # Errors
    /// The store's.
    pub async fn next(&mut self) -> Result<Option<Vec<Lease>>, Fault> {
        if self.done {
            return Ok(None);
        }
        let page = self.vault.leases.list(self.namespace, self.prefix, self.after.as_deref(), PAGE).await?;
        self.done = page.len() < PAGE;
        self.after = page.last().map(|lease| lease.id.clone());
        Ok(Some(page))
    }
}

/// Takes back all that is there now below a path: it is on disk that this is to be done when the call returns.
///
/// # Errors
/// The store's.
pub async fn revoke(vault: &Arc<Vault>, namespace: &str, prefix: &str) -> Result<(), Fault> {
    let key = index::below(namespace, vault.clock.now(), prefix);
    vault.store.commit(Batch::new().put(key, "")).await?;
    vault.leases.wake();
    Ok(())
}

/// Takes back all that is there now below a path, and returns when it is gone.
///
/// # Errors
/// The first that could not be taken back; it is tried again, and so are those that follow.
pub async fn revoke_while_waiting(vault: &Arc<Vault>, namespace: &str, prefix: &str) -> Result<(), Fault> {
    revoke(vault, namespace, prefix).await?;
    let mut pages = pages(vault, namespace, prefix);
    while let Some(page) = pages.next().await? {
        for some in page.chunks(WAITED_FOR) {
            try_join_all(some.iter().map(|lease| revoke_and_wait(vault, namespace, &lease.id))).await?;
        }
    }
    end_tokens_below(vault, namespace, prefix, vault.clock.now()).await
}

/// Goes on with the revocations that are not done.
pub(super) async fn go_on(vault: &Arc<Vault>) -> Result<(), Fault> {
    for row in vault.store.scan(index::BELOW, None, PAGE).await? {
        let Some((namespace, until, prefix)) = index::parse_below(&row.key) else { continue };
        let vault = vault.clone();
        tokio::spawn(async move {
            let in_hand = (index::BELOW.escape_ascii().to_string(), row.key.escape_ascii().to_string());
            let Some(_held) = vault.leases.take(in_hand) else { return };
            if let Err(fault) = finish(&vault, &row.key, &namespace, until, &prefix).await {
                tracing::warn!(told = %fault.told, known = %fault.known, "a revocation by prefix is tried again");
            }
        });
    }
    Ok(())
}

async fn finish(vault: &Arc<Vault>, key: &[u8], namespace: &str, until: Moment, prefix: &str) -> Result<(), Fault> {
    let mut pages = pages(vault, namespace, prefix);
    while let Some(page) = pages.next().await? {
        let old = page.into_iter().filter(|lease| lease.issued <= until);
        let ids: Vec<(String, String)> = old.map(|lease| (lease.namespace, lease.id)).collect();
        for some in ids.chunks(LEASES_AT_ONCE) {
            vault.leases.expire_now(vault, some, None).await?;
        }
    }
    end_tokens_below(vault, namespace, prefix, until).await?;
    vault.store.commit(Batch::new().delete(key)).await?;
    Ok(())
}

/// Ends the tokens below a path that were made until a moment.
///
/// # Errors
/// The store's.
pub async fn end_tokens_below(vault: &Arc<Vault>, namespace: &str, prefix: &str, until: Moment) -> Result<(), Fault> {
    let below = index::token_lease(namespace, prefix);
    let mut running = JoinSet::new();
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = vault.store.scan(&below, after.as_deref(), PAGE).await?;
        let accessors: Vec<String> = rows
            .iter()
            .filter_map(|row| {
                std::str::from_utf8(&row.key).ok()?.rsplit_once("/h").map(|(_, accessor)| accessor.to_owned())
            })
            .collect();
        for chunk in accessors.chunks(AT_ONCE) {
            if running.len() >= CHUNKS {
                joined(running.join_next().await)?;
            }
            let (vault, chunk) = (vault.clone(), chunk.to_vec());
            running.spawn(async move { end_tokens_made_until(&vault, &chunk, until).await });
        }
        if rows.len() < PAGE {
            break;
        }
        after = rows.last().map(|row| row.key.clone());
    }
    while !running.is_empty() {
        joined(running.join_next().await)?;
    }
    Ok(())
}

fn joined(ended: Option<Result<Result<(), Fault>, tokio::task::JoinError>>) -> Result<(), Fault> {
    ended.unwrap_or(Ok(Ok(()))).map_err(|error| Fault::internal(error.to_string()))?
}
