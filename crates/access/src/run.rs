//! One proxy from its start to its end.

use std::net::SocketAddr;
use std::num::NonZero;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_api::Client;
use dewdrop_core::Clock;
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};

use crate::door::{self, Tls};
use crate::grants::Grants;
use crate::health::Health;
use crate::heard::{self, Ear, Hearing, Reader};
use crate::lanes::Lanes;
use crate::record::Record;
use crate::sweep::{Sweep, Sweeper};
use crate::tls;
use crate::upstream::{ApiServer, Place, WayError};
use crate::vault::{SignIn, Vault};
use crate::walk::Desk;

/// How often the ends of grants are looked for.
const LOOK: Duration = Duration::from_millis(100);
/// Between two tries to reach the server.
const AGAIN: Duration = Duration::from_millis(500);
/// A certificate of 24 hours is renewed this often.
const RENEW: Duration = Duration::from_secs(8 * 3600);

/// What a proxy must know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where questions of its health are answered; `None`: nowhere.
    pub health: Option<SocketAddr>,
    /// Where the API server sends its audit events; `None`: it does not.
    pub hearing: Option<Hearing>,
    /// The cluster's name at the server.
    pub cluster: String,
    /// Where the access engine is mounted.
    pub mount: String,
    /// Where the cluster's auth method is mounted.
    pub auth_mount: String,
    /// The API server.
    pub api: Place,
    /// How the proxy signs in; `None`: by the client's own token.
    pub sign_in: Option<SignIn>,
    /// How long a recorded session stands still, at most, while the server does not take its recording.
    pub patience: Duration,
}

/// Why a proxy cannot run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The API server's settings.
    #[error(transparent)]
    Api(#[from] WayError),
    /// The socket.
    #[error("cannot listen on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// Who the proxy is to the API server.
    #[error("events of the API server cannot be told apart: the proxy's own token names nobody ({0})")]
    Nobody(PathBuf),
    /// Threads.
    #[error("there are no threads for connections: {0}")]
    Lanes(std::io::Error),
    /// Signals.
    #[error("signals cannot be heard: {0}")]
    Signals(std::io::Error),
}

/// Runs a proxy until SIGTERM or SIGINT.
///
/// # Errors
/// It cannot begin.
pub async fn run(settings: Settings, client: Client, clock: Arc<dyn Clock>) -> Result<(), RunError> {
    let listener = TcpListener::bind(settings.listen).await.map_err(|e| RunError::Listen(settings.listen, e))?;
    let api = ApiServer::open(settings.api.clone(), clock.clone())?;
    let vault = Vault::new(client, &settings.mount, &settings.cluster, &settings.auth_mount, settings.sign_in.clone());
    let grants = Arc::new(Grants::new(clock.clone()));
    let (record, carrying) = Record::new(clock.clone(), vault.clone());
    let tls = Tls::default();
    let health = Health { tls: tls.clone(), grants: grants.clone(), record: record.clone() };
    let health = match settings.health {
        Some(at) => Some(health.serve(TcpListener::bind(at).await.map_err(|e| RunError::Listen(at, e))?)),
        None => None,
    };
    let desk = || {
        Ok::<_, WayError>(Desk {
            cluster: settings.cluster.clone(),
            grants: grants.clone(),
            // Connections to the API server are made and used on one lane.
            api: ApiServer::open(settings.api.clone(), clock.clone())?,
            record: record.clone(),
            carrier: Arc::new(vault.clone()),
            patience: settings.patience,
            clock: clock.clone(),
        })
    };
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let lanes = Lanes::open((0..processors).map(|_| desk()).collect::<Result<_, _>>()?).map_err(RunError::Lanes)?;
    let (sweeps, asked) = mpsc::channel(1);
    let sweeper =
        Sweeper { cluster: settings.cluster.clone(), api: api.clone(), record: record.clone(), clock: clock.clone() };
    drop(record);
    let (open_tls, ear) = (Tls::default(), ear(&settings, &vault).await?);
    let (trusted, news) = watch::channel(String::new());
    let work = [
        tokio::spawn(listen_to(vault.clone(), grants.clone(), trusted, sweeps)),
        tokio::spawn(keep_certificate(vault, [tls.clone(), open_tls.clone()], news)),
        tokio::spawn(api.keep()),
        tokio::spawn(sweeper.work(asked)),
        tokio::spawn(look_often(grants)),
        tokio::spawn(async move {
            if let Some(health) = health {
                health.await;
            }
        }),
        tokio::spawn(async move {
            if let Some((ear, listener)) = ear {
                ear.serve(listener, open_tls).await;
            }
        }),
    ];
    let carrying = tokio::spawn(carrying);
    tracing::info!(listen = %settings.listen, cluster = settings.cluster, "the access proxy runs");
    door::serve(listener, tls, &lanes, stop()?).await;
    work.into_iter().for_each(|task| task.abort());
    // What is open is cut: kubectl asks again elsewhere. What has ended still writes its end.
    let open = lanes.close();
    let _ = tokio::time::timeout(Duration::from_secs(5), carrying).await;
    drop(open);
    Ok(())
}

/// What hears the API server's events, and where.
async fn ear(settings: &Settings, vault: &Vault) -> Result<Option<(Ear, TcpListener)>, RunError> {
    let Some(hearing) = &settings.hearing else { return Ok(None) };
    let nobody = || RunError::Nobody(settings.api.token.clone());
    let token = std::fs::read_to_string(&settings.api.token).map(zeroize::Zeroizing::new).map_err(|_| nobody())?;
    let proxy = heard::name_of(&token).ok_or_else(nobody)?;
    let reader = Reader { cluster: settings.cluster.clone(), proxy, skip: hearing.skip.clone() };
    let listener = TcpListener::bind(hearing.listen).await.map_err(|e| RunError::Listen(hearing.listen, e))?;
    Ok(Some((Ear::new(reader, hearing.token.clone(), Arc::new(vault.clone())), listener)))
}

fn stop() -> Result<impl Future<Output = ()>, RunError> {
    let mut term = signal(SignalKind::terminate()).map_err(RunError::Signals)?;
    let mut int = signal(SignalKind::interrupt()).map_err(RunError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = term.recv() => {}
            _ = int.recv() => {}
        }
    })
}

async fn look_often(grants: Arc<Grants>) {
    loop {
        tokio::time::sleep(LOOK).await;
        grants.look();
    }
}

/// Hears which grants run, for ever.
async fn listen_to(
    vault: Vault,
    grants: Arc<Grants>,
    trusted: watch::Sender<String>,
    sweeps: mpsc::Sender<Vec<Sweep>>,
) {
    let mut version = String::new();
    let mut silent = false;
    loop {
        match vault.live(&version).await {
            Ok(told) => {
                silent = false;
                let authorities = told.certificate_authority;
                trusted.send_if_modified(|known| {
                    let is_new = !known.is_empty() && *known != authorities;
                    *known = authorities;
                    is_new
                });
                if told.version != version {
                    tracing::debug!(grants = told.grants.len(), "the grants changed");
                }
                version = told.version;
                // Also when nothing changed: after a silence, what was cut may begin anew.
                grants.take(told.grants);
                // One that is busy is told again.
                if !told.sweeps.is_empty() {
                    let _ = sweeps.try_send(told.sweeps);
                }
            }
            Err(error) => {
                if !silent {
                    tracing::warn!(%error, "the server does not tell the grants; trying again");
                }
                silent = true;
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Gets the proxy's certificate and renews it in time, and when the authorities changed.
async fn keep_certificate(vault: Vault, tls: [Tls; 2], mut news: watch::Receiver<String>) {
    loop {
        match certificate(&vault).await {
            Ok(configs) => {
                tls.iter().zip(configs).for_each(|(tls, config)| tls.store(Some(Arc::new(config))));
                tracing::info!("the proxy has a new certificate");
                let _ = tokio::time::timeout(RENEW, news.changed()).await;
            }
            Err(why) => {
                tracing::warn!(%why, "the proxy gets no certificate; trying again");
                tokio::time::sleep(AGAIN * 4).await;
            }
        }
    }
}

/// For people, who show a certificate, and for the API server, which shows a token.
async fn certificate(vault: &Vault) -> Result<[rustls::ServerConfig; 2], String> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(|e| e.to_string())?;
    let params = rcgen::CertificateParams::default();
    let csr = params.serialize_request(&key).and_then(|csr| csr.pem()).map_err(|e| e.to_string())?;
    let (certificate, authorities) = vault.certificate(&csr).await.map_err(|e| e.to_string())?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
    Ok([tls::server(&certificate, key.clone_key(), &authorities)?, tls::open(&certificate, key)?])
}
