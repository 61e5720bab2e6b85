//! `dewdrop kube proxy`: the access proxy of a cluster.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Args;
use dewdrop_access::{Place, Settings, SignIn};
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
    /// error, warn, info, debug or trace
    #[arg(long, env = "DEWDROP_LOG_LEVEL", default_value = "info")]
    log_level: LogLevel,
    /// standard or json
    #[arg(long, env = "DEWDROP_LOG_FORMAT", default_value = "standard")]
    log_format: LogFormat,
}

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
        let settings = Settings {
            listen: self.listen,
            cluster: self.cluster,
            mount: self.mount,
            auth_mount: self.auth_mount,
            api: place,
            sign_in,
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
