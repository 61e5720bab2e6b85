//! Configuration, roles and refusals in the shapes of the API.

use super::*;

#[tokio::test]
async fn the_configuration_is_merged_and_its_token_not_shown() {
    let b = Bench::new().await;
    b.h.write("config", json!({ "disable_local_ca_jwt": "false" })).await.unwrap();
    let shown = b.h.read("config").await.unwrap().data();
    assert_eq!(shown, json!({ "disable_local_ca_jwt": false, "kubernetes_ca_cert": "", "kubernetes_host": b.api.url }));
    for (fields, told) in [
        (json!({ "kubernetes_host": "example.com" }), "kubernetes_host is no address"),
        (json!({ "kubernetes_host": "https://a@b" }), "kubernetes_host is no address"),
        (json!({ "kubernetes_ca_cert": "bad" }), "no bundle of PEM certificates"),
        (json!({ "kubernetes_host": "" }), "could not be determined from environment variables"),
    ] {
        let fault = b.h.write("config", fields).await.unwrap_err();
        assert!(fault.told.contains(told), "{}", fault.told);
    }
    assert_eq!(b.h.read("config").await.unwrap().data(), shown, "what was refused changed nothing");
    let fault = b.h.read("check").await.unwrap_err();
    assert_eq!(fault.told, "Missing environment variables: KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT_HTTPS");
    b.h.delete("config").await.unwrap();
    assert_eq!(b.h.read("config").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn roles_have_the_shape_of_the_api() {
    let b = Bench::new().await;
    assert_eq!(b.h.list("roles").await.unwrap_err().kind, Kind::NotFound);
    b.role("App", json!({ "service_account_name": "x", "token_max_ttl": "2h", "extra_labels": { "a": "b" } })).await;
    let wanted = json!({
        "allowed_kubernetes_namespace_selector": "", "allowed_kubernetes_namespaces": ["shop"], "extra_annotations": null,
        "extra_labels": { "a": "b" }, "generated_role_rules": "", "kubernetes_role_name": "", "kubernetes_role_type": "Role",
        "name": "app", "name_template": "", "service_account_name": "x", "token_default_audiences": null,
        "token_default_ttl": 0, "token_max_ttl": 7200,
    });
    assert_eq!(b.h.read("roles/app").await.unwrap().data(), wanted);
    b.h.write("roles/app", json!({ "kubernetes_role_type": "clusterrole", "bind_token": true })).await.unwrap();
    let shown = b.h.read("roles/app").await.unwrap().data();
    assert_eq!((&shown["kubernetes_role_type"], &shown["bind_token"]), (&json!("ClusterRole"), &json!(true)));
    assert_eq!(b.h.list("roles").await.unwrap().keys(), ["app"]);
    b.h.delete("roles/APP").await.unwrap();
    b.h.delete("roles/app").await.unwrap();
    assert_eq!(b.h.read("roles/app").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn bad_roles_are_refused() {
    let b = Bench::new().await;
    for (fields, told) in [
        (json!({ "allowed_kubernetes_namespaces": "" }), "one (at least) of allowed_kubernetes_namespaces"),
        (
            json!({ "allowed_kubernetes_namespace_selector": "y" }),
            "failed to parse 'allowed_kubernetes_namespace_selector'",
        ),
        (json!({ "service_account_name": "" }), "one (and only one) of service_account_name"),
        (json!({ "kubernetes_role_name": "y" }), "one (and only one) of service_account_name"),
        (json!({ "service_account_name": "", "generated_role_rules": "y" }), "failed to parse 'generated_role_rules'"),
        (json!({ "kubernetes_role_type": "Other" }), "must be either 'Role' or 'ClusterRole'"),
        (json!({ "token_default_ttl": "2h", "token_max_ttl": "1h" }), "cannot be greater than token_max_ttl 1h"),
        (json!({ "name_template": "{{bad" }), "unable to initialize name template"),
        (json!({ "bind_token": false, "token_max_ttl": "5m" }), "less than 10m"),
        (json!({ "service_account_name": "a/../b" }), "no name of a service account"),
        (json!({ "service_account_name": "", "kubernetes_role_name": "a/b" }), "no name of a role"),
    ] {
        let mut all = json!({ "allowed_kubernetes_namespaces": "shop", "service_account_name": "x" });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let fault = b.h.write("roles/r", all).await.unwrap_err();
        assert!(fault.kind == Kind::BadRequest && fault.told.contains(told), "{fields}: {}", fault.told);
    }
    assert!(b.h.list("roles").await.is_err(), "nothing was written");
}

#[tokio::test]
async fn only_what_the_role_allows() {
    let b = Bench::new().await;
    let object = json!({ "metadata": { "labels": { "team": "a" } } });
    b.state.lock().objects.insert("/api/v1/namespaces/labelled".into(), object);
    b.state.lock().objects.insert("/api/v1/namespaces/bare".into(), json!({ "metadata": {} }));
    let selector = "matchLabels:\n  team: a\n";
    b.role("app", json!({ "service_account_name": "x", "allowed_kubernetes_namespace_selector": selector })).await;
    for (fields, told) in [
        (json!({}), "'kubernetes_namespace' is required"),
        (json!({ "kubernetes_namespace": "../x" }), "no name of a namespace"),
        (json!({ "kubernetes_namespace": "a.b" }), "no name of a namespace"),
        (json!({ "kubernetes_namespace": "bare" }), "is not present in role's allowed_kubernetes_namespaces"),
        (json!({ "kubernetes_namespace": "none" }), "labels of namespace none: the API server answers with status 404"),
        (
            json!({ "kubernetes_namespace": "shop", "cluster_role_binding": true }),
            "a ClusterRoleBinding cannot ref a Role",
        ),
    ] {
        let fault = b.creds("app", fields).await.unwrap_err();
        assert!(fault.told.contains(told), "{}", fault.told);
    }
    assert_eq!(b.creds("none", json!({})).await.unwrap_err().told, "role 'none' does not exist");
    assert!(b.h.read("creds/app").await.is_err());
    for namespace in ["shop", "labelled"] {
        b.creds("app", json!({ "kubernetes_namespace": namespace })).await.unwrap();
    }
    b.role("all", json!({ "service_account_name": "x", "allowed_kubernetes_namespaces": "*" })).await;
    assert!(b.creds("all", json!({})).await.is_err(), "* is no namespace");
    b.creds("all", json!({ "kubernetes_namespace": "bare" })).await.unwrap();
}

#[tokio::test]
async fn lives_are_cut_and_told() {
    let b = Bench::new().await;
    b.role("app", json!({ "service_account_name": "x", "token_max_ttl": "2h", "token_default_ttl": "30m" })).await;
    for (fields, seconds) in [(json!({}), 1800), (json!({ "ttl": "1h" }), 3600), (json!({ "ttl": "5h" }), 7200)] {
        let (_, _, ttl) = b.creds("app", fields).await.unwrap();
        assert_eq!(ttl, Duration::from_secs(seconds));
        assert_eq!(b.api.asked().last().unwrap().body["spec"]["expirationSeconds"], json!(seconds));
    }
    let (_, warnings) = b.h.reply(dewdrop_core::Operation::Update, "creds/app", json!({ "ttl": "5h" })).await.unwrap();
    assert!(warnings[0].contains("exceeded the effective max_ttl"), "{warnings:?}");
}
