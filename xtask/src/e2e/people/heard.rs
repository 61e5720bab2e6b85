//! The API server's own audit: what came by a grant is joined to it, and what went around the proxy shows.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::town::{MANIFEST, Town};
use crate::cluster::{self, Cluster};
use crate::e2e::stage::{BASE, PATIENCE, Stage};
use crate::parts::{Process, free_port};
use crate::say;

const POLICY: &str = include_str!("../../../../deploy/api-server-audit/policy.yaml");
/// What nobody may find on the record.
const SECRET: &str = "hunter2-in-a-command";
const TOKEN: &str = "a token of the test, long enough";

/// A cluster whose API server tells, and a proxy that hears.
struct Audited<'t, 's> {
    town: &'t Town<'s>,
    proxy: Option<Process>,
    ports: [u16; 2],
    token: String,
    cluster: Option<Cluster>,
}

impl Drop for Audited<'_, '_> {
    fn drop(&mut self) {
        self.proxy = None;
        for path in ["access/roles/audited", "access/clusters/audited"] {
            if let Err(error) = self.town.stage.vault.ask("DELETE", path, None) {
                say::failed(&format!("the server still knows {path}: {error:#}"));
            }
        }
        if let Some(Err(error)) = self.cluster.take().map(Cluster::down) {
            say::failed(&format!("the audited cluster is not wholly down: {error:#}"));
        }
    }
}

impl<'t, 's> Audited<'t, 's> {
    fn open(town: &'t Town<'s>) -> Result<Self> {
        let root = |path: &str, body: Value| town.stage.vault.ask("POST", path, Some(body));
        let ports = [free_port()?, free_port()?];
        root("access/clusters/audited", json!({ "address": format!("https://127.0.0.1:{}", ports[0]) }))?;
        let policy = r#"
            path "access/live" { capabilities = ["read"] }
            path "access/record" { capabilities = ["update"] }
            path "access/announce" { capabilities = ["update"] }
            path "auth/kubernetes/sessions/leave" { capabilities = ["update"] }
            path "access/clusters/audited/certificate" { capabilities = ["update"] }"#;
        root("sys/policies/acl/audited-proxy", json!({ "policy": policy }))?;
        let token = root("auth/token/create", json!({ "policies": ["audited-proxy"], "period": "1h" }))?;
        let token = token["auth"]["client_token"].as_str().context("no token")?.to_owned();
        let known = town.stage.vault.ask("GET", "access/clusters/audited", None)?;
        let ca = known["data"]["certificate_authority"].as_str().context("no authority")?;
        let args = api_args(town, ports[1], ca)?;
        let options = cluster::Options { api_args: args, ..cluster::Options::of(1) };
        let mut audited = Self { town, proxy: None, ports, token, cluster: Some(cluster::up(&options)?) };
        audited.cluster()?.apply(BASE)?;
        audited.cluster()?.apply(MANIFEST)?;
        audited.start_proxy()?;
        let config = town.says("ann", &["kube", "config", "-cluster", "audited", "-default-namespace", "shop"])?;
        town.file("ann", "audited", &config)?;
        Ok(audited)
    }

    fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("the audited cluster is down")
    }

    fn start_proxy(&mut self) -> Result<()> {
        let cluster = self.cluster()?;
        let token = cluster.kubectl(&["create", "token", "dewdrop-proxy", "-n", "dewdrop-system"])?;
        let token = String::from_utf8(token.stdout)?;
        let files = [("token", token.trim()), ("ca.crt", &std::fs::read_to_string(&cluster.ca)?), ("heard", TOKEN)];
        let mut at = String::new();
        for (name, text) in files {
            at = self.town.file("ann", name, text)?;
        }
        let account = Path::new(&at).parent().context("a file is in a folder")?;
        let mut command = Command::new(self.town.stage.program());
        command.args(["kube", "proxy", "-cluster", "audited", "-token-file", ""]);
        command.arg("-listen").arg(format!("127.0.0.1:{}", self.ports[0]));
        command.arg("-audit-listen").arg(format!("127.0.0.1:{}", self.ports[1])).arg("-audit-token-file").arg(&at);
        command.arg("-api-server").arg(&cluster.server).arg("-api-account").arg(account).env("HOME", account);
        command.env("DEWDROP_ADDR", &self.town.stage.vault.address).env("DEWDROP_TOKEN", &self.token);
        let ports = self.ports;
        let mut process = Process::start(command, &cluster.log_of("access-proxy"))?;
        process.wait_until(PATIENCE, || ports.into_iter().all(crate::parts::listens))?;
        self.proxy = Some(process);
        Ok(())
    }

    /// ann, through the proxy.
    fn ann(&self, args: &[&str]) -> Result<()> {
        let mut kubectl = self.town.kubectl_command("ann", args)?;
        let config = self.town.file("ann", "unused", "")?.replace("unused", "audited");
        let out = kubectl.env("KUBECONFIG", config).output()?;
        let told = String::from_utf8_lossy(&out.stderr);
        ensure!(out.status.success(), "ann: kubectl {}: {}", args.join(" "), told.trim());
        Ok(())
    }

    /// What cleo finds to have gone around.
    fn around(&self) -> Result<Vec<Value>> {
        let told = self.town.says("cleo", &["access", "around", "-cluster", "audited", "-format=json"])?;
        let told: Value = serde_json::from_str(&told).unwrap_or_default();
        Ok(told["key_info"].as_object().into_iter().flatten().map(|(_, line)| line.clone()).collect())
    }
}

/// What the API server is told: where to send its events, and of whom.
fn api_args(town: &Town, port: u16, ca: &str) -> Result<Vec<String>> {
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "d",
        "contexts": [{ "name": "d", "context": { "cluster": "d", "user": "u" } }],
        "clusters": [{ "name": "d", "cluster": {
            "server": format!("https://127.0.0.1:{port}/"), "certificate-authority": town.file("ann", "access-ca.pem", ca)?,
        } }],
        "users": [{ "name": "u", "user": { "token": TOKEN } }],
    });
    let (config, policy) = (town.file("ann", "webhook", &config.to_string())?, town.file("ann", "policy", POLICY)?);
    Ok(vec![
        format!("--audit-policy-file={policy}"),
        format!("--audit-webhook-config-file={config}"),
        "--audit-webhook-batch-max-wait=1s".into(),
        "--audit-webhook-initial-backoff=1s".into(),
    ])
}

/// Joined by name and by grant; around is shown; nothing secret is kept; what was missed comes again.
pub fn heard(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    town.role("audited", json!({ "clusters": "audited" }))?;
    let mut audited = Audited::open(&town)?;
    let id = town.granted("audited", &[])?;
    audited.ann(&["get", "pods"])?;
    let asks = format!("/api/v1/namespaces/shop/pods/none/exec?command=mysql&command={SECRET}&stdout=true");
    audited.cluster()?.kubectl(&["get", "--raw", &asks])?;
    audited.cluster()?.kubectl(&["get", "secrets", "-n", "shop"])?;
    let is_joined = || Ok(joined(&town, &id)?.is_some());
    town.stage.wait("the API server's word on what ann did", PATIENCE, is_joined)?;
    let saw = |target: &str| {
        let lines = audited.around()?;
        ensure!(
            lines.iter().all(|line| line["user"] != "ann" && line["acting_as"] != "ann"),
            "ann went around: {lines:?}"
        );
        Ok(lines.iter().any(|line| line["target"] == target))
    };
    for target in ["secrets", "pods/exec"] {
        town.stage.wait(&format!("the administrator's {target} to show"), PATIENCE, || saw(target))?;
    }
    ensure!(!town.dewdrop("ann", &["access", "around"])?.status.success(), "ann reads what went around");
    ensure!(!town.stage.vault.record()?.contains(SECRET), "the command of an exec is on the record");
    strangers(&audited)?;
    // Nobody hears for a while.
    audited.proxy.take().context("no proxy")?.kill9();
    audited.cluster()?.kubectl(&["get", "configmaps", "-n", "bank"])?;
    std::thread::sleep(std::time::Duration::from_secs(2));
    audited.start_proxy()?;
    let came =
        || Ok(audited.around()?.iter().any(|line| line["target"] == "configmaps" && line["namespace"] == "bank"));
    town.stage.wait("what was missed to come again", PATIENCE, came).map(drop)
}

/// The name by which proxy and API server both tell of a list of pods by this grant.
fn joined(town: &Town, id: &str) -> Result<Option<String>> {
    let record = town.stage.vault.record()?;
    let lines: Vec<Value> = record
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter_map(|line| line["request"]["data"]["lines"].as_array().cloned())
        .flatten()
        .filter(|line| line["grant"] == id && line["target"] == "pods" && line["verb"] == "list")
        .collect();
    let of = |kind: &'static str| {
        lines.iter().filter(move |line| line["kind"] == kind).filter_map(|line| line["audit_id"].as_str())
    };
    Ok(of("request").find(|name| of("api").any(|other| other == *name)).map(str::to_owned))
}

/// Whoever does not know the token tells nothing.
fn strangers(audited: &Audited) -> Result<()> {
    let at = format!("https://127.0.0.1:{}/", audited.ports[1]);
    for token in ["", "Authorization: Bearer ", "Authorization: Bearer of somebody else, long enough"] {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--http1.1", "-o", "/dev/null", "-w", "%{http_code}", "-H", token, "-d", "{}", &at])
            .stdin(Stdio::null());
        let code = String::from_utf8(curl.output()?.stdout)?;
        ensure!(code == "401", "{token:?} is answered {code}");
    }
    Ok(())
}
