//! Direct clusters that are entered by a token: what it says, for whom it is, and by which keys it can be known.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, RSA_PKCS1_2048_8192_SHA256, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dewdrop_core::Operation;

use super::direct::{fit, fit_but, make_direct};
use super::*;

const URL: &str = "https://dewdrop.example:8200/v1/access";
/// The moment at which the harness begins.
const BEGIN: u64 = 1_767_225_600;

/// A cluster `edge` that is entered by a token, and a role for it.
async fn stage() -> Stage {
    let s = Stage::new();
    s.harness.write("issuer", json!({ "url": URL })).await.unwrap();
    make_direct(&s, "edge", json!({ "credential": "token" })).await.unwrap();
    s.role(fit()).await.unwrap();
    s
}

/// A grant of ann's that was approved; its name.
async fn granted(s: &mut Stage) -> String {
    let id = s.asked().await;
    s.says("ben", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    id
}

async fn token(s: &mut Stage, id: &str) -> Result<Value, Fault> {
    s.says("ann", &format!("requests/{id}/token"), json!({})).await
}

/// A document as API servers fetch it.
async fn fetched(s: &Stage, path: &str) -> Value {
    let Got::Raw(body) = s.harness.read(&format!(".well-known/{path}")).await.unwrap() else {
        panic!("an envelope around {path}")
    };
    serde_json::from_slice(&body).unwrap()
}

fn part(token: &Value, number: usize) -> Value {
    let part = token.as_str().unwrap().split('.').nth(number).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

/// The claims, when one of the keys made the signature, by the algorithm that the key names.
fn verified(token: &Value, keys: &Value) -> Option<Value> {
    let (head, kid) = (part(token, 0), part(token, 0)["kid"].clone());
    let key = keys["keys"].as_array().unwrap().iter().find(|key| key["kid"] == kid)?;
    assert_eq!((&head["alg"], &head["typ"]), (&key["alg"], &json!("JWT")));
    let number = |name: &str| URL_SAFE_NO_PAD.decode(key[name].as_str().unwrap()).unwrap();
    let (message, signature) = token.as_str().unwrap().rsplit_once('.').unwrap();
    let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    let good = if key["alg"] == "ES256" {
        assert_eq!((&key["kty"], &key["crv"], &key["use"]), (&json!("EC"), &json!("P-256"), &json!("sig")));
        let point = [vec![4], number("x"), number("y")].concat();
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(message.as_bytes(), &signature).is_ok()
    } else {
        let parts = aws_lc_rs::rsa::PublicKeyComponents { n: number("n"), e: number("e") };
        parts.verify(&RSA_PKCS1_2048_8192_SHA256, message.as_bytes(), &signature).is_ok()
    };
    good.then(|| part(token, 1))
}

#[tokio::test]
async fn a_token_says_what_a_certificate_says_for_minutes_to_one_cluster() {
    let mut s = stage().await;
    let id = granted(&mut s).await;
    let got = token(&mut s, &id).await.unwrap();
    assert_eq!(got["expires_at"], "2026-01-01T00:05:00.000Z");
    let claims = verified(&got["token"], &fetched(&s, "keys").await).unwrap();
    let expected = json!({
        "iss": URL, "aud": "dewdrop-edge", "sub": "ann", "groups": ["dewdrop:look"], "grant": id, "jti": got["jti"],
        "iat": BEGIN, "nbf": BEGIN - 30, "exp": BEGIN + 300,
    });
    assert_eq!(claims, expected);
    assert_eq!(s.sees("ann", &format!("requests/{id}")).await.unwrap()["state"], "active", "it has started");
    assert!(s.live().await.is_empty(), "no proxy carries it");
    let next = token(&mut s, &id).await.unwrap();
    assert_ne!(next["jti"], got["jti"], "each has a name of its own");
}

#[tokio::test]
async fn api_servers_find_the_keys_and_no_private_half() {
    let s = stage().await;
    let document = fetched(&s, "openid-configuration").await;
    assert_eq!((&document["issuer"], &document["jwks_uri"]), (&json!(URL), &json!(format!("{URL}/.well-known/keys"))));
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["ES256"]));
    let keys = fetched(&s, "keys").await;
    let names: Vec<&String> = keys["keys"][0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["alg", "crv", "kid", "kty", "use", "x", "y"], "and not d");
    let shown = s.harness.read("issuer").await.unwrap().data();
    assert_eq!(shown["discovery_url"], format!("{URL}/.well-known/openid-configuration"));
    assert_eq!(shown["keys"][0]["id"], keys["keys"][0]["kid"]);
    assert_eq!(shown.as_object().unwrap().keys().collect::<Vec<_>>(), ["algorithm", "discovery_url", "keys", "url"]);
}

#[tokio::test]
async fn no_cluster_takes_the_tokens_of_another() {
    let mut s = stage().await;
    let same =
        make_direct(&s, "other", json!({ "credential": "token", "audience": "dewdrop-edge" })).await.unwrap_err();
    assert!(same.told.contains("the cluster edge has it"), "{same:?}");
    make_direct(&s, "other", json!({ "credential": "token" })).await.unwrap();
    s.role(fit_but(json!({ "clusters": "other" }))).await.unwrap();
    let id = granted(&mut s).await;
    let got = token(&mut s, &id).await.unwrap();
    assert_eq!(part(&got["token"], 1)["aud"], "dewdrop-other");
    make_direct(&s, "edge", json!({ "audience": "https://edge.example" })).await.unwrap();
    let read = s.harness.read("clusters/edge").await.unwrap().data();
    assert_eq!((&read["credential"], &read["audience"]), (&json!("token"), &json!("https://edge.example")));
}

#[tokio::test]
async fn a_former_key_is_published_until_its_last_token_is_over() {
    let mut s = stage().await;
    s.harness.write("clusters/edge", json!({ "certificate_ttl": "10m" })).await.unwrap();
    s.role(fit_but(json!({ "default_ttl": "1h" }))).await.unwrap();
    let id = granted(&mut s).await;
    let old = token(&mut s, &id).await.unwrap()["token"].clone();
    let shown = s.harness.write("issuer/rotate", json!({})).await.unwrap().data();
    assert_eq!(shown["keys"][1]["until"], "2026-01-01T00:11:00.000Z");
    let new = token(&mut s, &id).await.unwrap()["token"].clone();
    assert_ne!(part(&old, 0)["kid"], part(&new, 0)["kid"]);
    s.later(10);
    let keys = fetched(&s, "keys").await;
    assert!(verified(&old, &keys).is_some() && verified(&new, &keys).is_some());
    s.later(1);
    let keys = fetched(&s, "keys").await;
    assert!(verified(&old, &keys).is_none() && verified(&new, &keys).is_some());
    assert_eq!(keys["keys"].as_array().unwrap().len(), 1);
    let kept = s.harness.write("issuer/rotate", json!({})).await.unwrap().data();
    assert_eq!(kept["keys"].as_array().unwrap().len(), 2, "what is over is kept no longer");
}

#[tokio::test]
async fn another_algorithm_is_another_key() {
    let mut s = stage().await;
    let id = granted(&mut s).await;
    let old = token(&mut s, &id).await.unwrap()["token"].clone();
    s.harness.write("issuer", json!({ "url": URL })).await.unwrap();
    assert_eq!(fetched(&s, "keys").await["keys"].as_array().unwrap().len(), 1, "nothing was changed");
    s.harness.write("issuer", json!({ "algorithm": "RS256" })).await.unwrap();
    let new = token(&mut s, &id).await.unwrap()["token"].clone();
    let keys = fetched(&s, "keys").await;
    assert_eq!(keys["keys"][0]["alg"], "RS256");
    assert!(verified(&old, &keys).is_some() && verified(&new, &keys).is_some());
    let document = fetched(&s, "openid-configuration").await;
    assert_eq!(document["id_token_signing_alg_values_supported"], json!(["RS256", "ES256"]));
}

#[tokio::test]
async fn a_mount_that_is_no_issuer_says_nothing_and_gives_nothing() {
    let mut s = Stage::new();
    for path in [".well-known/keys", ".well-known/openid-configuration", "issuer"] {
        assert_eq!(s.harness.read(path).await.unwrap_err().kind, Kind::NotFound, "{path}");
    }
    assert!(s.harness.write("issuer/rotate", json!({})).await.unwrap_err().told.contains("no issuer"));
    let cluster = json!({ "credential": "token" });
    make_direct(&s, "edge", json!({})).await.unwrap();
    let (_, said) = s.harness.reply(Operation::Update, "clusters/edge", cluster).await.unwrap();
    assert!(said[0].contains("no issuer of tokens yet"), "{said:?}");
    s.role(fit()).await.unwrap();
    let fault = s.says("ann", "request", json!({ "role": "look", "reason": "x" })).await.unwrap_err();
    assert!(fault.told.contains("no issuer of tokens yet"), "{fault:?}");
    s.harness.write("issuer", json!({ "url": URL })).await.unwrap();
    let id = granted(&mut s).await;
    let old = token(&mut s, &id).await.unwrap()["token"].clone();
    s.harness.delete("issuer").await.unwrap();
    assert!(token(&mut s, &id).await.is_err());
    s.harness.write("issuer", json!({ "url": URL })).await.unwrap();
    assert!(verified(&old, &fetched(&s, "keys").await).is_none(), "the keys went with it");
}

#[tokio::test]
async fn what_an_issuer_and_a_cluster_say_is_checked() {
    let s = stage().await;
    for (change, expected) in [
        (json!({ "url": "http://a.example/v1/access" }), "url: write"),
        (json!({ "url": "https://a.example/?x" }), "url: write"),
        (json!({ "algorithm": "HS256" }), "algorithm must be"),
        (json!({ "algorithm": "none" }), "algorithm must be"),
    ] {
        let fault = s.harness.write("issuer", change.clone()).await.unwrap_err();
        assert!(fault.told.contains(expected), "{change}: {fault:?}");
    }
    let (_, said) =
        s.harness.reply(Operation::Update, "issuer", json!({ "url": "https://a.example/x" })).await.unwrap();
    assert!(said[0].contains("this mount answers at /v1/test/"), "{said:?}");
    let (_, said) = s.harness.reply(Operation::Update, "issuer", json!({ "url": "https://a/v1/test/" })).await.unwrap();
    assert!(said.is_empty(), "{said:?}");
    for (change, expected) in [
        (json!({ "credential": "password" }), "credential must be"),
        (json!({ "credential": "certificate", "audience": "a" }), "audience goes with"),
        (json!({ "audience": "" }), "audience: from 1"),
        (json!({ "audience": "a b" }), "audience: from 1"),
        (json!({ "audience": "a".repeat(254) }), "audience: from 1"),
    ] {
        let fault = make_direct(&s, "edge", change.clone()).await.unwrap_err();
        assert!(fault.told.contains(expected), "{change}: {fault:?}");
    }
    let proxied = json!({ "address": "https://a.example", "credential": "token" });
    let fault = s.harness.write("clusters/prod", proxied).await.unwrap_err();
    assert!(fault.told.contains("go with mode=direct"), "{fault:?}");
}

#[tokio::test]
async fn a_cluster_takes_one_kind_of_credential() {
    let mut s = stage().await;
    let id = granted(&mut s).await;
    let fault = s.certificate("ann", &id).await.unwrap_err();
    assert!(fault.told.contains("is entered by a token"), "{fault:?}");
    assert_eq!(s.sees("ann", &format!("requests/{id}")).await.unwrap()["state"], "granted", "nothing has started");
    assert!(s.sees("eve", "clusters/edge/ca").await.unwrap_err().told.contains("is entered by tokens"));
    make_direct(&s, "edge", json!({ "credential": "certificate" })).await.unwrap();
    for path in ["token", "certificate"] {
        let fault = s.says("ann", &format!("requests/{id}/{path}"), json!({ "csr": csr() })).await.unwrap_err();
        assert!(fault.told.contains("ask anew"), "approvers read of tokens: {fault:?}");
    }
    let first = s.sees("eve", "clusters/edge/ca").await.unwrap()["certificate"].clone();
    let id = granted(&mut s).await;
    assert!(token(&mut s, &id).await.unwrap_err().told.contains("is entered by a certificate"));
    make_direct(&s, "edge", json!({ "credential": "token" })).await.unwrap();
    make_direct(&s, "edge", json!({ "credential": "certificate" })).await.unwrap();
    let anew = s.sees("eve", "clusters/edge/ca").await.unwrap()["certificate"].clone();
    assert_ne!(first, anew, "tokens leave no authority behind");
}

#[tokio::test]
async fn whoever_may_not_have_a_certificate_gets_no_token() {
    let mut s = stage().await;
    let id = granted(&mut s).await;
    let path = format!("requests/{id}/token");
    assert_eq!(s.says("ben", &path, json!({})).await.unwrap_err().kind, Kind::NotFound, "it is ann's");
    s.role(fit_but(json!({ "kubernetes_groups": "dewdrop:other" }))).await.unwrap();
    assert!(token(&mut s, &id).await.unwrap_err().told.contains("ask anew"));
    s.role(fit_but(json!({ "mfa_max_age": "5m" }))).await.unwrap();
    assert!(token(&mut s, &id).await.unwrap_err().told.contains("second factor"));
    s.role(fit_but(json!({ "mfa_max_age": "0" }))).await.unwrap();
    token(&mut s, &id).await.unwrap();
    s.person("ann", &[]);
    assert!(token(&mut s, &id).await.is_err(), "she left");
}

#[tokio::test]
async fn revoked_means_no_other_token_and_approvers_read_so() {
    let mut s = stage().await;
    let id = s.asked().await;
    let read = s.sees("ben", &format!("requests/{id}")).await.unwrap();
    assert_eq!((&read["mode"], &read["credential"]), (&json!("direct"), &json!("token")));
    let said: Vec<&str> = read["dangers"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let last = "a revocation stops the next token only: the last one is good for up to 5 min more for whoever has it (and 10 s";
    assert!(said[1].starts_with(last), "{said:?}");
    assert!(said[2].starts_with("nothing is recorded here but the tokens"), "{said:?}");
    s.says("ben", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    s.later(2);
    token(&mut s, &id).await.unwrap();
    s.later(8);
    let last = token(&mut s, &id).await.unwrap();
    assert_eq!(last["expires_at"], last["grant_ends_at"], "never beyond the grant");
    s.says("ben", &format!("requests/{id}/revoke"), json!({})).await.unwrap();
    assert!(token(&mut s, &id).await.is_err());
}
