//! The access proxy, as the chart installs it: a person asks, another one approves, and kubectl works through it.

use anyhow::{Result, ensure};

use super::{NAMESPACE, Site, release};
use crate::parts::free_port;

/// The engine, the proxy's way in, and two people.
const SET_UP: &str = r#"
dewdrop secrets enable access
dewdrop write access/clusters/prod address=https://127.0.0.1:PORT
dewdrop policy write dewdrop-proxy - <<POLICY
path "access/live"         { capabilities = ["read"] }
path "access/record"       { capabilities = ["create", "update"] }
path "access/announce"     { capabilities = ["create", "update"] }
path "auth/kubernetes/sessions/leave" { capabilities = ["create", "update"] }
path "access/recordings/+" { capabilities = ["create", "update"] }
path "access/clusters/prod/certificate" { capabilities = ["create", "update"] }
POLICY
dewdrop write auth/kubernetes/role/dewdrop-proxy audience=dewdrop token_policies=dewdrop-proxy token_ttl=1h \
  bound_service_account_names=dewdrop-proxy bound_service_account_namespaces=dewdrop-system
dewdrop policy write people - <<POLICY
path "access/request"    { capabilities = ["create", "update"] }
path "access/requests"   { capabilities = ["list"] }
path "access/requests/*" { capabilities = ["read", "create", "update"] }
path "access/clusters/+" { capabilities = ["read"] }
POLICY
dewdrop auth enable userpass
for name in ann ben; do
  mkdir -p $name
  dewdrop write auth/userpass/users/$name password=of-the-test token_policies=people
  as $name dewdrop login -no-print -method=userpass username=$name password=of-the-test
  as $name dewdrop read -field=entity_id auth/token/lookup-self > $name/entity
done
dewdrop write access/roles/look - <<ROLE
{
  "clusters": "prod", "namespaces": "default", "kubernetes_groups": "dewdrop:people",
  "rules": [{"api_groups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"]}],
  "requester_entities": "$(cat ann/entity)", "approvals": [{"entities": ["$(cat ben/entity)"]}]
}
ROLE
"#;

/// Somebody's own home, without the root token.
const AS: &str = r#"as() { local name=$1; shift; env -u DEWDROP_TOKEN HOME=$PWD/$name KUBECONFIG=$PWD/$name/kubeconfig "$@"; }
"#;

/// The way to the proxy that people have here.
const FORWARD: &str = r#"
rm -f proxy.log
kubectl -n dewdrop-system port-forward service/dewdrop-proxy PORT:443 > proxy.log &
until grep -qs Forwarding proxy.log; do sleep 0.1; done
"#;

/// Each line of its output is looked at.
const LIFE: &str = r#"
as ann dewdrop kube config -cluster prod -default-namespace default > ann/kubeconfig.new && mv ann/kubeconfig.new ann/kubeconfig
! as ann kubectl get pods 2>&1 || exit 1
id=$(as ann dewdrop access request look -reason "the chart's proxy is tried" -no-wait -format=json | sed -n 's/^ *"id": *"\([^"]*\)".*/\1/p' | head -1)
as ben dewdrop access approve $id > /dev/null
echo "pods: $(as ann kubectl get pods -o name | tr '\n' ' ')"
! as ann kubectl get secrets 2>&1 || exit 1
dewdrop write access/requests/$id/revoke reason=enough > /dev/null
! as ann kubectl get pods 2>&1 || exit 1
"#;

/// Not ready before the server knows it; then two of them, and kubectl works by a grant and not without.
pub fn proxy(site: &Site) -> Result<()> {
    // The machine may have others who listen.
    let port = free_port()?.to_string();
    let run = |script: &str| site.dewdrop(&format!("{AS}{}", script.replace("PORT", &port)));
    run(SET_UP)?;
    release(site, &["--set", "proxy.enabled=true", "--set", "proxy.cluster=prod"])?;
    let ready = ["-n", NAMESPACE, "get", "deployment", "dewdrop-proxy", "-o", "jsonpath={.status.readyReplicas}"];
    ensure!(site.kubectl(&ready)? == "2", "not both are ready");
    let binding = "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRoleBinding\nmetadata: {name: people}\n\
        roleRef: {apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: cluster-admin}\n\
        subjects: [{apiGroup: rbac.authorization.k8s.io, kind: Group, name: \"dewdrop:people\"}]\n";
    site.cluster()?.apply(binding)?;
    let told = run(&format!("{FORWARD}{LIFE}"))?;
    for words in ["you have no access to prod now", "pods: pod/", "does not allow to list secrets"] {
        ensure!(told.contains(words), "{words:?} is not in:\n{told}");
    }
    ensure!(told.contains("ended or was revoked") || told.matches("no access").count() == 2, "revoked:\n{told}");
    nothing_else(site)
}

/// Its ServiceAccount acts as people with their group, and that is all.
fn nothing_else(site: &Site) -> Result<()> {
    let account = format!("--as=system:serviceaccount:{NAMESPACE}:dewdrop-proxy");
    let may = |ask: &[&str]| -> Result<bool> {
        let mut kubectl = site.cluster()?.kubectl_command();
        let out = kubectl.args(["auth", "can-i"]).args(ask).arg(&account).output()?;
        Ok(String::from_utf8_lossy(&out.stdout).trim() == "yes")
    };
    ensure!(may(&["impersonate", "users/ann"])? && may(&["impersonate", "groups/dewdrop:people"])?, "it cannot act");
    for ask in [
        &["impersonate", "groups/system:masters"][..],
        &["impersonate", "serviceaccounts", "-A"],
        &["get", "pods", "-A"],
        &["get", "secrets", "-n", NAMESPACE],
        &["create", "serviceaccounts/token", "-n", NAMESPACE],
    ] {
        ensure!(!may(ask)?, "the proxy itself may {}", ask.join(" "));
    }
    Ok(())
}
