//! `dewdrop kube webhook` in front of the API server, as deploy/admission says, on this machine.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::stage::{PATIENCE, Stage};
use crate::cluster::image::{Entry, Image};
use crate::parts::{Process, TempDir, exec, free_port, repo_root};

/// The image that has the wrapper of agentless mode.
pub const EXEC_IMAGE: &str = "dewdrop.test/dewdrop-exec:1";
/// Its own namespace here: another's may stand beside it.
pub const NAMESPACE: &str = "dewdrop-hook";
const CONFIGURATIONS: &str = "mutatingwebhookconfigurations,validatingwebhookconfigurations";

/// Does something while the webhook stands at the door, with more flags; it is gone afterwards, however that ended.
pub fn with(stage: &mut Stage, more: &[&str], act: impl FnOnce(&mut Stage) -> Result<()>) -> Result<()> {
    let dir = TempDir::new("dewdrop-hook")?;
    let done = open(stage, dir.path(), more).and_then(|mut process| {
        let done = act(stage);
        let told = process.log_tail();
        process.stop("-TERM", PATIENCE);
        done.with_context(|| format!("the webhook says: {}", told.lines().next_back().unwrap_or_default()))
    });
    let gone = stage.kubectl(&["delete", CONFIGURATIONS, "dewdrop", "--ignore-not-found"]);
    done.and(gone.map(drop))
}

fn open(stage: &Stage, dir: &Path, more: &[&str]) -> Result<Process> {
    stage.cluster()?.import_image(&Image {
        name: EXEC_IMAGE.to_owned(),
        // As a volume it must say what it is for, as `--install` does.
        entries: vec![
            Entry::program(".dewdrop/exec", std::fs::read(exec::ensure_whole()?)?),
            Entry::file(".dewdrop/mode", "agentless"),
        ],
        entrypoint: vec!["/.dewdrop/exec".to_owned()],
        ..Image::default()
    })?;
    let address = format!("127.0.0.1:{}", free_port()?);
    let text = |name: &str| {
        let text = std::fs::read_to_string(repo_root().join("deploy/admission").join(name))?;
        Ok::<_, anyhow::Error>(text.replace("dewdrop-system", NAMESPACE))
    };
    let namespace =
        format!("{{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {{\"name\": \"{NAMESPACE}\"}}}}");
    stage.cluster()?.apply(&namespace)?;
    stage.cluster()?.apply(&text("rbac.yaml")?)?;
    // Before the webhook counts: it lets nobody but kubelet ask for such a token.
    let ours = stage.kubectl(&["create", "token", "dewdrop-webhook", "-n", NAMESPACE, "--audience", "dewdrop"])?;
    std::fs::write(dir.join("server-token"), ours.trim())?;
    stage.cluster()?.apply(&with_url(&text("webhooks.yaml")?, &address))?;
    let process = start(stage, dir, &address, more)?;
    // A configuration counts a moment after it was made.
    stage.wait("the webhook to count", PATIENCE, || {
        let minted = stage.cluster()?.kubectl(&["create", "token", "default", "--audience", "dewdrop"])?;
        Ok(String::from_utf8_lossy(&minted.stderr).contains("token-audience"))
    })?;
    Ok(process)
}

/// The manifest with the service made an address.
fn with_url(text: &str, address: &str) -> String {
    let line = |line: &str| match line.split_once("service: {").and_then(|(before, rest)| {
        let path = rest.split_once("path: ")?.1.split([',', ' ']).next()?;
        Some(format!("{before}url: https://{address}{path}"))
    }) {
        Some(line) => line + "\n",
        None => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

fn start(stage: &Stage, dir: &Path, address: &str, more: &[&str]) -> Result<Process> {
    let token = stage.kubectl(&["create", "token", "dewdrop-webhook", "-n", NAMESPACE])?;
    std::fs::write(dir.join("token"), token.trim())?;
    std::fs::copy(&stage.cluster()?.ca, dir.join("ca.crt"))?;
    let mut command = Command::new(stage.program());
    command.args(["kube", "webhook", "--listen", address, "--names", "127.0.0.1"]);
    command.arg("--secret").arg(format!("{NAMESPACE}/dewdrop-webhook"));
    command.arg("--exempt").arg(format!("kube-system,{NAMESPACE}"));
    command.arg("--api-server").arg(&stage.cluster()?.server).arg("--api-account").arg(dir);
    command.arg("--token-file").arg(dir.join("server-token")).env("DEWDROP_ADDR", &stage.vault.address);
    command.args(["--exec-image", EXEC_IMAGE, "--server-address", &stage.vault.address]).args(more).env("HOME", dir);
    let log = dir.join("log");
    let mut process = Process::start(command, &log)?;
    process
        .wait_until(PATIENCE, || std::fs::read_to_string(&log).is_ok_and(|log| log.contains("the webhook listens")))?;
    if !process.alive() {
        bail!("the webhook ended: {}", process.log_tail());
    }
    Ok(process)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_becomes_an_address() {
        let made =
            with_url("a:\n      service: { name: x, namespace: y, path: /mutate, port: 443 }\nb: c\n", "1.2.3.4:5");
        assert_eq!(made, "a:\n      url: https://1.2.3.4:5/mutate\nb: c\n");
    }
}
