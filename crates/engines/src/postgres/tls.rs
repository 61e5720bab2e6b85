//! TLS towards a target, as libpq's `sslmode` has it.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Settings;
use super::conn_string::Tls;

/// Where systems keep the authorities that they trust.
const SYSTEM_AUTHORITIES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
    "/etc/ssl/ca-bundle.pem",
];

pub(super) fn connector(tls: Tls, settings: &Settings<'_>) -> Result<MakeRustlsConnect, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let config = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|e| format!("TLS: {e}"))?;
    let verifier = Verifier { tls, authorities: authorities(tls, settings.tls_ca, &provider)?, provider };
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(verifier));
    let config = if settings.tls_certificate.is_empty() {
        config.with_no_client_auth()
    } else {
        let chain = certificates("tls_certificate", settings.tls_certificate)?;
        let key = PrivateKeyDer::from_pem_slice(settings.private_key.as_bytes())
            .map_err(|_| "private_key is not a key in PEM")?;
        config.with_client_auth_cert(chain, key).map_err(|_| "tls_certificate and private_key do not fit together")?
    };
    Ok(MakeRustlsConnect::new(config))
}

fn authorities(
    tls: Tls,
    pem: &str,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<WebPkiServerVerifier>>, String> {
    let mut roots = RootCertStore::empty();
    if !pem.is_empty() {
        for certificate in certificates("tls_ca", pem)? {
            roots.add(certificate).map_err(|e| format!("tls_ca: {e}"))?;
        }
    } else if tls != Tls::Unproved {
        let found = SYSTEM_AUTHORITIES.iter().find_map(|path| std::fs::read(path).ok());
        let found = found.ok_or("this sslmode needs tls_ca: this machine has no list of authorities")?;
        roots.add_parsable_certificates(CertificateDer::pem_slice_iter(&found).flatten());
    }
    if tls == Tls::Unproved {
        return Ok(None);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    verifier.map(Some).map_err(|e| format!("tls_ca: {e}"))
}

fn certificates(field: &str, pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read = CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<Vec<_>, _>>();
    let read = read.map_err(|_| format!("{field} is not PEM"))?;
    if read.is_empty() { Err(format!("{field} holds no certificate")) } else { Ok(read) }
}

/// Checks as much as the mode asks. The handshake's signature is always checked.
#[derive(Debug)]
struct Verifier {
    tls: Tls,
    authorities: Option<Arc<WebPkiServerVerifier>>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Some(authorities) = &self.authorities else { return Ok(ServerCertVerified::assertion()) };
        match authorities.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now) {
            // The chain is proved before the name is looked at.
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.tls == Tls::Authority => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
