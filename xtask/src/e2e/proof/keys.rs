//! The keys that ServiceAccounts' tokens are checked with: found at the API server, and changed.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use crate::e2e::account::PODS;
use crate::e2e::pods::{TestPod, WAIT};
use crate::e2e::stage::Stage;
use crate::say;

/// No key is in the configuration; then the cluster signs with another one.
pub fn rotated(stage: &mut Stage) -> Result<()> {
    let server = stage.cluster()?.server.clone();
    let ca = std::fs::read_to_string(&stage.cluster()?.ca)?;
    let config = json!({
        "kubernetes_host": server, "kubernetes_ca_cert": ca, "issuer": server, "verify": "offline", "cluster": "test",
        "node_grace": crate::e2e::stage::NODE_GRACE, "disable_local_ca_jwt": true,
    });
    stage.vault.ask("POST", "auth/kubernetes/config", Some(config))?;
    let read = stage.vault.ask("GET", "auth/kubernetes/config", None)?;
    let given = |field: &str| read.pointer(&format!("/data/{field}")).is_some_and(|v| !v.is_null() && *v != json!([]));
    ensure!(!given("jwks") && !given("pem_keys"), "the configuration has keys: {}", read["data"]);
    stage.apply(&TestPod::new("old-key").on(&stage.node(0)?).with("app", WAIT))?;
    let old = stage.user_of("old-key", "app")?;
    let before = key_of(stage)?;
    stage.cluster_mut()?.rotate_account_keys()?;
    let after = key_of(stage)?;
    ensure!(before != after, "the cluster still signs with {before}");
    stage.apply(&TestPod::new("new-key").on(&stage.node(0)?).with("app", WAIT))?;
    let new = stage.user_of("new-key", "app")?;
    let users = stage.users()?;
    ensure!(users.len() == 2 && users.contains(&old) && users.contains(&new), "{users:?} instead of {old} and {new}");
    say::line("a pod whose token the new key signed has its user; the former pod kept its own");
    stage.delete("old-key")?;
    stage.delete("new-key")?;
    stage.until_empty().map(drop)
}

/// The head of a token says which key signs now, and how.
fn key_of(stage: &Stage) -> Result<String> {
    let token = stage.minted(PODS)?;
    token.split_once('.').map(|(head, _)| head.to_owned()).context("no token")
}
