//! The running program: the store below the barrier, the seals, and the vault while it is unsealed.

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use dewdrop_core::mount::{Limits, UserLockout};
use dewdrop_core::store::SharedStore;
use dewdrop_core::{Clock, Fault};
use dewdrop_store::{Barrier, Seal, SnapshotStore};
use tokio::sync::Mutex;

use crate::audit::Audit;
use crate::config::{Access, Metrics};
use crate::seal::Ceremonies;
use crate::sys::{Cors, ServerMetrics};
use crate::vault::Vault;

/// What the configuration says of the server as a whole.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For leases.
    pub limits: Limits,
    /// `redb`, `etcd` or `inmem`: shown in `sys/seal-status`.
    pub storage_type: &'static str,
    /// Where clients reach this server.
    pub api_addr: String,
    /// Started with `-dev`: `secret/` is mounted and the root token has a fixed text.
    pub dev: bool,
    /// Locks after failed logins, by auth method; `all` for those that are not named.
    pub lockouts: BTreeMap<String, UserLockout>,
    /// What may be asked of each listener.
    pub listeners: Vec<Access>,
    /// How `sys/metrics` shows its numbers.
    pub metrics: Metrics,
}

impl Settings {
    /// What may be asked of a listener.
    #[must_use]
    pub fn access(&self, listener: usize) -> Access {
        self.listeners.get(listener).copied().unwrap_or_default()
    }
}

/// The running program.
pub struct Server {
    clock: Arc<dyn Clock>,
    /// Below the barrier.
    pub store: Arc<dyn SnapshotStore>,
    /// The encrypting layer.
    pub barrier: Arc<Barrier>,
    /// Seals that open without people.
    pub auto_seals: Vec<Arc<dyn Seal>>,
    /// Unsealing, rekeying and making a root token, while they are under way.
    pub ceremonies: Mutex<Ceremonies>,
    /// Where acts are written down.
    pub audit: Arc<Audit>,
    /// What the configuration says.
    pub settings: Settings,
    /// Whose scripts may read answers in a browser.
    pub cors: ArcSwapOption<Cors>,
    /// The numbers of `sys/metrics`.
    pub metrics: ServerMetrics,
    vault: ArcSwapOption<Vault>,
    gate: crate::seal::Gate,
}

/// What a server is made of.
pub struct Parts {
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// Below the barrier.
    pub store: Arc<dyn SnapshotStore>,
    /// Seals that open without people.
    pub auto_seals: Vec<Arc<dyn Seal>>,
    /// Where acts are written down.
    pub audit: Arc<Audit>,
    /// What the configuration says.
    pub settings: Settings,
}

impl Server {
    /// A sealed server over a store.
    #[must_use]
    pub fn new(parts: Parts) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            barrier: Arc::new(Barrier::new(
                parts.store.clone(),
                parts.clock.clone(),
                dewdrop_store::Rotation::default(),
            )),
            clock: parts.clock,
            store: parts.store,
            auto_seals: parts.auto_seals,
            ceremonies: Mutex::default(),
            audit: parts.audit,
            cors: ArcSwapOption::empty(),
            metrics: ServerMetrics::new(me, &parts.settings.metrics),
            settings: parts.settings,
            vault: ArcSwapOption::empty(),
            gate: crate::seal::Gate::new(me.clone()),
        })
    }

    /// Where the time comes from.
    #[must_use]
    pub fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    /// The clock, to be kept.
    #[must_use]
    pub fn shared_clock(&self) -> Arc<dyn Clock> {
        self.clock.clone()
    }

    /// The store behind the barrier.
    #[must_use]
    pub fn behind_barrier(&self) -> SharedStore {
        self.barrier.clone()
    }

    /// The paths that are served without the vault.
    #[must_use]
    pub fn gate(&self) -> &crate::seal::Gate {
        &self.gate
    }

    /// The vault.
    ///
    /// # Errors
    /// 503 while it is sealed.
    pub fn vault(&self) -> Result<Arc<Vault>, Fault> {
        self.vault.load_full().ok_or_else(|| Fault::unavailable("Vault is sealed"))
    }

    /// Whether there is no vault.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.vault.load().is_none()
    }

    /// The barrier is open: serve.
    pub fn set_vault(&self, vault: Arc<Vault>) {
        self.vault.store(Some(vault));
    }

    /// Stops serving and forgets the keys. What is under way still ends.
    pub fn seal(&self) {
        self.vault.store(None);
        self.audit.lock();
        self.barrier.seal();
        // One that holds the lock now fails at the sealed barrier, and is forgotten when the server is unsealed.
        if let Ok(mut ceremonies) = self.ceremonies.try_lock() {
            ceremonies.forget_open();
        }
    }

    /// Stops serving without sealing: what is stored is about to be replaced.
    pub fn take_vault(&self) -> Option<Arc<Vault>> {
        self.vault.swap(None)
    }
}
