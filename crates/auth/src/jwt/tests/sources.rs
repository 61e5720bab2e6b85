//! Where keys come from.

use super::*;

#[tokio::test]
async fn a_config_names_one_source() {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let rig = Rig::bare(Signer::ec("k"));
    let pem = rig.signer.pem();
    let kind = async |fields: Value| rig.harness.write("config", fields).await.unwrap_err().kind;
    for fields in [
        json!({}),
        json!({ "jwt_validation_pubkeys": "no PEM" }),
        json!({ "jwt_validation_pubkeys": pem, "jwks_url": "https://a.test" }),
        json!({ "jwt_validation_pubkeys": pem, "jwt_supported_algs": "none" }),
        json!({ "jwt_validation_pubkeys": pem, "jwt_supported_algs": "HS256" }),
        json!({ "jwks_url": "file:///etc/passwd" }),
        json!({ "jwks_url": "https://a.test", "jwks_ca_pem": "no PEM" }),
        json!({ "jwks_url": "http://127.0.0.1:1/" }),
        json!({ "jwks_pairs": [{}] }),
        json!({ "jwks_pairs": [{ "jwks_url": " " }] }),
        json!({ "jwks_pairs": [{ "jwks_url": "https://a.test" }], "bound_issuer": "x" }),
        json!({ "jwks_pairs": vec![json!({ "jwks_url": "https://a.test" }); 21] }),
        json!({ "oidc_discovery_url": "https://a.test/.well-known/openid-configuration" }),
        json!({ "oidc_discovery_url": "http://127.0.0.1:1" }),
        json!({ "jwt_validation_pubkeys": pem, "oidc_client_id": "x" }),
        json!({ "jwt_validation_pubkeys": pem, "oidc_client_id": "x", "oidc_client_secret": "y" }),
        json!({ "jwt_validation_pubkeys": pem, "oidc_response_mode": "fragment" }),
        json!({ "jwt_validation_pubkeys": pem, "oidc_response_types": "token" }),
        json!({ "jwt_validation_pubkeys": pem, "oidc_response_types": "id_token" }),
    ] {
        assert_eq!(kind(fields.clone()).await, Kind::BadRequest, "{fields}");
    }
    for fields in [
        json!({
            "oidc_discovery_url": "http://127.0.0.1:1", "oidc_client_id": "x", "oidc_client_secret": "y",
            "oidc_response_mode": "form_post", "oidc_response_types": "id_token",
        }),
        json!({ "jwt_validation_pubkeys": pem, "provider_config": { "provider": "azure" } }),
    ] {
        assert_eq!(kind(fields.clone()).await, Kind::NotBuilt, "{fields}");
    }
    assert_eq!(rig.harness.read("config").await.unwrap_err().kind, Kind::NotFound);
    rig.harness
        .write("config", json!({ "jwt_validation_pubkeys": pem, "jwt_supported_algs": ["ES256"] }))
        .await
        .unwrap();
    let shown = rig.harness.read("config").await.unwrap().data();
    assert_eq!((&shown["status"], &shown["jwt_supported_algs"]), (&json!("valid"), &json!(["ES256"])));
    assert_eq!((&shown["jwt_validation_pubkeys"], &shown["namespace_in_state"]), (&json!([pem.trim()]), &json!(true)));
}

#[tokio::test]
async fn keys_come_from_a_url() {
    let rig = Rig::bare(Signer::rsa("k1"));
    let told = jwks(&[&rig.signer]);
    let api = FakeApi::start(move |_| (200, told.clone())).await;
    rig.harness.write("config", json!({ "jwks_url": format!("{}/keys", api.url) })).await.unwrap();
    rig.role(json!({})).await;
    rig.login(json!({})).await.unwrap();
    assert_eq!(api.asked().iter().map(|asked| asked.line.clone()).collect::<Vec<_>>(), ["GET /keys"]);
    // The issuer is away: what was read last stays.
    api.answers(|_| (500, String::new()));
    rig.harness.clock.advance(Duration::from_secs(301));
    rig.login(json!({})).await.unwrap();
    rig.harness.room.forget_caches();
    let fault = rig.login(json!({})).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Unavailable, "nothing was ever read by this process: {fault:?}");
    assert!(fault.known.contains("500"), "{fault:?}");
    let shown = rig.harness.read("config").await.unwrap().data();
    assert_eq!(shown["status"], "invalid");
}

#[tokio::test]
async fn an_issuer_that_is_away_can_be_configured() {
    let rig = Rig::bare(Signer::rsa("k1"));
    let fields = json!({ "jwks_url": "http://127.0.0.1:1/", "skip_jwks_validation": true });
    let (_, warnings) = rig.harness.reply(dewdrop_core::Operation::Update, "config", fields).await.unwrap();
    assert_eq!(warnings, ["error checking jwks URL"]);
    rig.role(json!({})).await;
    assert_eq!(rig.login(json!({})).await.unwrap_err().kind, Kind::Unavailable);
}

#[tokio::test]
async fn keys_come_from_several_urls() {
    let rig = Rig::bare(Signer::ec("second"));
    let (one, two) = (jwks(&[&Signer::ec("first")]), jwks(&[&rig.signer]));
    let api = FakeApi::start(move |asked| (200, if asked.line == "GET /1" { one.clone() } else { two.clone() })).await;
    let pair = |path: &str| json!({ "jwks_url": format!("{}{path}", api.url) });
    rig.harness.write("config", json!({ "jwks_pairs": [pair("/1"), pair("/2")] })).await.unwrap();
    rig.role(json!({})).await;
    rig.login(json!({})).await.unwrap();
    let fault = rig.send(&Signer::ec("third").token(&rig.claims())).await.unwrap_err();
    assert_eq!(fault.kind, Kind::BadCredential);
    let shown = rig.harness.read("config").await.unwrap().data();
    assert_eq!(shown["jwks_pairs"][1]["jwks_url"], format!("{}/2", api.url));
}

#[tokio::test]
async fn keys_are_discovered() {
    let rig = Rig::bare(Signer::ec("k"));
    let api = FakeApi::start(|_| (404, String::new())).await;
    let document = |issuer: &str, jwks_uri: &str, told: String| {
        let document = json!({ "issuer": issuer, "jwks_uri": jwks_uri }).to_string();
        move |asked: &crate::jose::testing::Asked| match asked.line.as_str() {
            "GET /.well-known/openid-configuration" => (200, document.clone()),
            "GET /keys" => (200, told.clone()),
            _ => (404, String::new()),
        }
    };
    let keys = || jwks(&[&rig.signer]);
    let at = format!("{}/keys", api.url);
    let write = async || rig.harness.write("config", json!({ "oidc_discovery_url": api.url })).await;
    for answer in [
        document("https://other", &at, keys()),
        document(&api.url, "file:///x", keys()),
        document(&api.url, &at, "x".into()),
    ] {
        api.answers(answer);
        let fault = write().await.unwrap_err();
        assert_eq!(fault.told, "error checking oidc discovery URL", "{fault:?}");
    }
    api.answers(document(&api.url, &at, keys()));
    write().await.unwrap();
    rig.role(json!({})).await;
    rig.login(json!({})).await.unwrap();
}
