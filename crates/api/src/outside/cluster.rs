//! The API server of a cluster: where it is, whom to trust there, and as whom it is asked. What is not given is taken of
//! the pod that we run in.

use std::sync::Arc;

use dewdrop_core::{Fault, Secret};
use parking_lot::Mutex;
use serde_json::Value;

use super::http::{Http, Method};

const LOCAL_CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";
const LOCAL_TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// Where an API server is.
pub struct ClusterPlace {
    /// `https://HOST:PORT`, without a slash at its end.
    pub base: String,
    /// PEM; empty: that of our pod, or else the system's.
    pub ca: String,
    /// Empty: that of our pod.
    pub token: Secret<String>,
    /// Whether anything is taken of our pod.
    pub use_local: bool,
}

/// An API server.
pub struct Cluster {
    base: String,
    ca: String,
    token: Arc<Secret<String>>,
    use_local: bool,
    /// The client of the last call, with the authorities that it trusts.
    http: Mutex<Option<(String, Http)>>,
}

impl Cluster {
    /// The API server at a place. Nothing is asked yet.
    ///
    /// # Errors
    /// 400: the CA is none.
    pub fn new(place: ClusterPlace) -> Result<Self, Fault> {
        let http = match place.ca.trim() {
            "" => None,
            _ => Some((place.ca.clone(), Http::new(&place.ca)?)),
        };
        let ClusterPlace { base, ca, token, use_local } = place;
        Ok(Self { base, ca, token: Arc::new(token), use_local, http: Mutex::new(http) })
    }

    /// Its address.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// The client that trusts it.
    ///
    /// # Errors
    /// 400: the CA is none.
    pub async fn http(&self) -> Result<Http, Fault> {
        let ca = match self.ca.trim() {
            "" if self.use_local => tokio::fs::read_to_string(LOCAL_CA).await.unwrap_or_default(),
            _ => self.ca.clone(),
        };
        if let Some((_, http)) = self.http.lock().as_ref().filter(|(known, _)| *known == ca) {
            return Ok(http.clone());
        }
        let http = Http::new(&ca)?;
        *self.http.lock() = Some((ca, http.clone()));
        Ok(http)
    }

    /// The token that we ask with; `None`: we have none of our own. That of our pod is read for each call, since kubelet
    /// replaces it.
    pub async fn bearer(&self) -> Option<Arc<Secret<String>>> {
        if !self.token.expose().is_empty() {
            return Some(self.token.clone());
        }
        if !self.use_local {
            return None;
        }
        let text = tokio::fs::read_to_string(LOCAL_TOKEN).await.ok()?;
        Some(Arc::new(Secret::new(text.trim().to_owned())))
    }

    /// One call with our token: the status and the body.
    ///
    /// # Errors
    /// Why there is no answer.
    pub async fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<(u16, Vec<u8>), String> {
        let http = self.http().await.map_err(|fault| fault.told.into_owned())?;
        let bearer = self.bearer().await;
        let bearer = bearer.as_ref().map(|token| token.expose().as_str());
        http.call(method, &format!("{}{path}", self.base), bearer, body).await
    }
}

/// The address of the API server of the cluster that we run in, by the variables that kubelet gives to every container.
#[must_use]
pub fn in_cluster(var: impl Fn(&str) -> Option<String>) -> Option<String> {
    let given = |name: &str| var(name).filter(|text| !text.is_empty());
    let host = given("KUBERNETES_SERVICE_HOST")?;
    let port = given("KUBERNETES_SERVICE_PORT_HTTPS").or_else(|| given("KUBERNETES_SERVICE_PORT"));
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Some(format!("https://{host}:{}", port.as_deref().unwrap_or("443")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_that_we_run_in() {
        let at = |host: &'static str| in_cluster(move |name| (name == "KUBERNETES_SERVICE_HOST").then(|| host.into()));
        assert_eq!(at("10.0.0.1").unwrap(), "https://10.0.0.1:443");
        assert_eq!(at("fd00::1").unwrap(), "https://[fd00::1]:443");
        assert!(at("").is_none());
    }
}
