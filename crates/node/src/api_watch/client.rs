//! The API server over HTTP: a list, a watch, one pod, and the node's own status.

use std::path::PathBuf;
use std::time::Duration;

use dewdrop_api::SecretText;
use dewdrop_core::fault::with_causes;
use parking_lot::Mutex;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{RequestBuilder, Response};
use zeroize::Zeroizing;

use super::lines::Lines;
use super::wire::{self, Event, Listed, PodSeen};

/// The most of an answer: the pods of one node.
const MOST: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(10);
/// A watch that says nothing for longer is made anew. Marks come about once in a minute.
const SILENCE: Duration = Duration::from_secs(90);
/// What stays in a part of a path: names of the API have letters, digits, `-` and `.`.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');

/// Where the API server is, and as whom it is asked.
#[derive(Debug, Clone)]
pub struct KubeSettings {
    /// `https://HOST:PORT`.
    pub server: String,
    /// The certificates that are trusted, and no others.
    pub ca_file: PathBuf,
    /// The agent's token for the API server; read for each call, since kubelet replaces it.
    pub token_file: PathBuf,
}

/// Why the API server did not do it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// 410: the version is too old.
    #[error("what was asked for is too old")]
    Expired,
    /// 401 or 403.
    #[error("the API server answers {0} to the agent's token: it needs the right to {1} (docs/guides/node-agent.md)")]
    Refused(u16, &'static str),
    /// There is nothing there.
    #[error("the API server knows nothing of it")]
    Nothing,
    /// No answer, or none that can be read.
    #[error("{0}")]
    Away(String),
}

/// The API server.
pub struct Api {
    settings: KubeSettings,
    http: Mutex<Option<reqwest::Client>>,
}

/// A watch that is open.
pub struct Watching {
    response: Response,
    lines: Lines,
}

// === impl Api ===

impl Api {
    /// At an address. Nothing is asked yet.
    #[must_use]
    pub fn new(settings: KubeSettings) -> Self {
        Self { settings, http: Mutex::default() }
    }

    /// The pods of a node, as they are now.
    ///
    /// # Errors
    /// No list came.
    pub async fn list(&self, node: &str) -> Result<Listed, ApiError> {
        let path = format!("/api/v1/pods?fieldSelector=spec.nodeName%3D{}", part(node));
        let body = self.get(&path, "list pods").await?;
        wire::list(&body).map_err(ApiError::Away)
    }

    /// What happens to them after a version, for some minutes.
    ///
    /// # Errors
    /// No watch was begun.
    pub async fn watch(&self, node: &str, version: &str, seconds: u32) -> Result<Watching, ApiError> {
        let path = format!(
            "/api/v1/pods?watch=1&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}&fieldSelector=spec.nodeName%3D{}",
            part(version),
            part(node)
        );
        let request = self.request(reqwest::Method::GET, &path)?;
        let sent = tokio::time::timeout(PATIENCE, self.send(request, "watch pods")).await;
        let response = sent.map_err(|_| ApiError::Away("the API server does not answer".into()))??;
        Ok(Watching { response, lines: Lines::default() })
    }

    /// One pod of ours, as it is now; `None`: it has no volume of ours.
    ///
    /// # Errors
    /// It is not there, or was not told.
    pub async fn pod(&self, namespace: &str, name: &str) -> Result<Option<PodSeen>, ApiError> {
        let path = format!("/api/v1/namespaces/{}/pods/{}", part(namespace), part(name));
        let body = self.get(&path, "get pods").await?;
        wire::pod(&body).map_err(ApiError::Away)
    }

    /// Puts conditions into a node's status.
    ///
    /// # Errors
    /// They are not there.
    pub async fn patch_node(&self, node: &str, patch: &serde_json::Value) -> Result<(), ApiError> {
        let request = self.request(reqwest::Method::PATCH, &format!("/api/v1/nodes/{}/status", part(node)))?;
        let request = request.header("content-type", "application/strategic-merge-patch+json").timeout(PATIENCE);
        self.send(request.body(patch.to_string()), "patch nodes/status").await.map(drop)
    }

    async fn get(&self, path: &str, right: &'static str) -> Result<Zeroizing<Vec<u8>>, ApiError> {
        let request = self.request(reqwest::Method::GET, path)?.timeout(PATIENCE);
        let mut response = self.send(request, right).await?;
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > MOST {
                return Err(ApiError::Away(format!("an answer is larger than {} MiB", MOST >> 20)));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }

    fn request(&self, method: reqwest::Method, path: &str) -> Result<RequestBuilder, ApiError> {
        let url = format!("{}{path}", self.settings.server.trim_end_matches('/'));
        Ok(self.http()?.request(method, url).header("accept", "application/json"))
    }

    /// The status decides; after trouble with the line, certificates are read anew.
    async fn send(&self, request: RequestBuilder, right: &'static str) -> Result<Response, ApiError> {
        let file = &self.settings.token_file;
        let token = tokio::fs::read_to_string(file).await.map(SecretText::new);
        let token = token.map_err(|e| {
            ApiError::Away(format!("the agent's token for the API server cannot be read from {}: {e}", file.display()))
        })?;
        let response = request.bearer_auth(token.expose().trim()).send().await.map_err(|e| {
            *self.http.lock() = None;
            away(e)
        })?;
        match response.status().as_u16() {
            200 | 201 => Ok(response),
            404 => Err(ApiError::Nothing),
            410 => Err(ApiError::Expired),
            status @ (401 | 403) => Err(ApiError::Refused(status, right)),
            status => Err(ApiError::Away(format!("the API server answers with status {status}"))),
        }
    }

    fn http(&self) -> Result<reqwest::Client, ApiError> {
        let mut held = self.http.lock();
        if let Some(http) = held.as_ref() {
            return Ok(http.clone());
        }
        let http = self.connect().map_err(ApiError::Away)?;
        *held = Some(http.clone());
        Ok(http)
    }

    fn connect(&self) -> Result<reqwest::Client, String> {
        let builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(PATIENCE)
            .tcp_keepalive(Duration::from_secs(15))
            .tcp_user_timeout(Duration::from_secs(30))
            .pool_max_idle_per_host(1)
            .http1_only()
            .user_agent(concat!("dewdrop-node/", env!("CARGO_PKG_VERSION")));
        let file = &self.settings.ca_file;
        let builder = match self.settings.server.starts_with("http://") {
            true => builder.tls_certs_only(None::<reqwest::Certificate>),
            false => {
                let pem = std::fs::read(file).map_err(|e| format!("read {}: {e}", file.display()))?;
                let bundle = reqwest::Certificate::from_pem_bundle(&pem).ok().filter(|bundle| !bundle.is_empty());
                builder.tls_certs_only(bundle.ok_or_else(|| format!("{} holds no certificate", file.display()))?)
            }
        };
        builder.build().map_err(|e| with_causes(&e))
    }
}

// === impl Watching ===

impl Watching {
    /// What comes next, with the version up to which all was told; `None`: the watch has ended.
    ///
    /// # Errors
    /// It broke, or tells what cannot be read.
    pub async fn next(&mut self) -> Result<Option<(Event, String)>, String> {
        loop {
            if let Some(line) = self.lines.take() {
                if line.is_empty() {
                    continue;
                }
                return wire::event(&line).map(Some);
            }
            let chunk = tokio::time::timeout(SILENCE, self.response.chunk()).await;
            let chunk = chunk.map_err(|_| "the watch of the API server is silent".to_owned())?;
            match chunk.map_err(|e| with_causes(&e.without_url()))? {
                Some(chunk) => self.lines.push(&chunk)?,
                None => return Ok(None),
            }
        }
    }
}

fn away(error: reqwest::Error) -> ApiError {
    ApiError::Away(format!("the API server: {}", with_causes(&error.without_url())))
}

/// One part of a path, whatever is in it.
fn part(name: &str) -> String {
    match name {
        "." | ".." | "" => "%00".to_owned(), // No name at all, and no way out of the folder either.
        name => utf8_percent_encode(name, NAME).to_string(),
    }
}
