//! Whose turn it is. Servers that share an etcd serve one at a time: the one that holds the lock `active`. The others stand by
//! with an open barrier, send clients to the active one, and take over when the lock is free.
//!
//! A holder that was paused may wake up after another took over. So each of its commits demands the row that it wrote when its
//! turn began: the other has replaced that row, and the late commit fails. What is answered from memory ends earlier: when
//! the lock is not surely held any more.

mod fenced;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use dewdrop_core::store::{Batch, Hold, SharedStore, get_json};
use dewdrop_core::{Fault, Moment};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::seal::open_vault;
use crate::server::{Server, Serving};
use fenced::Fenced;

/// The lock, and how long it outlives a holder that vanishes.
const LOCK: &str = "active";
const LIFE: Duration = Duration::from_secs(10);
/// The row that tells who is active.
const AT: &[u8] = b"core/active";
/// How often a standby asks for the lock, and an active server whether it has it still.
const LOOK: Duration = Duration::from_millis(500);
/// How long a server that stepped down leaves the lock to the others.
const REST: Duration = Duration::from_secs(10);

/// A time during which this server serves.
pub struct Turn {
    /// Nobody else can open the store.
    alone: bool,
    hold: ArcSwapOption<Box<dyn Hold>>,
}

/// The server that is active.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Leader {
    /// Where its clients reach it; may be empty.
    pub address: String,
    /// Since when.
    pub since: Moment,
}

/// What a server knows of turns.
#[derive(Default)]
pub struct Turns {
    /// What this server serves, while it does.
    pub(crate) serving: ArcSwapOption<Serving>,
    /// Set while this server stands by.
    standby: ArcSwapOption<Leader>,
    /// Somebody waits for the lock.
    waiting: AtomicBool,
    /// In milliseconds of the steady clock.
    rests_until: AtomicU64,
    /// The request with which the turn ends, and how.
    ending: Mutex<Option<(Arc<str>, Ending)>>,
}

/// How a turn ends by request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The server is sealed.
    Seal,
    /// Another server takes over.
    StepDown,
}

// === impl Turn ===

impl Turn {
    /// Whether this server may still answer.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.alone || self.hold.load().as_ref().is_some_and(|hold| hold.is_held())
    }

    /// Ends it, and frees the lock for the others.
    pub fn end(&self) {
        self.hold.store(None);
    }
}

// === impl Turns ===

impl Turns {
    /// The active server, while this one stands by.
    #[must_use]
    pub fn leader(&self) -> Option<Arc<Leader>> {
        self.standby.load_full()
    }

    /// Once this request is answered and on the audit log, which needs the vault, the turn ends.
    pub fn end_with(&self, request_id: &Arc<str>, ending: Ending) {
        *self.ending.lock() = Some((request_id.clone(), ending));
    }

    /// This server neither serves nor waits.
    pub fn leave(&self) {
        self.standby.store(None);
    }
}

/// Takes the turn, with the lock of an earlier one if that is `kept`; answers it with the store as it may be used during the
/// turn. `None`: another server has it.
///
/// # Errors
/// The store's.
pub async fn take(server: &Server, kept: Option<Arc<Turn>>) -> Result<Option<(Arc<Turn>, SharedStore)>, Fault> {
    let barrier = server.behind_barrier();
    if !server.settings.is_shared() {
        return Ok(Some((Arc::new(Turn { alone: true, hold: ArcSwapOption::empty() }), barrier)));
    }
    let turn = match kept {
        Some(turn) => turn,
        None => match server.store.hold(LOCK, LIFE).await? {
            Some(hold) => Arc::new(Turn { alone: false, hold: ArcSwapOption::from_pointee(hold) }),
            None => return Ok(None),
        },
    };
    let leader = Leader { address: server.settings.api_addr.clone(), since: server.clock().now() };
    let revision = barrier.commit(Batch::new().put_json(AT, &leader)?).await?;
    let store = Arc::new(Fenced { of: barrier, at: AT, revision, turn: turn.clone() });
    Ok(Some((turn, store)))
}

/// Waits for the turn, in the background.
pub async fn stand_by(server: &Arc<Server>) {
    let known = get_json::<Leader>(&*server.behind_barrier(), AT).await;
    let leader = known.ok().flatten().map_or_else(Leader::default, |(leader, _)| leader);
    server.turns.standby.store(Some(Arc::new(leader)));
    if !server.turns.waiting.swap(true, Ordering::SeqCst) {
        tokio::spawn(wait(Arc::downgrade(server)));
    }
}

/// Boxed: taking over may end in waiting again.
fn wait(server: Weak<Server>) -> BoxFuture<'static, ()> {
    Box::pin(until_active(server))
}

async fn until_active(server: Weak<Server>) {
    tracing::info!("another server is active: this one stands by");
    while let Some(server) = server.upgrade() {
        if server.barrier.is_sealed() || server.turns.leader().is_none() {
            break;
        }
        let now = server.clock().steady();
        if now >= Duration::from_millis(server.turns.rests_until.load(Ordering::Relaxed)) {
            match open_vault(&server).await {
                Ok(Some(_)) => {
                    tracing::warn!("this server is active now");
                    break;
                }
                Ok(None) => {}
                Err(fault) => {
                    tracing::warn!(told = %fault.told, known = %fault.known, "this standby could not take over; it tries again");
                }
            }
        }
        drop(server);
        tokio::time::sleep(LOOK).await;
    }
    if let Some(server) = server.upgrade() {
        server.turns.waiting.store(false, Ordering::SeqCst);
    }
}

/// Watches over a turn: when it is lost, the server stands by.
pub async fn guard(server: Weak<Server>, serving: Weak<Serving>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let (Some(server), Some(serving)) = (server.upgrade(), serving.upgrade()) else { return };
        if !serving.turn.is_ours() {
            if server.step_aside(&serving) {
                tracing::error!("the lock on the storage is lost: this server is not active any more");
                stand_by(&server).await;
            }
            return;
        }
    }
}

/// A request is answered and on the audit log: does what it was about.
pub async fn after(server: &Arc<Server>, request_id: &str) {
    let ending = server.turns.ending.lock().take_if(|(id, _)| **id == *request_id);
    match ending.map(|(_, ending)| ending) {
        Some(Ending::Seal) => server.seal(),
        Some(Ending::StepDown) => step_down(server).await,
        None => {}
    }
}

/// Gives the turn up for a while, so that another server takes it. Nothing happens where there is no other.
async fn step_down(server: &Arc<Server>) {
    let Some(serving) = server.serving().filter(|serving| !serving.turn.alone) else { return };
    let until = server.clock().steady() + REST;
    server.turns.rests_until.store(u64::try_from(until.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    if server.step_aside(&serving) {
        serving.turn.end();
        stand_by(server).await;
    }
}
