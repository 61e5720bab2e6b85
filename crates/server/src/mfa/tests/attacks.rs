//! What somebody tries who has a password and no second factor, or a code that he saw.

use super::*;

#[tokio::test]
async fn a_request_serves_once() {
    let (stage, key) = Stage::strict().await;
    let id = stage.waits().await;
    text_of(&stage.validate(&id, &stage.code(&key, 0)).await);
    let again = stage.validate(&id, &stage.code(&key, 1)).await;
    assert_eq!((again.status, again.error()), (400, "invalid request ID"));
}

#[tokio::test]
async fn of_two_at_the_same_time_one_gets_the_token() {
    let (stage, key) = Stage::strict().await;
    let id = stage.waits().await;
    let (here, next) = (stage.code(&key, 0), stage.code(&key, 1));
    let (one, other) = tokio::join!(stage.validate(&id, &here), stage.validate(&id, &next));
    assert_eq!([one.status, other.status].iter().filter(|status| **status == 200).count(), 1);
}

#[tokio::test]
async fn a_request_does_not_wait_long_and_does_not_survive_a_restart() {
    let (mut stage, key) = Stage::strict().await;
    let id = stage.waits().await;
    stage.rig.advance(299);
    let last = stage.waits().await;
    stage.rig.advance(1);
    let late = stage.validate(&id, &stage.code(&key, 0)).await;
    assert_eq!((late.status, late.error()), (400, "invalid request ID"));
    stage.rig.restart().await;
    assert_eq!(stage.validate(&last, &stage.code(&key, 0)).await.status, 400);
}

#[tokio::test]
async fn a_code_is_taken_once_whatever_the_request() {
    let (mut stage, key) = Stage::strict().await;
    let code = stage.code(&key, 0);
    let (one, other) = (stage.waits().await, stage.waits().await);
    text_of(&stage.validate(&one, &code).await);
    assert_eq!(stage.validate(&other, &code).await.status, 403);
    assert_eq!(stage.login_with(&format!("{}:{code}", stage.method)).await.status, 403);
    stage.rig.restart().await;
    assert_eq!(stage.login_with(&format!("{}:{code}", stage.method)).await.status, 403, "not after a restart either");
    let id = stage.waits().await;
    for beside in [-2, 2] {
        assert_eq!(stage.validate(&id, &stage.code(&key, beside)).await.status, 403, "beyond the skew");
    }
}

#[tokio::test]
async fn the_second_factor_of_somebody_else_is_none() {
    let (stage, _) = Stage::strict().await;
    stage.rig.must("POST", "auth/userpass/users/eve", json!({ "password": "pass-of-eve" })).await;
    let eve = stage.rig.must("POST", "identity/entity", json!({ "name": "eve" })).await["data"]["id"].clone();
    let alias = json!({ "name": "eve", "canonical_id": eve, "mount_accessor": stage.accessor });
    stage.rig.must("POST", "identity/entity-alias", alias).await;
    let key = stage.enroll(eve.as_str().unwrap(), &stage.method).await;
    // Eve knows bob's password and has an authenticator of her own.
    let id = stage.waits().await;
    let got = stage.validate(&id, &stage.code(&key, 0)).await;
    assert_eq!(got.status, 403, "{got:?}");
    let ask = stage.rig.ask("POST", "auth/userpass/login/eve", json!({ "password": "pass-of-eve" })).with("");
    let own = ask.send().await.json["auth"]["mfa_requirement"]["mfa_request_id"].as_str().unwrap().to_owned();
    let made = stage.validate(&own, &stage.code(&key, 0)).await;
    assert_eq!(made.json["auth"]["entity_id"], eve, "her own request gives her own token");
}

#[tokio::test]
async fn a_method_that_was_not_asked_for_is_none() {
    let (stage, _) = Stage::strict().await;
    let other = new_method(&stage.rig).await;
    let key = stage.enroll(&stage.bob, &other).await;
    let id = stage.waits().await;
    let code = stage.code(&key, 0);
    let got = stage.validate_by(&id, &other, &code).await;
    assert!(got.status == 403 && got.error().contains("failed to find MFA credentials"), "{got:?}");
    assert_eq!(stage.validate(&id, &code).await.status, 403, "nor under the name of the right one");
    assert_eq!(stage.login_with(&format!("{other}:{code}")).await.status, 403);
    let none = json!({ "mfa_request_id": id, "mfa_payload": {} });
    assert_eq!(stage.rig.ask("POST", "sys/mfa/validate", none).with("").send().await.status, 403);
    for bad in [json!("1"), json!({ "a": "1" }), json!({ "a": ["1", "2"] }), json!({ "a": [1] })] {
        let body = json!({ "mfa_request_id": id, "mfa_payload": bad });
        assert_eq!(stage.rig.ask("POST", "sys/mfa/validate", body).with("").send().await.status, 400);
    }
}

#[tokio::test]
async fn another_mount_is_no_way_around_a_rule_about_people() {
    let stage = Stage::new().await;
    let other = stage.rig.must("GET", "sys/auth", Value::Null).await["data"]["other/"]["accessor"].clone();
    let alias = json!({ "name": "bob", "canonical_id": stage.bob, "mount_accessor": other });
    stage.rig.must("POST", "identity/entity-alias", alias).await;
    let group = json!({ "name": "admins", "member_entity_ids": [stage.bob] });
    let group = stage.rig.must("POST", "identity/group", group).await["data"]["id"].clone();
    for of in [json!({ "identity_group_ids": [group] }), json!({ "identity_entity_ids": [stage.bob] })] {
        stage.rule(of).await;
        for mount in ["userpass", "other"] {
            let got = stage.login_at(mount, "pass-of-bob").await;
            assert!(got.json["auth"]["mfa_requirement"].is_object(), "{mount}: {got:?}");
        }
    }
}

#[tokio::test]
async fn a_rule_that_comes_while_a_login_waits_holds_for_it() {
    let (stage, key) = Stage::strict().await;
    let id = stage.waits().await;
    let other = new_method(&stage.rig).await;
    let rule = json!({ "mfa_method_ids": [other], "identity_entity_ids": [stage.bob] });
    stage.rig.must("POST", "identity/mfa/login-enforcement/more", rule).await;
    assert_eq!(stage.validate(&id, &stage.code(&key, 0)).await.status, 403);
    let id = stage.waits().await;
    stage.rig.must("DELETE", "sys/auth/userpass", Value::Null).await;
    assert_eq!(stage.validate(&id, &stage.code(&key, 1)).await.status, 400, "a mount that is gone logs nobody in");
}

#[tokio::test]
async fn guesses_are_counted_over_all_requests() {
    let (stage, key) = Stage::strict().await;
    for _ in 0..5 {
        let id = stage.waits().await;
        assert_eq!(stage.validate(&id, "000000").await.status, 403);
    }
    let id = stage.waits().await;
    let got = stage.validate(&id, &stage.code(&key, 0)).await;
    assert!(got.status == 403 && got.error().contains("try again in 60 seconds"), "{got:?}");
    assert_eq!(stage.login_with(&format!("{}:{}", stage.method, stage.code(&key, 0))).await.status, 403);
    stage.rig.advance(60);
    text_of(&stage.validate(&id, &stage.code(&key, 0)).await);
}

#[tokio::test]
async fn wrong_passwords_lock_as_ever() {
    let (stage, key) = Stage::strict().await;
    for _ in 0..5 {
        assert_eq!(stage.login_at("userpass", "wrong").await.status, 400);
    }
    assert_eq!(stage.login().await.status, 403, "no request for a second factor either");
    assert_eq!(stage.login_with(&format!("{}:{}", stage.method, stage.code(&key, 0))).await.status, 403);
}

#[tokio::test]
async fn a_disabled_person_gets_no_token_by_a_code() {
    let (stage, key) = Stage::strict().await;
    let id = stage.waits().await;
    stage.rig.must("POST", &format!("identity/entity/id/{}", stage.bob), json!({ "disabled": true })).await;
    assert_eq!(stage.validate(&id, &stage.code(&key, 0)).await.status, 403);
}

#[tokio::test]
async fn a_request_goes_on_in_its_own_namespace() {
    let rig = Rig::new().await;
    rig.must("POST", "sys/namespaces/team", json!({})).await;
    rig.must("POST", "team/sys/auth/userpass", json!({ "type": "userpass" })).await;
    rig.must("POST", "team/auth/userpass/users/bob", json!({ "password": "pass-of-bob" })).await;
    let accessor = rig.must("GET", "team/sys/auth", Value::Null).await["data"]["userpass/"]["accessor"].clone();
    let entity = rig.must("POST", "team/identity/entity", json!({})).await["data"]["id"].clone();
    let alias = json!({ "name": "bob", "canonical_id": entity, "mount_accessor": accessor });
    rig.must("POST", "team/identity/entity-alias", alias).await;
    let made = rig.must("POST", "team/identity/mfa/method/totp", json!({ "issuer": "dewdrop" })).await;
    let method = made["data"]["method_id"].as_str().unwrap().to_owned();
    let rule = json!({ "mfa_method_ids": [method], "auth_method_types": ["userpass"] });
    rig.must("POST", "team/identity/mfa/login-enforcement/x", rule).await;
    let ask = json!({ "method_id": method, "entity_id": entity });
    let url = rig.must("POST", "team/identity/mfa/method/totp/admin-generate", ask).await["data"]["url"].clone();
    let login = rig.ask("POST", "team/auth/userpass/login/bob", json!({ "password": "pass-of-bob" })).with("");
    let id = login.send().await.json["auth"]["mfa_requirement"]["mfa_request_id"].clone();
    let code = passcode(url.as_str().unwrap(), rig.clock.now().seconds(), 0);
    let body = json!({ "mfa_request_id": id, "mfa_payload": { method: [code] } });
    let elsewhere = rig.ask("POST", "sys/mfa/validate", body.clone()).with("").send().await;
    assert_eq!((elsewhere.status, elsewhere.error()), (400, "invalid request ID"));
    text_of(&rig.ask("POST", "team/sys/mfa/validate", body).with("").send().await);
}
