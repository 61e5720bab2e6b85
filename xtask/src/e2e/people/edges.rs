//! What happens to access when something of it goes away or breaks in the middle.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::life::wide;
use super::town::Town;
use crate::e2e::stage::{PATIENCE, Stage};
use crate::parts::client::Way;
use crate::say::{self, Stopwatch};

/// Streams end this soon after what allowed them is gone.
const SOON: Duration = Duration::from_secs(3);
/// A session that cannot be recorded ends by then: after ten seconds the list of grants is too old, and the machine is busy.
pub const UNRECORDED: Duration = Duration::from_secs(20);
/// A session that says something all the time.
pub const TALK: &[&str] =
    &["exec", "web", "--", "/bin/busybox", "sh", "-c", "while :; do echo still here; sleep 0.1; done"];

/// A kubectl that runs on, and has said something.
pub struct Running {
    child: Child,
    reader: JoinHandle<usize>,
}

impl Running {
    /// Starts it.
    pub fn start(town: &Town<'_>, args: &[&str]) -> Result<Self> {
        let mut child = town.kubectl_command("ann", args)?.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        ensure!(!line.is_empty(), "kubectl {} says nothing", args.join(" "));
        Ok(Self { child, reader: std::thread::spawn(move || lines.lines().map_while(Result::ok).count()) })
    }

    /// How long it runs on.
    pub fn ends(mut self, town: &Town<'_>, limit: Duration) -> Result<Duration> {
        let took = town.stage.wait("kubectl to end", limit, || Ok(self.child.try_wait()?.is_some()));
        if took.is_err() {
            self.child.kill()?;
            self.child.wait()?;
        }
        drop(self.reader.join());
        took
    }
}

/// The approver leaves the group before the grant: it does not count. The role goes: what runs by it is cut.
pub fn what_allowed_it_goes(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    town.start_pod()?;
    town.role("both", json!({ "approvals": [{ "groups": ["leads"], "count": 2 }] }))?;
    let id = town.asks("ann", "both", &["-ttl=10m"])?;
    town.says("ben", &["access", "approve", &id])?;
    town.leaves("leads", "ben")?;
    let told = town.says("cleo", &["access", "approve", &id]);
    town.joins("leads", "ben")?;
    let told = told?;
    ensure!(!told.contains("is granted"), "an approval of one who left counts: {told}");
    ensure!(town.refused("ann", &["get", "pods"])?.contains("no access"), "ann works by it");
    town.says("cleo", &["access", "deny", &id])?;

    town.role("shop", json!({ "rules": wide() }))?;
    town.only("shop", &["-ttl=10m"])?;
    let talk = Running::start(&town, TALK)?;
    town.stage.vault.ask("DELETE", "access/roles/shop", None)?;
    let took = talk.ends(&town, SOON)?;
    let told = town.refused("ann", &["get", "pods"])?;
    ensure!(told.contains("ended or was revoked") || told.contains("no access") || told.contains("role"), "{told}");
    say::line(&format!("exec ended {} after its role was deleted", say::time(took)));
    Ok(())
}

/// The proxy is killed in the middle of a session: what was seen is on the recording. The server cannot be reached: the
/// session is cut, since it cannot be recorded.
pub fn broken_sessions(stage: &mut Stage) -> Result<()> {
    let mut town = Town::open(stage)?;
    town.start_pod()?;
    town.role("shop", json!({ "rules": wide() }))?;
    let id = town.only("shop", &["-ttl=10m"])?;
    let talk = Running::start(&town, TALK)?;
    // Pieces of a recording go to the server twice a second.
    town.stage.wait("the recording", PATIENCE, || Ok(seen(&town, &id)?.contains("still here")))?;
    town.kill_proxy();
    talk.ends(&town, SOON)?;
    ensure!(seen(&town, &id)?.contains("still here"), "the recording of a session whose proxy was killed");
    town.start_proxy()?;
    let works = || Ok(town.kubectl("ann", &["get", "pods"])?.status.success());
    town.stage.wait("the proxy to know the grant", PATIENCE, works)?;
    let talk = Running::start(&town, TALK)?;
    town.stage.signal_vault("-STOP")?;
    let clock = Stopwatch::start();
    let ended = talk.ends(&town, UNRECORDED);
    town.stage.signal_vault("-CONT")?;
    ended?;
    say::line(&format!("a session that cannot be recorded ended after {}", say::time(clock.elapsed())));
    town.stage.wait("the proxy to open its door again", PATIENCE, works).map(drop)
}

/// All recordings of a grant.
fn seen(town: &Town<'_>, id: &str) -> Result<String> {
    let listed: Value = serde_json::from_str(&town.says("cleo", &["access", "recordings", "-format=json"])?)?;
    let info = listed["key_info"].as_object().cloned().unwrap_or_default();
    let names = info.iter().filter(|(_, about)| about["grant"] == id).map(|(name, _)| name);
    names.map(|name| town.says("cleo", &["access", "replay", name, "-cast"])).collect()
}

/// The API server is killed while somebody watches, and comes back: kubectl works on by the same grant.
pub fn api_server_restarts(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    town.start_pod()?;
    town.role("shop", json!({ "rules": wide() }))?;
    let id = town.only("shop", &["-ttl=10m"])?;
    let watch = Running::start(&town, &["get", "pods", "--watch"])?;
    let packed = town.pack();
    stage.cluster_mut()?.restart_api()?;
    let town = packed.unpack(stage);
    let works = || Ok(town.kubectl("ann", &["get", "pods"])?.status.success());
    town.stage.wait("kubectl to work with the new API server", PATIENCE, works)?;
    // kubectl itself begins its watch anew or gives up; either way nothing hangs at the revocation.
    town.says("ben", &["access", "revoke", &id])?;
    watch.ends(&town, SOON)?;
    town.refused("ann", &["get", "pods"]).map(drop)
}

/// Bodies that could be read in two ways, and requests that hide in them.
pub fn smuggled(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    town.role("shop", json!({ "rules": wide() }))?;
    town.only("shop", &["-ttl=10m"])?;
    let home = town.credential("ann")?;
    let file = |name: &str| home.join(name);
    let way = Way::new(&town.address(), &file("ca.pem"), &file("cert.pem"), &file("key.pem"))?;
    let hidden = "GET /api/v1/namespaces/bank/secrets HTTP/1.1\r\nHost: x\r\n\r\n";
    let post = "POST /api/v1/namespaces/shop/configmaps HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n";
    for (what, request) in [
        ("two lengths", format!("{post}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcd{hidden}")),
        (
            "a length and chunks",
            format!("{post}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        (
            "chunks in disguise",
            format!("{post}Transfer-Encoding: identity, chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n{hidden}"),
        ),
        ("a length that is none", format!("{post}Content-Length: +4\r\n\r\nabcd{hidden}")),
        ("a blank before the colon", format!("{post}Content-Length : 4\r\n\r\nabcd{hidden}")),
        ("a folded header", format!("{post}X-A: b\r\n Impersonate-User: root\r\nContent-Length: 0\r\n\r\n")),
    ] {
        let told = way.open()?.raw(&request)?;
        ensure!(!told.contains("SecretList") && !told.contains("HTTP/1.1 20"), "{what}: {told}");
        say::line(&format!("{what}: {}", told.lines().next().unwrap_or("closed without an answer")));
    }
    let sends = |object: &Value| -> Result<String> {
        let object = object.to_string();
        way.open()?.raw(&format!("{post}Connection: close\r\nContent-Length: {}\r\n\r\n{object}", object.len()))
    };
    let mut object =
        json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "x", "namespace": "shop" } });
    let told = sends(&object)?;
    ensure!(told.starts_with("HTTP/1.1 201"), "the same without a trick: {told}");
    town.stage.kubectl(&["delete", "configmap", "x", "-n", "shop"])?;
    // What the path says was judged; an object that says otherwise is refused by the API server.
    object["metadata"]["namespace"] = "bank".into();
    let told = sends(&object)?;
    ensure!(told.starts_with("HTTP/1.1 400") && told.contains("namespace"), "an object of another namespace: {told}");
    ensure!(town.stage.kubectl(&["get", "configmap", "x", "-n", "bank"]).is_err(), "it was made there");
    Ok(())
}
