//! What must be looked up, since the question does not say it: the pod behind an exec, the labels of a namespace.

mod api;

use std::collections::BTreeMap;

use async_trait::async_trait;

pub use api::Api;

use crate::pod::Pod;

/// Why something could not be looked up. Nothing of tokens or bodies is in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LookUpError {
    /// No answer, or none that can be read.
    #[error("the API server could not be asked: {0}")]
    Away(String),
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
