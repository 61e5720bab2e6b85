//! What is not ours, called by HTTP: issuers of tokens, and API servers of clusters. For auth methods and engines alike.

mod cluster;
mod http;

pub use cluster::{Cluster, ClusterPlace, in_cluster};
pub use http::{Http, Method};
