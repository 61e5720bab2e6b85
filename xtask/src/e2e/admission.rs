//! The guards at the API server's door, tried by the scripts that stand beside their code: policies alone, and the webhook.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::stage::Stage;
use crate::parts::repo_root;
use crate::say;

/// The ValidatingAdmissionPolicies refuse what they must and let ordinary pods through.
pub fn policies(stage: &mut Stage) -> Result<()> {
    play(stage, "crates/kube/tests/policies.sh")
}

/// The same for `dewdrop kube webhook`, with its own certificates and least rights.
pub fn webhook(stage: &mut Stage) -> Result<()> {
    play(stage, "crates/kube/tests/webhook.sh")
}

fn play(stage: &Stage, script: &str) -> Result<()> {
    let cluster = stage.cluster()?;
    let mut command = Command::new("sh");
    command.arg(script).current_dir(repo_root()).env("KUBECONFIG", &cluster.kubeconfig);
    command.env("KUBECTL", cluster.bin.join("kubectl")).env("DEWDROP", stage.program());
    let out = command.output().with_context(|| format!("cannot run {script}"))?;
    let told = String::from_utf8_lossy(&out.stdout);
    let wrong: Vec<&str> = told.lines().filter(|line| line.starts_with("WRONG")).take(10).collect();
    let errors = String::from_utf8_lossy(&out.stderr);
    ensure!(
        out.status.success(),
        "{script}: {}\n{}",
        wrong.join("\n"),
        errors.lines().rev().take(5).collect::<Vec<_>>().join("\n")
    );
    told.lines().next_back().into_iter().for_each(say::line);
    Ok(())
}
