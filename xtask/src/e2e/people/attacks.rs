//! What somebody with a grant tries, to have more.

use anyhow::{Result, ensure};
use serde_json::json;

use super::town::Town;
use crate::e2e::stage::Stage;
use crate::{say, tools};

/// Identities that nobody but the proxy may state.
const HEADERS: &[&str] = &[
    "Impersonate-User: system:admin",
    "impersonate-group: system:masters",
    "IMPERSONATE-UID: 1",
    "Impersonate_User: root",
    "X-Remote-User: root",
    "Impersonate-Extra-Scopes: x",
];
/// What is not granted, said plainly and in disguise.
const PATHS: &[&str] = &[
    "/api/v1/namespaces/bank/pods",
    "/api/v1/pods",
    "/api/v1/namespaces/shop/../bank/pods",
    "/api/v1/namespaces/shop/%2e%2e/bank/pods",
    "/api/v1/namespaces/shop/%2E./bank/pods",
    "/api/v1/namespaces//bank/pods",
    "//api/v1/namespaces/bank/pods",
    "/api/v1/namespaces/shop%2F..%2Fbank/pods",
    "/api/v1/namespaces/shop/pods/../../../bank/pods",
    "/api/v1/nodes/n1/proxy/pods",
    "/api/v1/namespaces/shop/pods/web/proxy/",
    "/api/v1/namespaces/shop/services/web/proxy/",
    "/api/v1/proxy/namespaces/shop/pods/web",
    "/api/v1/watch/namespaces/bank/pods",
    "/api/v1/namespaces/shop/secrets",
    "/apis/apps/v1/namespaces/shop/deployments",
    "/apis/metrics.k8s.io/v1beta1/namespaces/shop/pods",
    "/metrics",
    "/logs/",
    "/debug/pprof/",
    "/api/v1/namespaces/shop/pods?watch=true&watch=false",
];
/// Ways to change things, and ways to keep access.
const METHODS: &[(&str, &str)] = &[
    ("DELETE", "/api/v1/namespaces/shop/pods"),
    ("POST", "/api/v1/namespaces/shop/pods"),
    ("POST", "/api/v1/namespaces/shop/serviceaccounts/default/token"),
    ("POST", "/apis/certificates.k8s.io/v1/certificatesigningrequests"),
    ("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings"),
    ("POST", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ("TRACE", "/api/v1/namespaces/shop/pods"),
    ("OPTIONS", "/api/v1/namespaces/shop/pods"),
];

/// Headers, paths, methods: nothing reaches beyond the grant, and nothing is read in two ways.
pub fn tricks(stage: &mut Stage) -> Result<()> {
    tools::bring("curl", "curl", "asking the access proxy what kubectl would not ask")?;
    let town = Town::open(stage)?;
    town.role("pods", json!({}))?;
    let id = town.granted("pods", &["-ttl=10m"])?;
    let mut tried = 0;
    let mut refused = |args: &[&str], path: &str| -> Result<()> {
        let (code, body) = town.curl("ann", args, path)?;
        tried += 1;
        ensure!((400..500).contains(&code) && body.contains("dewdrop:"), "{args:?} {path}: {code} {body}");
        Ok(())
    };
    ensure!(town.curl("ann", &[], "/api/v1/namespaces/shop/pods")?.0 == 200, "what is granted");
    for header in HEADERS {
        refused(&["-H", header], "/api/v1/namespaces/shop/pods")?;
    }
    for path in PATHS {
        refused(&[], path)?;
    }
    for (method, path) in METHODS {
        refused(&["-X", method], path)?;
    }
    refused(&["-H", "X-HTTP-Method-Override: GET", "-X", "DELETE"], "/api/v1/namespaces/shop/pods/web")?;
    let upgrade = ["-H", "Connection: Upgrade", "-H", "Upgrade: websocket", "--http1.1"];
    refused(&upgrade, "/api/v1/namespaces/bank/pods/web/exec?command=sh")?;
    refused(&upgrade, "/api/v1/namespaces/shop/pods/web/exec?command=sh")?;
    say::line(&format!("{tried} tricks refused"));
    another_grant(&town, &id)
}

/// A certificate of a grant is good for that grant alone, and without one there is no door.
fn another_grant(town: &Town, id: &str) -> Result<()> {
    let other = town.asks("ann", "pods", &[])?;
    let taken = town.dewdrop("ben", &["write", &format!("access/requests/{id}/certificate"), "csr=x"])?;
    ensure!(!taken.status.success(), "ben gets a certificate of ann's grant");
    let taken = town.dewdrop("ann", &["write", &format!("access/requests/{other}/certificate"), "csr=x"])?;
    ensure!(!taken.status.success(), "ann gets a certificate before the approval");
    town.says("ben", &["access", "revoke", id])?;
    let (code, body) = town.curl("ann", &[], "/api/v1/namespaces/shop/pods")?;
    ensure!(code == 401 && body.contains("ended or was revoked"), "the certificate of a revoked grant: {code} {body}");
    Ok(())
}
