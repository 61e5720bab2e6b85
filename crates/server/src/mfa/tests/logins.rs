//! What a login under an enforcement answers, and how it goes on.

use super::*;

#[tokio::test]
async fn a_login_waits_and_a_code_makes_its_token() {
    let (stage, key) = Stage::strict().await;
    let got = stage.login().await;
    let auth = &got.json["auth"];
    assert_eq!(
        (&auth["client_token"], &auth["policies"], &auth["token_type"]),
        (&json!(""), &json!(null), &json!("default"))
    );
    let constraints =
        json!({ "strict": { "any": [{ "type": "totp", "id": stage.method, "uses_passcode": true, "name": "" }] } });
    assert_eq!(auth["mfa_requirement"]["mfa_constraints"], constraints);
    assert_eq!(got.json["warnings"][0], WAITS);
    let id = auth["mfa_requirement"]["mfa_request_id"].as_str().unwrap();
    let made = stage.validate(id, &stage.code(&key, 0)).await;
    let token = text_of(&made);
    assert_eq!(
        (&made.json["auth"]["entity_id"], &made.json["auth"]["mfa_requirement"]),
        (&json!(stage.bob), &json!(null))
    );
    let own = stage.rig.ask("GET", "auth/token/lookup-self", Value::Null).with(&token).send().await;
    assert_eq!((own.status, &own.json["data"]["path"]), (200, &json!("auth/userpass/login/bob")));
}

#[tokio::test]
async fn a_header_does_both_at_once() {
    let (stage, key) = Stage::strict().await;
    let named = json!({ "method_name": "phone", "issuer": "dewdrop" });
    stage.rig.must("POST", &format!("identity/mfa/method/totp/{}", stage.method), named).await;
    for (header, beside) in [(format!("{}:passcode=", stage.method), -1), ("phone:".to_owned(), 0)] {
        text_of(&stage.login_with(&format!("{header}{}", stage.code(&key, beside))).await);
    }
    for header in [&format!("{}:000000", stage.method), &stage.method, "phone", "zork:1", ":", ""] {
        let got = stage.login_with(header).await;
        assert_eq!((got.status, got.error()), (403, "permission denied"), "{header:?}");
    }
}

#[tokio::test]
async fn nothing_is_made_before_the_code() {
    let stage = Stage::new().await;
    stage.rule(json!({ "auth_method_types": ["userpass"] })).await;
    let before = (stage.entities().await, stage.tokens().await);
    // At the other mount nobody knows bob yet.
    let got = stage.login_at("other", "pass-of-bob").await;
    let id = got.json["auth"]["mfa_requirement"]["mfa_request_id"].as_str().unwrap();
    let refused = stage.validate(id, "000000").await;
    assert!(refused.status == 403 && refused.error().contains("not present in entity"), "{refused:?}");
    assert_eq!((stage.entities().await, stage.tokens().await), before);
}

#[tokio::test]
async fn all_enforcements_must_be_met_and_one_code_serves_those_of_the_same_method() {
    let (stage, key) = Stage::strict().await;
    let other = new_method(&stage.rig).await;
    let other_key = stage.enroll(&stage.bob, &other).await;
    let rule = json!({ "mfa_method_ids": [stage.method], "identity_entity_ids": [stage.bob] });
    stage.rig.must("POST", "identity/mfa/login-enforcement/same", rule).await;
    let id = stage.waits().await;
    text_of(&stage.validate(&id, &stage.code(&key, 0)).await);
    let rule = json!({ "mfa_method_ids": [other], "identity_entity_ids": [stage.bob] });
    stage.rig.must("POST", "identity/mfa/login-enforcement/more", rule).await;
    stage.rig.advance(60);
    let id = stage.waits().await;
    assert_eq!(stage.validate(&id, &stage.code(&key, 0)).await.status, 403);
    stage.rig.advance(60);
    let both = json!({ stage.method.clone(): [stage.code(&key, 0)], other: [stage.code(&other_key, 0)] });
    let body = json!({ "mfa_request_id": id, "mfa_payload": both });
    text_of(&stage.rig.ask("POST", "sys/mfa/validate", body).with("").send().await);
}

#[tokio::test]
async fn a_token_that_was_bound_to_an_address_keeps_that_of_the_login() {
    let (stage, key) = Stage::strict().await;
    stage.rig.must("POST", "auth/userpass/users/bob", json!({ "token_strictly_bind_ip": true })).await;
    let ask = stage.rig.ask("POST", "auth/userpass/login/bob", json!({ "password": "pass-of-bob" }));
    let got = ask.with("").from("10.0.0.5").send().await;
    let id = got.json["auth"]["mfa_requirement"]["mfa_request_id"].clone();
    let body = json!({ "mfa_request_id": id, "mfa_payload": { stage.method.clone(): [stage.code(&key, 0)] } });
    let token = text_of(&stage.rig.ask("POST", "sys/mfa/validate", body).with("").from("10.0.0.6").send().await);
    let look = |address: &'static str| {
        stage.rig.ask("GET", "auth/token/lookup-self", Value::Null).with(&token).from(address).send()
    };
    assert_eq!((look("10.0.0.5").await.status, look("10.0.0.6").await.status), (200, 403));
}

#[tokio::test]
async fn the_token_can_be_wrapped_and_what_waits_cannot() {
    let (stage, key) = Stage::strict().await;
    let ask = stage.rig.ask("POST", "auth/userpass/login/bob", json!({ "password": "pass-of-bob" }));
    let got = ask.with("").header("x-vault-wrap-ttl", "60s").send().await;
    let id = got.json["auth"]["mfa_requirement"]["mfa_request_id"].clone();
    let body = json!({ "mfa_request_id": id, "mfa_payload": { stage.method.clone(): [stage.code(&key, 0)] } });
    let ask = stage.rig.ask("POST", "sys/mfa/validate", body).with("").header("x-vault-wrap-ttl", "60s");
    let got = ask.send().await;
    assert!(got.json["wrap_info"]["token"].is_string() && got.json["auth"].is_null(), "{got:?}");
}

#[tokio::test]
async fn a_recovery_code_opens_a_login() {
    let (stage, key) = Stage::strict().await;
    let policy = r#"path "identity/mfa/method/recovery/generate" { capabilities = ["update"] }"#;
    stage.rig.must("PUT", "sys/policies/acl/own", json!({ "policy": policy })).await;
    stage.rig.must("POST", "auth/userpass/users/bob", json!({ "token_policies": ["own"] })).await;
    let token = stage.signed_in(&key).await;
    let made = stage.rig.ask("POST", "identity/mfa/method/recovery/generate", json!({})).with(&token).send().await;
    let code = made.json["data"]["recovery_codes"][0].as_str().unwrap().to_owned();
    let id = stage.waits().await;
    text_of(&stage.validate(&id, &code).await);
    let id = stage.waits().await;
    assert_eq!(stage.validate(&id, &code).await.status, 403, "each once");
}
