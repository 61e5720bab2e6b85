//! `cargo xtask demo --access`: kubectl just in time, from no access to a grant and to its end.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use crate::e2e::{Stage, Town};
use crate::say;

/// What runs is cut this soon after its grant.
const SOON: Duration = Duration::from_secs(2);

/// Runs the demo; an error when a claim does not hold.
pub fn run(dewdrop: PathBuf) -> Result<()> {
    let clock = say::Stopwatch::start();
    say::heading("A real Kubernetes, a Dewdrop server, and the access proxy `dewdrop kube proxy`");
    let mut stage = Stage::open(dewdrop, 1)?;
    let town = Town::open(&stage)?;
    town.role("shop", json!({ "rules": [{ "api_groups": ["*"], "resources": ["*"], "verbs": ["*"] }] }))?;
    town.start_pod()?;
    say::good(&format!("everything runs; ann, ben and cleo have signed in ({})", say::time(clock.elapsed())));

    no_access(&town)?;
    let id = asks(&town)?;
    works(&town)?;
    ends(&town, &id)?;
    drop(town);
    say::heading("dewdrop audit verify");
    let verdict = stage.verify_audit()?;
    say::good(verdict.trim().lines().next().unwrap_or_default());
    println!();
    say::good(&format!("nobody holds standing access to this cluster ({})", say::time(clock.elapsed())));
    Ok(())
}

fn no_access(town: &Town) -> Result<()> {
    say::heading("ann: kubectl get pods");
    let told = town.refused("ann", &["get", "pods"])?;
    ensure!(told.contains("you have no access"), "ann was told: {told}");
    say::good("refused: \"you have no access to test now\"");
    Ok(())
}

/// Answers the name of the grant.
fn asks(town: &Town) -> Result<String> {
    say::heading("ann: dewdrop access request shop -reason \"the test wants it\" -ttl=10m");
    let id = town.asks("ann", "shop", &["-ttl=10m"])?;
    say::good(&format!("request {id} waits for an approval"));
    let own = town.dewdrop("ann", &["access", "approve", &id])?;
    ensure!(!own.status.success(), "ann approved her own request");
    say::good("ann cannot approve it herself");
    say::heading(&format!("ben: dewdrop access approve {id}"));
    let told = town.says("ben", &["access", "approve", &id])?;
    told.lines().filter(|line| line.starts_with("  ")).take(1).for_each(say::line);
    say::good("granted; the time runs from the first certificate");
    Ok(id)
}

fn works(town: &Town) -> Result<()> {
    say::heading("ann: kubectl get, logs, exec");
    let clock = say::Stopwatch::start();
    ensure!(town.kubectl_says("ann", &["get", "pods"])?.contains("web"), "get pods");
    say::good(&format!(
        "get pods works ({}, with a key made here and a certificate for it)",
        say::time(clock.elapsed())
    ));
    ensure!(town.kubectl_says("ann", &["logs", "web", "--tail=1"])?.contains("tick"), "logs");
    let told = town.kubectl_says("ann", &["exec", "web", "--", "/bin/busybox", "echo", "from within"])?;
    ensure!(told.contains("from within"), "exec: {told}");
    say::good("logs and exec work");
    let told = town.refused("ann", &["get", "pods", "-n", "bank"])?;
    ensure!(told.contains("does not allow"), "another namespace: {told}");
    say::good("another namespace is refused, and it is said what the grant allows");
    let told = town.refused("ann", &["get", "pods", "--as", "system:admin"])?;
    ensure!(told.contains("you act as yourself"), "kubectl --as: {told}");
    say::good("kubectl --as system:admin is refused");
    Ok(())
}

fn ends(town: &Town, id: &str) -> Result<()> {
    say::heading(&format!("ann follows logs; cleo: dewdrop access revoke {id}"));
    let mut logs = town.kubectl_command("ann", &["logs", "-f", "web"])?.stdout(std::process::Stdio::null()).spawn()?;
    std::thread::sleep(Duration::from_millis(500));
    ensure!(logs.try_wait()?.is_none(), "logs -f has ended by itself");
    town.says("cleo", &["access", "revoke", id])?;
    let took = town.stage.wait("logs -f to end", SOON, || Ok(logs.try_wait()?.is_some()))?;
    say::good(&format!("logs -f was cut {} after the revocation", say::time(took)));
    town.refused("ann", &["get", "pods"])?;
    say::good("and the next kubectl is refused");
    Ok(())
}
