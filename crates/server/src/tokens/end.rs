//! Ending tokens. One commit makes the token unusable and leaves a tombstone; then its leases are made due, its children
//! are ended the same way and its cubbyhole is emptied. A crash in between is finished from the tombstone.

use dewdrop_core::store::{Batch, Revision, Row, SharedStore, StoreError};
use dewdrop_core::token::TokenRecord;
use dewdrop_core::{Fault, Moment};
use dewdrop_engines::cubbyhole::Cubbyhole;
use futures_util::future::try_join_all;

use super::{lease_pointer, token_lease_id};
use crate::leases::index;
use crate::vault::Vault;

/// How many leases are handled in one commit; below the limit of an etcd transaction.
const PAGE: usize = 30;
/// The most tokens that are ended in one commit; below the limit of an etcd transaction.
pub const AT_ONCE: usize = 20;
/// How often an end starts anew because a token was written to meanwhile.
const TRIES: usize = 100;
/// Children that are looked at at the same time; they are struck from the list in one commit.
const CHILDREN: usize = 6 * AT_ONCE;
/// Mark in a tombstone: the children live on as orphans.
const ORPHANS: &[u8] = b"orphans";

/// Ends a token and all that hangs on it: its leases become due at once (the keeper takes them back), its children end
/// as well, or live on as orphans. Already gone is fine.
///
/// # Errors
/// The store's.
pub async fn end_token(vault: &Vault, accessor: &str, orphan_children: bool) -> Result<(), Fault> {
    end_tokens(vault, &[accessor.to_owned()], orphan_children).await
}

/// [`end_token`] for some tokens at once (at most 20), in one commit.
///
/// # Errors
/// The store's.
pub async fn end_tokens(vault: &Vault, accessors: &[String], orphan_children: bool) -> Result<(), Fault> {
    end_and_follow(vault, accessors, orphan_children, Moment(u64::MAX)).await
}

/// [`end_tokens`] for those of them that were made until a moment.
///
/// # Errors
/// The store's.
pub async fn end_tokens_made_until(vault: &Vault, accessors: &[String], until: Moment) -> Result<(), Fault> {
    end_and_follow(vault, accessors, false, until).await
}

async fn end_and_follow(
    vault: &Vault,
    accessors: &[String],
    orphan_children: bool,
    until: Moment,
) -> Result<(), Fault> {
    let _held: Vec<_> = accessors.iter().filter_map(|accessor| vault.leases.take_token(accessor)).collect();
    for accessor in end_lonely(vault, accessors, orphan_children, until).await? {
        finish_tombstone(vault, &accessor).await?;
    }
    Ok(())
}

/// Ends tokens (at most 20) and forgets those on which nothing hangs; answers the others, whose tombstones stand.
async fn end_lonely(
    vault: &Vault,
    accessors: &[String],
    orphan_children: bool,
    until: Moment,
) -> Result<Vec<String>, Fault> {
    let records = bury(vault, accessors, orphan_children, until).await?;
    let (mut stones, mut others) = (Batch::new(), Vec::new());
    for record in records {
        if hangs_nothing(vault, &record.accessor).await? {
            stones = stones.delete(index::gone(&record.accessor));
        } else {
            others.push(record.accessor);
        }
    }
    vault.store.commit(stones).await?;
    Ok(others)
}

/// Whether a token has neither leases nor children nor a cubbyhole, as most have.
async fn hangs_nothing(vault: &Vault, accessor: &str) -> Result<bool, Fault> {
    let nothing_below =
        async |prefix: Vec<u8>| -> Result<bool, Fault> { Ok(vault.store.scan(&prefix, None, 1).await?.is_empty()) };
    Ok(nothing_below(index::owned_by(accessor)).await?
        && nothing_below(index::children(accessor)).await?
        && cubbyholes_of(vault, accessor).await?.is_empty())
}

/// The one commit after which the tokens are no more; answers those that there were.
async fn bury(
    vault: &Vault,
    accessors: &[String],
    orphan_children: bool,
    until: Moment,
) -> Result<Vec<TokenRecord>, Fault> {
    for _ in 0..TRIES {
        let mut found = Vec::with_capacity(accessors.len());
        for accessor in accessors {
            found.extend(vault.tokens.read(accessor).await?.filter(|(record, _)| record.created <= until));
        }
        match vault.store.commit(burial(&found, orphan_children)).await {
            Ok(_) => {}
            Err(StoreError::Conflict) => continue,
            Err(error) => return Err(error.into()),
        }
        for (record, _) in &found {
            vault.tokens.forget(&record.accessor);
            vault.leases.counts.release(&record.namespace, &token_lease_id(record));
        }
        return Ok(found.into_iter().map(|(record, _)| record).collect());
    }
    Err(StoreError::Conflict.into())
}

fn burial(found: &[(TokenRecord, Revision)], orphan_children: bool) -> Batch {
    let mark = if orphan_children { ORPHANS } else { b"" };
    let mut batch = Batch::new();
    for (record, revision) in found {
        let accessor = &record.accessor;
        batch = batch.delete(index::token(accessor)).put(index::gone(accessor), mark.to_vec());
        if let Some(expires) = record.expires {
            batch = batch.delete(index::due_token(expires, accessor)).delete(lease_pointer(record));
        }
        if let Some(parent) = &record.parent {
            batch = batch.delete(index::child(parent, accessor));
        }
        if !record.beside.is_empty() {
            // By now the row may be that of the token's successor, if somebody else has ended the token meanwhile.
            batch = batch.expect(index::token(accessor), *revision).delete(record.beside.clone());
        }
    }
    batch
}

/// Does what a tombstone says is still to do, for it and for every descendant, and removes it.
///
/// # Errors
/// The store's. The tombstone stays and is tried again.
pub async fn finish_tombstone(vault: &Vault, accessor: &str) -> Result<(), Fault> {
    let mut waiting = vec![accessor.to_owned()];
    while let Some(accessor) = waiting.pop() {
        // A token that is being made just now by a dying parent finds its parent gone at its first use.
        let Some(stone) = vault.store.get(&index::gone(&accessor)).await? else { continue };
        release_leases(vault, &accessor).await?;
        let children = if stone.value.as_ref() == ORPHANS {
            orphan_children(vault, &accessor).await?;
            Vec::new()
        } else {
            end_children(vault, &accessor).await?
        };
        empty_cubbyhole(vault, &accessor).await?;
        vault.store.commit(Batch::new().delete(index::gone(&accessor))).await?;
        waiting.extend(children);
    }
    Ok(())
}

async fn release_leases(vault: &Vault, accessor: &str) -> Result<(), Fault> {
    let prefix = index::owned_by(accessor);
    loop {
        let rows = vault.store.scan(&prefix, None, PAGE).await?;
        let ids: Vec<(String, String)> = rows.iter().filter_map(|row| index::lease_of(&row.key, &prefix)).collect();
        vault.leases.expire_now(vault, &ids, Some(accessor)).await?;
        if rows.len() < PAGE {
            return Ok(());
        }
    }
}

/// Ends the children, many at a time; answers those on which something hangs.
async fn end_children(vault: &Vault, accessor: &str) -> Result<Vec<String>, Fault> {
    let mut others = Vec::new();
    loop {
        let page = children(vault, accessor).await?;
        let chunks = page.chunks(AT_ONCE).map(|chunk| end_lonely(vault, chunk, false, Moment(u64::MAX)));
        others.extend(try_join_all(chunks).await?.into_iter().flatten());
        // Those that had gone by themselves have left their row here.
        let rows = page.iter().fold(Batch::new(), |batch, child| batch.delete(index::child(accessor, child)));
        vault.store.commit(rows).await?;
        if page.len() < CHILDREN {
            return Ok(others);
        }
    }
}

async fn orphan_children(vault: &Vault, accessor: &str) -> Result<(), Fault> {
    loop {
        let page = children(vault, accessor).await?;
        for child in &page {
            vault
                .tokens
                .change(child, |record| {
                    record.parent = None;
                    Ok(true)
                })
                .await?;
            vault.store.commit(Batch::new().delete(index::child(accessor, child))).await?;
        }
        if page.len() < CHILDREN {
            return Ok(());
        }
    }
}

/// Some of the children that are left.
async fn children(vault: &Vault, accessor: &str) -> Result<Vec<String>, Fault> {
    let prefix = index::children(accessor);
    let rows = vault.store.scan(&prefix, None, CHILDREN).await?;
    let child = |row: &Row| String::from_utf8(row.key.strip_prefix(prefix.as_slice())?.to_vec()).ok();
    Ok(rows.iter().filter_map(child).collect())
}

async fn empty_cubbyhole(vault: &Vault, accessor: &str) -> Result<(), Fault> {
    for slice in cubbyholes_of(vault, accessor).await? {
        Cubbyhole::clear(&*slice, accessor).await?;
    }
    Ok(())
}

/// The slices of cubbyhole mounts in which the token has something.
async fn cubbyholes_of(vault: &Vault, accessor: &str) -> Result<Vec<SharedStore>, Fault> {
    let mut found = Vec::new();
    for namespace in vault.namespaces.below("") {
        if let Some(mounted) = vault.mounts.at(&format!("{}cubbyhole/", namespace.path)) {
            let slice = vault.mounts.slice(&mounted.mount);
            if !slice.scan(format!("{accessor}/").as_bytes(), None, 1).await?.is_empty() {
                found.push(slice);
            }
        }
    }
    Ok(found)
}
