//! The client: sends calls, follows one redirect, tries again where that is right, and reads the envelope.

use std::time::Duration;

use bytes::Bytes;
use dewdrop_core::fault::with_causes;
use http::header::{CONTENT_TYPE, LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, Method, StatusCode};
use zeroize::Zeroizing;

use crate::error::Trouble;
use crate::retry::is_retried;
use crate::{ApiError, Backoff, Call, Config, Envelope, Error, SecretText};

/// No reply that we hold in memory is larger than this, except for snapshots.
const MAX_REPLY: usize = 64 << 20;
/// The longest wait that a server can ask for between two tries.
const MAX_WAIT: Duration = Duration::from_secs(5);

/// A client of one server, with one identity. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    base: String,
    config: Config,
}

/// A reply as it came: the status and the body, wiped on drop.
pub struct Reply {
    /// The HTTP status.
    pub status: u16,
    body: Zeroizing<Vec<u8>>,
    method: Method,
    url: String,
}

// === impl Client ===

impl Client {
    /// Builds a client. A TLS provider must have been installed for the process
    /// (`rustls::crypto::aws_lc_rs::default_provider().install_default()`).
    ///
    /// # Errors
    /// The address, a certificate or a header is not usable.
    pub async fn new(config: Config) -> Result<Self, Error> {
        for (name, value) in &config.headers {
            header(name, value)?;
        }
        let (http, base) = config.build().await?;
        Ok(Self { http, base, config })
    }

    /// The settings it was built with.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same client with another token.
    #[must_use]
    pub fn with_token(&self, token: Option<SecretText>) -> Self {
        let mut other = self.clone();
        other.config.token = token;
        other
    }

    /// The same client in another namespace.
    #[must_use]
    pub fn with_namespace(&self, namespace: &str) -> Self {
        let mut other = self.clone();
        namespace.clone_into(&mut other.config.namespace);
        other
    }

    /// The same client, which tries a call this often again.
    #[must_use]
    pub fn with_retries(&self, max_retries: u32) -> Self {
        let mut other = self.clone();
        other.config.max_retries = max_retries;
        other
    }

    /// The full address of a call, as it is shown to people.
    #[must_use]
    pub fn url(&self, call: &Call) -> String {
        format!("{}{}", self.base, call.target())
    }

    /// Sends a call and reads the envelope of its reply.
    /// `None`: there is nothing there (204, or 404 without a reason).
    ///
    /// # Errors
    /// The server refused, cannot be reached, or answers something else than the API.
    pub async fn call(&self, call: Call) -> Result<Option<Envelope>, Error> {
        self.send(call).await?.envelope()
    }

    /// Sends a call and returns the reply as it came. A status of 400 or more is an error,
    /// except for a 404 that names no reason (nothing is there).
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn send(&self, call: Call) -> Result<Reply, Error> {
        self.send_ref(&call).await
    }

    /// As [`Client::send`], for a call that may be sent again.
    ///
    /// # Errors
    /// As [`Client::call`].
    pub async fn send_ref(&self, call: &Call) -> Result<Reply, Error> {
        let seed = std::process::id().into();
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(2), seed);
        for _ in 0..self.config.max_retries {
            let (reply, asked) = self.once(call).await?;
            // A write may have happened before the server failed: only "not done" states are safe to repeat.
            let repeatable = matches!(reply.status, 412 | 429 | 503) || *call.method() == Method::GET;
            if !is_retried(reply.status) || !repeatable {
                return self.judge(reply);
            }
            tokio::time::sleep(asked.unwrap_or_default().max(backoff.wait()).min(MAX_WAIT)).await;
        }
        let (reply, _) = self.once(call).await?;
        self.judge(reply)
    }

    fn judge(&self, reply: Reply) -> Result<Reply, Error> {
        if reply.status < 400 {
            return Ok(reply);
        }
        match reply.refusal(&self.config.namespace) {
            Some(refusal) => Err(Error::Api(Box::new(refusal))),
            None => Ok(reply),
        }
    }

    /// One try: the reply, and how long the server asked to wait before the next.
    async fn once(&self, call: &Call) -> Result<(Reply, Option<Duration>), Error> {
        let url = self.url(call);
        let mut response = self.request(call, &url).await?;
        if self.config.follow_redirect
            && let Some(target) = redirect(&response, &url)?
        {
            response = self.request(call, &target).await?;
        }
        let asked = response
            .headers()
            .get(RETRY_AFTER)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse().ok())
            .map(Duration::from_secs);
        let status = response.status().as_u16();
        let body = self.body(call, &url, response).await?;
        Ok((Reply { status, body, method: call.method.clone(), url }, asked))
    }

    async fn request(&self, call: &Call, url: &str) -> Result<reqwest::Response, Error> {
        let mut request = self.http.request(call.method.clone(), url).header("X-Vault-Request", "true");
        if let Some(token) =
            call.token.as_ref().or(self.config.token.as_ref()).filter(|t| !call.anonymous && !t.is_empty())
        {
            let mut value = HeaderValue::from_str(token.expose()).map_err(|_| {
                Error::Config(
                    "the token holds characters that no token has; was something else put in its place?".into(),
                )
            })?;
            value.set_sensitive(true);
            request = request.header("X-Vault-Token", value);
        }
        if !self.config.namespace.is_empty() {
            request = request.header("X-Vault-Namespace", &self.config.namespace);
        }
        if let Some(ttl) = &call.wrap_ttl {
            request = request.header("X-Vault-Wrap-TTL", ttl);
        }
        for (name, value) in &self.config.headers {
            let (name, value) = header(name, value)?;
            request = request.header(name, value);
        }
        for factor in &self.config.mfa {
            request = request.header("X-Vault-MFA", factor);
        }
        if let Some(patience) = call.patience {
            request = request.timeout(patience);
        }
        if let Some(body) = &call.body {
            request = request.header(CONTENT_TYPE, body.content_type).body(Bytes::from_owner(body.bytes.clone()));
        }
        request.send().await.map_err(|e| transport(call, url, &e))
    }

    async fn body(&self, call: &Call, url: &str, mut response: reqwest::Response) -> Result<Zeroizing<Vec<u8>>, Error> {
        let limit = if call.patience.is_some() { usize::MAX } else { MAX_REPLY };
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(|e| transport(call, url, &e))? {
            if body.len() + chunk.len() > limit {
                let reason = format!("it is larger than {} MiB", MAX_REPLY >> 20);
                return Err(Error::Reply { method: call.method.to_string(), url: url.to_owned(), reason });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

fn header(name: &str, value: &str) -> Result<(HeaderName, HeaderValue), Error> {
    if name.to_ascii_lowercase().starts_with("x-vault-") {
        return Err(Error::Config(format!("the header {name} is the client's own; use the flag for it")));
    }
    let bad = |_| Error::Config(format!("{name:?} is not usable as an HTTP header"));
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| bad(e.to_string()))?;
    let value = HeaderValue::from_str(value).map_err(|e| bad(e.to_string()))?;
    Ok((name, value))
}

/// Where a standby sends us, if it does. From TLS to plain text we do not go: the token would be readable.
fn redirect(response: &reqwest::Response, from: &str) -> Result<Option<String>, Error> {
    let redirects = [
        StatusCode::MOVED_PERMANENTLY,
        StatusCode::FOUND,
        StatusCode::TEMPORARY_REDIRECT,
        StatusCode::PERMANENT_REDIRECT,
    ];
    if !redirects.contains(&response.status()) {
        return Ok(None);
    }
    let Some(target) = response.headers().get(LOCATION).and_then(|v| v.to_str().ok()) else { return Ok(None) };
    if from.starts_with("https://") && !target.starts_with("https://") {
        return Err(Error::Config(format!(
            "the server redirects from TLS to {target}; this would show the token to the network"
        )));
    }
    Ok(Some(target.to_owned()))
}

fn transport(call: &Call, url: &str, error: &reqwest::Error) -> Error {
    let said = with_causes(error);
    let lower = said.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| lower.contains(w));
    let trouble = if error.is_timeout() {
        Trouble::Timeout
    } else if has(&["connection refused"]) {
        Trouble::Refused
    } else if has(&["dns error", "failed to lookup"]) {
        Trouble::Name
    } else if has(&[
        "invalidcontenttype",
        "corrupt message",
        "invalid http version parsed",
        "http/0.9",
        "wrong version",
    ]) {
        Trouble::Plain
    } else if has(&["certificate", "tls", "handshake"]) {
        Trouble::Tls
    } else {
        Trouble::Other
    };
    let reason = match trouble {
        Trouble::Refused => "connection refused".to_owned(),
        Trouble::Timeout => "no answer in time".to_owned(),
        // What hyper and reqwest say first repeats the address, which may hold a query.
        _ => said.rsplit_once("): ").map_or_else(|| said.clone(), |(_, inner)| inner.to_owned()),
    };
    Error::Transport { method: call.method.to_string(), url: url.to_owned(), reason, trouble }
}

// === impl Reply ===

impl Reply {
    /// The body. `grep expose(` is the audit of who looks inside.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.body
    }

    /// The body as the JSON value that it is.
    ///
    /// # Errors
    /// It is not JSON.
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> Result<T, Error> {
        serde_json::from_slice(&self.body).map_err(|e| {
            // serde's text may quote the body; the place is all that is told.
            let reason = format!("not the JSON we expect, at line {} column {}", e.line(), e.column());
            Error::Reply { method: self.method.to_string(), url: self.url.clone(), reason }
        })
    }

    /// The envelope; `None` when there is nothing (204, an empty body, or a 404 that says no more).
    ///
    /// # Errors
    /// The body is not an envelope.
    pub fn envelope(&self) -> Result<Option<Envelope>, Error> {
        if self.body.is_empty() || self.status == 204 {
            return Ok(None);
        }
        let envelope: Envelope = self.json()?;
        let says = envelope.data.is_some() || envelope.warnings.as_ref().is_some_and(|w| !w.is_empty());
        Ok((self.status != 404 || says).then_some(envelope))
    }

    /// The refusal in it; `None` for a 404 that names no reason.
    fn refusal(&self, namespace: &str) -> Option<ApiError> {
        #[derive(serde::Deserialize)]
        struct Errors {
            errors: Vec<serde_json::Value>,
        }
        let parsed: Option<Errors> = serde_json::from_slice(&self.body).ok();
        let (errors, raw) = match parsed {
            Some(Errors { errors }) => {
                (errors.iter().map(|e| e.as_str().map_or_else(|| e.to_string(), str::to_owned)).collect(), None)
            }
            None if self.status == 404 && (self.body.is_empty() || self.body.first() == Some(&b'{')) => {
                (Vec::new(), None)
            }
            None => (Vec::new(), Some(String::from_utf8_lossy(&self.body).chars().take(500).collect())),
        };
        if self.status == 404 && errors.is_empty() && raw.is_none() {
            return None;
        }
        let namespace = Some(namespace.trim_matches('/')).filter(|n| !n.is_empty()).map(|n| format!("{n}/"));
        Some(ApiError {
            method: self.method.to_string(),
            url: self.url.clone(),
            namespace,
            status: self.status,
            errors,
            raw,
        })
    }
}
