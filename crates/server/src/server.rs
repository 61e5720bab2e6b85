//! The running program: the store below the barrier, the seals, and the vault while it serves.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

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
use crate::telemetry::Telemetry;
use crate::telemetry::traces::{Traces, kept};
use crate::turn::{Turn, Turns};
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
    /// Names the cluster when it is initialized; one is made up without it.
    pub cluster_name: Option<String>,
    /// `cluster_addr`, which is only shown; empty without it.
    pub cluster_addr: String,
    /// Every answer says this in `X-Vault-Hostname`.
    pub hostname: Option<http::HeaderValue>,
}

impl Settings {
    /// Whether several servers may open the store.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.storage_type == "etcd"
    }

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
    /// The log of the process, and where the spans of requests go.
    pub telemetry: Telemetry,
    /// What is served, or whether another server over the same store is active.
    pub turns: Turns,
    gate: crate::seal::Gate,
}

/// The vault that is served, and how long.
pub struct Serving {
    /// The vault.
    pub vault: Arc<Vault>,
    /// Ends when another server takes over.
    pub turn: Arc<Turn>,
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
    /// Where the spans of requests go, if anywhere.
    pub traces: Option<Traces>,
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
            telemetry: Telemetry { logs: OnceLock::new(), traces: parts.traces },
            turns: Turns::default(),
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
        kept(self.barrier.clone(), self.telemetry.traces.as_ref())
    }

    /// The paths that are served without the vault.
    #[must_use]
    pub fn gate(&self) -> &crate::seal::Gate {
        &self.gate
    }

    /// The vault.
    ///
    /// # Errors
    /// 503 while it is sealed, or another server is active.
    pub fn vault(&self) -> Result<Arc<Vault>, Fault> {
        match &*self.turns.serving.load() {
            Some(serving) if serving.turn.is_ours() => Ok(serving.vault.clone()),
            None if self.turns.leader().is_none() => Err(Fault::sealed()),
            _ => Err(Fault::unavailable("this server stands by: another one is active")),
        }
    }

    /// Whether this server neither serves nor could take over.
    #[must_use]
    pub fn is_sealed(&self) -> bool {
        self.turns.serving.load().is_none() && self.turns.leader().is_none()
    }

    /// The vault that is served, with its turn.
    #[must_use]
    pub fn serving(&self) -> Option<Arc<Serving>> {
        self.turns.serving.load_full()
    }

    /// The barrier is open: serve.
    pub fn serve(&self, serving: Arc<Serving>) {
        self.turns.serving.store(Some(serving));
        self.turns.leave();
    }

    /// Stops serving what is served now, with the barrier open. `false`: it is not served any more.
    pub fn step_aside(&self, from: &Arc<Serving>) -> bool {
        let was = self.turns.serving.compare_and_swap(from, None);
        let is_it = was.as_ref().is_some_and(|was| Arc::ptr_eq(was, from));
        if is_it {
            self.audit.lock();
        }
        is_it
    }

    /// Stops serving and forgets the keys. What is under way still ends.
    pub fn seal(&self) {
        self.turns.leave();
        if let Some(serving) = self.turns.serving.swap(None) {
            serving.turn.end();
        }
        self.audit.lock();
        self.barrier.seal();
        // One that holds the lock now fails at the sealed barrier, and is forgotten when the server is unsealed.
        if let Ok(mut ceremonies) = self.ceremonies.try_lock() {
            ceremonies.forget_open();
        }
    }

    /// Stops serving without sealing: what is stored is about to be replaced.
    pub fn take_serving(&self) -> Option<Arc<Serving>> {
        self.turns.serving.swap(None)
    }
}
