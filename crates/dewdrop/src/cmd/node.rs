//! `dewdrop node`: the agent of one node, in a DaemonSet.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use dewdrop_core::SystemClock;
use dewdrop_kube::cluster::in_cluster;
use dewdrop_node::{KubeSettings, Settings, SignIn};
use dewdrop_server::config::{LogFormat, LogLevel, Logging};
use dewdrop_server::telemetry::{init_logs, install_panic_hook};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};

/// Flags of the agent. The server's address and CA are those of all commands.
#[derive(Debug, Args)]
pub struct Node {
    /// The node's name (in a DaemonSet: `spec.nodeName`)
    #[arg(long, env = "DEWDROP_NODE_NAME")]
    node_name: String,
    /// Kubelet's folder
    #[arg(long, env = "DEWDROP_KUBELET_DIR", default_value = "/var/lib/kubelet")]
    kubelet_dir: PathBuf,
    /// The runtime's NRI socket; an empty text goes without NRI
    #[arg(long, env = "DEWDROP_NRI_SOCKET", default_value = "/var/run/nri/nri.sock")]
    nri_socket: String,
    /// The runtime's CRI socket, for the wrapper's containers; an empty text goes without
    #[arg(long, env = "DEWDROP_CRI_SOCKET", default_value = "/run/containerd/containerd.sock")]
    cri_socket: String,
    /// The wrapper for volumes with `env` or `gate`; dewdrop-exec beside this program if there is one
    #[arg(long, env = "DEWDROP_EXEC_BINARY")]
    exec_binary: Option<PathBuf>,
    /// Where the agent keeps what it must know after a restart: on a tmpfs, for root alone
    #[arg(long, env = "DEWDROP_NODE_STATE", default_value = "/run/dewdrop/node")]
    state_dir: PathBuf,
    /// Where the Kubernetes auth method is mounted
    #[arg(long, env = "DEWDROP_AUTH_MOUNT", default_value = "kubernetes")]
    auth_mount: String,
    /// The role of that method for agents
    #[arg(long, env = "DEWDROP_NODE_ROLE", default_value = "dewdrop-node")]
    role: String,
    /// The file with the agent's own ServiceAccount token
    #[arg(long, env = "DEWDROP_NODE_TOKEN_FILE", default_value = "/var/run/secrets/dewdrop/token")]
    token_file: PathBuf,
    /// error, warn, info, debug or trace
    #[arg(long, env = "DEWDROP_LOG_LEVEL", default_value = "info")]
    log_level: LogLevel,
    /// standard or json
    #[arg(long, env = "DEWDROP_LOG_FORMAT", default_value = "standard")]
    log_format: LogFormat,
    #[command(flatten)]
    own: OwnFlags,
}

/// What the agent tells of itself, and from whom it hears of pods.
#[derive(Debug, Args)]
struct OwnFlags {
    /// Where the agent tells its numbers, for Prometheus: 127.0.0.1:9912, or the pod's address; nowhere by default
    #[arg(long, env = "DEWDROP_NODE_METRICS_ADDRESS")]
    metrics_address: Option<SocketAddr>,
    /// Asks the agent that runs whether it is well, and ends: for probes
    #[arg(long)]
    check: bool,
    #[command(flatten)]
    kube: KubeFlags,
}

/// Where the cluster's API server is.
#[derive(Debug, Args)]
struct KubeFlags {
    /// The cluster's API server; in a pod that has a token for it this is known, an empty text goes without
    #[arg(long, env = "DEWDROP_KUBE_SERVER")]
    kube_server: Option<String>,
    /// The certificates that are trusted for it
    #[arg(long, env = "DEWDROP_KUBE_CA_FILE", default_value = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt")]
    kube_ca_file: PathBuf,
    /// The file with the agent's token for it
    #[arg(
        long,
        env = "DEWDROP_KUBE_TOKEN_FILE",
        default_value = "/var/run/secrets/kubernetes.io/serviceaccount/token"
    )]
    kube_token_file: PathBuf,
}

impl Node {
    /// Runs until SIGTERM or SIGINT.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        if self.own.check {
            return dewdrop_node::check(&self.kubelet_dir).await.map(|()| 0).map_err(Failure::usage);
        }
        let logging = Logging { level: self.log_level, format: self.log_format, file: None };
        init_logs(&logging, SystemClock::shared()).map_err(|e| Failure::usage(e.to_string()))?;
        install_panic_hook();
        let client = ctx.client().await?.with_token(None).with_retries(0);
        let settings = Settings {
            node: self.node_name,
            kubelet_dir: self.kubelet_dir,
            nri_socket: Some(self.nri_socket).filter(|path| !path.is_empty()).map(PathBuf::from),
            exec_binary: self.exec_binary.or_else(beside),
            cri_socket: Some(self.cri_socket).filter(|path| !path.is_empty()).map(PathBuf::from),
            kube: self.own.kube.settings(),
            metrics: self.own.metrics_address,
            state_dir: self.state_dir,
            sign_in: SignIn {
                mount: self.auth_mount.trim_matches('/').to_owned(),
                role: self.role,
                token_file: self.token_file,
            },
        };
        dewdrop_node::run(settings, client).await.map_err(|e| Failure::usage(e.to_string()))?;
        Ok(0)
    }
}

impl KubeFlags {
    /// The API server: as it is named, or that of the cluster we run in if we were given a token for it.
    fn settings(self) -> Option<KubeSettings> {
        let own = || self.kube_token_file.exists().then(|| in_cluster(|name| std::env::var(name).ok()).ok())?;
        let server = self.kube_server.or_else(own).filter(|server| !server.is_empty())?;
        Some(KubeSettings { server, ca_file: self.kube_ca_file, token_file: self.kube_token_file })
    }
}

/// The wrapper beside this program.
fn beside() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name("dewdrop-exec");
    path.is_file().then_some(path)
}
