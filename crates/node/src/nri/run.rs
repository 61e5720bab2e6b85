//! Keeps a link to the runtime up, for ever.

use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::fault::with_causes;
use tokio::net::UnixStream;

use super::link::{LinkError, serve};
use super::model::{Container, Pod};
use super::watcher::{Link, Watcher, mounts_csi_volume};
use super::worker::{Job, Worker};

/// Says whether a container must not be made without the watcher's word.
pub type Guard = fn(&Pod, &Container) -> bool;

/// How to reach the runtime, and as whom.
#[derive(Debug, Clone)]
pub struct NriSettings {
    /// The runtime's socket, `/var/run/nri/nri.sock` as a rule. It is made anew with each start of the runtime: from
    /// within a container, mount the folder.
    pub socket: PathBuf,
    /// The plug-in's name.
    pub name: String,
    /// Two digits: where it stands in the row of plug-ins.
    pub index: String,
    /// Refuse these while the watcher does not answer; all else passes then. Asked for every container: it must answer
    /// from its arguments alone.
    pub guarded: Guard,
}

impl NriSettings {
    /// With [`mounts_csi_volume`] as the guard.
    pub fn new(socket: impl Into<PathBuf>, name: &str, index: &str) -> Self {
        Self { socket: socket.into(), name: name.into(), index: index.into(), guarded: mounts_csi_volume }
    }

    /// What every runtime refuses is said before one is asked.
    fn check(&self) -> Result<(), SettingsError> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.+".contains(c);
        if self.name.is_empty() || !self.name.chars().all(plain) {
            return Err(SettingsError::Name(self.name.clone()));
        }
        if self.index.len() != 2 || !self.index.bytes().all(|b| b.is_ascii_digit()) {
            return Err(SettingsError::Index(self.index.clone()));
        }
        Ok(())
    }
}

/// Why it cannot even begin.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// The name of the plug-in.
    #[error("{0:?} is no name for an NRI plug-in: letters, digits and -_.+ are")]
    Name(String),
    /// The index of the plug-in.
    #[error("{0:?} is no index for an NRI plug-in: two digits are")]
    Index(String),
    /// The watcher's thread.
    #[error("start a thread for the watcher")]
    Thread(#[source] std::io::Error),
}

/// How long for what.
#[derive(Debug, Clone)]
pub struct Limits {
    /// For a callback; never more than half of what the runtime gives.
    pub patience: Duration,
    /// Of the runtime: until it has told all that runs, and while it does not read. It may be busy with other plug-ins.
    pub silence: Duration,
    /// Between two links: at first, and at most.
    pub pause: (Duration, Duration),
}

impl Default for Limits {
    fn default() -> Self {
        let pause = (Duration::from_millis(100), Duration::from_secs(5));
        Self { patience: Duration::from_millis(500), silence: Duration::from_secs(60), pause }
    }
}

/// Connects, registers and serves; does so again whenever the link ends or the runtime is not there, until `stop`.
///
/// # Errors
/// Only at once: the settings make no sense.
pub async fn run(
    settings: NriSettings,
    watcher: Arc<dyn Watcher>,
    stop: impl Future<Output = ()>,
) -> Result<(), SettingsError> {
    run_within(settings, Limits::default(), watcher, stop).await
}

pub(super) async fn run_within(
    settings: NriSettings,
    limits: Limits,
    watcher: Arc<dyn Watcher>,
    stop: impl Future<Output = ()>,
) -> Result<(), SettingsError> {
    settings.check()?;
    let worker = Worker::start(watcher).map_err(SettingsError::Thread)?;
    let herald = Herald { worker: &worker, told: None };
    tokio::select! {
        () = stop => Ok(()),
        never = for_ever(&settings, &limits, herald) => match never {},
    }
}

async fn for_ever(settings: &NriSettings, limits: &Limits, mut herald: Herald<'_>) -> Infallible {
    let (shortest, longest) = limits.pause;
    let mut pause = shortest;
    loop {
        let mut was_up = false;
        let why = once(settings, limits, &mut herald, &mut was_up).await;
        herald.lost(&why);
        if was_up {
            pause = shortest;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(longest);
    }
}

async fn once(settings: &NriSettings, limits: &Limits, herald: &mut Herald<'_>, was_up: &mut bool) -> LinkError {
    let stream = match UnixStream::connect(&settings.socket).await {
        Ok(stream) => stream,
        Err(source) => return LinkError::Connect { socket: settings.socket.display().to_string(), source },
    };
    let worker = herald.worker;
    let mut up = |state| {
        *was_up = true;
        herald.connected(state);
    };
    serve(stream, settings, limits, worker, &mut up).await
}

/// Says how the link stands, once for each change.
struct Herald<'a> {
    worker: &'a Worker,
    told: Option<Link>,
}

impl Herald<'_> {
    fn connected(&mut self, state: Link) {
        tracing::info!(?state, "the link to the container runtime is up");
        self.tell(state);
    }

    fn lost(&mut self, why: &LinkError) {
        let why = with_causes(why);
        let state = Link::Lost { why };
        if self.told.as_ref() != Some(&state) {
            tracing::warn!(?state, "no link to the container runtime");
            self.tell(state);
        }
    }

    /// Where there is no room it is told with the next try.
    fn tell(&mut self, state: Link) {
        self.told = self.worker.leave(Job::Link(state.clone())).is_ok().then_some(state);
    }
}
