//! `dewdrop kube proxy`: the access proxy of a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dewdrop_access::{Hearing, Place, Settings, SignIn};
use dewdrop_core::SystemClock;
use dewdrop_server::config::{LogFormat, LogLevel, Logging};
use dewdrop_server::telemetry::{init_logs, install_panic_hook};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};

/// Flags of the proxy. The Dewdrop server's address and CA are those of all commands.
#[derive(Debug, Args)]
pub struct Proxy {
    /// Where to listen
    #[arg(long, env = "DEWDROP_PROXY_LISTEN", default_value = "0.0.0.0:6443")]
    listen: SocketAddr,
    /// Where /healthz and /readyz are answered, over plain HTTP; without it, nowhere
    #[arg(long, env = "DEWDROP_PROXY_HEALTH")]
    health: Option<SocketAddr>,
    /// Where the API server sends its audit events (docs/guides/api-server-audit.md); without it, nowhere
    #[arg(long, env = "DEWDROP_PROXY_AUDIT_LISTEN", requires = "audit_token_file")]
    audit_listen: Option<SocketAddr>,
    /// A file with the bearer token that the API server shows there, of 16 letters at least
    #[arg(long, env = "DEWDROP_PROXY_AUDIT_TOKEN_FILE")]
    audit_token_file: Option<PathBuf>,
    /// Starts of the names of users whose events are left out, with commas
    #[arg(long, env = "DEWDROP_PROXY_AUDIT_SKIP", value_delimiter = ',', default_value = SKIP)]
    audit_skip: Vec<String>,
    /// Name of the cluster at the server
    #[arg(long, env = "DEWDROP_CLUSTER")]
    cluster: String,
    /// Mount of the access engine
    #[arg(long, env = "DEWDROP_ACCESS_MOUNT", default_value = "access")]
    mount: String,
    /// Address of the API server; without it, that of the cluster that this runs in
    #[arg(long, env = "DEWDROP_API_SERVER")]
    api_server: Option<String>,
    /// A folder with the API server's CA (`ca.crt`) and the proxy's own token for it (`token`)
    #[arg(long, env = "DEWDROP_API_ACCOUNT", default_value = dewdrop_kube::cluster::ACCOUNT)]
    api_account: PathBuf,
    /// Where the Kubernetes auth method is mounted
    #[arg(long, env = "DEWDROP_AUTH_MOUNT", default_value = "kubernetes")]
    auth_mount: String,
    /// The role of that method for proxies
    #[arg(long, env = "DEWDROP_PROXY_ROLE", default_value = "dewdrop-proxy")]
    role: String,
    /// The file with the ServiceAccount token by which the proxy signs in; an empty text: by DEWDROP_TOKEN
    #[arg(long, env = "DEWDROP_PROXY_TOKEN_FILE", default_value = "/var/run/secrets/dewdrop/token")]
    token_file: String,
    /// How long a recorded session stands still while the server does not take its recording, before it is cut: 5 to 300 seconds
    #[arg(long, env = "DEWDROP_PROXY_RECORD_PATIENCE", default_value_t = 30, value_parser = clap::value_parser!(u64).range(5..=300))]
    record_patience: u64,
    /// error, warn, info, debug or trace
    #[arg(long, env = "DEWDROP_LOG_LEVEL", default_value = "info")]
    log_level: LogLevel,
    /// standard or json
    #[arg(long, env = "DEWDROP_LOG_FORMAT", default_value = "standard")]
    log_format: LogFormat,
}

/// The cluster's own parts, and ServiceAccounts: of those there are thousands of requests, and none by people.
const SKIP: &str = "system:node:,system:kube-,system:apiserver,system:serviceaccount:";

impl Proxy {
    /// Runs until SIGTERM or SIGINT.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let logging = Logging { level: self.log_level, format: self.log_format, file: None };
        init_logs(&logging, SystemClock::shared()).map_err(|e| Failure::usage(e.to_string()))?;
        install_panic_hook();
        let address = match self.api_server {
            Some(address) => address,
            None => in_cluster()?,
        };
        let place =
            Place { address, authorities: self.api_account.join("ca.crt"), token: self.api_account.join("token") };
        let sign_in = (!self.token_file.is_empty()).then(|| SignIn {
            mount: self.auth_mount.clone(),
            role: self.role,
            token_file: PathBuf::from(self.token_file),
        });
        let skip: Vec<String> = self.audit_skip.into_iter().filter(|start| !start.is_empty()).collect();
        let hearing = self.audit_listen.zip(self.audit_token_file);
        let hearing = hearing.map(|(listen, token)| Hearing { listen, token, skip });
        let settings = Settings {
            listen: self.listen,
            health: self.health,
            hearing,
            cluster: self.cluster,
            mount: self.mount,
            auth_mount: self.auth_mount,
            api: place,
            sign_in,
            patience: Duration::from_secs(self.record_patience),
        };
        let client = ctx.client().await?.clone();
        dewdrop_access::run(settings, client, SystemClock::shared())
            .await
            .map_err(|e| Failure::usage(e.to_string()))?;
        Ok(0)
    }
}

fn in_cluster() -> Result<String> {
    let var = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (var("KUBERNETES_SERVICE_HOST"), var("KUBERNETES_SERVICE_PORT")) else {
        return Err(Failure::usage("this does not run in a cluster").hint("give -api-server and -api-account"));
    };
    Ok(if host.contains(':') { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") })
}
