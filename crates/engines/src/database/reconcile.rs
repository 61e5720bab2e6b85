//! Reconciliation: users at the target that bear the mark of this mount and that no lease knows. In order: the users are
//! read first, then the leases. A lease is written before its user is made, so a user of the first reading whose lease
//! is not in the second has none.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::{Fault, Moment};
use serde_json::json;

use super::connection::{Connection, Reconcile};
use super::issue::mark_prefix;
use super::preflight;
use super::revoke::take_away;
use super::shared::{Shared, target_fault};
use crate::postgres::sql;

/// How often it is asked what is due.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// A user that no lease knows.
struct Orphan {
    username: String,
    role: String,
}

/// What a look found.
struct Found {
    /// Users with our mark.
    marked: usize,
    orphans: Vec<Orphan>,
}

pub(super) async fn report(db: &Shared, call: &Call) -> Result<Reply, Fault> {
    let connection = db.connection(call.capture("name")).await?;
    let found = look(db, &connection).await?;
    let orphans: Vec<_> = found.orphans.iter().map(|o| json!({ "username": o.username, "role": o.role })).collect();
    Reply::of(&json!({
        "mode": connection.details()?.reconcile,
        "checked": found.marked,
        "orphans": orphans,
    }))
}

pub(super) async fn act(db: &Shared, call: &Call) -> Result<Reply, Fault> {
    let connection = db.connection(call.capture("name")).await?;
    let found = look(db, &connection).await?;
    let (dropped, failed) = drop_all(db, &connection, &found.orphans).await?;
    let failed: Vec<_> = failed.iter().map(|(name, why)| json!({ "username": name, "error": why })).collect();
    Reply::of(&json!({ "checked": found.marked, "dropped": dropped, "failed": failed }))
}

/// Begins what is due, without waiting for it.
pub(super) async fn tick(db: &Arc<Shared>, now: Moment) -> Result<(), Fault> {
    {
        let mut looked = db.looked.lock();
        if now.since(*looked) < LOOK_EVERY {
            return Ok(());
        }
        *looked = now;
    }
    for name in db.connections.names().await? {
        let Some(connection) = db.connections.find(&name).await? else { continue };
        let details = connection.details()?;
        let is_due = {
            let mut reconciled = db.reconciled.lock();
            // Not at the start: right after it, the keeper revokes what a crash left.
            let last = *reconciled.entry(connection.id.clone()).or_insert(now);
            let is_due = details.reconcile != Reconcile::Off && now.since(last) >= details.reconcile_period.0;
            if is_due {
                reconciled.insert(connection.id.clone(), now);
            }
            is_due
        };
        if is_due {
            let db = db.clone();
            tokio::spawn(async move { by_itself(&db, &connection, details.reconcile).await });
        }
    }
    Ok(())
}

async fn by_itself(db: &Shared, connection: &Arc<Connection>, mode: Reconcile) {
    let found = match look(db, connection).await {
        Ok(found) if found.orphans.is_empty() => return,
        Ok(found) => found,
        Err(fault) => {
            tracing::warn!(connection = connection.name, why = %fault.told, "reconciliation failed");
            return;
        }
    };
    let names: Vec<&str> = found.orphans.iter().map(|o| o.username.as_str()).collect();
    tracing::warn!(connection = connection.name, orphans = names.len(), users = ?names, "users at the target without a lease");
    if mode == Reconcile::Drop {
        match drop_all(db, connection, &found.orphans).await {
            Ok((dropped, failed)) => {
                tracing::warn!(
                    connection = connection.name,
                    dropped = dropped.len(),
                    failed = failed.len(),
                    "orphans dropped"
                );
            }
            Err(fault) => {
                tracing::warn!(connection = connection.name, why = %fault.told, "orphans could not be dropped")
            }
        }
    }
}

async fn look(db: &Shared, connection: &Arc<Connection>) -> Result<Found, Fault> {
    let prefix = mark_prefix(db);
    let target = db.target(connection).await?;
    let rows = target.run(&sql::marked(&prefix)).await;
    let rows = rows.map_err(|error| target_fault(&connection.name, "list users", &error))?;
    // Users first, leases second: see above.
    let leases = db.place.house.leases_of(&db.place.mount_uuid).await?;
    let proofs = preflight::users(db).await?;
    let mut leased: BTreeSet<&str> = leases.iter().filter_map(|lease| lease.internal["username"].as_str()).collect();
    leased.extend(proofs.iter().map(|user| user.username.as_str()));
    let marked = rows.len();
    let orphans = rows.into_iter().filter_map(|row| {
        let [Some(username), Some(mark)] = row.as_slice() else { return None };
        let role = mark.strip_prefix(&prefix)?.to_owned();
        (!leased.contains(username.as_str())).then(|| Orphan { username: username.clone(), role })
    });
    Ok(Found { marked, orphans: orphans.collect() })
}

type Failed = Vec<(String, String)>;

async fn drop_all(
    db: &Shared,
    connection: &Arc<Connection>,
    orphans: &[Orphan],
) -> Result<(Vec<String>, Failed), Fault> {
    let target = db.target(connection).await?;
    let (mut dropped, mut failed) = (Vec::new(), Vec::new());
    for orphan in orphans {
        // As its lease would: by the statements of its role, while there is one.
        let role = db.roles.find(&orphan.role).await?.filter(|role| role.db_name == connection.name);
        let statements = role.map(|role| role.revocation_statements.clone()).unwrap_or_default();
        match take_away(db, connection, &target, &orphan.username, &statements).await {
            Ok(_) => dropped.push(orphan.username.clone()),
            Err(error) => failed.push((orphan.username.clone(), error.to_string())),
        }
    }
    Ok((dropped, failed))
}
