//! The regular round over all mounts: rotation, tidying, reconciliation. Each mount goes at its own pace.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;

use super::Vault;

const EVERY: Duration = Duration::from_secs(1);

/// Runs until the vault is dropped.
pub async fn run(vault: Weak<Vault>) {
    let busy: Arc<Mutex<HashSet<String>>> = Arc::default();
    loop {
        tokio::time::sleep(EVERY).await;
        let Some(vault) = vault.upgrade() else { return };
        let now = vault.clock.now();
        if let Err(fault) = vault.policies.sweep(now).await {
            tracing::warn!(told = %fault.told, known = %fault.known, "expired policies are removed later; they grant nothing");
        }
        for mounted in vault.mounts.all() {
            // A mount whose last round is still under way is left alone.
            if !busy.lock().insert(mounted.mount.uuid.clone()) {
                continue;
            }
            let busy = busy.clone();
            tokio::spawn(async move {
                if let Err(fault) = mounted.room.tick(&mounted.mount, now).await {
                    tracing::warn!(mount = mounted.mount.path, told = %fault.told, known = %fault.known, "the mount's regular work failed");
                }
                busy.lock().remove(&mounted.mount.uuid);
            });
        }
    }
}
