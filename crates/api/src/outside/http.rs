//! The HTTP client: no redirects, short times, small bodies.

use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::fault::with_causes;
use reqwest::Certificate;
use serde_json::Value;

/// The largest answer in bytes.
const MOST: usize = 1024 * 1024;
/// The whole of one call.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// `GET`.
    Get,
    /// `POST`.
    Post,
    /// `DELETE`.
    Delete,
}

/// A client. Cheap to clone.
#[derive(Clone)]
pub struct Http(reqwest::Client);

impl Http {
    /// A client that trusts only the authorities of `ca_pem`, or those of the system when it is empty.
    ///
    /// # Errors
    /// 400: it is no bundle of certificates.
    pub fn new(ca_pem: &str) -> Result<Self, Fault> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(5))
            .timeout(PATIENCE)
            .user_agent(concat!("dewdrop/", env!("CARGO_PKG_VERSION")));
        if !ca_pem.trim().is_empty() {
            let bundle = Certificate::from_pem_bundle(ca_pem.as_bytes()).ok().filter(|bundle| !bundle.is_empty());
            let bundle = bundle.ok_or_else(|| Fault::bad_request("the CA is no bundle of PEM certificates"))?;
            builder = builder.tls_certs_only(bundle);
        }
        let client =
            builder.build().map_err(|e| Fault::bad_request(format!("the CA cannot be used: {}", with_causes(&e))))?;
        Ok(Self(client))
    }

    /// `GET`: the status and the body.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn get(&self, url: &str, bearer: Option<&str>) -> Result<(u16, Vec<u8>), String> {
        self.send(self.0.get(url), bearer).await
    }

    /// `POST` of JSON: the status and the body.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn post(&self, url: &str, bearer: Option<&str>, body: &Value) -> Result<(u16, Vec<u8>), String> {
        self.send(self.0.post(url).json(body), bearer).await
    }

    /// Any verb, with JSON when it is given: the status and the body.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn call(
        &self,
        method: Method,
        url: &str,
        bearer: Option<&str>,
        body: Option<&Value>,
    ) -> Result<(u16, Vec<u8>), String> {
        let request = match method {
            Method::Get => self.0.get(url),
            Method::Post => self.0.post(url),
            Method::Delete => self.0.delete(url),
        };
        self.send(body.into_iter().fold(request, reqwest::RequestBuilder::json), bearer).await
    }

    /// `POST` of a form, with a name and a password when they are given: the status and the body.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn post_form(
        &self,
        url: &str,
        basic: Option<(&str, &str)>,
        form: String,
    ) -> Result<(u16, Vec<u8>), String> {
        let request = self.0.post(url).header("content-type", "application/x-www-form-urlencoded").body(form);
        let request = match basic {
            Some((name, password)) => request.basic_auth(name, Some(password)),
            None => request,
        };
        self.send(request, None).await
    }

    async fn send(&self, request: reqwest::RequestBuilder, bearer: Option<&str>) -> Result<(u16, Vec<u8>), String> {
        // Kubernetes gives its key set to nobody who does not name its kind (406).
        let request = request.header("accept", "application/json, application/jwk-set+json");
        let request = match bearer {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let mut response = request.send().await.map_err(|e| with_causes(&e.without_url()))?;
        let status = response.status().as_u16();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| with_causes(&e.without_url()))? {
            if body.len() + chunk.len() > MOST {
                return Err(format!("the answer is larger than {} KiB", MOST >> 10));
            }
            body.extend_from_slice(&chunk);
        }
        Ok((status, body))
    }
}
