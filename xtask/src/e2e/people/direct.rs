//! A cluster without the access proxy: its API server trusts an authority of ours, and its RBAC decides.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::town::{MANIFEST, Town};
use crate::cluster::{self, Cluster};
use crate::e2e::stage::{BASE, PATIENCE, Stage};
use crate::say;

/// The shortest life of a certificate or token that the engine takes.
pub const TTL: Duration = Duration::from_secs(30);
/// Of those who have the role `edge`.
pub const GROUP: &str = "dewdrop:edge";

/// A cluster `edge` without a proxy; `other` is another one on paper, whose people nobody lets in.
pub struct Edge<'t, 's> {
    /// Who is there.
    pub town: &'t Town<'s>,
    cluster: Option<Cluster>,
}

impl Drop for Edge<'_, '_> {
    fn drop(&mut self) {
        let paths = ["roles/edge", "roles/other", "clusters/edge", "clusters/other", "issuer"];
        for path in paths.map(|path| format!("access/{path}")) {
            if let Err(error) = self.town.stage.vault.ask("DELETE", &path, None) {
                say::failed(&format!("the server still knows {path}: {error:#}"));
            }
        }
        if let Some(Err(error)) = self.cluster.take().map(Cluster::down) {
            say::failed(&format!("the direct cluster is not wholly down: {error:#}"));
        }
    }
}

impl<'t, 's> Edge<'t, 's> {
    /// Both, entered by this credential; the API server gets more arguments.
    pub fn open(town: &'t Town<'s>, credential: &str, api_args: Vec<String>) -> Result<Self> {
        let mut edge = Self { town, cluster: None };
        let options = cluster::Options { api_args, ..cluster::Options::of(1) };
        let cluster = edge.cluster.insert(cluster::up(&options)?);
        cluster.apply(BASE)?;
        cluster.apply(MANIFEST)?;
        let (server, own) = (cluster.server.clone(), std::fs::read_to_string(&cluster.ca)?);
        for name in ["edge", "other"] {
            let about = json!({
                "mode": "direct", "address": server, "certificate_authority": own, "certificate_ttl": TTL.as_secs(),
                "credential": credential,
            });
            edge.root(&format!("access/clusters/{name}"), about)?;
            let role = json!({
                "clusters": name, "kubernetes_groups": if name == "edge" { GROUP } else { "dewdrop:other" },
                "record_sessions": false, "default_ttl": "10m",
            });
            town.role(name, role)?;
            let config = town.says("ann", &["kube", "config", "-cluster", name, "-default-namespace", "shop"])?;
            town.file("ann", name, &config)?;
        }
        edge.cluster()?.apply(&town.says("cleo", &["kube", "rbac", "edge"])?)?;
        Ok(edge)
    }

    /// The API server reads the file of `--client-ca-file` again by itself.
    fn trust_ours(&self) -> Result<()> {
        let ours = self.town.stage.vault.ask("GET", "access/clusters/edge/ca", None)?;
        let ours = ours["data"]["certificate"].as_str().context("no authority")?;
        let mut trusted = std::fs::OpenOptions::new().append(true).open(&self.cluster()?.ca)?;
        Ok(trusted.write_all(ours.as_bytes())?)
    }

    /// The cluster.
    pub fn cluster(&self) -> Result<&Cluster> {
        self.cluster.as_ref().context("the direct cluster is down")
    }

    fn root(&self, path: &str, body: Value) -> Result<Value> {
        self.town.stage.vault.ask("POST", path, Some(body))
    }

    /// ann's kubectl, directly: whether it succeeded, and what it said (errors only when it did not).
    pub fn ann(&self, args: &[&str]) -> Result<(bool, String)> {
        let out =
            self.town.kubectl_command("ann", args)?.env("KUBECONFIG", self.town.home("ann").join("edge")).output()?;
        let told = if out.status.success() { out.stdout } else { [out.stdout, out.stderr].concat() };
        Ok((out.status.success(), String::from_utf8_lossy(&told).into_owned()))
    }

    /// What ann's kubectl is refused with.
    pub fn refused(&self, args: &[&str], words: &str) -> Result<()> {
        let (good, told) = self.ann(args)?;
        ensure!(!good && told.contains(words), "ann: kubectl {}: {told}", args.join(" "));
        Ok(())
    }

    /// What ann's plug-in gives to kubectl.
    pub fn credential(&self, cluster: &str) -> Result<Value> {
        let told = self.town.says("ann", &["kube", "credential", "-cluster", cluster])?;
        let mut told: Value = serde_json::from_str(&told)?;
        Ok(told["status"].take())
    }

    /// A certificate of ann's with its key, in files that stay.
    fn certificate(&self, cluster: &str) -> Result<PathBuf> {
        let told = self.credential(cluster)?;
        let part = |name: &str| told[name].as_str().context("no credential").map(str::to_owned);
        let both = part("clientCertificateData")? + &part("clientKeyData")?;
        self.town.file("ann", &format!("{cluster}.pem"), &both).map(PathBuf::from)
    }

    fn shows(&self, certificate: &Path, at: &str) -> Result<u16> {
        self.knocks(&["--cert", &certificate.to_string_lossy()], at)
    }

    /// How a server answers whoever shows something to it; 0: it ends the connection.
    pub fn knocks(&self, shows: &[&str], at: &str) -> Result<u16> {
        let mut curl = Command::new("curl");
        curl.args(["-sk", "--max-time", "20", "-o", "/dev/null", "-w", "%{http_code}"]).args(shows);
        let out = curl.arg(format!("{at}/api/v1/namespaces/shop/pods")).stdin(Stdio::null()).output()?;
        Ok(String::from_utf8(out.stdout)?.trim().parse()?)
    }
}

/// Bound rules work and nothing else; other authorities are nothing here; a revocation takes the certificate's minutes.
pub fn direct(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    let edge = Edge::open(&town, "certificate", Vec::new())?;
    edge.trust_ours()?;
    edge.refused(&["get", "pods"], "you have no access to edge now")?;
    refusals(&edge)?;
    let id = town.asks("ann", "edge", &[])?;
    let told = town.says("ben", &["access", "approve", &id])?;
    ensure!(told.contains("Beware: without the access proxy") && told.contains(GROUP), "ben reads: {told}");
    let works = || Ok(edge.ann(&["get", "pods"])?.0);
    let after = town.stage.wait("the API server to trust the authority", PATIENCE * 2, works)?;
    say::line(&format!("kubectl worked {} after the approval", say::time(after)));
    edge.refused(&["get", "pods", "-n", "bank"], "cannot list resource \"pods\"")?;
    edge.refused(&["get", "secrets"], "cannot list resource \"secrets\"")?;
    edge.refused(&["auth", "can-i", "delete", "pods"], "no")?;
    is_ann(&edge, &id)?;
    elsewhere(&edge)?;
    revoked(&edge, &id)
}

/// What cannot be had, and that it is said.
fn refusals(edge: &Edge<'_, '_>) -> Result<()> {
    let out =
        edge.town.dewdrop("ann", &["access", "request", "edge", "-reason", "x", "-no-wait", "-namespaces", "bank"])?;
    ensure!(!out.status.success(), "ann asks for a namespace that the role does not have");
    for (field, value, words) in [
        ("kubernetes_groups", json!("system:masters"), "Kubernetes' own"),
        ("record_sessions", json!(true), "record_sessions=false"),
    ] {
        let (status, told) =
            edge.town.stage.vault.caller().send("POST", "access/roles/edge", Some(json!({ field: value })))?;
        let is_said = told.to_string().contains(words);
        ensure!(is_said && (status == 400 || field == "record_sessions"), "{field}={value}: {status} {told}");
    }
    edge.root("access/roles/edge", json!({ "record_sessions": false })).map(drop)
}

/// The API server takes her for ann of the group, and its name of what she showed leads to the grant. What else it says of her.
pub fn is_ann(edge: &Edge<'_, '_>, id: &str) -> Result<Value> {
    let (_, told) = edge.ann(&["auth", "whoami", "-o", "json"])?;
    let mut who: Value = serde_json::from_str(&told).with_context(|| told.clone())?;
    let info = who["status"]["userInfo"].take();
    let groups = info["groups"].as_array().context("no groups")?;
    ensure!(info["username"] == "ann" && groups.contains(&json!(GROUP)), "the API server says {info}");
    let name = info["extra"]["authentication.kubernetes.io/credential-id"][0].as_str();
    let name = name.with_context(|| format!("the API server has no name for what ann showed: {info}"))?;
    let log = edge.town.stage.vault.dir().join("data/audit");
    let leads = || {
        let mut trace = Command::new(edge.town.stage.program());
        let out = trace.args(["audit", "trace", name]).arg(&log).stdin(Stdio::null()).output()?;
        let told = String::from_utf8_lossy(&out.stdout).into_owned();
        Ok([id, "the test wants it", name].iter().all(|part| told.contains(part)))
    };
    edge.town.stage.wait("the trace of the credential's name", PATIENCE, leads)?;
    Ok(info["extra"].clone())
}

/// Another cluster's certificate is nothing here, and this one's is nothing at the proxy.
fn elsewhere(edge: &Edge<'_, '_>) -> Result<()> {
    let (town, server) = (edge.town, edge.cluster()?.server.clone());
    town.granted("other", &[])?;
    let (own, other) = (edge.certificate("edge")?, edge.certificate("other")?);
    let codes = [edge.shows(&own, &server)?, edge.shows(&other, &server)?, edge.shows(&own, &town.address())?];
    ensure!(codes == [200, 401, codes[2]] && codes[2] != 200, "own, another's, at the proxy: {codes:?}");
    say::line(&format!("own certificate 200, another cluster's 401, own at the proxy {}", codes[2]));
    Ok(())
}

/// No further certificate; the last one is good for its time and not longer.
fn revoked(edge: &Edge<'_, '_>, id: &str) -> Result<()> {
    let server = edge.cluster()?.server.clone();
    let last = edge.certificate("edge")?;
    edge.town.says("cleo", &["access", "revoke", id, "-reason", "enough"])?;
    edge.refused(&["get", "pods"], "you have no access to edge now")?;
    let still = edge.shows(&last, &server)?;
    let ends = || Ok(edge.shows(&last, &server)? == 401);
    let after = edge.town.stage.wait("the last certificate to end", TTL + PATIENCE, ends)?;
    say::line(&format!(
        "the last certificate ({still} right after the revocation) was refused {} later",
        say::time(after)
    ));
    Ok(())
}
