//! What the agent is told at its start.

use std::net::SocketAddr;
use std::path::PathBuf;

use crate::agent::vault::SignIn;
use crate::api_watch::KubeSettings;

/// The settings of one agent.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The node's name, as Kubernetes knows it.
    pub node: String,
    /// Kubelet's folder: `/var/lib/kubelet`.
    pub kubelet_dir: PathBuf,
    /// The runtime's NRI socket; `None`: go without.
    pub nri_socket: Option<PathBuf>,
    /// The wrapper `dewdrop-exec`; `None`: volumes with `env` or `gate` are refused.
    pub exec_binary: Option<PathBuf>,
    /// The runtime's CRI socket; `None`: it is not asked.
    pub cri_socket: Option<PathBuf>,
    /// The cluster's API server; `None`: it is not asked.
    pub kube: Option<KubeSettings>,
    /// Where it tells its numbers; `None`: nowhere.
    pub metrics: Option<SocketAddr>,
    /// Where the agent keeps what it must know after a restart; on a tmpfs.
    pub state_dir: PathBuf,
    /// How it signs in.
    pub sign_in: SignIn,
}
