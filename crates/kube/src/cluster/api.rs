//! The API server over HTTP, with the ServiceAccount of our own pod.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::Secret;
use dewdrop_core::fault::with_causes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use super::{Cluster, LookUpError};
use crate::pod::{Meta, Pod};

/// A pod is at most 3 MB as a request, and somewhat more with its status.
const MOST: usize = 8 << 20;
/// The API server waits ten seconds for us at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// The API server. Cheap to clone.
#[derive(Clone)]
pub struct Api {
    base: String,
    token: PathBuf,
    http: reqwest::Client,
}

impl Api {
    /// The API server at an address, with the `ca.crt` and `token` of a folder. The token is read for each call, as
    /// kubelet renews it.
    ///
    /// # Errors
    /// The CA cannot be read or used.
    pub fn new(base: &str, account: &Path) -> Result<Self, String> {
        let ca = account.join("ca.crt");
        let pem = std::fs::read(&ca).map_err(|e| format!("read {}: {e}", ca.display()))?;
        let bundle = reqwest::Certificate::from_pem_bundle(&pem).ok().filter(|bundle| !bundle.is_empty());
        let bundle = bundle.ok_or_else(|| format!("{} holds no certificate", ca.display()))?;
        let http = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(PATIENCE)
            .timeout(PATIENCE)
            .user_agent(concat!("dewdrop-webhook/", env!("CARGO_PKG_VERSION")))
            .tls_certs_only(bundle)
            .build()
            .map_err(|e| with_causes(&e))?;
        Ok(Self { base: base.trim_end_matches('/').to_owned(), token: account.join("token"), http })
    }

    /// `None`: 404.
    pub(crate) async fn get<T: for<'de> Deserialize<'de>>(
        &self,
        path: &str,
        what: &'static str,
    ) -> Result<Option<T>, LookUpError> {
        let request = self.http.get(format!("{}{path}", self.base)).header("accept", "application/json");
        let (status, body) = self.send(request).await?;
        match status {
            200 => serde_json::from_slice(&body)
                .map(Some)
                .map_err(|_| LookUpError::Away("the answer cannot be read".into())),
            404 => Ok(None),
            401 | 403 => Err(LookUpError::Forbidden { what, status }),
            _ => Err(LookUpError::Away(format!("it answers with status {status}"))),
        }
    }

    /// Sends a change; the status.
    pub(crate) async fn send_json(
        &self,
        method: &str,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<u16, LookUpError> {
        Ok(self.ask(method, path, body).await?.0)
    }

    /// Sends a change; the status and the answer. A PATCH is a JSON Patch.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        body: &serde_json::Value,
    ) -> Result<(u16, Vec<u8>), LookUpError> {
        let kind = if method == "PATCH" { "application/json-patch+json" } else { "application/json" };
        let method = method.parse().unwrap_or(reqwest::Method::POST);
        let request = self.http.request(method, format!("{}{path}", self.base)).header("content-type", kind);
        self.send(request.body(body.to_string())).await
    }

    /// Returns when something in a list changes after a version of it, and at the latest after `patience`: also when the
    /// question cannot be asked, but then not before.
    pub(crate) async fn changed(&self, path: &str, version: &str, patience: Duration) {
        let address = format!("{}{path}?watch=1&resourceVersion={}", self.base, part(version));
        let asked = async {
            let token = Secret::new(tokio::fs::read_to_string(&self.token).await.ok()?);
            let request = self.http.get(address).timeout(patience).bearer_auth(token.expose().trim());
            let mut response = request.send().await.ok().filter(|response| response.status().is_success())?;
            response.chunk().await.ok()?
        };
        if asked.await.is_none() {
            tokio::time::sleep(patience).await;
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), LookUpError> {
        let away = |e: reqwest::Error| LookUpError::Away(with_causes(&e.without_url()));
        let token = tokio::fs::read_to_string(&self.token).await;
        let token = Secret::new(token.map_err(|e| LookUpError::Away(format!("our own token cannot be read: {e}")))?);
        let mut response = request.bearer_auth(token.expose().trim()).send().await.map_err(away)?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            if body.len() + chunk.len() > MOST {
                return Err(LookUpError::TooLarge(MOST >> 20));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}

#[derive(Deserialize)]
struct Namespace {
    #[serde(default)]
    metadata: Meta,
}

#[async_trait]
impl Cluster for Api {
    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, LookUpError> {
        self.get(&format!("/api/v1/namespaces/{}/pods/{}", part(namespace), part(name)), "pods").await
    }

    async fn labels(&self, namespace: &str) -> Result<BTreeMap<String, String>, LookUpError> {
        let found: Option<Namespace> =
            self.get(&format!("/api/v1/namespaces/{}", part(namespace)), "namespaces").await?;
        Ok(found.map(|namespace| namespace.metadata.labels).unwrap_or_default())
    }
}

/// What stays in a part of a path: names of the API have letters, digits, `-` and `.`.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.');

/// One part of a path or a query, whatever is in it.
pub(crate) fn part(name: &str) -> String {
    match name {
        "." | ".." | "" => "%00".to_owned(), // No name at all, and no way out of the folder either.
        name => utf8_percent_encode(name, NAME).to_string(),
    }
}
