//! Tokens that the API server is asked about, and its key set and namespaces.

use super::*;
use crate::jose::testing::{Asked, FakeApi};

/// Says yes to the account `app` of `dev`, as an API server does.
fn yes(asked: &Asked) -> (u16, String) {
    let status = json!({
        "authenticated": true,
        "user": { "username": "system:serviceaccount:dev:app", "uid": "5f1e8f3a-0000-4000-8000-0000000000aa" },
        "audiences": asked.body["spec"]["audiences"],
    });
    (201, json!({ "kind": "TokenReview", "status": status }).to_string())
}

fn status(status: Value) -> impl Fn(&Asked) -> (u16, String) {
    move |_| (201, json!({ "status": status }).to_string())
}

async fn rig() -> (Rig, Arc<FakeApi>) {
    let (rig, api) = (Rig::new().await, FakeApi::start(yes).await);
    rig.config(
        json!({ "kubernetes_host": api.url, "verify": "token_review", "jwks": "", "token_reviewer_jwt": "ours" }),
    )
    .await;
    (rig, api)
}

#[tokio::test]
async fn the_api_server_is_asked_at_each_login() {
    let (rig, api) = rig().await;
    let jwt = rig.pod_token(POD, "node-1");
    let login = rig.login("plain", &jwt).await.unwrap();
    assert_eq!(login.metadata["service_account_name"], "app");
    let asked = api.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].line, "POST /apis/authentication.k8s.io/v1/tokenreviews");
    assert_eq!(asked[0].bearer, "ours");
    assert_eq!(asked[0].body["spec"], json!({ "token": jwt, "audiences": ["dewdrop"] }));
    assert_eq!(asked[0].body["kind"], "TokenReview");

    // Without a token of our own, the caller's is used; without an audience in the role, those of the token.
    rig.config(json!({ "kubernetes_host": api.url, "verify": "token_review", "jwks": "" })).await;
    rig.harness.write("role/plain", json!({ "audience": "" })).await.unwrap();
    rig.login("plain", &jwt).await.unwrap();
    let asked = api.asked();
    assert_eq!((asked[0].bearer.as_str(), &asked[0].body["spec"]["audiences"]), (jwt.as_str(), &json!(["dewdrop"])));
}

#[tokio::test]
async fn what_the_api_server_does_not_confirm_is_refused() {
    let (rig, api) = rig().await;
    let jwt = rig.pod_token(POD, "node-1");
    let user = json!({ "username": "system:serviceaccount:dev:app", "uid": "5f1e8f3a-0000-4000-8000-0000000000aa" });
    for (answer, why) in [
        (json!({}), "not valid"),
        (json!({ "authenticated": false }), "not valid"),
        (json!({ "authenticated": true, "error": format!("bad {jwt}"), "user": user }), "bad (the token)"),
        (json!({ "authenticated": true, "user": user }), "audiences"),
        (json!({ "authenticated": true, "user": user, "audiences": ["other"] }), "audiences"),
        (
            json!({ "authenticated": true, "audiences": ["dewdrop"], "user": { "username": "app", "uid": user["uid"] } }),
            "another",
        ),
        (
            json!({ "authenticated": true, "audiences": ["dewdrop"], "user": { "username": "system:serviceaccount:dev:other", "uid": user["uid"] } }),
            "another",
        ),
        (
            json!({ "authenticated": true, "audiences": ["dewdrop"], "user": { "username": user["username"], "uid": "x" } }),
            "another",
        ),
    ] {
        api.answers(status(answer));
        let known = silent(&rig.login("plain", &jwt).await.unwrap_err());
        assert!(known.contains(why) && !known.contains(&jwt), "{known}");
    }
    for code in [401, 403] {
        api.answers(move |_| (code, String::new()));
        assert!(silent(&rig.login("plain", &jwt).await.unwrap_err()).contains("does not let us ask"));
    }
    for (code, body) in [(500, "{}"), (404, "{}"), (201, "no json"), (302, "")] {
        api.answers(move |_| (code, body.to_owned()));
        let fault = rig.login("plain", &jwt).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Unavailable, "{code} {body}: {fault:?}");
        assert!(!fault.told.contains("127.0.0.1"), "{fault:?}");
    }
}

#[tokio::test]
async fn bounds_come_before_the_question() {
    let (rig, api) = rig().await;
    let mut claims = rig.claims(POD, "node-1");
    claims["kubernetes.io"]["namespace"] = "test".into();
    rig.login("plain", &rig.signer.token(&claims)).await.unwrap_err();
    claims["aud"] = "other".into();
    rig.login("plain", &rig.signer.token(&claims)).await.unwrap_err();
    assert_eq!(api.asked().len(), 0);
    // Keys that are given are looked at too.
    rig.config(json!({ "kubernetes_host": api.url, "verify": "token_review", "jwks": "", "pem_keys": [Signer::rsa("x").pem()] })).await;
    silent(&rig.login("plain", &rig.pod_token(POD, "node-1")).await.unwrap_err());
    assert_eq!(api.asked().len(), 0);
}

#[tokio::test]
async fn tokens_of_the_old_kind_are_taken_by_a_review_only() {
    let (rig, _api) = rig().await;
    rig.harness.write("role/plain", json!({ "audience": "" })).await.unwrap();
    let claims = json!({
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": "dev",
        "kubernetes.io/serviceaccount/secret.name": "app-token-x",
        "kubernetes.io/serviceaccount/service-account.name": "app",
        "kubernetes.io/serviceaccount/service-account.uid": "5f1e8f3a-0000-4000-8000-0000000000aa",
    });
    let jwt = rig.signer.token(&claims);
    assert_eq!(rig.login("plain", &jwt).await.unwrap().metadata["service_account_secret_name"], "app-token-x");
    rig.config(json!({})).await;
    assert!(rig.login("plain", &jwt).await.unwrap_err().told.contains("never end"));
}

#[tokio::test]
async fn a_namespace_may_be_chosen_by_its_labels() {
    let (rig, api) = rig().await;
    let labels = |labels: Value| {
        move |asked: &Asked| match asked.line.as_str() {
            "GET /api/v1/namespaces/dev" => (200, json!({ "metadata": { "labels": labels } }).to_string()),
            _ => yes(asked),
        }
    };
    let selector = r#"{"matchLabels":{"team":"a"}}"#;
    let fields =
        json!({ "bound_service_account_namespaces": "prod", "bound_service_account_namespace_selector": selector });
    rig.harness.write("role/plain", fields).await.unwrap();
    let jwt = rig.pod_token(POD, "node-1");
    api.answers(labels(json!({ "team": "a" })));
    rig.login("plain", &jwt).await.unwrap();
    assert_eq!(api.asked()[0].bearer, "ours");
    api.answers(labels(json!({ "team": "b" })));
    let fault = rig.login("plain", &jwt).await.unwrap_err();
    assert_eq!(fault.told, "namespace not authorized");
    assert!(fault.known.contains("selector"), "{fault:?}");
    api.answers(|_| (403, String::new()));
    assert!(rig.login("plain", &jwt).await.unwrap_err().known.contains("status 403"));
}

#[tokio::test]
async fn the_key_set_is_read_from_the_api_server() {
    let (rig, api) = rig().await;
    let told = jwks(&[&rig.signer]);
    api.answers(move |_| (200, told.clone()));
    rig.config(json!({ "kubernetes_host": format!("{}/", api.url), "jwks": "", "token_reviewer_jwt": "ours" })).await;
    rig.login("plain", &rig.pod_token(POD, "node-1")).await.unwrap();
    let asked = api.asked();
    assert_eq!((asked[0].line.as_str(), asked[0].bearer.as_str()), ("GET /openid/v1/jwks", "ours"));
    assert_eq!(asked.len(), 1, "no review");

    let elsewhere = json!({ "kubernetes_host": "https://cluster.test", "jwks": "", "jwks_url": format!("{}/keys", api.url), "token_reviewer_jwt": "ours" });
    rig.config(elsewhere).await;
    rig.login("plain", &rig.pod_token(POD, "node-1")).await.unwrap();
    let asked = api.asked();
    assert_eq!((asked[0].line.as_str(), asked[0].bearer.as_str()), ("GET /keys", ""), "our token goes nowhere else");

    api.answers(|_| (500, String::new()));
    rig.config(json!({ "kubernetes_host": api.url, "jwks": "" })).await;
    let fault = rig.login("plain", &rig.pod_token(POD, "node-1")).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Unavailable, "{fault:?}");
}
