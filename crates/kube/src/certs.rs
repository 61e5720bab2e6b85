//! The webhook's certificate: from files that someone else renews, or made by ourselves.

mod authority;
mod files;
mod managed;
mod own;

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use async_trait::async_trait;
use dewdrop_core::fault::with_causes;
use dewdrop_core::{Clock, Moment};
use rustls::ServerConfig;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

pub use files::Files;
pub use managed::{Managed, Places};
pub use own::Own;

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertError {
    /// A file cannot be read or written.
    #[error("{what} {path}")]
    File {
        /// `read the certificate`, ...
        what: &'static str,
        /// The file.
        path: String,
        /// Why.
        #[source]
        cause: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It could not be made.
    #[error("make a certificate")]
    Make(#[from] rcgen::Error),
    /// Certificate and key cannot be used.
    #[error("use the certificate")]
    Use(#[from] rustls::Error),
    /// The key is none.
    #[error("use the key: {0}")]
    Key(&'static str),
    /// The API server does not do what it must.
    #[error(transparent)]
    Cluster(#[from] crate::cluster::LookUpError),
}

/// A certificate with its key.
pub struct Pair {
    /// The leaf first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its key.
    pub key: PrivateKeyDer<'static>,
}

/// Where certificates come from.
#[async_trait]
pub trait Source: Send {
    /// A new certificate when it is time for one, or when there was none yet.
    ///
    /// # Errors
    /// There is none; the former one stays.
    async fn renewed(&mut self, now: Moment) -> Result<Option<Pair>, CertError>;
}

/// The set-up for the next handshake.
#[derive(Clone)]
pub struct Tls(Arc<ArcSwap<ServerConfig>>);

/// Keeps the set-up fresh.
pub struct Keeper {
    source: Box<dyn Source>,
    tls: Tls,
    clock: Arc<dyn Clock>,
}

/// How often it is looked whether a new one is due.
const EVERY: Duration = Duration::from_secs(10);

// === impl Tls ===

impl Tls {
    /// The set-up for the next handshake.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.0.load_full()
    }
}

// === impl Keeper ===

impl Keeper {
    /// Gets the first certificate.
    ///
    /// # Errors
    /// There is none.
    pub async fn open(mut source: Box<dyn Source>, clock: Arc<dyn Clock>) -> Result<(Self, Tls), CertError> {
        let first = source.renewed(clock.now()).await?.ok_or(CertError::Key("there is none"))?;
        let tls = Tls(Arc::new(ArcSwap::from_pointee(config(first)?)));
        Ok((Self { source, tls: tls.clone(), clock }, tls))
    }

    /// Looks once. On an error the former certificate stays.
    ///
    /// # Errors
    /// A new one was due and could not be had.
    pub async fn look(&mut self) -> Result<bool, CertError> {
        let Some(pair) = self.source.renewed(self.clock.now()).await? else { return Ok(false) };
        self.tls.0.store(Arc::new(config(pair)?));
        Ok(true)
    }

    /// Looks for ever.
    pub async fn run(mut self) {
        loop {
            tokio::time::sleep(EVERY).await;
            match self.look().await {
                Ok(true) => tracing::info!("a new certificate is in use"),
                Ok(false) => {}
                Err(e) => {
                    tracing::error!(error = %with_causes(&e), "there is no new certificate; the former one stays")
                }
            }
        }
    }
}

fn config(pair: Pair) -> Result<ServerConfig, CertError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?;
    let mut config = builder.with_no_client_auth().with_single_cert(pair.chain, pair.key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
