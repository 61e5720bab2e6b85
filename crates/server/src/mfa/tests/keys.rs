//! Logins and step-ups with a key, and the desk at which a terminal and a browser meet.

use dewdrop_testkit::passkey::SoftKey;

use super::*;

const ORIGIN: &str = "https://vault.example.com";
const OWN: &str = r#"path "identity/mfa/method/webauthn/*" { capabilities = ["list", "read", "update", "delete"] }
    path "sys/mfa/step-up" { capabilities = ["update"] }"#;

/// Bob, whose logins need his key.
async fn stage() -> (Stage, SoftKey) {
    let mut stage = Stage::new().await;
    let rig = &stage.rig;
    let made = rig.must("POST", "identity/mfa/method/webauthn", json!({ "rp_id": "vault.example.com" })).await;
    stage.method = made["data"]["method_id"].as_str().unwrap().to_owned();
    let rig = &stage.rig;
    rig.must("PUT", "sys/policies/acl/own", json!({ "policy": OWN })).await;
    rig.must("POST", "auth/userpass/users/bob", json!({ "token_policies": ["own"] })).await;
    let token = text_of(&stage.login().await);
    let key = stage.registered(&token).await;
    stage.rule(json!({ "auth_method_accessors": [stage.accessor] })).await;
    (stage, key)
}

impl Stage {
    async fn registered(&self, token: &str) -> SoftKey {
        let mut key = SoftKey::new(ORIGIN);
        let path = "identity/mfa/method/webauthn/register";
        let begin = self.rig.ask("POST", &format!("{path}/begin"), json!({ "method_id": self.method })).with(token);
        let begun = begin.send().await.json["data"].clone();
        let body =
            json!({ "registration_id": begun["registration_id"], "credential": key.register(&begun["options"]) });
        let finished = self.rig.ask("POST", &format!("{path}/finish"), body).with(token).send().await;
        assert_eq!(finished.status, 200, "{finished:?}");
        key
    }

    async fn send(&self, id: &str, answer: Value, browser: bool) -> Got {
        let body = json!({ "mfa_request_id": id, "mfa_payload": { self.method.clone(): answer }, "browser": browser });
        self.rig.ask("POST", "sys/mfa/validate", body).with("").from("10.0.0.5").send().await
    }

    async fn challenge(&self, id: &str) -> Value {
        let got = self.send(id, json!([]), false).await;
        assert_eq!(got.status, 200, "{got:?}");
        got.json["data"]["mfa_challenges"][&self.method].clone()
    }

    async fn desk(&self, what: &str, body: Value, from: &str) -> Got {
        self.rig.ask("POST", &format!("sys/mfa/browser/{what}"), body).with("").from(from).send().await
    }
}

#[tokio::test]
async fn a_login_asks_the_key_and_its_answer_makes_the_token() {
    let (stage, mut key) = stage().await;
    let got = stage.login().await;
    let method = &got.json["auth"]["mfa_requirement"]["mfa_constraints"]["strict"]["any"][0];
    assert_eq!((&method["type"], &method["uses_passcode"]), (&json!("webauthn"), &json!(false)), "{got:?}");
    let id = stage.waits().await;
    let signed = key.sign(&stage.challenge(&id).await);
    let made = stage.send(&id, json!([signed]), false).await;
    assert_eq!(made.json["auth"]["entity_id"], json!(stage.bob));
    text_of(&made);
    assert_eq!(stage.send(&id, json!([signed]), false).await.status, 400, "the request serves once");
    let id = stage.waits().await;
    let signed = key.sign(&stage.challenge(&id).await);
    text_of(&stage.send(&id, json!([signed.to_string()]), false).await);
}

#[tokio::test]
async fn a_challenge_is_for_its_own_request_and_for_one_answer() {
    let (stage, mut key) = stage().await;
    let (one, other) = (stage.waits().await, stage.waits().await);
    let (of_one, of_other) = (stage.challenge(&one).await, stage.challenge(&other).await);
    let got = stage.send(&other, json!([key.sign(&of_one)]), false).await;
    assert!(got.status == 403 && got.error().contains("another challenge"), "{got:?}");
    let got = stage.send(&other, json!([key.sign(&of_other)]), false).await;
    assert!(got.status == 403 && got.error().contains("no challenge is open"), "used up by the wrong one: {got:?}");
    stage.rig.advance(120);
    let got = stage.send(&one, json!([key.sign(&of_one)]), false).await;
    assert!(got.status == 403 && got.error().contains("waited too long"), "{got:?}");
    let again = stage.challenge(&one).await;
    text_of(&stage.send(&one, json!([key.sign(&again)]), false).await);
    let header = stage.login_with(&format!("{}:{}", stage.method, key.sign(&of_one))).await;
    assert_eq!(header.status, 403, "a header answers no challenge");
}

#[tokio::test]
async fn a_step_up_by_key_is_remembered_and_belongs_to_its_token() {
    let (stage, mut key) = stage().await;
    let id = stage.waits().await;
    let signed = key.sign(&stage.challenge(&id).await);
    let token = text_of(&stage.send(&id, json!([signed]), false).await);
    stage.rig.advance(3600);
    let step = |body: Value| stage.rig.ask("POST", "sys/mfa/step-up", body).with(&token).send();
    let id = step(json!({})).await.json["data"]["mfa_request_id"].as_str().unwrap().to_owned();
    let body = |answer: Value| json!({ "mfa_request_id": id, "mfa_payload": { stage.method.clone(): answer } });
    let asked = step(body(json!([]))).await.json["data"]["mfa_challenges"][&stage.method].clone();
    assert_eq!(stage.send(&id, json!([key.sign(&asked)]), false).await.status, 400, "a step-up makes no token");
    let done = step(body(json!([key.sign(&asked)]))).await;
    assert_eq!((done.status, &done.json["data"]["method_ids"]), (200, &json!([stage.method])), "{done:?}");
    let live = stage.rig.vault().tokens.find(&token, stage.rig.clock.now()).await.unwrap().unwrap();
    assert_eq!(live.record.mfa.clone().unwrap().at, stage.rig.clock.now());
}

#[tokio::test]
async fn terminal_and_browser_meet_by_codes_that_serve_once() {
    let (stage, mut key) = stage().await;
    let id = stage.waits().await;
    let asked = stage.send(&id, json!([]), true).await.json["data"]["browser"].clone();
    let ticket = json!({ "ticket": asked["ticket"] });
    assert_eq!(stage.desk("poll", ticket.clone(), "10.0.0.5").await.json["data"]["state"], "waiting");
    let page = stage.desk("take", json!({ "code": asked["code"] }), "10.0.0.5").await.json["data"].clone();
    assert_eq!((&page["act"], &page["address"]), (&json!("answer"), &json!("10.0.0.5")), "{page}");
    assert!(page["who"].as_str().unwrap().contains("bob"), "{page}");
    let again = stage.desk("take", json!({ "code": asked["code"] }), "10.0.0.5").await;
    assert!(again.status == 400 && again.error().contains("used already"), "{again:?}");
    assert_eq!(stage.desk("poll", ticket.clone(), "10.0.0.5").await.json["data"]["state"], "opened");
    let answer = key.sign(&page["options"]);
    let brought = json!({ "page": page["page"], "answer": answer });
    assert_eq!(stage.desk("answer", brought.clone(), "10.0.0.6").await.status, 403, "from elsewhere");
    for bad in [json!({ "page": page["page"] }), json!({ "page": page["page"], "answer": "x" }), json!({ "page": "x" })]
    {
        assert_eq!(stage.desk("answer", bad, "10.0.0.5").await.status, 400);
    }
    assert_eq!(stage.desk("answer", brought.clone(), "10.0.0.5").await.status, 204);
    assert_eq!(stage.desk("answer", brought, "10.0.0.5").await.status, 400, "once");
    let told = stage.desk("poll", ticket.clone(), "10.0.0.5").await.json["data"].clone();
    assert_eq!(told["answer"], answer);
    assert_eq!(stage.desk("poll", ticket, "10.0.0.5").await.status, 400, "once");
    text_of(&stage.send(&id, json!([told["answer"]]), false).await);
}

#[tokio::test]
async fn an_address_that_somebody_sent_is_refused_from_elsewhere() {
    let (stage, _) = stage().await;
    let id = stage.waits().await;
    let asked = stage.send(&id, json!([]), true).await.json["data"]["browser"].clone();
    let code = json!({ "code": asked["code"] });
    let got = stage.desk("take", code.clone(), "10.0.0.6").await;
    assert!(got.status == 403 && got.error().contains("another network address"), "{got:?}");
    assert_eq!(stage.desk("take", code, "10.0.0.5").await.status, 400, "and it is used up");
    let told = stage.desk("poll", json!({ "ticket": asked["ticket"] }), "10.0.0.5").await;
    assert_eq!(told.json["data"]["state"], "failed", "{told:?}");

    let method = format!("identity/mfa/method/webauthn/{}", stage.method);
    stage.rig.must("POST", &method, json!({ "rp_id": "vault.example.com", "same_address": false })).await;
    let asked = stage.send(&id, json!([]), true).await.json["data"]["browser"].clone();
    let got = stage.desk("take", json!({ "code": asked["code"] }), "10.0.0.6").await;
    assert_eq!(got.status, 200, "{got:?}");
    let page = got.json["data"]["page"].clone();
    let failed = json!({ "page": page, "failed": "NotAllowed\u{1b}[31mError<x>" });
    assert_eq!(stage.desk("answer", failed, "10.0.0.6").await.status, 204);
    let told = stage.desk("poll", json!({ "ticket": asked["ticket"] }), "10.0.0.5").await;
    assert_eq!(told.json["data"]["failed"], "NotAllowed31mErrorx", "nothing for a terminal to obey");

    let asked = stage.send(&id, json!([]), true).await.json["data"]["browser"].clone();
    stage.rig.advance(120);
    assert_eq!(stage.desk("take", json!({ "code": asked["code"] }), "10.0.0.5").await.status, 400, "too old");
}

#[tokio::test]
async fn who_has_no_key_gets_no_challenge() {
    let (stage, _) = stage().await;
    stage.rig.must("POST", "auth/userpass/users/eve", json!({ "password": "pass-of-eve" })).await;
    let ask = stage.rig.ask("POST", "auth/userpass/login/eve", json!({ "password": "pass-of-eve" })).with("");
    let id = ask.send().await.json["auth"]["mfa_requirement"]["mfa_request_id"].as_str().unwrap().to_owned();
    let got = stage.send(&id, json!([]), true).await;
    assert!(got.status == 403 && got.error().contains("not present in entity"), "{got:?}");
}
