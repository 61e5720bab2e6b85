//! `dewdrop kube webhook`: what the API server asks before a pod is made or entered.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use dewdrop_core::fault::with_causes;
use dewdrop_core::{Clock, SystemClock};
use dewdrop_kube::certs::{Files, Keeper, Managed, Own, Places, Source};
use dewdrop_kube::cluster::Api;
use dewdrop_kube::gate::{Gate, Server, Settings, SignIn};
use dewdrop_kube::judge::{Judge, Manners, Mode};
use dewdrop_kube::mutate::{self, Agentless};
use dewdrop_kube::rules::{Ground, SecretFolders};
use dewdrop_server::config::{LogFormat, LogLevel, Logging};
use dewdrop_server::telemetry::{init_logs, install_panic_hook};
use tokio::signal::unix::{SignalKind, signal};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::say;

/// Flags of the webhook.
#[derive(Debug, Args)]
pub struct Webhook {
    /// Where to listen
    #[arg(long, env = "DEWDROP_WEBHOOK_LISTEN", default_value = "0.0.0.0:8443")]
    listen: SocketAddr,
    #[command(flatten)]
    tls: TlsArgs,
    #[command(flatten)]
    api: ApiArgs,
    #[command(flatten)]
    guards: GuardArgs,
    #[command(flatten)]
    gate: GateArgs,
    #[command(flatten)]
    agentless: AgentlessArgs,
    /// error, warn, info, debug or trace
    #[arg(long, env = "DEWDROP_LOG_LEVEL", default_value = "info")]
    log_level: LogLevel,
    /// standard or json
    #[arg(long, env = "DEWDROP_LOG_FORMAT", default_value = "standard")]
    log_format: LogFormat,
}

/// Where the certificate comes from.
#[derive(Debug, Args)]
struct TlsArgs {
    /// Certificate in PEM, read again when it changes; without it one is made
    #[arg(long, env = "DEWDROP_WEBHOOK_CERT", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key
    #[arg(long, env = "DEWDROP_WEBHOOK_KEY", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Names of the webhook, for a certificate that is made
    #[arg(
        long,
        env = "DEWDROP_WEBHOOK_NAMES",
        value_delimiter = ',',
        default_value = "dewdrop-webhook.dewdrop-system.svc"
    )]
    names: Vec<String>,
    /// Keep the CA of a certificate that is made in this Secret (NAMESPACE/NAME), and write it into the webhook's configurations
    #[arg(long, env = "DEWDROP_WEBHOOK_SECRET", conflicts_with_all = ["tls_cert", "ca_file"])]
    secret: Option<String>,
    /// Name of those configurations
    #[arg(long, env = "DEWDROP_WEBHOOK_CONFIGURATION", default_value = "dewdrop")]
    configuration: String,
    /// Write the CA of a certificate that is made to this file; without it the CA is printed
    #[arg(long, env = "DEWDROP_WEBHOOK_CA_FILE")]
    ca_file: Option<PathBuf>,
}

/// The API server that is asked for pods and namespaces.
#[derive(Debug, Args)]
pub struct ApiArgs {
    /// Its address; without it, that of the cluster that this runs in
    #[arg(long, env = "DEWDROP_API_SERVER")]
    api_server: Option<String>,
    /// A folder with its CA (`ca.crt`) and our token for it (`token`)
    #[arg(long, env = "DEWDROP_API_ACCOUNT", default_value = dewdrop_kube::cluster::ACCOUNT)]
    api_account: PathBuf,
}

/// What is guarded.
#[derive(Debug, Args)]
struct GuardArgs {
    /// Namespaces that are left alone: ours and the control plane's
    #[arg(long, env = "DEWDROP_WEBHOOK_EXEMPT", value_delimiter = ',', default_value = "kube-system,dewdrop-system")]
    exempt: Vec<String>,
    /// The audience of the server's tokens
    #[arg(long, env = "DEWDROP_AUDIENCE", default_value = "dewdrop")]
    audience: String,
    /// Kubelet's folder
    #[arg(long, env = "DEWDROP_KUBELET_DIR", default_value = "/var/lib/kubelet")]
    kubelet_dir: String,
    /// Secrets written into pods, where the namespace's label dewdrop.dev/literal-secrets does not say
    #[arg(long, env = "DEWDROP_LITERAL_SECRETS", value_enum, default_value = "warn")]
    literal_secrets: Say,
    /// The node's folders that hold secrets, in pods without secrets of ours, where the label dewdrop.dev/host-paths does not say
    #[arg(long, env = "DEWDROP_HOST_PATHS", value_enum, default_value = "ignore")]
    host_paths: Say,
}

/// The server that knows who has a grant. Its address and CA are those of all commands.
#[derive(Debug, Args)]
struct GateArgs {
    /// Name of this cluster at the server: exec, attach, port-forward and debug into pods with secrets need a grant for it. Without
    /// it, nobody gets in
    #[arg(long, env = "DEWDROP_CLUSTER")]
    cluster: Option<String>,
    /// Mount of the access engine
    #[arg(long, env = "DEWDROP_ACCESS_MOUNT", default_value = "access")]
    access_mount: String,
    /// The role of the Kubernetes auth method for the webhook
    #[arg(long, env = "DEWDROP_WEBHOOK_ROLE", default_value = "dewdrop-webhook")]
    role: String,
    /// The file with the webhook's ServiceAccount token for the server
    #[arg(long, env = "DEWDROP_WEBHOOK_TOKEN_FILE", default_value = "/var/run/secrets/dewdrop/token")]
    token_file: PathBuf,
}

/// What agentless mode needs.
#[derive(Debug, Args)]
struct AgentlessArgs {
    /// The image with the wrapper, for agentless mode
    #[arg(long, env = "DEWDROP_EXEC_IMAGE", requires = "server_address")]
    exec_image: Option<String>,
    /// Mount that image as a volume (Kubernetes 1.36 and later) instead of copying the wrapper with an init container
    #[arg(long, env = "DEWDROP_EXEC_IMAGE_VOLUME", requires = "exec_image")]
    exec_image_volume: bool,
    /// The server's address as pods see it, for agentless mode
    #[arg(long, env = "DEWDROP_SERVER_ADDRESS")]
    server_address: Option<String>,
    /// A file with the server's CA, for agentless mode
    #[arg(long, env = "DEWDROP_SERVER_CA")]
    server_ca: Option<PathBuf>,
    /// Where the Kubernetes auth method is mounted, for agentless mode and for grants
    #[arg(long, env = "DEWDROP_AUTH_MOUNT", default_value = "kubernetes")]
    auth_mount: String,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Say {
    Deny,
    Warn,
    Ignore,
}

impl Webhook {
    /// Runs until SIGTERM or SIGINT.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let clock = SystemClock::shared();
        let logging = Logging { level: self.log_level, format: self.log_format, file: None };
        init_logs(&logging, clock.clone()).map_err(|e| Failure::usage(e.to_string()))?;
        install_panic_hook();
        let api = self.api.open()?;
        let judge = self.judge(api.clone())?;
        let judge = Arc::new(match self.gate(ctx, clock.clone()).await? {
            Some(gate) => judge.with_gate(gate),
            None => judge,
        });
        let source = self.tls.source(api, clock.now())?;
        let (keeper, tls) = Keeper::open(source, clock).await.map_err(|e| Failure::usage(with_causes(&e)))?;
        let listener = tokio::net::TcpListener::bind(self.listen).await;
        let listener = listener.map_err(|e| Failure::usage(format!("listen on {}: {e}", self.listen)))?;
        let address = listener.local_addr().unwrap_or(self.listen);
        let (mut term, mut int) = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
        tokio::spawn(keeper.run());
        tracing::info!(%address, "the webhook listens");
        dewdrop_kube::serve::serve(listener, tls, judge, dewdrop_kube::serve::Limits::default(), async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        })
        .await;
        Ok(0)
    }

    async fn gate(&self, ctx: &Ctx, clock: Arc<dyn Clock>) -> Result<Option<Gate>> {
        let Some(cluster) = &self.gate.cluster else { return Ok(None) };
        let trimmed = |mount: &str| mount.trim_matches('/').to_owned();
        let settings = Settings {
            access_mount: trimmed(&self.gate.access_mount),
            auth_mount: trimmed(&self.agentless.auth_mount),
            sign_in: SignIn { role: self.gate.role.clone(), token_file: self.gate.token_file.clone() },
        };
        let server = Server::new(ctx.client().await?.clone(), settings, clock);
        Ok(Some(Gate::new(Box::new(server), cluster.clone())))
    }

    fn judge(&self, api: Api) -> Result<Judge> {
        let guards = &self.guards;
        let ground = Ground {
            audience: guards.audience.clone(),
            folders: SecretFolders::new(&guards.kubelet_dir),
            exec_image: self.agentless.exec_image.clone(),
        };
        let manners = Manners {
            exempt: guards.exempt.clone(),
            literals: guards.literal_secrets.mode(),
            host_paths: guards.host_paths.mode(),
        };
        let changes = mutate::Settings { audience: guards.audience.clone(), agentless: self.agentless.read()? };
        Ok(Judge::new(Arc::new(api), ground, manners, changes))
    }
}

impl ApiArgs {
    /// The API server, not asked yet.
    pub fn open(&self) -> Result<Api> {
        let address = match &self.api_server {
            Some(address) => Ok(address.clone()),
            None => dewdrop_kube::cluster::in_cluster(|name| std::env::var(name).ok()),
        };
        address.and_then(|address| Api::new(&address, &self.api_account)).map_err(Failure::usage)
    }
}

impl TlsArgs {
    fn source(&self, api: Api, now: dewdrop_core::Moment) -> Result<Box<dyn Source>> {
        if let (Some(certificate), Some(key)) = (&self.tls_cert, &self.tls_key) {
            return Ok(Box::new(Files::new(certificate.clone(), key.clone())));
        }
        if let Some(secret) = &self.secret {
            let parts = secret.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
            let (namespace, name) = parts.ok_or_else(|| Failure::usage("--secret must be NAMESPACE/NAME"))?;
            let configuration = self.configuration.clone();
            let places = Places { namespace: namespace.to_owned(), secret: name.to_owned(), configuration };
            return Ok(Box::new(Managed::new(api, places, self.names.clone())));
        }
        let failed = |e| Failure::usage(with_causes(&e));
        let own = Own::new(self.names.clone(), now).map_err(failed)?;
        match &self.ca_file {
            Some(path) => own.write_ca(path).map_err(failed)?,
            None => say(own.ca_pem()),
        }
        Ok(Box::new(own))
    }
}

impl AgentlessArgs {
    fn read(&self) -> Result<Option<Agentless>> {
        let (Some(image), Some(address)) = (&self.exec_image, &self.server_address) else { return Ok(None) };
        let read = |path: &PathBuf| {
            std::fs::read_to_string(path).map_err(|e| Failure::usage(format!("read {}: {e}", path.display())))
        };
        let ca = self.server_ca.as_ref().map(read).transpose()?;
        let (image, address, auth_mount) =
            (image.clone(), address.clone(), self.auth_mount.trim_matches('/').to_owned());
        Ok(Some(Agentless { image, image_volume: self.exec_image_volume, address, auth_mount, ca }))
    }
}

impl Say {
    fn mode(self) -> Mode {
        match self {
            Self::Deny => Mode::Deny,
            Self::Warn => Mode::Warn,
            Self::Ignore => Mode::Ignore,
        }
    }
}

/// A signal that is waited for.
pub fn caught(kind: SignalKind) -> Result<tokio::signal::unix::Signal> {
    signal(kind).map_err(|e| Failure::usage(format!("catch a signal: {e}")))
}
