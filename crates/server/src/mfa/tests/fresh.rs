//! What a token remembers of the second factor, and how it is shown anew.

use super::*;

const STEP_UP: &str = r#"path "sys/mfa/step-up" { capabilities = ["update"] }
    path "auth/token/create" { capabilities = ["update"] }
    path "auth/token/session" { capabilities = ["update"] }
    path "auth/token/renew-self" { capabilities = ["update"] }"#;

impl Stage {
    /// Bob may step up; his key.
    async fn stepping() -> (Self, String) {
        let (stage, key) = Self::strict().await;
        stage.rig.must("PUT", "sys/policies/acl/step", json!({ "policy": STEP_UP })).await;
        stage.rig.must("POST", "auth/userpass/users/bob", json!({ "token_policies": ["step"] })).await;
        (stage, key)
    }

    /// What a token remembers.
    async fn passed(&self, token: &str) -> Option<MfaPassed> {
        let live = self.rig.vault().tokens.find(token, self.rig.clock.now()).await.unwrap().unwrap();
        live.record.mfa.clone()
    }

    async fn step_up(&self, token: &str, body: Value) -> Got {
        self.rig.ask("POST", "sys/mfa/step-up", body).with(token).send().await
    }

    async fn opened(&self, token: &str) -> String {
        let got = self.step_up(token, json!({})).await;
        assert_eq!(got.json["data"]["mfa_constraints"]["step-up"]["any"][0]["id"], self.method, "{got:?}");
        got.json["data"]["mfa_request_id"].as_str().unwrap().to_owned()
    }

    fn with_code(&self, id: &str, code: &str) -> Value {
        json!({ "mfa_request_id": id, "mfa_payload": { self.method.clone(): [code] } })
    }
}

#[tokio::test]
async fn a_token_remembers_when_and_a_step_up_renews_it() {
    let (mut stage, key) = Stage::stepping().await;
    let began = stage.rig.clock.now();
    let token = stage.signed_in(&key).await;
    assert_eq!(stage.passed(&token).await, Some(MfaPassed { at: began, methods: vec![stage.method.clone()] }));
    stage.rig.advance(3600);
    stage.rig.ask("POST", "auth/token/renew-self", json!({})).with(&token).send().await;
    assert_eq!(stage.passed(&token).await.unwrap().at, began, "a renewal shows nothing");
    let id = stage.opened(&token).await;
    let got = stage.step_up(&token, stage.with_code(&id, &stage.code(&key, 0))).await;
    assert_eq!((got.status, &got.json["data"]["method_ids"]), (200, &json!([stage.method])), "{got:?}");
    let now = stage.rig.clock.now();
    assert_eq!(stage.passed(&token).await.unwrap().at, now);
    let again = stage.step_up(&token, stage.with_code(&id, &stage.code(&key, 1))).await;
    assert_eq!((again.status, again.error()), (400, "invalid request ID"));
    stage.rig.restart().await;
    assert_eq!(stage.passed(&token).await.unwrap().at, now, "it is on disk");
}

#[tokio::test]
async fn a_child_has_nothing_of_it() {
    let (stage, key) = Stage::stepping().await;
    let token = stage.signed_in(&key).await;
    for path in ["auth/token/create", "auth/token/session"] {
        let child = text_of(&stage.rig.ask("POST", path, json!({})).with(&token).send().await);
        assert_eq!(stage.passed(&child).await, None, "{path}");
    }
    let batch = stage.rig.ask("POST", "auth/token/create", json!({ "type": "batch" })).with(&token).send().await;
    let batch = text_of(&batch);
    assert_eq!(stage.passed(&batch).await, None);
    let got = stage.step_up(&batch, json!({})).await;
    assert!(got.status == 400 && got.error().contains("batch token"), "{got:?}");
}

#[tokio::test]
async fn a_login_that_gives_a_batch_token_is_asked_as_well() {
    let (stage, key) = Stage::stepping().await;
    stage.rig.must("POST", "auth/userpass/users/bob", json!({ "token_type": "batch" })).await;
    let id = stage.waits().await;
    let token = text_of(&stage.validate(&id, &stage.code(&key, 0)).await);
    assert!(token.starts_with("b."));
    assert_eq!(stage.passed(&token).await.unwrap().methods, std::slice::from_ref(&stage.method));
}

#[tokio::test]
async fn each_request_is_for_its_own_token_and_its_own_path() {
    let (stage, key) = Stage::stepping().await;
    let token = stage.signed_in(&key).await;
    let other = stage.signed_in(&key).await;
    let before = stage.passed(&other).await;
    let id = stage.opened(&token).await;
    let code = stage.code(&key, 0);
    assert_eq!(stage.step_up(&other, stage.with_code(&id, &code)).await.status, 400, "of another token");
    assert_eq!(stage.passed(&other).await, before);
    assert_eq!(stage.validate(&id, &code).await.status, 400, "a step-up makes no token");
    let login = stage.waits().await;
    assert_eq!(stage.step_up(&token, stage.with_code(&login, &code)).await.status, 400, "nor a login a step-up");
    assert_eq!(stage.step_up(&token, stage.with_code(&id, &stage.code(&key, 2))).await.status, 403);
    assert_eq!(
        stage.step_up(&token, stage.with_code(&id, &code)).await.status,
        200,
        "the code was not used up by these"
    );
}

#[tokio::test]
async fn who_has_nothing_to_show_is_told_what_to_do() {
    let stage = Stage::new().await;
    stage.rig.must("PUT", "sys/policies/acl/step", json!({ "policy": STEP_UP })).await;
    stage.rig.must("POST", "auth/userpass/users/bob", json!({ "token_policies": ["step"] })).await;
    let token = text_of(&stage.login().await);
    assert_eq!(stage.passed(&token).await, None);
    let got = stage.step_up(&token, json!({})).await;
    assert!(got.status == 400 && got.error().contains("dewdrop mfa enroll"), "{got:?}");
    let root = stage.rig.ask("POST", "sys/mfa/step-up", json!({})).send().await;
    assert!(root.status == 400 && root.error().contains("belongs to nobody"), "{root:?}");
    let stranger = stage.step_up("", json!({})).await;
    assert_eq!(stranger.status, 403);
}
