//! TLS 1.2 and 1.3 with hybrid post-quantum key exchange, whose certificates are read again when their files change.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, UnixTime};

use crate::config::{ClientCertificates, TlsFiles};

/// Why TLS cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read as PEM.
    #[error("read {what} from {path}")]
    File {
        /// What should be in it.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls_pki_types::pem::Error,
    },
    /// A file holds no certificate.
    #[error("{0} holds no certificate")]
    Empty(PathBuf),
    /// The authorities for clients cannot be used.
    #[error("use the authorities in {path}")]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls::server::VerifierBuilderError,
    },
    /// An authority's certificate is malformed.
    #[error("use a certificate in {path}")]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls::Error,
    },
    /// Certificate and key do not belong together, or no version is left.
    #[error("set up TLS with the certificate {path}")]
    Setup {
        /// The certificate.
        path: PathBuf,
        /// Why.
        #[source]
        cause: rustls::Error,
    },
}

/// The TLS set-up of a listener, as its files have it now.
#[derive(Debug)]
pub struct TlsStore {
    files: TlsFiles,
    current: ArcSwap<ServerConfig>,
    stamps: Mutex<Vec<Stamp>>,
}

/// When a file was changed, and how long it is.
type Stamp = Option<(SystemTime, u64)>;

impl TlsStore {
    /// Reads the files.
    ///
    /// # Errors
    /// A file is missing or malformed, or certificate and key do not belong together.
    pub fn open(files: &TlsFiles) -> Result<Arc<Self>, TlsError> {
        let stamps = stamps(files);
        let config = load(files)?;
        Ok(Arc::new(Self { files: files.clone(), current: ArcSwap::from_pointee(config), stamps: Mutex::new(stamps) }))
    }

    /// The set-up for the next handshake.
    pub(super) fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }

    /// Reads the files again; connections that are open go on as they are. On an error the old set-up stays.
    ///
    /// # Errors
    /// As [`TlsStore::open`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let stamps = stamps(&self.files);
        let loaded = load(&self.files);
        *self.stamps.lock() = stamps;
        self.current.store(Arc::new(loaded?));
        Ok(())
    }

    /// Reads the files again when one of them has changed since the last time. `None`: nothing has.
    pub fn reload_if_changed(&self) -> Option<Result<(), TlsError>> {
        let changed = stamps(&self.files) != *self.stamps.lock();
        changed.then(|| self.reload())
    }

    /// The certificate file, for messages.
    #[must_use]
    pub fn certificate(&self) -> &Path {
        &self.files.certificate
    }
}

fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    let stamp = |path: &PathBuf| {
        let meta = std::fs::metadata(path).ok()?;
        Some((meta.modified().ok()?, meta.len()))
    };
    [Some(&files.certificate), Some(&files.key), files.client_authorities.as_ref()]
        .into_iter()
        .flatten()
        .map(stamp)
        .collect()
}

fn load(files: &TlsFiles) -> Result<ServerConfig, TlsError> {
    let setup = |cause| TlsError::Setup { path: files.certificate.clone(), cause };
    let chain = certificates("the certificate", &files.certificate)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|cause| TlsError::File {
        what: "the private key",
        path: files.key.clone(),
        cause,
    })?;
    let provider = Arc::new(provider(files));
    let mut versions: Vec<&'static rustls::SupportedProtocolVersion> = Vec::new();
    if files.tls13 {
        versions.push(&rustls::version::TLS13);
    }
    if files.tls12 {
        versions.push(&rustls::version::TLS12);
    }
    let builder =
        ServerConfig::builder_with_provider(Arc::clone(&provider)).with_protocol_versions(&versions).map_err(setup)?;
    let builder = match files.clients {
        ClientCertificates::Off => builder.with_no_client_auth(),
        ClientCertificates::Asked => builder.with_client_cert_verifier(Arc::new(AnyCertificate::new(&provider))),
        ClientCertificates::Required => builder.with_client_cert_verifier(verifier(files, provider)?),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(setup)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // New ticket keys with each load: a session from before a change of authorities must shake hands anew.
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(setup)?;
    config.send_tls13_tickets = 1;
    Ok(config)
}

fn certificates(what: &'static str, path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |cause| TlsError::File { what, path: path.to_owned(), cause };
    let found: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(file)?.collect();
    let found = found.map_err(file)?;
    if found.is_empty() { Err(TlsError::Empty(path.to_owned())) } else { Ok(found) }
}

/// The library's choice, less the suites of TLS 1.2 that the operator did not list.
fn provider(files: &TlsFiles) -> CryptoProvider {
    let mut provider = rustls::crypto::aws_lc_rs::default_provider();
    if !files.tls12_suites.is_empty() {
        provider.cipher_suites.retain(|suite| {
            suite.tls13().is_some()
                || suite.suite().as_str().is_some_and(|name| files.tls12_suites.iter().any(|listed| listed == name))
        });
    }
    provider
}

fn verifier(files: &TlsFiles, provider: Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let path = files.client_authorities.clone().unwrap_or_default();
    let mut roots = RootCertStore::empty();
    for authority in certificates("the authorities for clients", &path)? {
        roots.add(authority).map_err(|cause| TlsError::Authority { path: path.clone(), cause })?;
    }
    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .map_err(|cause| TlsError::Authorities { path, cause })
}

/// Takes any certificate whose holder proves to have its key. Whether it means anything is for the auth method to say,
/// which has authorities of its own for each role.
#[derive(Debug)]
struct AnyCertificate {
    algorithms: WebPkiSupportedAlgorithms,
}

impl AnyCertificate {
    fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms }
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
