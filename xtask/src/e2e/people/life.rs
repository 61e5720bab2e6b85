//! The life of a grant, as people see it.

use std::io::{BufRead, BufReader};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::town::Town;
use crate::e2e::stage::{PATIENCE, Stage};
use crate::say::{self, Stopwatch};

/// Streams end this soon after their grant.
const SOON: Duration = Duration::from_secs(3);

/// Everything that may be done in `shop`.
pub fn wide() -> serde_json::Value {
    json!([{ "api_groups": ["*"], "resources": ["*"], "verbs": ["*"] }])
}

/// No access, a request, no approval of one's own, approval, kubectl works, elsewhere it does not, revoked: refused.
pub fn whole(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    town.start_pod()?;
    town.role("shop", json!({ "rules": wide() }))?;
    let told = town.refused("ann", &["get", "pods"])?;
    ensure!(told.contains("you have no access to test now"), "without a grant: {told}");
    let id = town.asks("ann", "shop", &["-ttl=10m"])?;
    let own = town.dewdrop("ann", &["access", "approve", &id])?;
    let told = String::from_utf8_lossy(&own.stderr).into_owned();
    ensure!(!own.status.success() && told.contains("nobody can approve"), "ann approves her own request: {told}");
    ensure!(town.refused("ann", &["get", "pods"])?.contains("no access"), "a request alone gives access");
    let told = town.says("ben", &["access", "approve", &id, "-comment", "fine"])?;
    ensure!(told.contains("do anything with everything") && told.contains("is granted"), "ben reads: {told}");
    let clock = Stopwatch::start();
    ensure!(town.kubectl_says("ann", &["get", "pods"])?.contains("web"), "get pods");
    say::line(&format!("first kubectl after the approval: {}", say::time(clock.elapsed())));
    works(&town)?;
    let told = town.refused("ann", &["get", "pods", "-n", "bank"])?;
    ensure!(told.contains("does not allow to list pods in namespace bank"), "another namespace: {told}");
    ensure!(town.refused("ann", &["get", "nodes"])?.contains("does not allow to list nodes"), "nodes");
    ensure!(town.refused("ben", &["get", "pods"])?.contains("no access"), "ben has ann's access");
    town.says("cleo", &["access", "revoke", &id, "-reason", "enough"])?;
    let clock = Stopwatch::start();
    let told = town.refused("ann", &["get", "pods"])?;
    ensure!(told.contains("ended or was revoked") || told.contains("no access"), "after the revocation: {told}");
    say::line(&format!("refused at the first try after the revocation ({})", say::time(clock.elapsed())));
    replays(&town, &id)?;
    record(&town, &id)
}

/// The exec of this grant was recorded, and what is played is what was seen; whoever may not, does not see it.
fn replays(town: &Town, id: &str) -> Result<()> {
    let listed: serde_json::Value =
        serde_json::from_str(&town.says("cleo", &["access", "recordings", "-format=json"])?)?;
    let info = listed["key_info"].as_object().context("no recordings")?;
    let (name, about) = info.iter().find(|(_, about)| about["grant"] == id).context("no recording of this grant")?;
    ensure!(
        about["user"] == "ann" && about["target"] == "pods/exec" && about["name"] == "web",
        "it is said to be {about}"
    );
    let played = town.says("cleo", &["access", "replay", name, "-speed=100"])?;
    ensure!(played == "from within\n", "played: {played:?}");
    ensure!(!town.dewdrop("ann", &["access", "replay", name])?.status.success(), "ann reads recordings");
    Ok(())
}

/// Each kind of command.
fn works(town: &Town) -> Result<()> {
    let logs = town.kubectl_says("ann", &["logs", "web", "--tail=1"])?;
    ensure!(logs.contains("tick"), "logs: {logs}");
    let told = town.kubectl_says("ann", &["exec", "web", "--", "/bin/busybox", "echo", "from within"])?;
    ensure!(told.contains("from within"), "exec: {told}");
    town.kubectl_says("ann", &["create", "configmap", "c", "--from-literal=a=b"])?;
    town.kubectl_says("ann", &["patch", "configmap", "c", "-p", r#"{"data":{"a":"c"}}"#])?;
    ensure!(town.kubectl_says("ann", &["get", "configmap", "c", "-o", "jsonpath={.data.a}"])? == "c", "patch");
    town.kubectl_says("ann", &["delete", "configmap", "c"])?;
    let mut forward = town.kubectl_command("ann", &["port-forward", "web", ":8080"])?.spawn()?;
    let mut line = String::new();
    BufReader::new(forward.stdout.take().context("no output")?).read_line(&mut line)?;
    forward.kill()?;
    forward.wait()?;
    ensure!(line.contains("Forwarding from"), "port-forward: {line:?}");
    let who = town.kubectl_says("ann", &["auth", "whoami", "-o", "jsonpath={.status.userInfo.username}"])?;
    ensure!(who == "ann", "the API server takes ann for {who}");
    ensure!(town.kubectl_says("ann", &["auth", "can-i", "delete", "pods"])?.trim() == "yes", "can-i in shop");
    let no = town.kubectl("ann", &["auth", "can-i", "delete", "pods", "-n", "bank"])?;
    ensure!(String::from_utf8_lossy(&no.stdout).starts_with("no"), "can-i in another namespace: {no:?}");
    Ok(())
}

/// The audit log has each command, with person and grant; and it verifies.
fn record(town: &Town, id: &str) -> Result<()> {
    let log = town.stage.vault.dir().join("data/audit");
    let has = |text: &str| -> Result<bool> {
        for file in std::fs::read_dir(&log)? {
            let bytes = std::fs::read(file?.path()).unwrap_or_default();
            if String::from_utf8_lossy(&bytes).lines().any(|line| line.contains(text) && line.contains(id)) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    for text in
        ["\"target\":\"pods/exec\"", "\"target\":\"pods/portforward\"", "list pods in namespace bank", "kubectl get"]
    {
        town.stage.wait(&format!("the record of {text}"), PATIENCE, || has(text))?;
    }
    Ok(())
}

/// Logs, a watch and an exec that run are cut soon after the revocation, and when the time is up.
pub fn cut(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    town.start_pod()?;
    town.role("shop", json!({ "rules": wide(), "default_ttl": "1m" }))?;
    let id = town.granted("shop", &["-ttl=10m"])?;
    let streams = [
        &["logs", "-f", "web"][..],
        &["get", "pods", "--watch"],
        &["exec", "web", "--", "/bin/busybox", "sh", "-c", "while :; do echo x; sleep 0.1; done"],
    ];
    let mut running = Vec::new();
    for args in streams {
        let mut child = town.kubectl_command("ann", args)?.spawn()?;
        let mut lines = BufReader::new(child.stdout.take().context("no output")?);
        let mut line = String::new();
        lines.read_line(&mut line)?;
        ensure!(!line.is_empty(), "kubectl {} says nothing", args.join(" "));
        // Read on, so that it is not held up by a full pipe.
        let reader = std::thread::spawn(move || lines.lines().map_while(Result::ok).count());
        running.push((args, child, reader));
    }
    town.says("ben", &["access", "revoke", &id])?;
    let clock = Stopwatch::start();
    for (args, mut child, reader) in running {
        town.stage.wait(&format!("kubectl {} to end", args.join(" ")), SOON, || Ok(child.try_wait()?.is_some()))?;
        drop(reader.join());
    }
    say::line(&format!("logs -f, watch and exec ended {} after the revocation", say::time(clock.elapsed())));
    Ok(())
}

/// Nothing is allowed when it cannot be known; the proxy comes back with what still runs.
pub fn away(stage: &mut Stage) -> Result<()> {
    let mut town = Town::open(stage)?;
    town.role("shop", json!({}))?;
    town.granted("shop", &["-ttl=30m"])?;
    town.kubectl_says("ann", &["get", "pods"])?;
    town.kill_proxy();
    ensure!(!town.kubectl("ann", &["get", "pods"])?.status.success(), "kubectl works without the proxy");
    town.start_proxy()?;
    let works = || Ok(town.kubectl("ann", &["get", "pods"])?.status.success());
    town.stage.wait("the proxy to know the grant", PATIENCE, works)?;
    town.stage.signal_vault("-STOP")?;
    let clock = Stopwatch::start();
    let fails = || Ok(!town.kubectl("ann", &["get", "pods"])?.status.success());
    let closed = town.stage.wait("the proxy to close its door", PATIENCE, fails);
    town.stage.signal_vault("-CONT")?;
    closed?;
    say::line(&format!("closed {} after the server was heard last", say::time(clock.elapsed())));
    town.stage.wait("the proxy to open its door again", PATIENCE, works).map(drop)
}
