//! The TLS settings of a listener.

use std::path::PathBuf;

use super::fields::Fields;

/// The TLS side of a listener. Files are read when the listener starts and again whenever they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate, then its chain.
    pub certificate: PathBuf,
    /// PEM: the private key.
    pub key: PathBuf,
    /// Whether clients show certificates.
    pub clients: ClientCertificates,
    /// PEM: authorities that clients' certificates are checked against.
    pub client_authorities: Option<PathBuf>,
    /// Whether TLS 1.2 is offered.
    pub tls12: bool,
    /// Whether TLS 1.3 is offered.
    pub tls13: bool,
    /// Cipher suites of TLS 1.2 by their IANA names; empty: all that are safe.
    pub tls12_suites: Vec<String>,
}

/// Whether clients show certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientCertificates {
    /// They are not asked.
    Off,
    /// They are asked, may decline, and any certificate is taken: the auth method judges it.
    Asked,
    /// They must show one that an authority of `client_authorities` signed.
    Required,
}

/// Reads the settings; `None` for plain HTTP, and after a mistake.
pub(super) fn read(fields: &mut Fields<'_>) -> Option<TlsFiles> {
    let disabled = fields.flag("tls_disable").unwrap_or(false);
    let certificate = fields.filled("tls_cert_file");
    let key = fields.filled("tls_key_file");
    let authorities = fields.filled("tls_client_ca_file").map(PathBuf::from);
    let clients = clients(fields, authorities.is_some());
    let low = version(fields, "tls_min_version").unwrap_or(12);
    let high = version(fields, "tls_max_version").unwrap_or(13);
    let suites = suites(fields);
    if disabled {
        return None;
    }
    if low > high {
        fields.report.problem(fields.span, "\"tls_min_version\" is above \"tls_max_version\"", "leave both out");
    }
    let (Some(certificate), Some(key)) = (certificate, key) else {
        fields.report.lacking(
            fields.span,
            "this listener has no certificate",
            "set tls_cert_file and tls_key_file, or tls_disable = true where the network is trusted",
        );
        return None;
    };
    Some(TlsFiles {
        certificate: certificate.into(),
        key: key.into(),
        clients,
        client_authorities: authorities,
        tls12: low <= 12,
        tls13: high >= 13,
        tls12_suites: suites,
    })
}

fn clients(fields: &mut Fields<'_>, authorities: bool) -> ClientCertificates {
    let required = fields.flag("tls_require_and_verify_client_cert").unwrap_or(false);
    let off = fields.flag("tls_disable_client_certs").unwrap_or(false);
    if required && off {
        fields.report.problem(
            fields.span,
            "\"tls_disable_client_certs\" and \"tls_require_and_verify_client_cert\" exclude each other",
            "keep one of them",
        );
    }
    if required && !authorities {
        fields.report.lacking(
            fields.span,
            "\"tls_require_and_verify_client_cert\" has nothing to check against",
            "set tls_client_ca_file: the system's authorities are not used for clients",
        );
    }
    match (required, off) {
        (true, _) => ClientCertificates::Required,
        (_, true) => ClientCertificates::Off,
        _ => ClientCertificates::Asked,
    }
}

fn version(fields: &mut Fields<'_>, key: &'static str) -> Option<u8> {
    fields.read(key, |text| match text {
        "" | "tls12" => Ok(12),
        "tls13" => Ok(13),
        "tls10" | "tls11" => Err("TLS 1.0 and 1.1 are broken and not built: write \"tls12\" or \"tls13\"".into()),
        _ => Err("write \"tls12\" or \"tls13\"".into()),
    })
}

/// TLS 1.2 suites that are built, by their IANA names.
const TLS12_SUITES: [&str; 6] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
];

fn suites(fields: &mut Fields<'_>) -> Vec<String> {
    let mut suites = Vec::new();
    for (name, span) in fields.list("tls_cipher_suites").unwrap_or_default() {
        // Go knows the ChaCha20 suites by a shorter name too.
        let full = if name.ends_with("_POLY1305") { format!("{name}_SHA256") } else { name.clone() };
        if TLS12_SUITES.contains(&full.as_str()) {
            suites.push(full);
        } else if name.starts_with("TLS_AES_") || name.starts_with("TLS_CHACHA20_") {
            fields.report.warning(span, format!("{name:?} belongs to TLS 1.3"), "the list is for TLS 1.2 alone");
        } else {
            fields.report.problem(
                span,
                format!("{name:?} is not built or not safe"),
                format!("choose from {}", TLS12_SUITES.join(", ")),
            );
        }
    }
    suites
}
