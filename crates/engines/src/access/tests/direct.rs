//! Clusters without a proxy: what may be asked for there, what a certificate says, and which promises are not made.

use dewdrop_core::Operation;
use x509_parser::prelude::*;

use super::*;

/// The authority of some API server.
fn api_server() -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    params.self_signed(&key).unwrap().pem()
}

/// What a role must say to be had at a direct cluster.
pub(super) fn fit() -> Value {
    json!({ "clusters": "edge", "kubernetes_groups": "dewdrop:look", "record_sessions": false })
}

pub(super) fn fit_but(change: Value) -> Value {
    let mut role = fit();
    for (name, value) in change.as_object().unwrap() {
        role[name] = value.clone();
    }
    role
}

/// A direct cluster `edge`, and a role for it.
async fn stage() -> Stage {
    let s = Stage::new();
    make_direct(&s, "edge", json!({})).await.unwrap();
    s.role(fit()).await.unwrap();
    s
}

pub(super) async fn make_direct(s: &Stage, name: &str, change: Value) -> Result<Got, Fault> {
    let mut cluster =
        json!({ "address": "https://10.0.0.1:6443", "mode": "direct", "certificate_authority": api_server() });
    for (field, value) in change.as_object().unwrap() {
        cluster[field] = value.clone();
    }
    s.harness.write(&format!("clusters/{name}"), cluster).await
}

/// What is said to whoever writes the role once more.
async fn warnings(s: &Stage) -> Vec<String> {
    s.harness.reply(Operation::Update, "roles/look", json!({})).await.unwrap().1
}

fn der(pem: &Value) -> Vec<u8> {
    parse_x509_pem(pem.as_str().unwrap().as_bytes()).unwrap().1.contents
}

fn is_signed_by(leaf: &Value, authority: &Value) -> bool {
    let (leaf, authority) = (der(leaf), der(authority));
    let (leaf, authority) =
        (X509Certificate::from_der(&leaf).unwrap().1, X509Certificate::from_der(&authority).unwrap().1);
    leaf.verify_signature(Some(authority.public_key())).is_ok()
}

#[tokio::test]
async fn a_certificate_names_person_and_group_for_minutes() {
    let mut s = stage().await;
    let id = s.running().await;
    let signed = s.certificate("ann", &id).await.unwrap();
    assert_eq!(signed["expires_at"], "2026-01-01T00:05:00.000Z");
    let der = der(&signed["certificate"]);
    let (_, leaf) = X509Certificate::from_der(&der).unwrap();
    assert_eq!(leaf.subject().to_string(), "CN=ann, O=dewdrop:look", "whatever the request said");
    let usage = leaf.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !leaf.is_ca());
    assert_eq!(leaf.validity().not_after.timestamp(), 1_767_225_600 + 300);
    let sha = hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der));
    assert_eq!(signed["fingerprint"], sha, "as the API server tells it");
    assert!(s.live().await.is_empty(), "no proxy carries it");
}

#[tokio::test]
async fn each_cluster_and_the_proxies_have_authorities_of_their_own() {
    let mut s = stage().await;
    make_direct(&s, "other", json!({})).await.unwrap();
    let id = s.running().await;
    let signed = s.certificate("ann", &id).await.unwrap()["certificate"].clone();
    let [edge, other, proxies] = [
        s.sees("eve", "clusters/edge/ca").await.unwrap()["certificate"].clone(),
        s.sees("eve", "clusters/other/ca").await.unwrap()["certificate"].clone(),
        s.sees("eve", "ca").await.unwrap()["certificate"].clone(),
    ];
    assert!(is_signed_by(&signed, &edge) && !is_signed_by(&signed, &other) && !is_signed_by(&signed, &proxies));
    s.role(json!({ "clusters": "prod", "record_sessions": true })).await.unwrap();
    let id = s.running().await;
    let signed = s.certificate("ann", &id).await.unwrap()["certificate"].clone();
    assert!(is_signed_by(&signed, &proxies) && !is_signed_by(&signed, &edge) && !is_signed_by(&signed, &other));
}

#[tokio::test]
async fn a_new_authority_signs_and_a_deleted_cluster_leaves_no_key() {
    let mut s = stage().await;
    let first = s.sees("eve", "clusters/edge/ca").await.unwrap()["certificate"].as_str().unwrap().to_owned();
    let both = s.says("eve", "clusters/edge/ca/rotate", json!({})).await.unwrap()["certificate"].clone();
    let both = both.as_str().unwrap();
    assert!(both.ends_with(&first) && both != first && !both.contains("PRIVATE"));
    let id = s.running().await;
    let signed = s.certificate("ann", &id).await.unwrap()["certificate"].clone();
    assert!(is_signed_by(&signed, &both.into()) && !is_signed_by(&signed, &first.into()));
    s.harness.delete("clusters/edge").await.unwrap();
    assert!(s.certificate("ann", &id).await.unwrap_err().told.contains("ask anew"), "the grant has no way any more");
    make_direct(&s, "edge", json!({})).await.unwrap();
    let anew = s.sees("eve", "clusters/edge/ca").await.unwrap()["certificate"].clone();
    assert!(!both.contains(anew.as_str().unwrap()));
}

#[tokio::test]
async fn what_a_cluster_says_is_checked() {
    let s = Stage::new();
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap().serialize_pem();
    for (change, expected) in [
        (json!({ "certificate_authority": "" }), "certificate_authority: send"),
        (json!({ "certificate_authority": "x" }), "certificate_authority: send"),
        (json!({ "certificate_authority": key }), "holds a private key"),
        (json!({ "certificate_authority": "x".repeat(70_000) }), "at most"),
        (json!({ "certificate_ttl": "29s" }), "certificate_ttl must lie"),
        (json!({ "certificate_ttl": "11m" }), "certificate_ttl must lie"),
        (json!({ "mode": "either" }), "mode must be"),
        (json!({ "mode": "proxy" }), "go with mode=direct"),
        (json!({ "names": "a.example" }), "names are those"),
        (json!({ "address": "http://a" }), "address: write it"),
    ] {
        let fault = make_direct(&s, "edge", change.clone()).await.unwrap_err();
        assert!(fault.told.contains(expected), "{change}: {fault:?}");
    }
    make_direct(&s, "edge", json!({ "certificate_ttl": "30s" })).await.unwrap();
    let read = s.harness.read("clusters/edge").await.unwrap().data();
    assert_eq!((&read["mode"], &read["certificate_ttl"]), (&json!("direct"), &json!(30)));
    let csr = s.harness.write("clusters/edge/certificate", json!({ "csr": csr() })).await.unwrap_err();
    assert!(csr.told.contains("has no access proxy"), "{csr:?}");
    s.harness.write("clusters/edge", json!({ "mode": "proxy" })).await.unwrap();
    let ca = s.harness.read("clusters/edge/ca").await.unwrap_err();
    assert!(ca.told.contains("has an access proxy"), "{ca:?}");
}

#[tokio::test]
async fn a_role_that_promises_what_nobody_would_keep_cannot_be_had() {
    let mut s = stage().await;
    for (change, expected) in [
        (json!({ "kubernetes_groups": "" }), "must be one group"),
        (json!({ "kubernetes_groups": "a,b" }), "must be one group"),
        (json!({ "record_sessions": true }), "record_sessions=false"),
        (json!({ "sweep": "delete" }), "sweep=delete"),
        (json!({ "namespaces": "shop,web-*" }), "no patterns"),
    ] {
        s.role(fit_but(change.clone())).await.unwrap();
        let said = warnings(&s).await;
        assert!(said.iter().any(|said| said.contains(expected)), "{change}: {said:?}");
        let fault = s.says("ann", "request", json!({ "role": "look", "reason": "x" })).await.unwrap_err();
        assert!(fault.told.contains(expected), "{change}: {fault:?}");
        s.role(fit_but(json!({ "namespaces": "shop,web", "sweep": "report" }))).await.unwrap();
    }
    for group in ["system:masters", "system:nodes"] {
        assert!(
            s.role(fit_but(json!({ "kubernetes_groups": group }))).await.unwrap_err().told.contains("Kubernetes' own")
        );
    }
    s.role(fit_but(json!({ "namespaces": "*" }))).await.unwrap();
    assert!(warnings(&s).await.is_empty());
}

#[tokio::test]
async fn nobody_with_a_name_of_kubernetes_own() {
    let mut s = stage().await;
    for name in ["system:kube-controller-manager", "dewdrop:sweep", "a\u{7}b"] {
        s.person(name, &["devs"]);
        let fault = s.says(name, "request", json!({ "role": "look", "reason": "x" })).await.unwrap_err();
        assert!(fault.told.contains("name"), "{name}: {fault:?}");
    }
}

#[tokio::test]
async fn less_than_the_role_cannot_be_had_and_that_is_said() {
    let mut s = stage().await;
    let some = json!([{ "api_groups": [""], "resources": ["pods"], "verbs": ["get"] }]);
    for narrow in [json!({ "namespaces": "shop" }), json!({ "rules": some })] {
        let mut ask = narrow.clone();
        ask["role"] = "look".into();
        ask["reason"] = "x".into();
        let fault = s.says("ann", "request", ask).await.unwrap_err();
        assert!(fault.told.contains("all that its role has"), "{narrow}: {fault:?}");
    }
    let whole = json!({ "role": "look", "reason": "x", "namespaces": "web,shop" });
    s.says("ann", "request", whole).await.unwrap();
}

#[tokio::test]
async fn roles_that_share_a_group_would_share_their_rights() {
    let mut s = stage().await;
    let mut other = fit_but(json!({
        "namespaces": "bank", "requester_groups": "security", "auto_approve": true,
        "rules": [{ "api_groups": [""], "resources": ["secrets"], "verbs": ["get"] }],
    }));
    s.harness.write("roles/bank", other.clone()).await.unwrap();
    let fault = s.says("ann", "request", json!({ "role": "look", "reason": "x" })).await.unwrap_err();
    assert!(fault.told.contains("the role bank has the group dewdrop:look too"), "{fault:?}");
    other["clusters"] = "prod".into();
    s.harness.write("roles/bank", other).await.unwrap();
    s.asked().await;
}

#[tokio::test]
async fn approvers_read_what_is_weaker() {
    let mut s = stage().await;
    let id = s.asked().await;
    let read = s.sees("ben", &format!("requests/{id}")).await.unwrap();
    assert_eq!(read["mode"], "direct");
    let said: Vec<&str> = read["dangers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert!(said[0].contains("the group dewdrop:look") && said[1].contains("up to 5 min"), "{said:?}");
    assert!(said[2].starts_with("nothing is recorded"), "{said:?}");
    s.role(json!({ "clusters": "prod" })).await.unwrap();
    let id = s.asked().await;
    let read = s.sees("ben", &format!("requests/{id}")).await.unwrap();
    assert_eq!((&read["mode"], &read["dangers"]), (&json!("proxy"), &json!([])));
}

#[tokio::test]
async fn what_was_changed_since_the_approval_gives_no_certificate() {
    let mut s = stage().await;
    let more = json!([{ "api_groups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list", "watch"] }]);
    for change in [
        json!({ "kubernetes_groups": "dewdrop:other" }),
        json!({ "rules": more }),
        json!({ "namespaces": "shop,web,bank" }),
    ] {
        s.role(fit_but(json!({ "namespaces": "shop,web" }))).await.unwrap();
        let (waiting, running) = (s.asked().await, s.running().await);
        s.role(fit_but(change.clone())).await.unwrap();
        assert!(s.certificate("ann", &running).await.is_err(), "{change}");
        assert!(s.says("ben", &format!("requests/{waiting}/approve"), json!({})).await.is_err(), "{change}");
        s.role(fit()).await.unwrap();
    }
    let id = s.running().await;
    s.harness.write("clusters/edge", json!({ "certificate_ttl": "10m" })).await.unwrap();
    assert_eq!(
        s.certificate("ann", &id).await.unwrap()["expires_at"],
        "2026-01-01T00:05:00.000Z",
        "as approvers read it"
    );
    s.harness.write("clusters/edge", json!({ "certificate_ttl": "1m" })).await.unwrap();
    assert_eq!(s.certificate("ann", &id).await.unwrap()["expires_at"], "2026-01-01T00:01:00.000Z");
    s.harness.write("clusters/edge", json!({ "mode": "proxy" })).await.unwrap();
    assert!(s.certificate("ann", &id).await.unwrap_err().told.contains("ask anew"));
}

#[tokio::test]
async fn a_grant_of_the_proxy_is_nothing_at_a_cluster_that_became_direct() {
    let mut s = Stage::new();
    s.role(fit()).await.unwrap();
    let id = s.running().await;
    make_direct(&s, "edge", json!({})).await.unwrap();
    assert!(s.certificate("ann", &id).await.unwrap_err().told.contains("ask anew"));
}

#[tokio::test]
async fn revoked_means_no_other_certificate() {
    let mut s = stage().await;
    let id = s.running().await;
    s.says("ben", &format!("requests/{id}/revoke"), json!({})).await.unwrap();
    assert!(s.certificate("ann", &id).await.is_err());
    let id = s.running().await;
    s.later(8);
    let signed = s.certificate("ann", &id).await.unwrap();
    assert_eq!(signed["expires_at"], signed["grant_ends_at"], "never beyond the grant");
}
