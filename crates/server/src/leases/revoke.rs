//! Taking one lease back: the engine removes the credential, then the lease goes.

use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::engine::Credential;
use dewdrop_core::lease::{Lease, LeaseState, back_off};
use dewdrop_core::store::StoreError;

use super::queue::LeaseRef;
use super::{due_at, replace};
use crate::ids;
use crate::vault::Vault;

/// How often, and how long, somebody who waits for a revocation looks whether the keeper has let go of the lease.
const TURN: Duration = Duration::from_millis(10);
const PATIENCE: u32 = 2_000;

/// Makes a lease due and takes it back now, while the caller waits. The keeper leaves it alone meanwhile: two that drop the
/// same user at the same time would only disturb each other.
///
/// # Errors
/// The engine's, or the store's; the lease stays due and is tried again.
pub async fn revoke_and_wait(vault: &Vault, namespace: &str, id: &str) -> Result<(), Fault> {
    let lease: LeaseRef = (namespace.to_owned(), id.to_owned());
    let mut turns = 0;
    let held = loop {
        match vault.leases.take(lease.clone()) {
            Some(held) => break held,
            None if turns >= PATIENCE => {
                return Err(Fault::unavailable(
                    "the lease waits in its target's queue and is tried again; sys/leases/waiting says why",
                ));
            }
            None => turns += 1,
        }
        tokio::time::sleep(TURN).await;
    };
    vault.leases.expire_now(vault, &[lease], None).await?;
    let done = revoke_now(vault, namespace, id).await;
    drop(held);
    vault.leases.wake();
    done
}

/// Takes a lease's credential back and forgets the lease; when that fails, the lease says why and when the next try is.
///
/// # Errors
/// The engine's, or the store's.
pub(super) async fn revoke_now(vault: &Vault, namespace: &str, id: &str) -> Result<(), Fault> {
    let Some((lease, revision)) = vault.leases.read(namespace, id).await? else { return Ok(()) };
    let now = vault.clock.now();
    if due_at(&lease) > now {
        return Ok(()); // renewed meanwhile
    }
    match call_engine(vault, &lease).await {
        Ok(()) => {
            write_down(vault, &lease);
            vault.leases.forget(&lease, revision).await
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

/// A random byte, so that not all who failed together try again together.
pub(super) fn jitter() -> u8 {
    let mut byte = [0u8];
    match ids::fill(&mut byte) {
        Ok(()) => byte[0],
        Err(_) => 0,
    }
}
