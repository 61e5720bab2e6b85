//! Configuration and roles: shapes, and what cannot be.

use super::*;

#[tokio::test]
async fn a_config_shows_what_it_is_but_no_token() {
    let rig = Rig::bare(Signer::ec("k1"));
    assert_eq!(rig.harness.read("config").await.unwrap_err().kind, Kind::NotFound);
    let fault = rig.login("x", "y").await.unwrap_err();
    assert_eq!(fault.kind, Kind::BadRequest);
    rig.harness
        .write("config", json!({ "kubernetes_host": "https://a.test:6443", "token_reviewer_jwt": "s3cret" }))
        .await
        .unwrap();
    let shown = json!({
        "kubernetes_host": "https://a.test:6443",
        "kubernetes_ca_cert": "",
        "pem_keys": [],
        "issuer": "",
        "disable_iss_validation": true,
        "disable_local_ca_jwt": false,
        "token_reviewer_jwt_set": true,
    });
    assert_eq!(rig.harness.read("config").await.unwrap().data(), shown);
    // Each write is a whole one.
    let pem = rig.signer.pem();
    let more = json!({ "kubernetes_host": "b.test", "verify": "offline", "pem_keys": pem, "node_grace": "2m", "cluster": "blue", "jwks_url": "https://b.test/keys" });
    rig.harness.write("config", more).await.unwrap();
    let shown = rig.harness.read("config").await.unwrap().data();
    assert_eq!(
        (&shown["token_reviewer_jwt_set"], &shown["verify"], &shown["node_grace"]),
        (&json!(false), &json!("offline"), &json!(120))
    );
    assert_eq!((&shown["pem_keys"], &shown["cluster"]), (&json!([pem.trim()]), &json!("blue")));
}

#[tokio::test]
async fn a_config_that_cannot_be_is_refused() {
    let rig = Rig::bare(Signer::ec("k1"));
    for (field, value) in [
        ("kubernetes_host", json!("")),
        ("kubernetes_ca_cert", json!("no PEM")),
        ("disable_local_ca_jwt", json!(true)),
        ("pem_keys", json!("no PEM")),
        ("pem_keys", json!(["-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----"])),
        ("verify", json!("never")),
        ("jwks", json!("no JSON")),
        ("jwks", json!("{\"keys\":[]}")),
        ("jwks_url", json!("file:///etc/passwd")),
        ("node_grace", json!("1s")),
        ("node_grace", json!("25h")),
        ("cluster", json!("x".repeat(300))),
        ("cluster", json!("a\nb")),
    ] {
        let mut fields = json!({ "kubernetes_host": "https://a.test" });
        fields[field] = value.clone();
        let fault = rig.harness.write("config", fields).await.unwrap_err();
        assert_eq!(fault.kind, Kind::BadRequest, "{field} {value}: {fault:?}");
    }
    assert_eq!(rig.harness.read("config").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn a_role_shows_what_it_is() {
    let rig = Rig::bare(Signer::ec("k1"));
    assert_eq!(rig.harness.list("role").await.unwrap_err().kind, Kind::NotFound);
    rig.role(
        "App",
        &json!({ "bound_service_account_names": "a,b", "bound_service_account_namespaces": "*" }),
        json!({ "num_uses": 3 }),
    )
    .await;
    let shown = rig.harness.read("role/app").await.unwrap().data();
    assert_eq!(shown["bound_service_account_names"], json!(["a", "b"]));
    assert_eq!((&shown["num_uses"], &shown["token_num_uses"]), (&json!(3), &json!(3)));
    assert_eq!(shown["alias_name_source"], "serviceaccount_uid");
    assert_eq!((shown.get("agent"), shown.get("audience")), (None, None));
    rig.harness.write("role/app", json!({ "bound_container_names": "web" })).await.unwrap();
    let shown = rig.harness.read("role/app").await.unwrap().data();
    assert_eq!(shown["bound_container_names"], json!(["web"]));
    assert_eq!(shown["bound_service_account_names"], json!(["a", "b"]), "the rest stays");
    assert_eq!(rig.harness.list("role").await.unwrap().keys(), ["app"]);
    rig.harness.delete("role/app").await.unwrap();
    assert_eq!(rig.harness.read("role/app").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn a_role_that_cannot_be_is_refused() {
    let rig = Rig::bare(Signer::ec("k1"));
    let digest = format!("sha256:{}", "a".repeat(64));
    for more in [
        json!({ "bound_service_account_names": "" }),
        json!({ "bound_service_account_namespaces": "" }),
        json!({ "bound_service_account_names": "*,a" }),
        json!({ "bound_service_account_namespaces": "*,a" }),
        json!({ "bound_service_account_namespace_selector": "team=a" }),
        json!({ "alias_name_source": "name" }),
        json!({ "agent": true, "container": true }),
        json!({ "agent": true, "bound_container_names": "a" }),
        json!({ "bound_image_digests": digest }),
        json!({ "bound_pod_labels": "a=b" }),
        json!({ "container": true, "bound_image_digests": "latest" }),
        json!({ "container": true, "bound_image_digests": "sha256:AAAA" }),
        json!({ "token_ttl": "2h", "token_max_ttl": "1h" }),
        json!({ "bound_container_names": (0..1001).map(|n| n.to_string()).collect::<Vec<_>>() }),
    ] {
        let mut fields = json!({ "bound_service_account_names": "a", "bound_service_account_namespaces": "b" });
        merge(&mut fields, more.clone());
        let fault = rig.harness.write("role/app", fields).await.unwrap_err();
        assert_eq!(fault.kind, Kind::BadRequest, "{more}");
    }
}
