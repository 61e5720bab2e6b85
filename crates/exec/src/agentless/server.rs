//! The few calls to the server, one after another, each bounded in time.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_api::credentials::{Credential, Verb};
use dewdrop_api::{Auth, Envelope, SecretText};
use serde_json::{Value, json};
use ureq::http::{Method, Request};
use ureq::tls::{PemItem, RootCerts, TlsConfig, TlsProvider, parse_pem};
use zeroize::Zeroizing;

use super::settings::Settings;
use crate::fail::Fail;

/// How long one call may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest answer.
const MOST: u64 = 4 << 20;

/// Why a call gave nothing. Neither holds anything of a secret.
#[derive(Debug)]
pub enum Trouble {
    /// The same may well succeed later.
    Passing(String),
    /// It will not.
    Final(String),
}

/// The server, as one container sees it.
pub struct Server {
    http: ureq::Agent,
    base: String,
    namespace: String,
}

// === impl Server ===

impl Server {
    /// Ready to be asked; nothing is sent yet.
    pub fn new(settings: &Settings) -> Result<Self, Fail> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let tls = TlsConfig::builder()
            .provider(TlsProvider::Rustls)
            .unversioned_rustls_crypto_provider(provider)
            .root_certs(roots(&settings.ca)?)
            .build();
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .proxy(None)
            .tls_config(tls)
            .build();
        let base = format!("{}/v1/", settings.address);
        Ok(Self { http: config.into(), base, namespace: settings.namespace.clone() })
    }

    /// Signs in with the container's token.
    pub fn login(&self, settings: &Settings, jwt: &SecretText) -> Result<Auth, Trouble> {
        let body = Zeroizing::new(json!({ "role": settings.role, "jwt": jwt.expose() }).to_string());
        let path = format!("auth/{}/login", settings.auth_mount);
        token_of(self.call(Method::POST, &path, None, Some(&body), PATIENCE)?)
    }

    /// Fetches a credential.
    pub fn fetch(&self, token: &SecretText, credential: &Credential) -> Result<Envelope, Trouble> {
        let (method, body) = match credential.verb {
            Verb::Get => (Method::GET, None),
            Verb::Put => (Method::PUT, Some("{}")),
        };
        let envelope = self.call(method, &credential.path, Some(token), body, PATIENCE)?;
        match envelope.data {
            Some(_) => Ok(envelope),
            None => Err(Trouble::Final(format!("{} gave no data", credential.path))),
        }
    }

    /// Renews the token; answers how long it lives.
    pub fn renew_token(&self, token: &SecretText) -> Result<u64, Trouble> {
        let envelope = self.call(Method::POST, "auth/token/renew-self", Some(token), Some("{}"), PATIENCE)?;
        Ok(envelope.auth.unwrap_or_default().lease_duration)
    }

    /// Renews a lease; answers how long it lives.
    pub fn renew_lease(&self, token: &SecretText, lease: &str, seconds: u64) -> Result<u64, Trouble> {
        let body = json!({ "lease_id": lease, "increment": seconds }).to_string();
        Ok(self.call(Method::POST, "sys/leases/renew", Some(token), Some(&body), PATIENCE)?.lease_duration)
    }

    /// Ends the token, with all that hangs on it. One that is gone already is as good.
    pub fn revoke(&self, token: &SecretText, limit: Duration) -> Result<(), Trouble> {
        self.call(Method::POST, "auth/token/revoke-self", Some(token), Some("{}"), limit).map(drop)
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        token: Option<&SecretText>,
        body: Option<&str>,
        limit: Duration,
    ) -> Result<Envelope, Trouble> {
        let told = format!("{method} {path}");
        let mut request = Request::builder().method(method).uri(format!("{}{}", self.base, encoded(path)));
        if let Some(token) = token {
            request = request.header("X-Vault-Token", token.expose());
        }
        if !self.namespace.is_empty() {
            request = request.header("X-Vault-Namespace", &self.namespace);
        }
        let answered = match body {
            None => request
                .body(())
                .map(|r| self.http.run(self.http.configure_request(r).timeout_global(Some(limit)).build())),
            Some(body) => request
                .body(body)
                .map(|r| self.http.run(self.http.configure_request(r).timeout_global(Some(limit)).build())),
        };
        let answered = answered.map_err(|e| Trouble::Final(format!("{told} cannot be asked: {e}")))?;
        let away = |e: ureq::Error| Trouble::Passing(format!("the server does not answer {told}: {e}"));
        let mut answer = answered.map_err(away)?;
        let status = answer.status().as_u16();
        let text = Zeroizing::new(answer.body_mut().with_config().limit(MOST).read_to_vec().map_err(away)?);
        judge(status, &text, &told)
    }
}

/// The token that a login gave.
pub fn token_of(envelope: Envelope) -> Result<Auth, Trouble> {
    let auth = envelope.auth.unwrap_or_default();
    if auth.client_token.is_empty() {
        return Err(Trouble::Final("the server's login gave no token".into()));
    }
    Ok(auth)
}

/// What an answer says.
pub fn judge(status: u16, text: &[u8], told: &str) -> Result<Envelope, Trouble> {
    match status {
        204 => Ok(Envelope::default()),
        // What cannot be read is not quoted: a credential may be in it.
        200..=299 => serde_json::from_slice(text)
            .map_err(|_| Trouble::Passing(format!("the server's answer to {told} cannot be read"))),
        _ => {
            let errors: Value = serde_json::from_slice(text).unwrap_or_default();
            let errors = errors.get("errors").and_then(Value::as_array).cloned().unwrap_or_default();
            let errors: Vec<&str> = errors.iter().filter_map(Value::as_str).collect();
            let why = format!("the server answers {status} to {told}: {}", errors.join("; "));
            // A redirect is the word of one that stands by.
            let is_passing = matches!(status, 300..=399 | 408 | 412 | 429) || (status >= 500 && status != 501);
            Err(if is_passing { Trouble::Passing(why) } else { Trouble::Final(why) })
        }
    }
}

fn roots(pem: &str) -> Result<RootCerts, Fail> {
    let mut found = Vec::new();
    for item in parse_pem(pem.as_bytes()) {
        match item {
            Ok(PemItem::Certificate(one)) => found.push(one),
            Ok(_) => {}
            Err(e) => return Err(Fail::Credential(format!("the command was not started: the server's CA: {e}"))),
        }
    }
    if found.is_empty() && !pem.is_empty() {
        return Err(Fail::Credential("the command was not started: the server's CA holds no certificate".into()));
    }
    Ok(RootCerts::new_with_certs(&found))
}

/// A path as it stands in a URL.
fn encoded(path: &str) -> String {
    let mut out = String::with_capacity(path.len());
    for byte in path.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~/:@!$&'()*+,;=".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_final_and_trouble_passes() {
        let is_final = |status| matches!(judge(status, b"{\"errors\":[\"x\"]}", "GET a"), Err(Trouble::Final(_)));
        for status in [400, 403, 404, 405, 501] {
            assert!(is_final(status), "{status}");
        }
        for status in [307, 412, 429, 500, 503] {
            assert!(!is_final(status), "{status}");
        }
    }

    #[test]
    fn half_an_answer_is_none_and_is_not_quoted() {
        let trouble = judge(200, b"{\"data\":{\"password\":\"hunter2\"", "GET a").unwrap_err();
        assert!(!format!("{trouble:?}").contains("hunter2"));
    }

    #[test]
    fn a_path_in_a_url() {
        assert_eq!(encoded("a/b c%\u{fc}"), "a/b%20c%25%C3%BC");
    }
}
