//! `sys/leases`: showing, listing, renewing and revoking leases; those of tokens among them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dewdrop_core::call::{Call, Outcome, Reply};
use dewdrop_core::lease::{Lease, LeaseState};
use dewdrop_core::mount::Namespace;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::token::TokenRecord;
use dewdrop_core::wire::{Flag, Int, Text, Ttl};
use dewdrop_core::{Fault, Moment};
use futures_util::future::try_join_all;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{ListFields, Sys, namespace_of};
use crate::leases::{below, index, renew, revoke_and_wait};
use crate::tokens::end_tokens;
use crate::vault::Vault;

const PAGE: usize = 500;
/// Leases that are taken back at the same time before they are forgotten by force.
const FORCED_AT_ONCE: usize = 16;

#[derive(Deserialize, JsonSchema)]
struct LeaseFields {
    /// The lease.
    #[serde(default)]
    lease_id: Text,
    /// The lease, in the path of old clients.
    #[serde(default)]
    url_lease_id: Text,
    /// The life that is asked.
    #[serde(default)]
    increment: Ttl,
    /// Waits until it is done.
    #[serde(default)]
    sync: Flag,
}

#[derive(Deserialize, JsonSchema)]
struct CountFields {
    /// `irrevocable`: those whose revocation failed so far.
    #[serde(default, rename = "type")]
    kind: Text,
    /// Those of child namespaces as well.
    #[serde(default)]
    include_child_namespaces: Flag,
    /// At most so many.
    limit: Option<Int>,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("leases", "Leases whose revocation failed so far, with the reason.", |r| {
            r.read("Lists what waits", Sys::list_waiting)
        })
        .at("leases/count", "How many leases there are.", |r| r.read("Counts", Sys::count_leases))
        .at("leases/tidy", "Removes what is left of ended leases.", |r| r.write("Tidies", Sys::tidy_leases))
        .at("leases/lookup", "Shows a lease.", |r| {
            r.write("Shows a lease", Sys::lookup_lease).list("Lists leases", Sys::list_leases)
        })
        .at("leases/lookup/{prefix*}", "Lists leases below a path.", |r| {
            r.sudo().list("Lists leases", Sys::list_leases)
        })
        .at("leases/renew", "Renews a lease.", |r| r.write("Renews a lease", Sys::renew_lease))
        .at("leases/renew/{url_lease_id*}", "Renews a lease.", |r| r.write("Renews a lease", Sys::renew_lease))
        .at("renew", "Renews a lease.", |r| r.write("Renews a lease", Sys::renew_lease))
        .at("renew/{url_lease_id*}", "Renews a lease.", |r| r.write("Renews a lease", Sys::renew_lease))
        .at("leases/revoke", "Revokes a lease.", |r| r.write("Revokes a lease", Sys::revoke_lease))
        .at("leases/revoke/{url_lease_id*}", "Revokes a lease.", |r| r.write("Revokes a lease", Sys::revoke_lease))
        .at("revoke", "Revokes a lease.", |r| r.write("Revokes a lease", Sys::revoke_lease))
        .at("revoke/{url_lease_id*}", "Revokes a lease.", |r| r.write("Revokes a lease", Sys::revoke_lease))
        .at("leases/revoke-prefix", "Revokes all leases below a path.", |r| {
            r.sudo().write("Revokes leases", Sys::revoke_prefix)
        })
        .at("leases/revoke-prefix/{prefix*}", "Revokes all leases below a path.", |r| {
            r.sudo().write("Revokes leases", Sys::revoke_prefix)
        })
        .at("revoke-prefix/{prefix*}", "Revokes all leases below a path.", |r| {
            r.sudo().write("Revokes leases", Sys::revoke_prefix)
        })
        .at(
            "leases/revoke-force/{prefix*}",
            "Forgets leases, whether or not their credentials can be taken back.",
            |r| r.sudo().write("Forgets leases", Sys::revoke_force),
        )
        .at("revoke-force/{prefix*}", "Forgets leases, whether or not their credentials can be taken back.", |r| {
            r.sudo().write("Forgets leases", Sys::revoke_force)
        })
        .at("leases/waiting", "What waits to be taken back, by mount, and why.", |r| r.read("What waits", Sys::waiting))
}

impl Sys {
    async fn lookup_lease(self: Arc<Self>, call: Call, fields: LeaseFields) -> Result<Reply, Fault> {
        let id = lease_id(&call, &fields)?;
        let vault = self.vault()?;
        let home = home_of(&vault, &call, &id);
        let mut shown = match vault.leases.read(&home.id, &id).await? {
            Some((lease, _)) => show_lease(&lease, call.now),
            None => {
                let found = token_of(&vault, &home.id, &id).await?;
                show_token(&found.ok_or_else(|| Fault::bad_request("invalid lease"))?, &id, call.now)
            }
        };
        if let (false, Some(fields)) = (home.is_root(), shown.as_object_mut()) {
            fields.insert("namespace_path".into(), home.path.clone().into());
        }
        Reply::of(&shown)
    }

    async fn list_leases(self: Arc<Self>, call: Call, fields: ListFields) -> Result<Reply, Fault> {
        let prefix = match call.capture("prefix").trim_end_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        let vault = self.vault()?;
        let namespace = &namespace_of(&call).id;
        let mut names = BTreeSet::new();
        children_of(&vault, &index::lease(namespace, &prefix), &mut names).await?;
        children_of(&vault, &index::token_lease(namespace, &prefix), &mut names).await?;
        Reply::keys(fields.cut(names))
    }

    async fn renew_lease(self: Arc<Self>, call: Call, fields: LeaseFields) -> Result<Reply, Fault> {
        let id = lease_id(&call, &fields)?;
        let vault = self.vault()?;
        let home = home_of(&vault, &call, &id);
        let (lease, ttl, warnings) = renew(&vault, &home.id, &id, fields.increment.0, call.now).await?;
        let mut reply = Reply::from(Outcome::Lease(Box::new(lease), ttl));
        reply.warnings = warnings;
        Ok(reply)
    }

    async fn revoke_lease(self: Arc<Self>, call: Call, fields: LeaseFields) -> Result<Reply, Fault> {
        let id = lease_id(&call, &fields)?;
        let vault = self.vault()?;
        let namespace = home_of(&vault, &call, &id).id.clone();
        if let Some(record) = token_of(&vault, &namespace, &id).await? {
            end_tokens(&vault, &[record.accessor], false).await?;
            return Ok(Reply::nothing());
        }
        if fields.sync.0 {
            revoke_and_wait(&vault, &namespace, &id).await?;
        } else {
            vault.leases.expire_now(&vault, &[(namespace, id)], None).await?;
        }
        Ok(Reply::nothing())
    }

    async fn revoke_prefix(self: Arc<Self>, call: Call, fields: LeaseFields) -> Result<Reply, Fault> {
        let prefix = prefix_of(&call)?;
        let vault = self.vault()?;
        let namespace = namespace_of(&call).id.clone();
        if fields.sync.0 {
            below::revoke_while_waiting(&vault, &namespace, &prefix).await?;
        } else {
            below::revoke(&vault, &namespace, &prefix).await?;
        }
        Ok(Reply::nothing())
    }

    async fn revoke_force(self: Arc<Self>, call: Call, _: LeaseFields) -> Result<Reply, Fault> {
        let prefix = call.capture("prefix").trim_end_matches('/').to_owned();
        let vault = self.vault()?;
        let namespace = namespace_of(&call).id.clone();
        let mut pages = below::pages(&vault, &namespace, &prefix);
        while let Some(page) = pages.next().await? {
            for some in page.chunks(FORCED_AT_ONCE) {
                try_join_all(some.iter().map(|lease| force(&vault, lease))).await?;
            }
        }
        below::end_tokens_below(&vault, &namespace, &prefix, call.now).await?;
        Ok(Reply::nothing())
    }

    async fn count_leases(self: Arc<Self>, call: Call, fields: CountFields) -> Result<Reply, Fault> {
        let only_failed = match fields.kind.0.as_str() {
            "irrevocable" => true,
            "" | "live" => false,
            _ => return Err(Fault::bad_request("unknown type: use \"irrevocable\" or \"live\"")),
        };
        let vault = self.vault()?;
        let (mut counts, mut total) = (BTreeMap::<String, u64>::new(), 0u64);
        for namespace in self.namespaces_of(&vault, &call, fields.include_child_namespaces.0) {
            let mut pages = below::pages(&vault, &namespace, "");
            while let Some(page) = pages.next().await? {
                for lease in page.into_iter().filter(|lease| !only_failed || failed_so_far(lease)) {
                    *counts.entry(lease.mount).or_default() += 1;
                    total += 1;
                }
            }
        }
        let by_accessor: BTreeMap<String, u64> = counts
            .into_iter()
            .map(|(uuid, count)| (vault.mounts.by_uuid(&uuid).map_or(uuid, |m| m.mount.accessor.clone()), count))
            .collect();
        Reply::of(&json!({ "lease_count": total, "counts": by_accessor }))
    }

    async fn list_waiting(self: Arc<Self>, call: Call, fields: CountFields) -> Result<Reply, Fault> {
        if fields.kind.0 != "irrevocable" {
            return Err(Fault::bad_request("type must be \"irrevocable\""));
        }
        let limit = fields.limit.and_then(|limit| usize::try_from(limit.0).ok()).unwrap_or(10_000);
        let vault = self.vault()?;
        let mut leases = Vec::new();
        for namespace in self.namespaces_of(&vault, &call, fields.include_child_namespaces.0) {
            let mut pages = below::pages(&vault, &namespace, "");
            while leases.len() < limit
                && let Some(page) = pages.next().await?
            {
                leases.extend(page.iter().filter_map(show_failed));
            }
        }
        leases.truncate(limit);
        Reply::of(&json!({ "lease_count": leases.len(), "leases": leases }))
    }

    async fn waiting(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        Reply::of(&json!({ "targets": self.vault()?.leases.waiting() }))
    }

    async fn tidy_leases(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let mut reply =
            Reply::nothing().warn("There is nothing to tidy: ending a lease removes all its records at once.");
        reply.status = Some(202);
        Ok(reply)
    }

    fn namespaces_of(&self, vault: &Vault, call: &Call, with_children: bool) -> Vec<String> {
        let here = namespace_of(call);
        let all = vault.namespaces.below(&here.path);
        all.into_iter().filter(|ns| with_children || ns.id == here.id).map(|ns| ns.id.clone()).collect()
    }
}

fn prefix_of(call: &Call) -> Result<String, Fault> {
    match call.capture("prefix").trim_end_matches('/') {
        "" => Err(Fault::bad_request("a prefix must be given: everything below it is revoked")),
        prefix => Ok(prefix.to_owned()),
    }
}

fn lease_id(call: &Call, fields: &LeaseFields) -> Result<String, Fault> {
    let given = [call.capture("url_lease_id"), &fields.lease_id.0, &fields.url_lease_id.0];
    let id = given.into_iter().find(|id| !id.is_empty());
    if id.is_some_and(|id| id.contains("..")) {
        return Err(Fault::bad_request("relative paths not supported: a lease_id holds no \"..\""));
    }
    id.map(str::to_owned).ok_or_else(|| Fault::bad_request("lease_id must be specified"))
}

/// Where a lease is: its id ends in that of its namespace, which may lie below the one that is asked.
fn home_of(vault: &Vault, call: &Call, id: &str) -> Arc<Namespace> {
    let here = namespace_of(call);
    let named = id.rsplit_once('.').and_then(|(_, last)| vault.namespaces.by_id(last));
    named.filter(|named| named.path.starts_with(&here.path)).unwrap_or_else(|| here.clone())
}

fn failed_so_far(lease: &Lease) -> bool {
    matches!(lease.state, LeaseState::Revoking { tries, .. } if tries > 0)
}

/// Takes a lease back if that can be done, and forgets it in any case.
async fn force(vault: &Vault, lease: &Lease) -> Result<(), Fault> {
    if let Err(fault) = revoke_and_wait(vault, &lease.namespace, &lease.id).await {
        tracing::warn!(lease = lease.id, told = %fault.told, "forgotten by force; the credential may live on");
    }
    vault.leases.forget_whatever_state(lease).await
}

fn show_failed(lease: &Lease) -> Option<Value> {
    let LeaseState::Revoking { tries: tries @ 1.., next, why } = &lease.state else { return None };
    Some(json!({
        "lease_id": lease.id, "mount_id": lease.mount, "errMsg": why, "tries": tries, "next_try": next.rfc3339(),
    }))
}

fn show_lease(lease: &Lease, now: Moment) -> Value {
    json!({
        "id": lease.id,
        "issue_time": lease.issued.rfc3339(),
        "expire_time": lease.expires.rfc3339(),
        "last_renewal": lease.renewed.map(Moment::rfc3339),
        "renewable": lease.renewable && lease.state == LeaseState::Live,
        "ttl": lease.expires.since(now).as_secs(),
        "path": lease.id.rsplit_once('/').map_or("", |(path, _)| path),
    })
}

fn show_token(record: &TokenRecord, id: &str, now: Moment) -> Value {
    json!({
        "id": id,
        "issue_time": record.created.rfc3339(),
        "expire_time": record.expires.map(Moment::rfc3339),
        "last_renewal": record.renewed.map(Moment::rfc3339),
        "renewable": record.renewable,
        "ttl": record.time_left(now).as_secs(),
        "path": record.path,
    })
}

/// The token whose lease id this is.
async fn token_of(vault: &Vault, namespace: &str, id: &str) -> Result<Option<TokenRecord>, Fault> {
    let Some((_, last)) = id.rsplit_once('/') else { return Ok(None) };
    let Some(accessor) = last.strip_prefix('h') else { return Ok(None) };
    let found = vault.tokens.read(accessor).await?.map(|(record, _)| record);
    Ok(found.filter(|record| record.namespace == namespace && crate::tokens::token_lease_id(record) == id))
}

/// Names directly below a key prefix; folders end in `/` and are skipped over at once.
async fn children_of(vault: &Vault, prefix: &[u8], names: &mut BTreeSet<String>) -> Result<(), Fault> {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let rows = vault.store.scan(prefix, after.as_deref(), PAGE).await?;
        let mut jump = None;
        for row in &rows {
            let Some(rest) = row.key.strip_prefix(prefix).and_then(|rest| std::str::from_utf8(rest).ok()) else {
                continue;
            };
            match rest.split_once('/') {
                None => drop(names.insert(rest.to_owned())),
                Some((folder, _)) => {
                    names.insert(format!("{folder}/"));
                    jump = Some([prefix, folder.as_bytes(), b"/\xff"].concat());
                    break;
                }
            }
        }
        match jump {
            Some(key) => after = Some(key),
            None if rows.len() < PAGE => return Ok(()),
            None => after = rows.last().map(|row| row.key.clone()),
        }
    }
}
