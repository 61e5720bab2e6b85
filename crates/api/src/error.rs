//! What can go wrong between a client and the server, and what to do about it.

use std::fmt;

/// The server answered, and refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The verb of the request.
    pub method: String,
    /// The address that was asked.
    pub url: String,
    /// The namespace that was asked, when it was not the root.
    pub namespace: Option<String>,
    /// The HTTP status.
    pub status: u16,
    /// The server's reasons, one for each.
    pub errors: Vec<String>,
    /// What the server said that was not an envelope: the beginning of it.
    pub raw: Option<String>,
}

/// A failed call.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refused.
    #[error("{0}")]
    Api(Box<ApiError>),
    /// The server could not be reached, or hung up.
    #[error("{method} {url}: {reason}")]
    Transport {
        /// The verb of the request.
        method: String,
        /// The address that was asked.
        url: String,
        /// The innermost cause, in words.
        reason: String,
        /// Which of the usual troubles it is.
        trouble: Trouble,
    },
    /// The settings of the client do not work.
    #[error("{0}")]
    Config(String),
    /// The call cannot be made as it is.
    #[error("{0}")]
    BadCall(String),
    /// The reply is not what the API promises.
    #[error("{method} {url}: the reply cannot be read: {reason}")]
    Reply {
        /// The verb of the request.
        method: String,
        /// The address that was asked.
        url: String,
        /// What is wrong with it; never a piece of it.
        reason: String,
    },
}

/// The usual troubles of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens there.
    Refused,
    /// The host has no address.
    Name,
    /// TLS failed.
    Tls,
    /// A TLS client met a plain server, or the other way round.
    Plain,
    /// It took too long.
    Timeout,
    /// Something else.
    Other,
}

impl Error {
    /// What to do next, in a sentence; `None` when the error says it all.
    #[must_use]
    pub fn advice(&self) -> Option<String> {
        match self {
            Self::Api(api) => api.advice(),
            Self::Transport { url, trouble, .. } => Some(trouble.advice(url)),
            Self::Config(_) | Self::BadCall(_) => None,
            Self::Reply { .. } => {
                Some("is this the address of a Dewdrop, OpenBao or Vault server? Set DEWDROP_ADDR or -address".into())
            }
        }
    }

    /// The HTTP status, when the server answered.
    #[must_use]
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Api(api) => Some(api.status),
            _ => None,
        }
    }

    /// Whether the same call may well succeed later: the server was not there, sealed, overloaded or starting.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Api(api) => matches!(api.status, 408 | 412 | 425 | 429 | 472 | 473 | 500..=599),
            Self::Transport { .. } | Self::Reply { .. } => true,
            Self::Config(_) | Self::BadCall(_) => false,
        }
    }
}

// === impl ApiError ===

impl ApiError {
    fn advice(&self) -> Option<String> {
        let says = |what: &str| self.errors.iter().any(|e| e.contains(what));
        let path = self.url.split_once("/v1/").map_or("", |(_, path)| path.split('?').next().unwrap_or(path));
        match self.status {
            400 if says("client token") => Some("set DEWDROP_TOKEN, or sign in with `dewdrop login`".into()),
            400 if says("HTTP request to an HTTPS server") => Some(Trouble::Plain.advice(&self.url)),
            403 if says("namespace") => Some("check the namespace: -namespace or DEWDROP_NAMESPACE".into()),
            403 if says("bad token") || says("invalid token") => Some("the token is unknown, or has ended; `dewdrop login` gets another".into()),
            403 if says("preflight") => Some("nothing may be mounted there (`dewdrop secrets list` shows what is), or the token's policies do not reach it".into()),
            403 => Some(format!(
                "the token is missing or unknown, or its policies do not allow this. `dewdrop token lookup` shows the token; \
                 an operator can ask `dewdrop policy explain {path}`"
            )),
            404 if says("no handler for route") || says("route entry not found") => {
                Some("nothing is mounted there; `dewdrop secrets list` and `dewdrop auth list` show what is".into())
            }
            405 => Some("the path exists but does not take this verb; `dewdrop path-help PATH` shows what it takes".into()),
            429 => Some("the server asks for fewer requests; wait and try again".into()),
            501 if says("not initialized") || says("not initialised") => Some("the server is not initialised; run `dewdrop operator init`".into()),
            503 if says("sealed") => Some("the server is sealed; run `dewdrop operator unseal`".into()),
            502..=504 => Some("the server, or what stands in front of it, is not ready; `dewdrop status` shows its state".into()),
            _ => None,
        }
    }
}

impl fmt::Display for ApiError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "Error making API request.\n")?;
        if let Some(namespace) = &self.namespace {
            writeln!(f, "Namespace: {namespace}")?;
        }
        writeln!(f, "URL: {} {}", self.method, self.url)?;
        if let Some(raw) = &self.raw {
            return write!(f, "Code: {}. Raw Message:\n\n{raw}", self.status);
        }
        writeln!(f, "Code: {}. Errors:", self.status)?;
        for error in &self.errors {
            write!(f, "\n* {error}")?;
        }
        Ok(())
    }
}

// === impl Trouble ===

impl Trouble {
    fn advice(self, url: &str) -> String {
        let server = url.split("/v1/").next().unwrap_or(url);
        match self {
            Self::Refused => format!("is the server running at {server}? Set DEWDROP_ADDR or -address if it is elsewhere"),
            Self::Name => format!("the host of {server} has no address; check DEWDROP_ADDR or -address"),
            Self::Tls => "give the CA that signed the server's certificate: DEWDROP_CACERT or -ca-cert; for another name in it, -tls-server-name".into(),
            Self::Plain if server.starts_with("https") => {
                format!("the server at {server} may speak plain HTTP; set DEWDROP_ADDR to http://... if that is meant")
            }
            Self::Plain => format!("the server at {server} may want TLS; set DEWDROP_ADDR to https://..."),
            Self::Timeout => "the server took too long; DEWDROP_CLIENT_TIMEOUT sets how long to wait".into(),
            Self::Other => format!("check that {server} is the address of the server (DEWDROP_ADDR or -address)"),
        }
    }
}
