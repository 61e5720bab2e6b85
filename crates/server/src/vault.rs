//! The unsealed server: everything that needs the barrier open. Sealing drops it whole.

mod house;
pub mod lockouts;
mod namespaces;
mod open;
mod policies;
pub mod quotas;
#[cfg(test)]
pub mod rig;
mod tick;

use std::sync::{Arc, Weak};

use dewdrop_core::engine::House;
use dewdrop_core::mount::Limits;
use dewdrop_core::store::SharedStore;
use dewdrop_core::{Clock, Fault};

use crate::audit::Audit;
use crate::leases::Leases;
use crate::mfa::Waiting;
use crate::mounts::Mounts;
use crate::server::Server;
use crate::tokens::Tokens;
pub use house::ServerHouse;
pub use namespaces::Namespaces;
pub use open::{Opening, furnish};
pub use policies::{Compiled, PolicyBook, PolicyRecord};

/// The unsealed server. One value lives from unseal to seal.
pub struct Vault {
    /// The whole store, behind the barrier.
    pub store: SharedStore,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// The server's own limits for leases.
    pub limits: Limits,
    /// All namespaces.
    pub namespaces: Namespaces,
    /// All mounts with their engines.
    pub mounts: Mounts,
    /// All policies.
    pub policies: PolicyBook,
    /// All tokens.
    pub tokens: Tokens,
    /// All leases, and who takes them back.
    pub leases: Leases,
    /// How often clients may ask, and how many leases may live.
    pub quotas: quotas::Quotas,
    /// Who is locked out after failed logins.
    pub lockouts: lockouts::Lockouts,
    /// Logins that wait for a second factor.
    pub mfa: Waiting,
    /// Where each act is written down.
    pub audit: Arc<Audit>,
    /// The program around it.
    pub server: Weak<Server>,
    me: Weak<Vault>,
}

impl Vault {
    /// A handle that does not keep the vault alive: engines of the server itself hold this.
    #[must_use]
    pub fn weak(&self) -> Weak<Self> {
        self.me.clone()
    }

    /// A handle that does.
    ///
    /// # Errors
    /// The vault is being sealed.
    pub fn strong(&self) -> Result<Arc<Self>, Fault> {
        upgrade(&self.me)
    }

    /// What engines may ask of the server.
    #[must_use]
    pub fn house(&self) -> Arc<dyn House> {
        Arc::new(ServerHouse(self.me.clone()))
    }
}

/// The vault behind a weak handle.
///
/// # Errors
/// 503: it is sealed.
pub fn upgrade(vault: &Weak<Vault>) -> Result<Arc<Vault>, Fault> {
    vault.upgrade().ok_or_else(Fault::sealed)
}
