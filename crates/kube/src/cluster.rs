//! What must be looked up, since the question does not say it: the pod behind an exec, the labels of a namespace.

mod api;

use std::collections::BTreeMap;

use async_trait::async_trait;

pub use api::Api;
pub(crate) use api::part;

use crate::pod::Pod;

/// Where kubelet puts what a pod needs to call the API server.
pub const ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// Why something could not be looked up. Nothing of tokens or bodies is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookUpError {
    /// No answer, or none that can be read.
    #[error("the API server could not be asked: {0}")]
    Away(String),
    /// Its answer was longer than we read.
    #[error("the API server could not be asked: the answer is larger than {0} MiB")]
    TooLarge(usize),
    /// We are not let.
    #[error(
        "the API server does not let us look up {what} (status {status}): the webhook's ServiceAccount needs the right to get {what}"
    )]
    Forbidden {
        /// What we wanted.
        what: &'static str,
        /// 401 or 403.
        status: u16,
    },
}

/// The cluster, as far as it is asked.
#[async_trait]
pub trait Cluster: Send + Sync {
    /// A pod as it is now; `None`: there is none.
    async fn pod(&self, namespace: &str, name: &str) -> Result<Option<Pod>, LookUpError>;
    /// The labels of a namespace; none when there is no such namespace.
    async fn labels(&self, namespace: &str) -> Result<BTreeMap<String, String>, LookUpError>;
}

/// The address of the API server of the cluster that we run in, by the variables that kubelet gives to every container.
///
/// # Errors
/// We run in no pod.
pub fn in_cluster(var: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let none = "KUBERNETES_SERVICE_HOST is not set: this runs in no pod, and needs --api-server";
    let host = var("KUBERNETES_SERVICE_HOST").filter(|host| !host.is_empty()).ok_or(none)?;
    let port = var("KUBERNETES_SERVICE_PORT").unwrap_or_else(|| "443".into());
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    Ok(format!("https://{host}:{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cluster_that_we_run_in() {
        let at =
            |host: &'static str| in_cluster(move |name| (name == "KUBERNETES_SERVICE_HOST").then(|| host.to_owned()));
        assert_eq!(at("10.0.0.1").unwrap(), "https://10.0.0.1:443");
        assert_eq!(at("fd00::1").unwrap(), "https://[fd00::1]:443");
        assert!(at("").unwrap_err().contains("--api-server"));
    }
}
