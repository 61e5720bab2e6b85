//! Copies of the chain elsewhere. Each device is a thread that follows the chain's files with a cursor of its own: a sink
//! that hangs slows nobody, needs no memory, and gets what it missed when it comes back.

mod follow;
mod shape;
mod sink;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;

use arc_swap::ArcSwapOption;
use parking_lot::Mutex;
use serde::Serialize;

use super::AuditError;
use super::folder::io;
use super::log::Log;
use super::redact::HashKey;
use crate::config::AuditDevice;
use follow::{Cursor, Follower};
pub use sink::facility;

/// What a device follows.
pub struct Feed {
    /// The chain.
    pub log: Arc<Log>,
    /// The key of HMACs, while unsealed.
    pub key: Arc<ArcSwapOption<HashKey>>,
}

/// A device that runs.
pub struct Device {
    /// As it is set up.
    pub config: AuditDevice,
    /// Made by the configuration.
    pub from_config: bool,
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    cursor: PathBuf,
}

/// How a device fares.
#[derive(Debug, Clone, Serialize, PartialEq, Eq)]
pub struct DeviceStanding {
    /// The last line that was handed over.
    pub seq: u64,
    /// Lines that wait.
    pub lag: u64,
    /// Why they wait; empty: they do not.
    pub error: String,
}

/// Between the device and its thread.
pub(super) struct Shared {
    feed: Feed,
    stop: AtomicBool,
    reopen: AtomicBool,
    seq: AtomicU64,
    error: Mutex<String>,
}

impl Device {
    /// Starts a device: where its cursor stands, or with what is written from now on.
    ///
    /// # Errors
    /// The cursor cannot be read, or no thread can be started.
    pub fn start(config: AuditDevice, feed: Feed, from_config: bool) -> Result<Self, AuditError> {
        let name: String = config
            .path
            .trim_matches('/')
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02x}") })
            .collect();
        let cursor = feed.log.folder().join(format!("cursor-{name}.json"));
        let at = match std::fs::read(&cursor) {
            Ok(text) => serde_json::from_slice(&text).map_err(std::io::Error::from).map_err(io("read", &cursor))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Cursor::from(feed.log.end()),
            Err(error) => return Err(io("read", &cursor)(error)),
        };
        at.save(&cursor).map_err(io("write", &cursor))?;
        let shared = Arc::new(Shared {
            feed,
            stop: AtomicBool::new(false),
            reopen: AtomicBool::new(false),
            seq: AtomicU64::new(at.seq.saturating_sub(1)),
            error: Mutex::default(),
        });
        let follower = Follower::new(config.clone(), shared.clone(), at, cursor.clone());
        let thread = std::thread::Builder::new()
            .name("audit-device".into())
            .spawn(move || follower.run())
            .map_err(io("start the device of", &cursor))?;
        Ok(Self { config, from_config, shared, thread: Some(thread), cursor })
    }

    /// Opens its file anew.
    pub fn reopen(&self) {
        self.shared.reopen.store(true, Ordering::Relaxed);
    }

    /// How it fares.
    #[must_use]
    pub fn standing(&self) -> DeviceStanding {
        let seq = self.shared.seq.load(Ordering::Relaxed);
        let lag = self.shared.feed.log.last().saturating_sub(seq);
        DeviceStanding { seq, lag, error: self.shared.error.lock().clone() }
    }

    /// Ends it for good.
    pub fn forget(mut self) {
        self.end();
        if let Err(error) = std::fs::remove_file(&self.cursor) {
            tracing::warn!(cursor = %self.cursor.display(), %error, "the cursor of a removed audit device stays");
        }
    }

    fn end(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.feed.log.wake();
        // A sink that hangs ends within its write timeout.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Device {
    fn drop(&mut self) {
        self.end();
    }
}
