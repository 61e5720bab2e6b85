//! Renewing a lease: the engine extends the credential at its target first, then the lease is written.

use std::time::Duration;

use dewdrop_core::engine::{Credential, Renewal};
use dewdrop_core::lease::{Lease, LeaseState};
use dewdrop_core::store::StoreError;
use dewdrop_core::{Fault, Moment};

use super::replace;
use crate::vault::Vault;

/// Extends a lease; answers it with its life from now and what the caller should know.
///
/// # Errors
/// 400: no such lease, or it cannot be renewed; the engine's.
pub async fn renew(
    vault: &Vault,
    namespace: &str,
    id: &str,
    increment: Duration,
    now: Moment,
) -> Result<(Lease, Duration, Vec<String>), Fault> {
    for _ in 0..8 {
        let (before, revision) = vault.leases.read(namespace, id).await?.ok_or_else(not_found)?;
        if before.state != LeaseState::Live || before.expires <= now {
            return Err(not_found());
        }
        if !before.renewable {
            return Err(Fault::bad_request("lease is not renewable"));
        }
        let mounted = vault.mounts.by_uuid(&before.mount).ok_or_else(not_found)?;
        let credential = Credential {
            lease_id: id.to_owned(),
            internal: before.internal.clone(),
            issued: before.issued,
            mount: mounted.mount.clone(),
        };
        let given = mounted.room.renew(&credential, &Renewal { now, increment }).await?;
        let ttl = given.ttl.min(before.latest.since(now));
        let mut after = before.clone();
        after.expires = now.plus(ttl);
        after.renewed = Some(now);
        match replace(&vault.leases.store, &before, &after, revision).await {
            Ok(()) => return Ok((after, ttl, given.warnings)),
            Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(Fault::unavailable("others renew this lease at the same time; try again"))
}

fn not_found() -> Fault {
    Fault::bad_request("lease not found")
}
