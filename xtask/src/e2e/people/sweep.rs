//! What a grant leaves behind: seen, shown, and gone with it where the role says so.

use anyhow::{Result, ensure};
use serde_json::json;

use super::town::Town;
use crate::e2e::stage::{PATIENCE, Stage};
use crate::say::{self, Stopwatch};

/// A way in for good: a token of a ServiceAccount in a Secret.
const KEY: &str = r#"{"apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
"metadata": {"name": "key", "namespace": "shop", "annotations": {"kubernetes.io/service-account.name": "keeper"}}}"#;

/// Everything that may be done in `shop`.
fn wide() -> serde_json::Value {
    json!([{ "api_groups": ["*"], "resources": ["*"], "verbs": ["*"] }])
}

/// Each way to keep access: made, shown, refused where it cannot be taken back, and deleted at the end.
pub fn swept(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    town.role("shop", json!({ "rules": wide(), "sweep": "delete" }))?;
    let id = town.granted("shop", &["-ttl=20m"])?;
    makes(&town)?;
    // The proxy carries its lines together, a moment after what they are of.
    let mut told = String::new();
    for words in ["may outlive it", "serviceaccounts shop/keeper", "rolebindings shop/keep", "secrets shop/key"] {
        town.stage.wait(&format!("{words:?} to be shown"), PATIENCE, || {
            told = town.says("ann", &["access", "show", &id])?;
            Ok(told.contains(words))
        })?;
    }
    ensure!(!told.contains("plain"), "a Secret that is no way in is shown:\n{told}");
    let token = tokens(&town)?;
    works(&town, &token, true)?;
    town.says("cleo", &["access", "revoke", &id])?;
    let clock = Stopwatch::start();
    let left = || town.stage.kubectl(&["-n", "shop", "get", "serviceaccounts,rolebindings,secrets", "-o", "name"]);
    let is_gone = || {
        let left = left()?;
        Ok(!["serviceaccount/keeper", "/keep\n", "secret/key"].iter().any(|name| left.contains(name)))
    };
    town.stage.wait("what was made to be gone", PATIENCE, is_gone)?;
    say::line(&format!(
        "ServiceAccount, binding and key were gone {} after the revocation",
        say::time(clock.elapsed())
    ));
    ensure!(left()?.contains("secret/plain"), "a Secret that is no way in was deleted");
    works(&town, &token, false)?;
    // Kubernetes itself deletes the key of a ServiceAccount that is gone.
    let is_said = || {
        let told = town.says("ann", &["access", "show", &id])?;
        Ok(told.matches(": deleted").count() >= 2 && !told.contains(": made at"))
    };
    town.stage.wait("the case to say so", PATIENCE, is_said)?;
    town.stage.kubectl(&["-n", "shop", "delete", "secret", "plain"]).map(drop)
}

fn makes(town: &Town) -> Result<()> {
    town.kubectl_says("ann", &["create", "serviceaccount", "keeper"])?;
    let binding = ["create", "rolebinding", "keep", "--clusterrole=view", "--serviceaccount=shop:keeper"];
    town.kubectl_says("ann", &binding)?;
    town.kubectl_says("ann", &["create", "secret", "generic", "plain", "--from-literal=a=b"])?;
    town.kubectl_says("ann", &["create", "rolebinding", "dry", "--clusterrole=view", "--user=x", "--dry-run=server"])?;
    let file = town.file("ann", "key.json", KEY)?;
    town.kubectl_says("ann", &["apply", "--server-side", "-f", &file])?;
    Ok(())
}

/// None beyond the grant's end; one within it is given, and shown with its end.
fn tokens(town: &Town) -> Result<String> {
    for more in [&[][..], &["--duration=21m"], &["--duration=3607s"]] {
        let told = town.refused("ann", &[&["create", "token", "keeper"], more].concat())?;
        ensure!(told.contains("would outlive your grant"), "{more:?}: {told}");
    }
    let path = "/api/v1/namespaces/shop/serviceaccounts/keeper/token";
    let yaml = ["-X", "POST", "-H", "Content-Type: application/yaml", "-d", "spec: {expirationSeconds: 86400}"];
    let (code, told) = town.curl("ann", &yaml, path)?;
    ensure!(code == 400, "a request in YAML: {code} {told}");
    let token = town.kubectl_says("ann", &["create", "token", "keeper", "--duration=10m"])?;
    Ok(token.trim().to_owned())
}

/// Whether a token gets in, straight at the API server.
fn works(town: &Town, token: &str, should: bool) -> Result<()> {
    let mut kubectl = town.stage.cluster()?.kubectl_command();
    kubectl.args(["--kubeconfig=/dev/null", "get", "pods", "-n", "shop", "--token", token]);
    let cluster = town.stage.cluster()?;
    kubectl.arg("--server").arg(&cluster.server).arg("--certificate-authority").arg(&cluster.ca);
    let does = kubectl.output()?.status.success();
    ensure!(does == should, "the token of the ServiceAccount {}", if does { "still works" } else { "never worked" });
    Ok(())
}

/// Shown and left alone; and what cannot be deleted is said to be there still.
pub fn reported(stage: &mut Stage) -> Result<()> {
    let town = Town::open(stage)?;
    let binding = ["create", "rolebinding", "stays", "--clusterrole=view", "--user=somebody"];
    // One that says nothing of a sweep.
    town.role("usual", json!({ "rules": wide() }))?;
    let id = town.granted("usual", &[])?;
    town.kubectl_says("ann", &binding)?;
    let shown = |id: &str, words: &str| Ok(town.says("ann", &["access", "show", id])?.contains(words));
    town.stage.wait("the case to show it", PATIENCE, || shown(&id, "rolebindings shop/stays: made at"))?;
    town.says("cleo", &["access", "revoke", &id])?;
    ensure!(shown(&id, "Left behind:")?, "it is not said to be left behind");
    let there = ["-n", "shop", "get", "rolebinding", "stays", "-o", "name"];
    town.stage.kubectl(&there)?;
    town.stage.kubectl(&["-n", "shop", "delete", "rolebinding", "stays"])?;
    town.role("shop", json!({ "rules": wide(), "sweep": "delete" }))?;
    let id = town.granted("shop", &[])?;
    town.kubectl_says("ann", &binding)?;
    town.stage.wait("the case to show it", PATIENCE, || shown(&id, "rolebindings shop/stays"))?;
    town.stage.kubectl(&["delete", "clusterrolebinding", "dewdrop-sweep"])?;
    town.says("cleo", &["access", "revoke", &id])?;
    town.stage.wait("the refusal to be shown", PATIENCE, || shown(&id, "403: "))?;
    town.stage.kubectl(&there)?;
    town.stage.kubectl(&["-n", "shop", "delete", "rolebinding", "stays"]).map(drop)
}
