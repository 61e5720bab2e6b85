//! The program: from a configuration to a server that serves, and to its end.

mod dev;
mod parts;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, DevOptions};
use crate::http::{self, Bound, Stats};
use crate::pipeline::Api;
use crate::seal::auto_unseal;
use crate::server::Server;

/// How long requests that are under way have when the server goes down.
const GRACE: Duration = Duration::from_secs(30);

/// How the program is started.
pub enum Start {
    /// With configuration files.
    Files(Vec<PathBuf>),
    /// With `-dev`.
    Dev(Dev),
}

/// What `-dev` was told.
pub struct Dev {
    /// Address, data folder, TLS.
    pub options: DevOptions,
    /// `-dev-root-token-id`.
    pub root_token: Option<String>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting, in words for the operator.
pub async fn run(start: Start) -> Result<()> {
    let (config, dev) = match start {
        Start::Files(paths) => (read(&paths)?, None),
        Start::Dev(dev) => (Config::dev(&dev.options), Some(dev)),
    };
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if let Err(error) = dewdrop_store::harden_process() {
        tracing::warn!(%error, "the process could not be shut against core dumps");
    }
    let server = parts::server(&config, dev.is_some()).await?;
    let listeners = http::bind(&config.listeners).context("cannot listen")?;
    match &dev {
        Some(dev) => dev::open(&server, dev, &listeners).await?,
        None => announce(&server, &listeners).await,
    }
    let stats = Arc::new(Stats::default());
    let certificates: Vec<_> = listeners.iter().filter_map(Bound::tls).collect();
    tokio::spawn(on_hangup(certificates));
    let drained = http::serve(listeners, Arc::new(Api(server.clone())), stats, GRACE, told_to_stop()).await;
    server.seal();
    if !drained.clean {
        bail!("some requests were still under way after {} s and were cut off", GRACE.as_secs());
    }
    tracing::info!("the server has stopped");
    Ok(())
}

fn read(paths: &[PathBuf]) -> Result<Config> {
    let env = |name: &str| std::env::var(name).ok();
    Config::from_files(paths, &env).map_err(|problems| {
        let all: Vec<String> = problems.iter().map(ToString::to_string).collect();
        anyhow::anyhow!("the configuration has {} mistake(s):\n{}", all.len(), all.join("\n"))
    })
}

async fn announce(server: &Arc<Server>, listeners: &[Bound]) {
    for listener in listeners {
        match listener.address() {
            Some(address) => tracing::info!(%address, tls = listener.tls().is_some(), "listening"),
            None => tracing::info!("listening on a unix socket"),
        }
    }
    if let Err(fault) = auto_unseal(server).await {
        tracing::error!(told = %fault.told, known = %fault.known, "the automatic seal does not open; it is tried again");
        tokio::spawn(keep_unsealing(server.clone()));
    }
}

/// A seal whose service is down now may open later.
async fn keep_unsealing(server: Arc<Server>) {
    loop {
        tokio::time::sleep(Duration::from_secs(5)).await;
        match auto_unseal(&server).await {
            Ok(_) => return,
            Err(fault) => tracing::warn!(told = %fault.told, known = %fault.known, "the automatic seal still does not open"),
        }
    }
}

/// SIGHUP reads the certificates anew.
async fn on_hangup(certificates: Vec<Arc<http::TlsStore>>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        for store in &certificates {
            match store.reload() {
                Ok(()) => tracing::info!(certificate = %store.certificate().display(), "certificate reloaded"),
                Err(error) => tracing::error!(%error, "the certificate was not reloaded; the old one stays"),
            }
        }
    }
}

async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("going down: requests that are under way are finished");
}

/// Starts the log on standard error. Without a level, `info`.
///
/// # Errors
/// The level is not known.
pub fn start_logs(level: Option<&str>) -> Result<()> {
    let level = level.unwrap_or("info");
    let filter = tracing_subscriber::EnvFilter::try_new(level).with_context(|| format!("{level:?} is no log level"))?;
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).try_init().map_err(|e| anyhow::anyhow!("{e}"))
}

/// A certificate for `-dev-tls`: certificate and key files.
///
/// # Errors
/// Always: it is not built yet.
pub fn dev_certificate(_: Option<&std::path::Path>, _: std::net::SocketAddr) -> Result<(PathBuf, PathBuf)> {
    bail!("-dev-tls is not built; start with -config and a listener that has tls_cert_file and tls_key_file")
}
