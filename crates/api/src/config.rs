//! The settings of a client: where the server is, and how to trust it.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use dewdrop_core::fault::with_causes;
use reqwest::{Certificate, Identity};

use crate::{Error, SecretText};

/// All that a [`crate::Client`] needs to know.
#[derive(Debug, Clone)]
pub struct Config {
    /// `https://host:port`, `http://...`, or `unix:///path/to/socket`.
    pub address: String,
    /// The token to send, if any.
    pub token: Option<SecretText>,
    /// The namespace all paths are below; empty is the root.
    pub namespace: String,
    /// Further headers of every request.
    pub headers: Vec<(String, String)>,
    /// Second factors of every request, as `method_id[:passcode]`.
    pub mfa: Vec<String>,
    /// How to trust the server, and to be trusted by it.
    pub tls: Tls,
    /// How long one request may take; zero is for ever.
    pub timeout: Duration,
    /// How often a request is tried again after a passing failure.
    pub max_retries: u32,
    /// Whether one redirect (to the active node) is followed.
    pub follow_redirect: bool,
}

/// The TLS side of the settings.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// A file of PEM certificates; when given, only these are trusted.
    pub ca_cert: Option<PathBuf>,
    /// A directory of such files; used when there is no `ca_cert`.
    pub ca_path: Option<PathBuf>,
    /// The client's certificate, PEM.
    pub client_cert: Option<PathBuf>,
    /// The key of it, PEM.
    pub client_key: Option<PathBuf>,
    /// The name to ask for and to verify, in place of the address's host.
    pub server_name: Option<String>,
    /// Trusts any certificate. Anybody in between can read everything.
    pub skip_verify: bool,
}

/// An address, taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// `http` or `https`: scheme and authority (`host:port`), and a path prefix without the last slash.
    Net {
        /// `http` or `https`.
        scheme: String,
        /// Host and port as written.
        authority: String,
        /// What stands before `/v1`, usually nothing.
        prefix: String,
    },
    /// A unix socket.
    Unix(PathBuf),
}

// === impl Config ===

impl Config {
    /// Settings with defaults: one minute for a request, two retries, no token.
    #[must_use]
    pub fn new(address: impl Into<String>) -> Self {
        Self {
            address: address.into(),
            token: None,
            namespace: String::new(),
            headers: Vec::new(),
            mfa: Vec::new(),
            tls: Tls::default(),
            timeout: Duration::from_secs(60),
            max_retries: 2,
            follow_redirect: true,
        }
    }

    /// Builds the HTTP client, and says which base its requests have.
    pub(crate) async fn build(&self) -> Result<(reqwest::Client, String), Error> {
        let address: Address = self.address.parse()?;
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(10))
            .user_agent(concat!("dewdrop/", env!("CARGO_PKG_VERSION")));
        if !self.timeout.is_zero() {
            builder = builder.timeout(self.timeout);
        }
        builder = self.tls.apply(builder)?;
        let base = match &address {
            Address::Unix(path) => {
                builder = builder.unix_socket(path.as_path());
                "http://localhost".to_owned()
            }
            Address::Net { scheme, authority, prefix } => match &self.tls.server_name {
                Some(name) if scheme == "https" => {
                    // The name decides SNI and verification; the connection still goes to the address.
                    let (target, port) = resolve(authority).await?;
                    builder = builder.resolve_to_addrs(name, &target).no_proxy();
                    format!("https://{name}:{port}{prefix}")
                }
                _ => format!("{scheme}://{authority}{prefix}"),
            },
        };
        let client = builder
            .build()
            .map_err(|e| Error::Config(format!("the HTTP client cannot be set up: {}", with_causes(&e))))?;
        Ok((client, base))
    }
}

async fn resolve(authority: &str) -> Result<(Vec<SocketAddr>, u16), Error> {
    let with_port = if authority.rsplit(']').next().is_some_and(|rest| rest.contains(':')) {
        authority.to_owned()
    } else {
        format!("{authority}:443")
    };
    let port = with_port.rsplit(':').next().and_then(|p| p.parse().ok()).unwrap_or(443);
    let found = tokio::net::lookup_host(&with_port)
        .await
        .map_err(|e| Error::Config(format!("the host of {authority} has no address: {e}")))?;
    Ok((found.collect(), port))
}

// === impl Tls ===

impl Tls {
    fn apply(&self, mut builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, Error> {
        let roots = self.roots()?;
        if !roots.is_empty() {
            builder = builder.tls_certs_only(roots);
        }
        match (&self.client_cert, &self.client_key) {
            (Some(cert), Some(key)) => {
                let mut pem = zeroize::Zeroizing::new(read(cert, "client certificate")?);
                pem.push(b'\n');
                pem.extend_from_slice(&zeroize::Zeroizing::new(read(key, "client key")?));
                let identity = Identity::from_pem(&pem).map_err(|e| {
                    Error::Config(format!(
                        "{} and {} are not a certificate and its key in PEM: {}",
                        cert.display(),
                        key.display(),
                        with_causes(&e)
                    ))
                })?;
                builder = builder.identity(identity);
            }
            (None, None) => {}
            _ => {
                return Err(Error::Config(
                    "a client certificate and its key go together: set both -client-cert and -client-key".into(),
                ));
            }
        }
        Ok(builder.tls_danger_accept_invalid_certs(self.skip_verify))
    }

    fn roots(&self) -> Result<Vec<Certificate>, Error> {
        if let Some(file) = &self.ca_cert {
            return bundle(file);
        }
        let Some(dir) = &self.ca_path else { return Ok(Vec::new()) };
        let entries = std::fs::read_dir(dir)
            .map_err(|e| Error::Config(format!("read the CA directory {}: {e}", dir.display())))?;
        let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).filter(|p| p.is_file()).collect();
        files.sort();
        let roots: Result<Vec<_>, _> = files.iter().map(|file| bundle(file)).collect();
        let roots: Vec<_> = roots?.into_iter().flatten().collect();
        if roots.is_empty() {
            return Err(Error::Config(format!("the CA directory {} holds no PEM certificate", dir.display())));
        }
        Ok(roots)
    }
}

fn bundle(file: &Path) -> Result<Vec<Certificate>, Error> {
    let pem = read(file, "CA certificate")?;
    match Certificate::from_pem_bundle(&pem) {
        Ok(found) if !found.is_empty() => Ok(found),
        Ok(_) => Err(Error::Config(format!("{} holds no PEM certificate", file.display()))),
        Err(e) => Err(Error::Config(format!("{} is not a PEM certificate: {}", file.display(), with_causes(&e)))),
    }
}

fn read(file: &Path, what: &str) -> Result<Vec<u8>, Error> {
    std::fs::read(file).map_err(|e| Error::Config(format!("read the {what} {}: {e}", file.display())))
}

// === impl Address ===

impl std::str::FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad =
            |why: &str| Error::Config(format!("the address {text:?} {why}; it looks like https://127.0.0.1:8200"));
        let text = text.trim();
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(bad("has no http:// or https:// in front"));
        };
        match scheme {
            "unix" if rest.starts_with('/') => Ok(Self::Unix(PathBuf::from(rest))),
            "unix" => Err(bad("names no absolute path of a socket (unix:///run/dewdrop.sock)")),
            "http" | "https" => {
                let (authority, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                if authority.is_empty() || authority.contains(['@', ' ', '?', '#']) {
                    return Err(bad("has no plain host"));
                }
                let prefix = prefix.trim_matches('/');
                let prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
                Ok(Self::Net { scheme: scheme.to_owned(), authority: authority.to_owned(), prefix })
            }
            _ => Err(bad("is neither http, https nor unix")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_taken_apart() {
        let net = |scheme: &str, authority: &str, prefix: &str| Address::Net {
            scheme: scheme.into(),
            authority: authority.into(),
            prefix: prefix.into(),
        };
        assert_eq!("https://a:8200/".parse::<Address>().unwrap(), net("https", "a:8200", ""));
        assert_eq!("http://[::1]:8200/vault/".parse::<Address>().unwrap(), net("http", "[::1]:8200", "/vault"));
        assert_eq!("unix:///run/x.sock".parse::<Address>().unwrap(), Address::Unix("/run/x.sock".into()));
    }

    #[test]
    fn addresses_that_mislead_are_refused() {
        for bad in ["127.0.0.1:8200", "ftp://x", "https://", "https://user:pw@host", "unix://run/x", "http://a b"] {
            let error = bad.parse::<Address>().unwrap_err().to_string();
            assert!(error.contains("https://127.0.0.1:8200"), "{error}");
        }
    }

    #[test]
    fn half_an_identity_is_refused() {
        let tls = Tls { client_cert: Some("/nowhere".into()), ..Tls::default() };
        assert!(matches!(tls.apply(reqwest::Client::builder()), Err(Error::Config(_))));
    }
}
