//! The configuration: which cluster, and how its tokens are verified.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{get_json, put_json};
use dewdrop_core::wire::Text;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::Kubernetes;
use super::verify::Verifier;
use super::wire::ConfigRequest;
use crate::jose::KeySet;

const KEY: &[u8] = b"config";
/// Shorter than this, and a pause of the network looks like the loss of a node.
const LEAST_GRACE: Duration = Duration::from_secs(5);
/// Longer than this, and a lost node's credentials live for a day.
const MOST_GRACE: Duration = Duration::from_secs(24 * 3600);
/// When nothing is said.
pub const GRACE: Duration = Duration::from_secs(60);

/// How a token is verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verify {
    /// The API server is asked.
    #[default]
    TokenReview,
    /// By the cluster's keys.
    Offline,
}

/// What is kept.
#[derive(Clone, Serialize, Deserialize)]
pub struct Config {
    /// The API server, as it was given.
    pub host: String,
    /// PEM; empty: see `disable_local`.
    pub ca_cert: String,
    /// Empty: see `disable_local`.
    pub reviewer: String,
    /// PEM of keys.
    pub pem_keys: Vec<String>,
    /// Empty: any.
    pub issuer: String,
    /// Leaves the issuer unchecked when the API server is asked: it checks that itself.
    pub disable_iss_validation: bool,
    /// Nothing is taken of the pod that we run in.
    pub disable_local: bool,
    /// The cluster's name; empty: the mount's path.
    pub cluster: String,
    /// How tokens are verified.
    pub verify: Verify,
    /// The text of a JWKS; empty: none.
    pub jwks: String,
    /// Where a JWKS is; empty: at the API server.
    pub jwks_url: String,
    /// How long a node may be silent.
    pub node_grace: Duration,
}

/// `config`.
pub fn routes() -> Routes<Kubernetes> {
    Routes::new("").at("config", "The cluster, and how its tokens are verified.", |route| {
        route
            .read("Reads the configuration.", Kubernetes::read_config)
            .write("Sets the configuration.", Kubernetes::write_config)
    })
}

impl Kubernetes {
    /// The configuration with what verifies by it; `None`: there is none yet.
    pub(super) async fn verifier(&self) -> Result<Option<Arc<Verifier>>, Fault> {
        if let Some(known) = self.verifier.lock().clone() {
            return Ok(Some(known));
        }
        let _opening = self.opening.lock().await;
        if let Some(known) = self.verifier.lock().clone() {
            return Ok(Some(known));
        }
        let Some((config, _)) = get_json::<Config>(&*self.place.store, KEY).await? else { return Ok(None) };
        let verifier = Arc::new(Verifier::new(config, self.place.clock.clone())?);
        *self.verifier.lock() = Some(verifier.clone());
        Ok(Some(verifier))
    }

    async fn read_config(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let verifier = self.verifier().await?.ok_or_else(Fault::not_found)?;
        Ok(Reply::data(verifier.config.show()))
    }

    async fn write_config(self: Arc<Self>, _: Call, ask: ConfigRequest) -> Result<Reply, Fault> {
        let config = Config::read(ask)?;
        // What cannot be used is refused here, and not at the first login.
        let verifier = Verifier::new(config, self.place.clock.clone())?;
        let _opening = self.opening.lock().await;
        put_json(&*self.place.store, KEY, &verifier.config).await?;
        *self.verifier.lock() = Some(Arc::new(verifier));
        Ok(Reply::nothing())
    }
}

// === impl Config ===

impl Config {
    fn read(ask: ConfigRequest) -> Result<Self, Fault> {
        let text = |field: Option<Text>| field.map(|text| text.0.trim().to_owned()).unwrap_or_default();
        let host = text(ask.kubernetes_host);
        let refuse = |why: &'static str| Err(Fault::bad_request(why));
        if host.is_empty() {
            return refuse("no host provided");
        }
        let disable_local = ask.disable_local_ca_jwt.is_some_and(|flag| flag.0);
        let ca_cert = ask.kubernetes_ca_cert.map(|text| text.0).unwrap_or_default();
        if disable_local && ca_cert.trim().is_empty() {
            return refuse("kubernetes_ca_cert must be given when disable_local_ca_jwt is true");
        }
        let verify = match ask.verify.as_ref().map_or("", |text| text.0.as_str()) {
            "" | "token_review" => Verify::TokenReview,
            "offline" => Verify::Offline,
            _ => return refuse("verify is token_review or offline"),
        };
        let node_grace = ask.node_grace.map(|ttl| ttl.0).filter(|grace| !grace.is_zero()).unwrap_or(GRACE);
        if !(LEAST_GRACE..=MOST_GRACE).contains(&node_grace) {
            return refuse("node_grace is between 5 seconds and 24 hours");
        }
        let config = Self {
            host,
            ca_cert,
            reviewer: text(ask.token_reviewer_jwt),
            pem_keys: ask.pem_keys.map(|list| list.0).unwrap_or_default(),
            issuer: text(ask.issuer),
            disable_iss_validation: ask.disable_iss_validation.is_none_or(|flag| flag.0),
            disable_local,
            cluster: text(ask.cluster),
            verify,
            jwks: text(ask.jwks),
            jwks_url: text(ask.jwks_url),
            node_grace,
        };
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), Fault> {
        let refuse = |why: &'static str| Err(Fault::bad_request(why));
        if self.cluster.len() > 253 || self.cluster.chars().any(char::is_control) {
            return refuse("cluster is a short name");
        }
        if !self.jwks_url.is_empty() && !self.jwks_url.starts_with("https://") && !self.jwks_url.starts_with("http://")
        {
            return refuse("jwks_url is no URL");
        }
        if !self.jwks.is_empty() && !self.jwks_url.is_empty() {
            return refuse("give jwks or jwks_url, not both");
        }
        self.given_keys().map(|_| ())
    }

    /// The keys that the configuration holds itself.
    ///
    /// # Errors
    /// 400: they are none.
    pub fn given_keys(&self) -> Result<KeySet, Fault> {
        let wrong =
            |at: usize| Fault::bad_request(format!("pem_keys: number {at} is no public key or certificate in PEM"));
        let pem = KeySet::from_pem(&self.pem_keys).map_err(wrong)?;
        if self.jwks.is_empty() {
            return Ok(pem);
        }
        let jwks = KeySet::from_jwks(self.jwks.as_bytes()).map_err(|why| Fault::bad_request(format!("jwks: {why}")))?;
        if jwks.is_empty() {
            return Err(Fault::bad_request("jwks: it has no key that can be used"));
        }
        Ok(pem.and(jwks))
    }

    /// The API server's URL. A bare host is one that speaks TLS.
    pub fn base_url(&self) -> String {
        let host = self.host.trim_end_matches('/');
        if host.contains("://") { host.to_owned() } else { format!("https://{host}") }
    }

    /// Ours are shown where they are not as they are by default.
    fn show(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let theirs = [
            ("kubernetes_host", json!(self.host)),
            ("kubernetes_ca_cert", json!(self.ca_cert)),
            ("pem_keys", json!(self.pem_keys)),
            ("issuer", json!(self.issuer)),
            ("disable_iss_validation", json!(self.disable_iss_validation)),
            ("disable_local_ca_jwt", json!(self.disable_local)),
            ("token_reviewer_jwt_set", json!(!self.reviewer.is_empty())),
        ];
        fields.extend(theirs.map(|(name, value)| (name.to_owned(), value)));
        let texts = [("cluster", &self.cluster), ("jwks", &self.jwks), ("jwks_url", &self.jwks_url)];
        fields.extend(
            texts.into_iter().filter(|(_, text)| !text.is_empty()).map(|(n, text)| (n.to_owned(), json!(text))),
        );
        if self.verify != Verify::default() {
            fields.insert("verify".into(), json!(self.verify));
        }
        if self.node_grace != GRACE {
            fields.insert("node_grace".into(), json!(self.node_grace.as_secs()));
        }
        fields
    }
}
