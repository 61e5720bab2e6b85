//! One agent from its start to its end.

use std::time::Duration;

use dewdrop_api::Client;
use dewdrop_core::SystemClock;
use futures_util::FutureExt;
use tokio::signal::unix::{SignalKind, signal};

use crate::agent::vault::Vault;
use crate::agent::{Agent, Fail};
use crate::csi;
use crate::metrics;
use crate::nri::{self, NriSettings};
use crate::settings::Settings;

/// The plug-in's name and place in the row of NRI plug-ins: late, so that it sees what others have changed.
const NRI_NAME: &str = "dewdrop";
const NRI_INDEX: &str = "90";
/// How long starts that are over may still be told after SIGTERM. The rest is on the journal.
const FAREWELL: Duration = Duration::from_secs(5);

/// Why the agent cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// Its state, or what it found there.
    #[error(transparent)]
    Agent(#[from] Fail),
    /// A socket.
    #[error("the CSI driver: {0}")]
    Csi(std::io::Error),
    /// The address of the numbers.
    #[error("{0}")]
    Metrics(std::io::Error),
    /// NRI's settings.
    #[error(transparent)]
    Nri(#[from] nri::SettingsError),
    /// Signals.
    #[error("signals cannot be heard: {0}")]
    Signals(std::io::Error),
}

/// Runs the agent of a node until SIGTERM or SIGINT. Pods go on with what they have; the next agent takes over from the
/// journal.
///
/// # Errors
/// It cannot begin, or a socket broke.
pub async fn run(settings: Settings, client: Client) -> Result<(), RunError> {
    let agent = Agent::open(&settings, Vault::new(client, settings.sign_in.clone()))?;
    tracing::info!(node = %settings.node, volumes = agent.volumes(), "the agent runs");
    let stop = stop_signal()?.shared();
    let numbers = match settings.metrics {
        Some(address) => Some(metrics::listen(address).await.map_err(RunError::Metrics)?),
        None => None,
    };
    let work = tokio::spawn(agent.clone().run(SystemClock::shared()));
    let numbers = numbers.map(|listener| tokio::spawn(metrics::serve(listener, agent.clone())));
    let nri = async {
        match &settings.nri_socket {
            Some(socket) => nri::run(NriSettings::new(socket, NRI_NAME, NRI_INDEX), agent.clone(), stop.clone()).await,
            None => Ok(()),
        }
    };
    let csi = csi::serve(&settings.kubelet_dir, &settings.node, agent.clone(), stop.clone());
    let done = tokio::join!(async { csi.await.map_err(RunError::Csi) }, async { nri.await.map_err(RunError::Nri) });
    agent.settle(FAREWELL).await;
    work.abort();
    numbers.into_iter().for_each(|task| task.abort());
    done.0.and(done.1)
}

fn stop_signal() -> Result<impl Future<Output = ()> + Send + 'static, RunError> {
    let mut term = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut int = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}
