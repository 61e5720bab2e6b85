//! Tokens: good ones, and bad ones of every kind.

use super::*;

#[tokio::test]
async fn keys_of_each_kind_sign() {
    for signer in [Signer::rsa("r"), Signer::ec("e"), Signer::ed("d")] {
        let rig = Rig::bare(signer);
        rig.harness.write("config", json!({ "jwt_validation_pubkeys": rig.signer.pem() })).await.unwrap();
        rig.role(json!({})).await;
        rig.login(json!({})).await.unwrap();
        let others = json!({ "jwt_validation_pubkeys": rig.signer.pem(), "jwt_supported_algs": "PS512" });
        rig.harness.write("config", others).await.unwrap();
        assert!(rig.refused(json!({})).await.contains("algorithm"));
    }
}

#[tokio::test]
async fn times_are_looked_at() {
    let rig = Rig::new().await;
    let now = rig.harness.clock.now().seconds();
    rig.login(json!({ "exp": now - 59 })).await.unwrap();
    assert!(rig.refused(json!({ "exp": now - 61 })).await.contains("expired"));
    assert!(rig.refused(json!({ "nbf": now + 61 })).await.contains("not yet valid"));
    assert!(rig.refused(json!({ "iat": now + 61 })).await.contains("(iat)"));
    assert!(rig.refused(json!({ "exp": "never" })).await.contains("exp"));
    rig.role(json!({ "clock_skew_leeway": -1 })).await;
    assert!(rig.refused(json!({ "exp": now - 1 })).await.contains("expired"));
    rig.role(json!({ "clock_skew_leeway": "5m" })).await;
    rig.login(json!({ "exp": now - 299 })).await.unwrap();
}

/// As in the API: who says no end has the life of the leeway; who says nothing at all is refused.
#[tokio::test]
async fn times_that_are_not_said_are_taken_for_short() {
    let rig = Rig::new().await;
    let now = rig.harness.clock.now().seconds();
    let send = async |times: Value| {
        let mut claims = rig.claims();
        for name in ["exp", "nbf", "iat"] {
            claims.as_object_mut().unwrap().remove(name);
        }
        rig.send(&rig.signer.token(&merged(claims, times))).await.map_err(|fault| fault.told.into_owned())
    };
    assert!(send(json!({})).await.unwrap_err().contains("no issued at (iat)"));
    send(json!({ "iat": now - 200 })).await.unwrap();
    assert!(send(json!({ "iat": now - 211 })).await.unwrap_err().contains("expired"));
    send(json!({ "exp": now + 209 })).await.unwrap();
    assert!(send(json!({ "exp": now + 300 })).await.unwrap_err().contains("not yet valid"));
    rig.role(json!({ "expiration_leeway": "10m", "not_before_leeway": "10m" })).await;
    send(json!({ "iat": now - 600 })).await.unwrap();
    send(json!({ "exp": now + 600 })).await.unwrap();
}

#[tokio::test]
async fn registered_claims_are_bound() {
    let rig = Rig::new().await;
    rig.login(json!({ "aud": ["other", "dewdrop"] })).await.unwrap();
    assert!(rig.refused(json!({ "aud": "other" })).await.contains("(aud)"));
    assert!(rig.refused(json!({ "aud": [] })).await.contains("(aud)"));
    rig.role(json!({ "bound_subject": "repo:a" })).await;
    rig.login(json!({})).await.unwrap();
    assert!(rig.refused(json!({ "sub": "repo:b" })).await.contains("(sub)"));
    let config = json!({ "jwt_validation_pubkeys": rig.signer.pem(), "bound_issuer": "https://ci.test" });
    rig.harness.write("config", config).await.unwrap();
    rig.login(json!({})).await.unwrap();
    assert!(rig.refused(json!({ "iss": "https://ci.test/" })).await.contains("(iss)"));
    rig.role(json!({ "bound_audiences": "", "bound_subject": "repo:a" })).await;
    assert!(rig.refused(json!({})).await.contains("no audiences bound to the role"));
    rig.login(json!({ "aud": null })).await.unwrap();
}

#[tokio::test]
async fn free_claims_are_bound() {
    let rig = Rig::new().await;
    rig.role(json!({ "bound_claims": { "ref": ["main", "next"], "/user/name": "ada", "run": 7, "groups": "y" } }))
        .await;
    rig.login(json!({})).await.unwrap();
    for more in [
        json!({ "ref": "mainx" }),
        json!({ "ref": null }),
        json!({ "ref": {} }),
        json!({ "user": { "name": "bob" } }),
        json!({ "user": "ada" }),
        json!({ "run": 8 }),
        json!({ "run": "7" }),
        json!({ "groups": ["x"] }),
    ] {
        assert!(rig.refused(more.clone()).await.starts_with("error validating claims: "), "{more}");
    }
    rig.role(json!({ "bound_claims": { "ref": "release-*" }, "bound_claims_type": "glob" })).await;
    rig.login(json!({ "ref": "release-1" })).await.unwrap();
    assert!(rig.refused(json!({ "ref": "xrelease-1" })).await.contains("\"ref\" does not match"));
    rig.role(json!({ "bound_claims": { "ref": "release-*" } })).await;
    assert!(rig.refused(json!({ "ref": "release-1" })).await.contains("does not match"), "no glob unless it is said");
}

/// 2^53 + 1 and 2^53 are one float, and two projects.
#[tokio::test]
async fn a_large_number_is_no_other() {
    let rig = Rig::new().await;
    rig.role(json!({ "bound_claims": { "run": 9_007_199_254_740_993_u64 } })).await;
    rig.login(json!({ "run": 9_007_199_254_740_993_u64 })).await.unwrap();
    assert!(rig.refused(json!({ "run": 9_007_199_254_740_992_u64 })).await.contains("does not match"));
    rig.role(json!({ "bound_claims": { "run": 7 } })).await;
    rig.login(json!({ "run": 7.0 })).await.unwrap();
    assert!(rig.refused(json!({ "run": 7.5 })).await.contains("does not match"));
}

#[tokio::test]
async fn a_provider_names_no_end_of_groups() {
    let rig = Rig::new().await;
    rig.role(json!({ "groups_claim": "groups" })).await;
    let groups = |many: usize| json!({ "groups": (0..many).map(|n| n.to_string()).collect::<Vec<_>>() });
    rig.login(groups(2000)).await.unwrap();
    assert!(rig.refused(groups(2001)).await.contains("at most 2000"));
}

#[tokio::test]
async fn a_user_and_groups_must_be_texts() {
    let rig = Rig::new().await;
    rig.role(json!({ "user_claim": "user", "groups_claim": "groups" })).await;
    assert!(rig.refused(json!({ "user": null })).await.contains("not found"));
    assert!(rig.refused(json!({ "user": 7 })).await.contains("could not be converted"));
    assert!(rig.refused(json!({ "user": "" })).await.contains("empty"));
    assert!(rig.refused(json!({ "user": "a", "groups": null })).await.contains("groups"));
    assert!(rig.refused(json!({ "user": "a", "groups": { "a": 1 } })).await.contains("string list"));
    assert!(rig.refused(json!({ "user": "a", "groups": ["a", 1] })).await.contains("groups claim"));
    rig.role(json!({ "claim_mappings": { "run": "run" } })).await;
    assert!(rig.refused(json!({})).await.contains("error converting claim 'run'"));
}

#[tokio::test]
async fn what_is_not_signed_is_refused() {
    let rig = Rig::new().await;
    let claims = rig.claims();
    let good = rig.signer.token(&claims);
    let (head, signature) = good.rsplit_once('.').unwrap();
    let none = unsigned(&json!({ "alg": "none" }), &claims);
    for jwt in [
        format!("{none}."),
        format!("{none}.{signature}"),
        format!("{head}."),
        head.to_owned(),
        "x".into(),
        "..".into(),
        Signer::ed("k1").token(&claims),
        hmac_token(rig.signer.pem().as_bytes(), "k1", &claims),
        rig.signer.token_with(&json!({ "alg": "RS256" }), &claims),
        format!("{good}{}", "A".repeat(64 * 1024)),
        format!("{head}.{}", &signature[..signature.len() - 4]),
    ] {
        let fault = rig.send(&jwt).await.unwrap_err();
        assert_eq!(fault.kind, Kind::BadCredential, "{fault:?}");
        assert!(fault.told.starts_with("error validating token: "), "{fault:?}");
        assert!(!fault.known.contains(&jwt), "{fault:?}");
    }
}
