//! The proxy's own TLS: a certificate of the mount's authority, made for a key that never leaves the process; clients must
//! show one of the same authority.

use std::sync::Arc;

use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::{FromDer, X509Certificate};

/// How a certificate names its grant.
const GRANT: &str = "dewdrop://access/";

/// Certificates of authorities, from PEM.
///
/// # Errors
/// There is none, or one that is none.
pub fn roots(pem: &[u8]) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|e| format!("no certificate: {e}"))?;
        roots.add(certificate).map_err(|e| format!("no authority: {e}"))?;
    }
    if roots.is_empty() { Err("it holds no certificate".into()) } else { Ok(roots) }
}

/// The set-up for handshakes.
///
/// # Errors
/// Certificate, key or authorities are of no use.
pub fn server(certificate: &str, key: PrivateKeyDer<'static>, authorities: &str) -> Result<ServerConfig, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.map_err(|e| format!("the proxy's certificate: {e}"))?;
    let verifier = WebPkiClientVerifier::builder(Arc::new(roots(authorities.as_bytes())?));
    let verifier = verifier.build().map_err(|e| format!("the authorities: {e}"))?;
    let config = ServerConfig::builder().with_client_cert_verifier(verifier).with_single_cert(chain, key);
    let mut config = config.map_err(|e| format!("the proxy's certificate: {e}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    // A session that is resumed would be of a certificate that nobody looked at again.
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

/// The same for callers without a certificate: what tells us of events shows a token.
///
/// # Errors
/// Certificate or key are of no use.
pub fn open(certificate: &str, key: PrivateKeyDer<'static>) -> Result<ServerConfig, String> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(certificate.as_bytes()).collect();
    let chain = chain.map_err(|e| format!("the proxy's certificate: {e}"))?;
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key);
    let mut config = config.map_err(|e| format!("the proxy's certificate: {e}"))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

/// The name of the grant in a client's certificate.
#[must_use]
pub fn grant_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let names = parsed.subject_alternative_name().ok()??;
    let [GeneralName::URI(uri)] = names.value.general_names.as_slice() else { return None };
    let id = uri.strip_prefix(GRANT)?;
    (!id.is_empty() && id.len() <= 64 && id.bytes().all(|byte| byte.is_ascii_alphanumeric())).then(|| id.to_owned())
}
