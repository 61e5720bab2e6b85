//! Logins of pods: good tokens, and bad ones of every kind.

use dewdrop_testkit::jwt::{hmac_token, unsigned};

use super::*;

#[tokio::test]
async fn a_login_tells_the_server_all_it_needs() {
    let rig = Rig::new().await;
    let login = rig.login("plain", &rig.pod_token(POD, "node-1")).await.unwrap();
    assert_eq!(login.alias, "5f1e8f3a-0000-4000-8000-0000000000aa");
    assert_eq!(login.display_name, "dev-app");
    assert_eq!(login.params.policies, ["p"]);
    let metadata = json!({
        "role": "plain",
        "service_account_name": "app",
        "service_account_namespace": "dev",
        "service_account_secret_name": "",
        "service_account_uid": "5f1e8f3a-0000-4000-8000-0000000000aa",
    });
    assert_eq!(json!(login.metadata), metadata);
    assert!(login.beside.is_none());

    rig.harness.write("role/plain", json!({ "alias_name_source": "serviceaccount_name" })).await.unwrap();
    let login = rig.login("Plain", &rig.pod_token(POD, "node-1")).await.unwrap();
    assert_eq!(login.alias, "dev/app");
}

#[tokio::test]
async fn keys_of_each_kind_sign() {
    for signer in [Signer::rsa("r"), Signer::ec("e")] {
        let rig = Rig::bare(signer);
        rig.config(json!({ "jwks": "", "pem_keys": [rig.signer.pem()] })).await;
        let bound = json!({ "bound_service_account_names": "*", "bound_service_account_namespaces": "*" });
        rig.role("plain", &bound, json!({})).await;
        rig.login("plain", &rig.pod_token(POD, "n")).await.unwrap();
        rig.config(json!({})).await;
        rig.login("plain", &rig.pod_token(POD, "n")).await.unwrap();
    }
    let rig = Rig::bare(Signer::ed("d"));
    rig.config(json!({})).await;
    rig.role(
        "plain",
        &json!({ "bound_service_account_names": "*", "bound_service_account_namespaces": "*" }),
        json!({}),
    )
    .await;
    let fault = rig.login("plain", &rig.pod_token(POD, "n")).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Denied, "no cluster signs with this: {fault:?}");
}

/// What a changed token is refused with: what the caller hears and what the operator.
async fn refusal(rig: &Rig, change: impl FnOnce(&mut Value)) -> (String, String) {
    let mut claims = rig.claims(POD, "node-1");
    change(&mut claims);
    let fault = rig.login("plain", &rig.signer.token(&claims)).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Denied, "{fault:?}");
    (fault.told.into_owned(), fault.known.into_owned())
}

#[tokio::test]
async fn claims_that_are_not_right_are_refused() {
    let rig = Rig::new().await;
    rig.config(json!({ "issuer": "https://kubernetes.default.svc.cluster.local" })).await;
    let now = rig.now();
    rig.login("plain", &rig.pod_token(POD, "node-1")).await.unwrap();
    let told = async |change: fn(&mut Value, u64)| refusal(&rig, |claims| change(claims, now)).await.0;
    assert!(told(|c, now| c["exp"] = (now - 61).into()).await.contains("expired"));
    assert!(told(|c, _| c["exp"] = Value::Null).await.contains("exp"));
    assert!(told(|c, _| drop(c.as_object_mut().unwrap().remove("exp"))).await.contains("never end"));
    assert!(told(|c, _| c["exp"] = "tomorrow".into()).await.contains("exp"));
    assert!(told(|c, _| c["exp"] = (-1).into()).await.contains("exp"));
    assert!(told(|c, now| c["nbf"] = (now + 61).into()).await.contains("not yet valid"));
    assert!(told(|c, now| c["iat"] = (now + 61).into()).await.contains("(iat)"));
    assert!(told(|c, _| c["aud"] = json!(["other"])).await.contains("(aud)"));
    assert!(told(|c, _| c["aud"] = Value::Null).await.contains("(aud)"));
    assert!(told(|c, _| c["iss"] = "https://other".into()).await.contains("(iss)"));
    assert!(told(|c, _| c["kubernetes.io"] = Value::Null).await.contains("service account"));
    assert!(told(|c, _| c["kubernetes.io"]["serviceaccount"]["uid"] = "".into()).await.contains("service account"));
    assert!(
        told(|c, _| c["kubernetes.io"]["serviceaccount"]["name"] = "x".repeat(254).into()).await.contains("service")
    );
}

#[tokio::test]
async fn clocks_may_differ_a_little() {
    let rig = Rig::new().await;
    let mut claims = rig.claims(POD, "node-1");
    claims["exp"] = (rig.now() - 59).into();
    claims["nbf"] = (rig.now() + 59).into();
    claims["aud"] = "dewdrop".into();
    rig.login("plain", &rig.signer.token(&claims)).await.unwrap();
}

#[tokio::test]
async fn signatures_that_are_none_are_refused() {
    let rig = Rig::new().await;
    let claims = rig.claims(POD, "node-1");
    let (good, other) = (rig.signer.token(&claims), Signer::ec("k1"));
    let (head, signature) = good.rsplit_once('.').unwrap();
    let none = |alg: &str| unsigned(&json!({ "alg": alg, "kid": "k1" }), &claims);
    let unknown = Signer::ec("k2");
    for (what, jwt) in [
        ("another key of the same name", other.token(&claims)),
        ("a key of another name", unknown.token(&claims)),
        ("another header", other.token_with(&json!({ "alg": "ES256", "kid": "k1", "jwk": other.jwk() }), &claims)),
        ("no signature", format!("{head}.")),
        ("another's claims", format!("{}.{signature}", unsigned(&json!({ "alg": "ES256", "kid": "k1" }), &json!({})))),
        ("a longer signature", format!("{head}.{signature}AAAA")),
    ] {
        let fault = rig.login("plain", &jwt).await.unwrap_err();
        assert!(silent(&fault).starts_with("role \"plain\": error verifying token signature"), "{what}: {fault:?}");
    }
    for (what, jwt) in [
        ("no algorithm", format!("{}.", none("none"))),
        ("no algorithm, written otherwise", format!("{}.", none("nOnE"))),
        ("no algorithm with a signature", format!("{}.{signature}", none("none"))),
        ("the public key as a secret", hmac_token(rig.signer.pem().as_bytes(), "k1", &claims)),
        (
            "the public key as a secret, in its other form",
            hmac_token(rig.signer.jwk().to_string().as_bytes(), "k1", &claims),
        ),
        ("an algorithm of another key", format!("{}.{signature}", none("EdDSA"))),
    ] {
        let fault = rig.login("plain", &jwt).await.unwrap_err();
        assert!(silent(&fault).contains("algorithm"), "{what}: {fault:?}");
    }
}

#[tokio::test]
async fn what_is_no_token_is_refused() {
    let rig = Rig::new().await;
    let good = rig.pod_token(POD, "node-1");
    let crit = rig.signer.token_with(&json!({ "alg": "ES256", "kid": "k1", "crit": ["x"] }), &rig.claims(POD, "n"));
    let long = format!("{good}{}", "A".repeat(64 * 1024));
    for jwt in
        ["x", "..", "a.b", "a.b.c.d", "ä.ö.ü", &format!(" {good}"), &format!("{good}="), &crit, &long, &"\0".repeat(9)]
    {
        let fault = rig.login("plain", jwt).await.unwrap_err();
        assert_eq!(fault.kind, Kind::Denied, "{fault:?}");
        assert!(!fault.known.contains(jwt), "{fault:?}");
    }
    for fields in
        [json!({}), json!({ "role": "plain" }), json!({ "jwt": good }), json!({ "role": "none", "jwt": good })]
    {
        assert_eq!(rig.harness.write("login", fields).await.unwrap_err().kind, Kind::BadRequest);
    }
}

#[tokio::test]
async fn the_operator_hears_which_bound_it_was() {
    let rig = Rig::new().await;
    let (told, known) = refusal(&rig, |claims| claims["kubernetes.io"]["namespace"] = "test".into()).await;
    assert_eq!(told, "namespace not authorized");
    assert_eq!(known, "role \"plain\": namespace \"test\" is not among bound_service_account_namespaces");
    let (told, known) =
        refusal(&rig, |claims| claims["kubernetes.io"]["serviceaccount"]["name"] = "other".into()).await;
    assert_eq!(told, "service account name not authorized");
    assert_eq!(known, "role \"plain\": service account \"other\" is not among bound_service_account_names");
    let fault = rig.login("app", &rig.pod_token(POD, "node-1")).await.unwrap_err();
    assert!(silent(&fault).contains("only a node agent"), "{fault:?}");
}

#[tokio::test]
async fn a_renewal_wants_the_role_and_its_bounds() {
    let rig = Rig::new().await;
    let login = rig.login("plain", &rig.pod_token(POD, "node-1")).await.unwrap();
    let renew = async || rig.harness.room.renew_login(&login.internal, &Caller::default()).await;
    assert_eq!(renew().await.unwrap().policies, ["p"]);
    rig.harness.write("role/plain", json!({ "bound_service_account_namespaces": "prod" })).await.unwrap();
    assert!(silent(&renew().await.unwrap_err()).contains("bounds"));
    rig.harness.delete("role/plain").await.unwrap();
    assert!(renew().await.unwrap_err().told.contains("does not exist during renewal"));
}
