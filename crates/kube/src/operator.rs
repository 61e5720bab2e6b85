//! The operator: a team declares in its own namespace who of its pods may read what (`SecretAccess`), a cluster's
//! administrator declares how far each namespace may go (`SecretAccessGrant`), and the operator writes a policy and a role at
//! the server. docs/decisions/0021.
//!
//! It always looks at everything there is, never at what has changed: a change only makes it look earlier.

mod desk;
pub(crate) mod kinds;
mod lease;
mod list;
mod plan;
mod status;
mod vault;

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Clock;

use crate::cluster::{Api, LookUpError};

use desk::Desk;
use kinds::{Grant, SecretAccess};
pub use lease::Leader;
use list::list;
pub use plan::House;
pub use vault::{SignIn, Vault};

/// Our kinds, in every namespace.
const ACCESSES: &str = "/apis/dewdrop.dev/v1alpha1/secretaccesses";
const GRANTS: &str = "/apis/dewdrop.dev/v1alpha1/secretaccessgrants";
/// The longest time between two looks; shorter than a third of the lease.
const EVERY: Duration = Duration::from_secs(4);
/// The shortest: changes that come in a row are seen to together.
const BREATH: Duration = Duration::from_millis(200);

/// Where the operator works.
pub struct Settings {
    /// Names and audience at the server.
    pub house: House,
    /// Our own namespace, where the lease is.
    pub namespace: String,
    /// The lease's name.
    pub lease: String,
    /// Who we are: the pod's name.
    pub identity: String,
}

/// What there is, and the versions from which on a change counts.
struct Seen {
    accesses: Vec<SecretAccess>,
    grants: Vec<Grant>,
    versions: (String, String),
    /// Whether every object could be read.
    is_whole: bool,
}

/// Runs until `shutdown` resolves.
pub async fn run(
    settings: Settings,
    api: Api,
    vault: Vault,
    clock: Arc<dyn Clock>,
    shutdown: impl Future<Output = ()>,
) {
    let mut leader = Leader::new(api.clone(), settings.namespace, settings.lease, settings.identity);
    let mut desk = Desk::new(settings.house, Box::new(vault), Box::new(api.clone()));
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = round(&api, &mut leader, &mut desk, &*clock) => {}
            () = &mut shutdown => break,
        }
    }
    leader.release(clock.now()).await;
}

/// One look at everything, and the wait for the next.
async fn round(api: &Api, leader: &mut Leader, desk: &mut Desk, clock: &dyn Clock) {
    if !leader.holds(clock.now()).await {
        desk.forget();
        return tokio::time::sleep(EVERY / 2).await;
    }
    match look(api).await {
        Ok(seen) => {
            desk.keep_only(&seen.accesses);
            for access in &seen.accesses {
                if !leader.holds(clock.now()).await {
                    return;
                }
                desk.see_to(access, &seen.grants, clock.now()).await;
            }
            // One that cannot be read has a role all the same.
            if seen.is_whole {
                desk.sweep(&seen.accesses, clock.now()).await;
            }
            doorbell(api, &seen.versions).await;
        }
        Err(error) => {
            tracing::warn!(%error, "what is declared cannot be read");
            tokio::time::sleep(EVERY).await;
        }
    }
}

async fn look(api: &Api) -> Result<Seen, LookUpError> {
    let accesses = list::<SecretAccess>(api, ACCESSES, "secretaccesses").await?;
    let grants = list::<Grant>(api, GRANTS, "secretaccessgrants").await?;
    let versions = (accesses.version, grants.version);
    Ok(Seen { is_whole: accesses.is_whole, accesses: accesses.items, grants: grants.items, versions })
}

/// Returns soon after something has changed, and at the latest after [`EVERY`].
async fn doorbell(api: &Api, (accesses, grants): &(String, String)) {
    tokio::time::sleep(BREATH).await;
    tokio::select! {
        () = api.changed(ACCESSES, accesses, EVERY) => {}
        () = api.changed(GRANTS, grants, EVERY) => {}
        () = tokio::time::sleep(EVERY) => {}
    }
}
