//! The proxy's own identity: what it may do when somebody has it, and constrained impersonation (KEP-5284) around it.

use std::process::Command;

use anyhow::{Result, ensure};
use serde_json::json;

use super::town::Town;
use crate::e2e::stage::{PATIENCE, Stage};

/// In the place of the usual role: the proxy may act as people of one group, to read.
const TO_READ: &str = r#"
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata:
  name: dewdrop-proxy
rules:
  - apiGroups: [authentication.k8s.io]
    resources: [users]
    verbs: ["impersonate:user-info"]
  - apiGroups: [authentication.k8s.io]
    resources: [groups]
    resourceNames: ["dewdrop:people"]
    verbs: ["impersonate:user-info"]
  - apiGroups: [authentication.k8s.io]
    resources: [userextras/dewdrop.dev/grant, userextras/dewdrop.dev/session]
    verbs: ["impersonate:user-info"]
  - apiGroups: ["*"]
    resources: ["*"]
    verbs: ["impersonate-on:user-info:get", "impersonate-on:user-info:list", "impersonate-on:user-info:watch"]
  - nonResourceURLs: ["*"]
    verbs: ["impersonate-on:user-info:get"]
"#;

/// With the usual role, and with one that lets it do no more than read.
pub fn own_identity(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    town.start_pod()?;
    town.role("shop", json!({ "rules": [{ "api_groups": ["*"], "resources": ["*"], "verbs": ["*"] }] }))?;
    town.granted("shop", &["-ttl=10m"])?;
    nothing_but_people(stage)?;
    town.kubectl_says("ann", &["label", "pod", "web", "tried=once"])?;
    stage.cluster()?.apply(TO_READ)?;
    let done = constrained(stage, &town);
    stage.cluster()?.apply(super::town::MANIFEST)?;
    done
}

fn constrained(stage: &Stage, town: &Town) -> Result<()> {
    stage.wait("the role to be in force", PATIENCE, || {
        Ok(!town.kubectl("ann", &["label", "pod", "web", "--overwrite", "tried=twice"])?.status.success())
    })?;
    ensure!(town.kubectl_says("ann", &["get", "pods"])?.contains("web"), "the API server refuses what it may do");
    let told = town.refused("ann", &["delete", "pod", "web", "--wait=false"])?;
    ensure!(told.contains("orbidden"), "not the API server's refusal: {told}");
    nothing_but_people(stage)
}

/// Whoever has the proxy's token may neither do anything himself, nor be an administrator.
fn nothing_but_people(stage: &Stage) -> Result<()> {
    let token = stage.kubectl(&["create", "token", "dewdrop-proxy", "-n", "dewdrop-system"])?;
    let cluster = stage.cluster()?;
    let ask = |more: &[&str]| -> Result<String> {
        let mut kubectl = Command::new(cluster.bin.join("kubectl"));
        kubectl.args(["--server", &cluster.server, "--insecure-skip-tls-verify", "--kubeconfig=/dev/null"]);
        let output =
            kubectl.arg(format!("--token={}", token.trim())).args(["get", "secrets", "-A"]).args(more).output()?;
        ensure!(
            !output.status.success(),
            "with the proxy's token and {more:?}: {}",
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for more in [
        &[][..],
        &["--as=ann", "--as-group=system:masters"],
        &["--as=system:serviceaccount:kube-system:default"],
        &["--as=ann", "--as-group=dewdrop:people", "--as-uid=0"],
    ] {
        let told = ask(more)?;
        ensure!(told.contains("orbidden"), "{more:?} is refused for another reason: {told}");
    }
    Ok(())
}
