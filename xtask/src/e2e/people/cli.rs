//! The command line of people beside real kubectl: from nothing to kubectl in one command, `kubectl dewdrop`, and the way from
//! a command back to its approval.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::town::{PASSWORD, Town};
use crate::e2e::stage::{PATIENCE, Stage};

/// Ann signs in by kubectl's plug-in, asks, waits, works; cleo finds out what was done and by whose leave.
pub fn plugin(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    town.start_pod()?;
    let everything = json!([{ "api_groups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    town.role("shop", json!({ "rules": everything }))?;
    installed(&town)?;
    let password = format!("password={PASSWORD}");
    let told = town.kubectl("ann", &["dewdrop", "login", "-method=userpass", "username=ann", &password])?;
    let words = String::from_utf8_lossy(&told.stdout).into_owned();
    ensure!(told.status.code() == Some(2) && words.contains("You may ask for"), "login without access: {told:?}");
    let told = town.kubectl("ann", &["dewdrop", "can-i", "delete", "pods", "-n", "shop"])?;
    let words = String::from_utf8_lossy(&told.stdout).into_owned();
    let says = words.starts_with("no") && words.contains("dewdrop access request shop");
    ensure!(told.status.code() == Some(1) && says, "can-i without access: {told:?}");
    let id = waits(&town)?;
    works(&town, &id)?;
    found(&town, &id)
}

/// kubectl finds the plug-in, and completes its commands.
fn installed(town: &Town) -> Result<()> {
    let bin = town.home("ann").join("bin");
    std::fs::create_dir_all(&bin)?;
    let folder = bin.display().to_string();
    town.says("ann", &["kube", "plugin-install", &folder])?;
    let listed = town.kubectl_says("ann", &["plugin", "list"])?;
    ensure!(listed.contains("kubectl-dewdrop"), "kubectl plugin list: {listed}");
    let told = town.kubectl_says("ann", &["__complete", "dewdrop", "wh"])?;
    ensure!(told.contains("whoami"), "kubectl completes nothing: {told}");
    Ok(())
}

/// A request waits, and ends by itself when it was approved.
fn waits(town: &Town) -> Result<String> {
    let mut asking =
        town.kubectl_command("ann", &["dewdrop", "request", "shop", "-reason", "the test wants it"])?.spawn()?;
    let mut told = BufReader::new(asking.stderr.take().context("no output")?);
    let mut first = String::new();
    told.read_line(&mut first)?;
    let id = first.split(' ').nth(1).context("it does not say its name")?.to_owned();
    town.says("ben", &["access", "approve", &id, "-comment", "fine"])?;
    let mut rest = String::new();
    told.read_to_string(&mut rest)?;
    ensure!(asking.wait()?.success(), "the request was approved, and it says: {first}{rest}");
    ensure!(rest.contains("1 of leads: 1 missing"), "what it waits for: {rest}");
    Ok(id)
}

/// One command more, and kubectl works; what we say of it is what is so.
fn works(town: &Town, id: &str) -> Result<()> {
    let file = town.home("ann").join("merged");
    std::fs::write(
        &file,
        "# mine\napiVersion: v1\nkind: Config\nclusters:\n- name: mine\n  cluster: {server: https://mine}\n",
    )?;
    let merged = file.display().to_string();
    let login = ["dewdrop", "login", "-kubeconfig", &merged, "-default-namespace", "shop"];
    let told = town.kubectl_says("ann", &login)?;
    ensure!(told.contains(id) && told.contains("Approved  by ben") && told.contains("dewdrop-test"), "login: {told}");
    let mut kubectl = town.kubectl_command("ann", &["get", "pods"])?;
    // The file alone must do: it says where the server is.
    let out = kubectl.env("KUBECONFIG", &file).env_remove("DEWDROP_ADDR").output()?;
    ensure!(
        out.status.success() && String::from_utf8_lossy(&out.stdout).contains("web"),
        "by the merged file: {out:?}"
    );
    let clusters = town.kubectl_command("ann", &["config", "get-clusters"])?.env("KUBECONFIG", &file).output()?;
    ensure!(
        String::from_utf8_lossy(&clusters.stdout).contains("mine"),
        "what was in the kubeconfig is gone: {clusters:?}"
    );
    let told = town.kubectl_says("ann", &["dewdrop", "whoami"])?;
    ensure!(told.contains("You are ann") && told.contains(id) && told.contains("left"), "whoami: {told}");
    for (args, expected) in [(["delete", "pods", "-n", "shop"], true), (["delete", "pods", "-n", "bank"], false)] {
        let ours = town.kubectl("ann", &[&["dewdrop", "can-i"][..], &args].concat())?.status.success();
        let theirs = town.kubectl("ann", &[&["auth", "can-i"][..], &args].concat())?.status.success();
        ensure!(ours == expected && theirs == expected, "can-i {}: we say {ours}, kubectl {theirs}", args.join(" "));
    }
    let script = "printf 'nee'; sleep 1; printf '\\033[1mdle\\033[0m in a haystack\\n'";
    let told = town.kubectl_says("ann", &["exec", "web", "--", "/bin/busybox", "sh", "-c", script])?;
    ensure!(told.contains("haystack"), "exec: {told}");
    Ok(())
}

/// From the words on a screen to the recording, to the command, to the approval.
fn found(town: &Town, id: &str) -> Result<()> {
    let search = || -> Result<Option<String>> {
        let out = town
            .dewdrop("cleo", &["access", "recordings", "-search", "needle in a", "-person", "ann", "-format=json"])?;
        let told: Value = serde_json::from_slice(&out.stdout)?;
        Ok(told["hits"][0]["recording"].as_str().map(str::to_owned))
    };
    town.stage.wait("the recording to be found", PATIENCE, || Ok(search()?.is_some()))?;
    let recording = search()?.context("it is gone again")?;
    ensure!(!town.dewdrop("ann", &["access", "recordings", "-search", "needle"])?.status.success(), "ann searches");
    let played = town.says("cleo", &["access", "replay", &recording, "-speed=100"])?;
    ensure!(played.contains("nee\x1b[1mdle"), "replay: {played:?}");
    let log = town.stage.vault.dir().join("data/audit");
    let trace = |what: &str| -> Result<String> {
        let mut command = Command::new(town.stage.program());
        let out = command.args(["audit", "trace", what]).arg(&log).stdin(Stdio::null()).output()?;
        Ok(String::from_utf8_lossy(&out.stdout).into_owned())
    };
    let whole = |told: &str| {
        let parts = [id, "the test wants it", "ben approved: fine", "kubectl exec", "cleo read", "The log holds"];
        parts.iter().all(|part| told.contains(part))
    };
    for what in [id, &recording, "kubectl exec"] {
        town.stage.wait(&format!("the trace of {what:?}"), PATIENCE, || Ok(whole(&trace(what)?)))?;
    }
    Ok(())
}
