//! What teams declare: the CRDs and the operator, as the chart installs them.

use anyhow::{Result, ensure};
use serde_json::json;

use super::{NAMESPACE, Site, guide as guides};

/// The guide, on the server of the first one.
pub fn guide(site: &Site) -> Result<()> {
    let told = site.dewdrop(&guides::secret_access()?)?;
    ensure!(told.contains("battery-staple"), "the pod's secret is not in what the guide shows:\n{told}");
    ensure!(told.contains("k8s.team.web"), "the table does not name the role:\n{told}");
    Ok(())
}

fn access(name: &str, path: &str) -> String {
    json!({
        "apiVersion": "dewdrop.dev/v1alpha1", "kind": "SecretAccess", "metadata": { "name": name, "namespace": "team" },
        "spec": { "serviceAccountNames": ["web"], "containers": ["app"], "paths": [{ "path": path }] },
    })
    .to_string()
}

/// Status and message of the condition of a declaration.
fn condition(site: &Site, name: &str) -> Result<String> {
    let path = "jsonpath={.status.conditions[0].status} {.status.conditions[0].reason} {.status.conditions[0].message}";
    site.kubectl(&["-n", "team", "get", "secretaccess", name, "-o", path])
}

/// The roles at the server that are the operator's.
fn roles(site: &Site) -> Result<String> {
    // Only grep may find nothing: a server that does not answer must not look like one that has no roles.
    let commands = "dewdrop list auth/kubernetes/role > names.txt; dewdrop policy list >> names.txt; grep 'k8s[.]' names.txt || true";
    site.dewdrop(commands)
}

/// Another namespace's path; a path that no declaration may have; and a look at what the server holds.
pub fn refused(site: &Site) -> Result<()> {
    site.cluster()?.apply(&access("greedy", "secret/data/shop"))?;
    site.wait("the refusal", || Ok(condition(site, "greedy")?.starts_with("False PathNotGranted")))?;
    let told = condition(site, "greedy")?;
    let words = "secret/data/shop: no SecretAccessGrant lets namespace team read there";
    ensure!(told.contains(words), "{told}");
    let seen =
        site.kubectl(&["-n", "team", "get", "secretaccess", "greedy", "-o", "jsonpath={.status.observedGeneration}"])?;
    ensure!(seen == "1", "observedGeneration is {seen:?}");
    for path in ["sys/policies/acl/root", "secret/data/team/../shop", "secret/+/shop", "secret/data/te*"] {
        let Err(told) = site.cluster()?.apply(&access("worse", path)) else { anyhow::bail!("{path} is taken") };
        ensure!(format!("{told:#}").contains("spec.paths[0].path"), "{told:#}");
    }
    let roles = roles(site)?;
    ensure!(roles.lines().count() == 2 && !roles.contains("greedy"), "at the server: {roles}");
    site.kubectl(&["-n", "team", "delete", "secretaccess", "greedy", "--timeout=30s"]).map(drop)
}

/// What is declared while no operator is there is done by the next one; a grant that goes takes the role with it.
pub fn withdrawn(site: &Site) -> Result<()> {
    scale(site, "0")?;
    site.cluster()?.apply(&access("late", "secret/data/team/late"))?;
    scale(site, "2")?;
    site.wait("the late one", || Ok(condition(site, "late")?.starts_with("True Written")))?;
    let grant = site.kubectl(&["get", "secretaccessgrant", "everyone", "-o", "json"])?;
    site.kubectl(&["delete", "secretaccessgrant", "everyone"])?;
    site.wait("both to be taken away", || {
        Ok(condition(site, "late")?.starts_with("False PathNotGranted") && roles(site)?.trim().is_empty())
    })?;
    let mut grant: serde_json::Value = serde_json::from_str(&grant)?;
    grant["metadata"] = json!({ "name": "everyone" });
    site.cluster()?.apply(&grant.to_string())?;
    site.wait("both to be back", || Ok(roles(site)?.lines().count() == 4)).map(drop)
}

fn scale(site: &Site, replicas: &str) -> Result<()> {
    let replicas = format!("--replicas={replicas}");
    site.kubectl(&["-n", NAMESPACE, "scale", "deployment/dewdrop-operator", &replicas])?;
    site.kubectl(&["-n", NAMESPACE, "rollout", "status", "deployment/dewdrop-operator", "--timeout=60s"]).map(drop)
}

/// Whoever takes the finalizer out by hand keeps no role by that.
pub fn swept(site: &Site) -> Result<()> {
    let patch = r#"{"metadata":{"finalizers":null}}"#;
    site.kubectl(&["-n", "team", "patch", "secretaccess", "late", "--type=merge", "-p", patch])?;
    site.kubectl(&["-n", "team", "delete", "secretaccess", "late", "--timeout=30s"])?;
    ensure!(roles(site)?.lines().count() == 4, "the role went by itself: this step proves nothing");
    site.kubectl(&["-n", NAMESPACE, "rollout", "restart", "deployment/dewdrop-operator"])?;
    site.wait("what is left to be removed", || Ok(roles(site)?.lines().count() == 2))?;
    ensure!(!roles(site)?.contains("late"), "the wrong ones are left");
    Ok(())
}

/// All of it goes, and with it what it made at the server.
pub fn deleted(site: &Site) -> Result<()> {
    site.kubectl(&["-n", "team", "delete", "pod", "web", "--grace-period=1", "--timeout=60s"])?;
    site.kubectl(&["-n", "team", "delete", "secretaccess", "--all", "--timeout=30s"])?;
    let left = roles(site)?;
    ensure!(left.trim().is_empty(), "left at the server: {left}");
    site.kubectl(&["delete", "secretaccessgrant", "everyone"]).map(drop)
}
