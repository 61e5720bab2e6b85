//! The program: from a configuration to a server that serves, and to its end.

mod dev;
mod dev_tls;
mod parts;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dewdrop_core::SystemClock;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Config, DevOptions, LogFormat, LogLevel};
use crate::http::{self, Bound, Stats};
use crate::pipeline::Api;
use crate::seal::auto_unseal;
use crate::server::Server;
use crate::telemetry::{LogHandle, init_logs, install_panic_hook};

pub use dev_tls::dev_certificate;

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
    /// Keeps the root token for the command line; says why when it cannot.
    pub keep_token: Option<KeepToken>,
}

/// Puts a token where the command line looks for it; says why when it cannot.
pub type KeepToken = fn(&str) -> Result<(), String>;

/// What the command line says of the log. It wins over the configuration.
#[derive(Debug, Default)]
pub struct LogFlags {
    /// `-log-level`.
    pub level: Option<LogLevel>,
    /// `-log-format`.
    pub format: Option<LogFormat>,
    /// `-log-file`.
    pub file: Option<PathBuf>,
}

/// Serves until it is told to stop.
///
/// # Errors
/// Whatever keeps it from starting, in words for the operator.
pub async fn run(start: Start, flags: LogFlags) -> Result<()> {
    let (mut config, dev, files) = match start {
        Start::Files(paths) => (read(&paths)?, None, paths),
        Start::Dev(dev) => (Config::dev(&dev.options), Some(dev), Vec::new()),
    };
    let level_is_fixed = flags.level.is_some();
    config.logging.level = flags.level.unwrap_or(config.logging.level);
    config.logging.format = flags.format.unwrap_or(config.logging.format);
    config.logging.file = flags.file.or(config.logging.file);
    let logs = init_logs(&config.logging, SystemClock::shared()).context("start the log")?;
    install_panic_hook();
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    if config.switches.ui {
        tracing::warn!("ui = true has no effect: there is no user interface yet");
    }
    let _pid_file = config.switches.pid_file.as_deref().map(PidFile::write).transpose()?;
    if let Err(error) = dewdrop_store::harden_process() {
        tracing::warn!(%error, "the process could not be shut against core dumps");
    }
    let server = parts::server(&config, dev.is_some()).await?;
    let _ = server.telemetry.logs.set(logs.clone());
    let listeners = http::bind(&config.listeners).context("cannot listen")?;
    match &dev {
        Some(dev) => dev::open(&server, dev, &listeners).await?,
        None => announce(&server, &listeners).await,
    }
    let stats = Arc::new(Stats::default());
    server.metrics.watch_edge(&stats);
    let certificates: Vec<_> = listeners.iter().filter_map(Bound::tls).collect();
    let level_from = if level_is_fixed { Vec::new() } else { files };
    tokio::spawn(on_hangup(certificates, Log { handle: logs, level_from }, server.audit.clone()));
    let drained = http::serve(listeners, Arc::new(Api(server.clone())), stats, GRACE, told_to_stop()).await;
    server.seal();
    server.audit.close();
    let _ =
        tokio::task::spawn_blocking(move || server.telemetry.traces.as_ref().inspect(|traces| traces.stop()).is_some())
            .await;
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
            Err(fault) => {
                tracing::warn!(told = %fault.told, known = %fault.known, "the automatic seal still does not open")
            }
        }
    }
}

/// The log, and the configuration that says how much it says; empty when something else does.
struct Log {
    handle: LogHandle,
    level_from: Vec<PathBuf>,
}

impl Log {
    fn reload(&self) {
        if let Err(error) = self.handle.reopen() {
            tracing::error!(%error, "the log file was not opened anew; the old one stays");
        }
        if self.level_from.is_empty() {
            return;
        }
        match read(&self.level_from) {
            Ok(config) => self.handle.configure(config.logging.level),
            Err(error) => tracing::error!(%error, "the log level was not read anew; the old one stays"),
        }
    }
}

/// The file with the id of the process; it goes when the process ends.
struct PidFile(PathBuf);

impl PidFile {
    fn write(path: &Path) -> Result<Self> {
        std::fs::write(path, format!("{}\n", std::process::id()))
            .with_context(|| format!("write the pid file {}", path.display()))?;
        Ok(Self(path.to_owned()))
    }
}

impl Drop for PidFile {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_file(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "the pid file stays");
        }
    }
}

/// SIGHUP reads the certificates and the log level anew and opens the log file anew; an audit log that was lost goes on in a
/// new file.
async fn on_hangup(certificates: Vec<Arc<http::TlsStore>>, log: Log, audit: Arc<crate::audit::Audit>) {
    let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
    while hangup.recv().await.is_some() {
        audit.reopen();
        log.reload();
        for store in &certificates {
            match store.reload() {
                Ok(()) => tracing::info!(certificate = %store.certificate().display(), "certificate reloaded"),
                Err(error) => tracing::error!(%error, "the certificate was not reloaded; the old one stays"),
            }
        }
    }
}

async fn told_to_stop() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    tracing::info!("going down: requests that are under way are finished");
}
