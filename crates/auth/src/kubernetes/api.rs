//! The API server of the cluster, as far as we ask it: reviews of tokens, its key set, labels of namespaces.

use std::collections::BTreeMap;

use dewdrop_api::outside::{Cluster, ClusterPlace};
use dewdrop_core::{Fault, Secret};
use serde::Deserialize;
use serde_json::{Value, json};

use super::account::Account;
use super::config::Config;
use super::role::Role;
use crate::jose::KeySet;

/// The API server.
pub struct Api {
    cluster: Cluster,
    jwks_url: String,
}

impl Api {
    /// The API server of a configuration. Nothing is asked yet.
    ///
    /// # Errors
    /// 400: the CA is none.
    pub fn new(config: &Config) -> Result<Self, Fault> {
        let base = config.base_url();
        let own = format!("{base}/openid/v1/jwks");
        let cluster = Cluster::new(ClusterPlace {
            base,
            ca: config.ca_cert.clone(),
            token: Secret::new(config.reviewer.clone()),
            use_local: !config.disable_local,
        })?;
        Ok(Self { cluster, jwks_url: if config.jwks_url.is_empty() { own } else { config.jwks_url.clone() } })
    }

    /// The cluster's key set.
    ///
    /// # Errors
    /// Why it cannot be had.
    pub async fn keys(&self) -> Result<KeySet, String> {
        let http = self.cluster.http().await.map_err(|fault| fault.told.into_owned())?;
        // Our token goes to the API server and to nobody else.
        let is_own = self.jwks_url.starts_with(&format!("{}/", self.cluster.base()));
        let bearer = if is_own { self.cluster.bearer().await } else { None };
        let (status, body) = http.get(&self.jwks_url, bearer.as_ref().map(|token| token.expose().as_str())).await?;
        if status != 200 {
            return Err(format!("the answer has the status {status}"));
        }
        let keys = KeySet::from_jwks(&body)?;
        if keys.is_empty() { Err("the set has no key that can be used".into()) } else { Ok(keys) }
    }

    /// Asks whether a token is good, and whether it is whose it says.
    ///
    /// # Errors
    /// 403; 503 when there is no answer.
    pub async fn review(&self, jwt: &str, role: &Role, audiences: &[String], account: &Account) -> Result<(), Fault> {
        let ask = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": jwt, "audiences": audiences },
        });
        let away = |why: String| {
            Fault::unavailable("the API server of the cluster does not answer")
                .knowing(format!("role {:?}: token review: {why}", role.name))
        };
        let http = self.cluster.http().await?;
        let own = self.cluster.bearer().await;
        let bearer = own.as_ref().map_or(jwt, |token| token.expose().as_str());
        let url = format!("{}/apis/authentication.k8s.io/v1/tokenreviews", self.cluster.base());
        let (status, body) = http.post(&url, Some(bearer), &ask).await.map_err(away)?;
        let refuse = |why: String| Fault::denied(format!("role {:?}: token review: {why}", role.name));
        match status {
            200..=299 => {}
            401 | 403 => return Err(refuse(format!("the API server does not let us ask (status {status})"))),
            _ => return Err(away(format!("the API server answers with status {status}"))),
        }
        let mut review: Review =
            serde_json::from_slice(&body).map_err(|_| away("the answer is no TokenReview".into()))?;
        review.status.error = review.status.error.replace(jwt, "(the token)");
        review.status.judge(audiences, account).map_err(refuse)
    }

    /// The labels of a namespace.
    ///
    /// # Errors
    /// Why they cannot be had.
    pub async fn labels_of(&self, namespace: &str, jwt: &str) -> Result<BTreeMap<String, String>, String> {
        let http = self.cluster.http().await.map_err(|fault| fault.told.into_owned())?;
        let own = self.cluster.bearer().await;
        let bearer = own.as_ref().map_or(jwt, |token| token.expose().as_str());
        let name: String = namespace.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        let (status, body) =
            http.get(&format!("{}/api/v1/namespaces/{name}", self.cluster.base()), Some(bearer)).await?;
        if status != 200 {
            return Err(format!("the API server answers with status {status} when asked for the namespace"));
        }
        let told: Value = serde_json::from_slice(&body).map_err(|_| "the answer is no JSON".to_owned())?;
        let labels = told.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
        serde_json::from_value(labels).map_err(|_| "the answer is no namespace".to_owned())
    }
}

#[derive(Deserialize)]
struct Review {
    #[serde(default)]
    status: ReviewStatus,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ReviewStatus {
    authenticated: bool,
    error: String,
    audiences: Vec<String>,
    user: User,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct User {
    username: String,
    uid: String,
}

impl ReviewStatus {
    fn judge(self, asked: &[String], account: &Account) -> Result<(), String> {
        if !self.error.is_empty() {
            return Err(format!("the API server says: {}", self.error.chars().take(500).collect::<String>()));
        }
        if !self.authenticated {
            return Err("the token is not valid".into());
        }
        // An API server that knows nothing of audiences answers none.
        if !asked.is_empty() && !asked.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(format!("the token is for the audiences {:?}, asked for {asked:?}", self.audiences));
        }
        let name = format!("system:serviceaccount:{}:{}", account.namespace, account.name);
        if self.user.username != name || self.user.uid != account.uid {
            return Err("the API server takes the token for another account's than its claims say".into());
        }
        Ok(())
    }
}
