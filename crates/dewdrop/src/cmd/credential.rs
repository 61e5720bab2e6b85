//! `dewdrop kube config` and `dewdrop kube credential`: kubectl's way to a cluster. The key is made here and never sent; it
//! and its certificate, or the token of a cluster that takes one, are kept for their ten minutes in a file for this user alone.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use dewdrop_api::Call;
use dewdrop_core::{Moment, SystemClock};
use rcgen::{CertificateParams, KeyPair, PKCS_ECDSA_P256_SHA256};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::{Zeroize, Zeroizing};

use super::access::{Mount, data_of};
use super::exec_api::ExecApi;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::say;

/// A certificate with less time than this is replaced.
const SPARE: std::time::Duration = std::time::Duration::from_secs(60);

/// `dewdrop kube credential`.
#[derive(Debug, Args)]
pub struct Credential {
    #[command(flatten)]
    mount: Mount,
    /// Name of the cluster
    #[arg(long, env = "DEWDROP_CLUSTER")]
    cluster: String,
    /// The version to answer in when kubectl does not say which it wants
    #[arg(long, value_enum, default_value_t = ExecApi::V1)]
    exec_api: ExecApi,
}

/// `dewdrop kube config`.
#[derive(Debug, Args)]
pub struct KubeConfig {
    #[command(flatten)]
    mount: Mount,
    /// Name of the cluster
    #[arg(long, env = "DEWDROP_CLUSTER")]
    cluster: String,
    /// The namespace that kubectl uses when none is named
    #[arg(long)]
    default_namespace: Option<String>,
    /// How kubectl and its plug-in speak; v1beta1 for kubectl before 1.22
    #[arg(long, env = "DEWDROP_EXEC_API", value_enum, default_value_t = ExecApi::V1)]
    exec_api: ExecApi,
}

/// What is kept between two calls of kubectl.
#[derive(Serialize, Deserialize)]
struct Kept {
    grant: String,
    expires_at: Moment,
    #[serde(flatten)]
    shown: Shown,
}

/// What kubectl shows to the cluster.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Shown {
    Certificate { certificate: String, key: String },
    Token { token: String },
}

impl Drop for Shown {
    fn drop(&mut self) {
        match self {
            Self::Certificate { key, .. } => key.zeroize(),
            Self::Token { token } => token.zeroize(),
        }
    }
}

impl Shown {
    /// The `status` of an `ExecCredential`.
    fn status(&self, expires_at: Moment) -> Value {
        let expires_at = expires_at.rfc3339();
        match self {
            Self::Certificate { certificate, key } => json!({
                "expirationTimestamp": expires_at, "clientCertificateData": certificate, "clientKeyData": key,
            }),
            Self::Token { token } => json!({ "expirationTimestamp": expires_at, "token": token }),
        }
    }
}

/// A grant that can be used, and what its cluster takes.
struct Usable {
    id: String,
    takes_token: bool,
}

impl Credential {
    /// Prints an `ExecCredential` (Kubernetes client authentication API), in the version that kubectl asks for.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let api = ExecApi::asked()?.unwrap_or(self.exec_api);
        let now = SystemClock::shared().now();
        let file = self.file();
        let kept = match file.as_deref().and_then(load).filter(|kept| kept.expires_at > now.plus(SPARE)) {
            Some(kept) => kept,
            None => {
                let kept = self.fresh(ctx).await?;
                if let Some(file) = &file {
                    save(file, &kept)?;
                }
                kept
            }
        };
        let status = kept.shown.status(kept.expires_at);
        let credential = json!({ "apiVersion": api.name(), "kind": "ExecCredential", "status": status });
        say(&format!("{credential}\n"));
        Ok(0)
    }

    async fn fresh(&self, ctx: &Ctx) -> Result<Kept> {
        let Usable { id, takes_token } = self.grant(ctx).await?;
        if takes_token { self.token(ctx, id).await } else { self.certificate(ctx, id).await }
    }

    /// A new key, and a certificate for it.
    async fn certificate(&self, ctx: &Ctx, grant: String) -> Result<Kept> {
        let broken = |e: rcgen::Error| Failure::usage(format!("a key cannot be made: {e}"));
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(broken)?;
        let csr = CertificateParams::default().serialize_request(&key).and_then(|csr| csr.pem()).map_err(broken)?;
        let given = self.given(ctx, &grant, "certificate", &json!({ "csr": csr })).await?;
        let (expires_at, certificate) = (expiry(&given)?, text(&given, "certificate"));
        Ok(Kept { grant, expires_at, shown: Shown::Certificate { certificate, key: key.serialize_pem() } })
    }

    /// A new token.
    async fn token(&self, ctx: &Ctx, grant: String) -> Result<Kept> {
        let given = self.given(ctx, &grant, "token", &json!({})).await?;
        Ok(Kept { expires_at: expiry(&given)?, shown: Shown::Token { token: text(&given, "token") }, grant })
    }

    async fn given(&self, ctx: &Ctx, grant: &str, what: &str, body: &Value) -> Result<Map<String, Value>> {
        let call = Call::post(&self.mount.path(&format!("requests/{grant}/{what}"))?, body)?;
        data_of(ctx.ask(call).await.map_err(|e| e.doing(&format!("Error getting a {what}")))?)
    }

    /// The grant to use: the newest that runs or can be started.
    async fn grant(&self, ctx: &Ctx) -> Result<Usable> {
        let call = Call::list(&self.mount.path("requests")?)?.with_query("mine", "true");
        let envelope = ctx.ask(call).await.map_err(|e| e.doing("Error looking for a grant"))?;
        let data = envelope.and_then(|envelope| envelope.data).map(|data| data.expose().clone()).unwrap_or_default();
        self.newest(&data).ok_or_else(|| {
            Failure::usage(format!("you have no access to {} now", self.cluster))
                .hint("ask for it: dewdrop access request ROLE -reason \"...\"")
        })
    }

    /// The list comes newest first.
    fn newest(&self, data: &Map<String, Value>) -> Option<Usable> {
        let info = data.get("key_info")?.as_object()?;
        let keys = data.get("keys")?.as_array()?.iter().filter_map(Value::as_str);
        let is_it = |id: &&str| {
            let can_be_used = |line: &Value| ["active", "granted"].iter().any(|state| line["state"] == *state);
            info.get(*id).is_some_and(|line| can_be_used(line) && line["cluster"] == self.cluster.as_str())
        };
        let id = keys.into_iter().find(is_it)?;
        Some(Usable { id: id.to_owned(), takes_token: info.get(id)?.get("credential") == Some(&json!("token")) })
    }

    fn file(&self) -> Option<PathBuf> {
        let home = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let folder = home("XDG_CACHE_HOME").or_else(|| home("HOME").map(|home| home.join(".cache")))?;
        let name = self.cluster.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-' && c != '.', "_");
        Some(folder.join("dewdrop").join("kube").join(format!("{name}.json")))
    }
}

fn text(given: &Map<String, Value>, name: &str) -> String {
    given.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn expiry(given: &Map<String, Value>) -> Result<Moment> {
    let time = Moment::parse_rfc3339(&text(given, "expires_at"));
    time.map_err(|_| Failure::server("the server's answer holds no credential"))
}

fn load(file: &std::path::Path) -> Option<Kept> {
    let bytes = Zeroizing::new(fs::read(file).ok()?);
    serde_json::from_slice(&bytes).ok()
}

fn save(file: &std::path::Path, kept: &Kept) -> Result<()> {
    let told = |e: std::io::Error| Failure::usage(format!("write {}: {e}", file.display()));
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(told)?;
    }
    let bytes = serde_json::to_vec(kept).map_err(|e| Failure::usage(e.to_string()))?;
    let bytes = Zeroizing::new(bytes);
    let new = file.with_extension(format!("{}.new", std::process::id()));
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new).map_err(told)?;
    out.write_all(&bytes).map_err(told)?;
    fs::rename(&new, file).map_err(told)
}

impl KubeConfig {
    /// Prints a kubeconfig that asks `dewdrop kube credential`.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let namespace = self.default_namespace.as_deref();
        let config = kubeconfig(ctx, &self.mount, &self.cluster, namespace, self.exec_api).await?;
        say(&serde_json::to_string_pretty(&config).map_err(|e| Failure::usage(e.to_string()))?);
        say("\n");
        Ok(0)
    }
}

/// A kubeconfig of one cluster, user and context, all called `dewdrop-CLUSTER`. JSON is YAML.
pub async fn kubeconfig(
    ctx: &Ctx,
    mount: &Mount,
    of: &str,
    namespace: Option<&str>,
    exec_api: ExecApi,
) -> Result<Value> {
    let path = mount.path(&format!("clusters/{of}"))?;
    let envelope = ctx.ask(Call::read(&path)?).await;
    let cluster = data_of(envelope.map_err(|e| e.doing(&format!("Error reading the cluster {of}")))?)?;
    let text = |name: &str| cluster.get(name).and_then(Value::as_str).unwrap_or_default();
    let program = std::env::current_exe().map_or_else(|_| "dewdrop".into(), |path| path.display().to_string());
    let name = format!("dewdrop-{of}");
    let mut args = vec!["kube".to_owned(), "credential".to_owned(), "-cluster".to_owned(), of.to_owned()];
    args.extend(["-mount".to_owned(), mount.path("")?.trim_matches('/').to_owned()]);
    if exec_api != ExecApi::V1 {
        // Not every old kubectl tells the plug-in what it wants.
        args.push(format!("-exec-api={}", exec_api.version()));
    }
    let mut context = json!({ "cluster": name, "user": name });
    if let Some(namespace) = namespace {
        context["namespace"] = json!(namespace);
    }
    Ok(json!({
        "apiVersion": "v1", "kind": "Config", "current-context": name,
        "clusters": [{ "name": name, "cluster": {
            "server": text("address"), "certificate-authority-data": STANDARD.encode(text("certificate_authority")),
        } }],
        "contexts": [{ "name": name, "context": context }],
        "users": [{ "name": name, "user": { "exec": {
            "apiVersion": exec_api.name(), "command": program, "interactiveMode": "IfAvailable", "args": args,
            "env": surroundings(ctx),
            "installHint": "install dewdrop, and sign in with `dewdrop kube login`",
        } } }],
    }))
}

/// How the server is reached, for the plug-in: it runs wherever kubectl does. There is no token among it.
fn surroundings(ctx: &Ctx) -> Vec<Value> {
    let config = &ctx.settings.config;
    let file = |path: &Option<PathBuf>| {
        let path = path.as_ref()?;
        Some(std::path::absolute(path).unwrap_or_else(|_| path.clone()).display().to_string())
    };
    let all = [
        ("DEWDROP_ADDR", Some(config.address.clone())),
        ("DEWDROP_NAMESPACE", Some(config.namespace.clone())),
        ("DEWDROP_CACERT", file(&config.tls.ca_cert)),
        ("DEWDROP_CAPATH", file(&config.tls.ca_path)),
        ("DEWDROP_TLS_SERVER_NAME", config.tls.server_name.clone()),
    ];
    let set = all.into_iter().filter_map(|(name, value)| Some((name, value.filter(|value| !value.is_empty())?)));
    set.map(|(name, value)| json!({ "name": name, "value": value })).collect()
}
