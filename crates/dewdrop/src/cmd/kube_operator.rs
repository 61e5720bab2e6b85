//! `dewdrop kube operator`: what teams declare in their namespaces becomes policies and roles at the server.

use std::path::PathBuf;

use clap::Args;
use dewdrop_core::SystemClock;
use dewdrop_kube::operator::{self, House, Settings, SignIn, Vault};
use dewdrop_server::config::{LogFormat, LogLevel, Logging};
use dewdrop_server::telemetry::{init_logs, install_panic_hook};
use tokio::signal::unix::SignalKind;

use super::webhook::{ApiArgs, caught};
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};

/// Flags of the operator. The server's address and CA are those of all commands.
#[derive(Debug, Args)]
pub struct Operator {
    #[command(flatten)]
    api: ApiArgs,
    /// The Lease that says which of several operators works (NAMESPACE/NAME)
    #[arg(long, env = "DEWDROP_OPERATOR_LEASE", default_value = "dewdrop-system/dewdrop-operator")]
    lease: String,
    /// Who this one is in the Lease: the pod's name
    #[arg(long, env = "POD_NAME")]
    identity: String,
    /// Where the Kubernetes auth method is mounted
    #[arg(long, env = "DEWDROP_AUTH_MOUNT", default_value = "kubernetes")]
    auth_mount: String,
    /// The role of that method for the operator
    #[arg(long, env = "DEWDROP_OPERATOR_ROLE", default_value = "dewdrop-operator")]
    role: String,
    /// The file with the operator's ServiceAccount token for the server
    #[arg(long, env = "DEWDROP_OPERATOR_TOKEN_FILE", default_value = "/var/run/secrets/dewdrop/token")]
    token_file: PathBuf,
    /// Begins the name of each role and policy that the operator writes; each cluster of one server needs its own
    #[arg(long, env = "DEWDROP_OPERATOR_PREFIX", default_value = "k8s.")]
    prefix: String,
    /// The audience of the pods' tokens
    #[arg(long, env = "DEWDROP_AUDIENCE", default_value = "dewdrop")]
    audience: String,
    /// error, warn, info, debug or trace
    #[arg(long, env = "DEWDROP_LOG_LEVEL", default_value = "info")]
    log_level: LogLevel,
    /// standard or json
    #[arg(long, env = "DEWDROP_LOG_FORMAT", default_value = "standard")]
    log_format: LogFormat,
}

impl Operator {
    /// Runs until SIGTERM or SIGINT.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let clock = SystemClock::shared();
        let logging = Logging { level: self.log_level, format: self.log_format, file: None };
        init_logs(&logging, clock.clone()).map_err(|e| Failure::usage(e.to_string()))?;
        install_panic_hook();
        let parts = self.lease.split_once('/').filter(|(namespace, name)| !namespace.is_empty() && !name.is_empty());
        let (namespace, lease) = parts.ok_or_else(|| Failure::usage("--lease must be NAMESPACE/NAME"))?;
        let settings = Settings {
            house: House::new(&self.prefix, &self.audience).map_err(Failure::usage)?,
            namespace: namespace.to_owned(),
            lease: lease.to_owned(),
            identity: self.identity.clone(),
        };
        let client = ctx.client().await?.with_token(None).with_retries(0);
        let mount = self.auth_mount.trim_matches('/').to_owned();
        let sign_in = SignIn { mount, role: self.role.clone(), token_file: self.token_file.clone() };
        let vault = Vault::new(client, sign_in, clock.clone());
        let (mut term, mut int) = (caught(SignalKind::terminate())?, caught(SignalKind::interrupt())?);
        operator::run(settings, self.api.open()?, vault, clock, async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        })
        .await;
        Ok(0)
    }
}
