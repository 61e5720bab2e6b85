//! Ending tokens. One commit makes the token unusable and leaves a tombstone; then its leases are made due, its children
//! are ended the same way and its cubbyhole is emptied. A crash in between is finished from the tombstone.

use dewdrop_core::Fault;
use dewdrop_core::store::{Batch, SharedStore};
use dewdrop_core::token::TokenRecord;
use dewdrop_engines::cubbyhole::Cubbyhole;

use super::{lease_pointer, token_lease_id};
use crate::leases::index;
use crate::vault::Vault;

/// How many leases or children are handled in one commit; below the limit of an etcd transaction.
const PAGE: usize = 30;
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
    let mut records = Vec::with_capacity(accessors.len());
    for accessor in accessors {
        records.extend(vault.tokens.read(accessor).await?.map(|(record, _)| record));
    }
    bury(vault, &records, orphan_children).await?;
    let mut stones = Batch::new();
    for record in &records {
        if hangs_nothing(vault, &record.accessor).await? {
            stones = stones.delete(index::gone(&record.accessor)).delete(index::due_gone(&record.accessor));
        } else {
            finish_tombstone(vault, &record.accessor).await?;
        }
    }
    vault.store.commit(stones).await?;
    Ok(())
}

/// Whether a token has neither leases nor children nor a cubbyhole, as most have.
async fn hangs_nothing(vault: &Vault, accessor: &str) -> Result<bool, Fault> {
    let nothing_below =
        async |prefix: Vec<u8>| -> Result<bool, Fault> { Ok(vault.store.scan(&prefix, None, 1).await?.is_empty()) };
    Ok(nothing_below(index::owned_by(accessor)).await?
        && nothing_below(index::children(accessor)).await?
        && cubbyholes_of(vault, accessor).await?.is_empty())
}

/// The one commit after which the tokens are no more.
async fn bury(vault: &Vault, records: &[TokenRecord], orphan_children: bool) -> Result<(), Fault> {
    let mark = if orphan_children { ORPHANS } else { b"" };
    let mut batch = Batch::new();
    for record in records {
        let accessor = &record.accessor;
        batch = batch
            .delete(index::token(accessor))
            .put(index::gone(accessor), mark.to_vec())
            .put(index::due_gone(accessor), "");
        if let Some(expires) = record.expires {
            batch = batch.delete(index::due_token(expires, accessor)).delete(lease_pointer(record));
        }
        if let Some(parent) = &record.parent {
            batch = batch.delete(index::child(parent, accessor));
        }
    }
    vault.store.commit(batch).await?;
    for record in records {
        vault.tokens.forget(&record.accessor);
        vault.leases.counts.release(&record.namespace, &token_lease_id(record));
    }
    Ok(())
}

/// Does what a tombstone says is still to do, for it and for every descendant, and removes it.
///
/// # Errors
/// The store's. The tombstone stays and is tried again.
pub async fn finish_tombstone(vault: &Vault, accessor: &str) -> Result<(), Fault> {
    let mut waiting = vec![accessor.to_owned()];
    while let Some(accessor) = waiting.pop() {
        // A token that is being made just now by a dying parent finds its parent gone at its first use.
        let Some(stone) = vault.store.get(&index::gone(&accessor)).await? else {
            vault.store.commit(Batch::new().delete(index::due_gone(&accessor))).await?;
            continue;
        };
        release_leases(vault, &accessor).await?;
        let children = if stone.value.as_ref() == ORPHANS {
            orphan_children(vault, &accessor).await?;
            Vec::new()
        } else {
            bury_children(vault, &accessor).await?
        };
        empty_cubbyhole(vault, &accessor).await?;
        let batch = Batch::new().delete(index::gone(&accessor)).delete(index::due_gone(&accessor));
        vault.store.commit(batch).await?;
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

async fn bury_children(vault: &Vault, accessor: &str) -> Result<Vec<String>, Fault> {
    let mut buried = Vec::new();
    for child in children(vault, accessor).await? {
        match vault.tokens.read(&child).await? {
            Some((record, _)) => bury(vault, &[record], false).await?,
            None => drop(vault.store.commit(Batch::new().delete(index::child(accessor, &child))).await?),
        }
        buried.push(child);
    }
    Ok(buried)
}

async fn orphan_children(vault: &Vault, accessor: &str) -> Result<(), Fault> {
    for child in children(vault, accessor).await? {
        vault
            .tokens
            .change(&child, |record| {
                record.parent = None;
                Ok(true)
            })
            .await?;
        vault.store.commit(Batch::new().delete(index::child(accessor, &child))).await?;
    }
    Ok(())
}

async fn children(vault: &Vault, accessor: &str) -> Result<Vec<String>, Fault> {
    let prefix = index::children(accessor);
    let rows = dewdrop_core::store::scan_all(&*vault.store, &prefix, 1000).await?;
    Ok(rows
        .iter()
        .filter_map(|row| String::from_utf8(row.key.strip_prefix(prefix.as_slice())?.to_vec()).ok())
        .collect())
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
