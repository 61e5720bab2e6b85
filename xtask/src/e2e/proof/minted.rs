//! A person who may mint ServiceAccounts' tokens asks the server.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::agent::{self, START, uid_of};
use super::tokens::{everything_refused, refused};
use crate::e2e::account::{AGENTS, Account, PODS};
use crate::e2e::pods::{TestPod, WAIT};
use crate::e2e::stage::{PATIENCE, Stage};
use crate::say;

/// Bound to nothing, to the pod, to the node, or of the kind that never ends: none opens a container's role.
pub fn tokens(stage: &mut Stage) -> Result<()> {
    stage.apply(&TestPod::new("minted").on(&stage.node(0)?).with("app", WAIT))?;
    let user = stage.user_of("minted", "app")?;
    let pod = uid_of(stage, "minted")?;
    for (what, account) in [
        ("bound to nothing", PODS),
        ("bound to the pod", PODS.on_pod("minted")),
        ("bound to the node", PODS.on_node("n1")),
    ] {
        everything_refused(stage, what, &stage.minted(account)?, &pod)?;
    }
    everything_refused(stage, "one that never ends", &endless(stage)?, &pod)?;
    as_the_agent(stage)?;
    ensure!(stage.users()? == [user.as_str()], "{:?} instead of {user}", stage.users()?);
    stage.delete("minted")?;
    stage.until_empty().map(drop)
}

/// A Secret of Kubernetes' old kind: no audience, no end.
fn endless(stage: &Stage) -> Result<String> {
    stage.apply_json(&json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": { "name": "endless", "annotations": { "kubernetes.io/service-account.name": "default" } },
    }))?;
    let mut token = String::new();
    stage.wait("the Secret to hold a token", PATIENCE, || {
        token = stage
            .kubectl(&["get", "secret", "endless", "-o", "go-template={{.data.token | base64decode}}"])
            .unwrap_or_default();
        Ok(token.matches('.').count() == 2)
    })?;
    stage.kubectl(&["delete", "secret", "endless"])?;
    Ok(token.trim().to_owned())
}

/// The agent's own account: a token that names no node makes no agent, nor does one of another namespace's account of the same
/// name; and the agent of a node has no say about another node's pod, though it holds that pod's token.
fn as_the_agent(stage: &Stage) -> Result<()> {
    let login = |jwt: &str| json!({ "role": "dewdrop-node", "jwt": jwt });
    let unbound = stage.minted(AGENTS)?;
    refused(stage, "the agent's account, bound to nothing", "", "POST", "auth/kubernetes/login", login(&unbound))?;
    let foreign = stage.minted(AGENTS.on_pod("minted"));
    let told = format!("{:#}", foreign.err().context("Kubernetes binds the agent's account to a foreign pod")?);
    say::line(&format!(
        "the agent's account, bound to a pod of another: {}",
        told.lines().next_back().unwrap_or_default()
    ));
    stage.kubectl(&["create", "serviceaccount", "dewdrop-node"])?;
    let alike = stage.minted(Account::of("dewdrop-node", "default").on_node("n1"))?;
    stage.kubectl(&["delete", "serviceaccount", "dewdrop-node"])?;
    refused(stage, "an account of the agent's name", "", "POST", "auth/kubernetes/login", login(&alike))?;
    let other = agent::login(stage, &stage.node(1)?)?;
    let jwt = stage.minted(PODS.on_pod("minted"))?;
    let start = json!({ "role": "app", "jwt": jwt, "container": "app", "start": START });
    refused(stage, "the agent of another node", &other, "POST", "auth/kubernetes/agent/start", start)
}
