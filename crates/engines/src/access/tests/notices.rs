mod trouble;

use std::future::Future;

use dewdrop_core::Clock;
use dewdrop_core::store::{Batch, Store as _};
use dewdrop_testkit::receiver::{Receiver, Told};

use super::*;

impl Stage {
    /// Tells a receiver of everything, or as `change` says.
    async fn notice(&self, name: &str, url: &str, change: Value) -> Result<Got, Fault> {
        let mut notice = json!({ "type": "webhook", "url": url, "insecure_http": true, "secret": "0123456789abcdef" });
        for (name, value) in change.as_object().unwrap() {
            notice[name] = value.clone();
        }
        self.harness.write(&format!("notices/{name}"), notice).await
    }

    async fn state_of(&self, name: &str) -> Value {
        self.harness.read(&format!("notices/{name}")).await.unwrap().data()
    }

    async fn tick(&self) {
        self.harness.room.tick(&self.harness.mount, self.harness.clock.now()).await.unwrap();
    }
}

/// Waits for what other tasks do.
async fn until<F: Future<Output = bool>>(what: &str, so: impl Fn() -> F) {
    for _ in 0..6000 {
        if so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within a minute: {what}");
}

/// Waits until a receiver was told of these.
async fn told_of(receiver: &Receiver, events: &[&str]) -> Vec<Told> {
    until(&format!("told of {events:?}"), || async { receiver.told().len() >= events.len() }).await;
    assert_eq!(receiver.events(), events);
    receiver.told()
}

#[tokio::test]
async fn a_request_is_told_from_its_first_word_to_its_end() {
    let (mut s, receiver) = (Stage::new(), Receiver::start());
    s.role(json!({})).await.unwrap();
    s.notice("ops", &receiver.url(), json!({})).await.unwrap();
    let id = s.asked().await;
    let told = told_of(&receiver, &["requested"]).await.remove(0);
    let (body, request) = (&told.body, &told.body["request"]);
    assert_eq!(
        (&request["id"], &request["requester"], &request["state"]),
        (&json!(id), &json!("ann"), &json!("pending"))
    );
    assert_eq!(body["commands"][0], format!("dewdrop access approve -mount=test {id}"));
    let text = body["text"].as_str().unwrap();
    for part in
        ["ann asks for access: role look on cluster prod for 10 min", "disk full", "1 of leads", "get, list pods"]
    {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(told.head.contains(&format!("dewdrop-notice: {}", body["id"].as_str().unwrap())), "{}", told.head);
    s.says("ben", &format!("requests/{id}/approve"), json!({ "comment": "go" })).await.unwrap();
    told_of(&receiver, &["requested", "approved"]).await;
    s.certificate("ann", &id).await.unwrap();
    s.certificate("ann", &id).await.unwrap();
    told_of(&receiver, &["requested", "approved", "started"]).await;
    s.says("ben", &format!("requests/{id}/revoke"), json!({ "reason": "enough" })).await.unwrap();
    let told = told_of(&receiver, &["requested", "approved", "started", "revoked"]).await;
    assert_eq!((&told[1].body["by"], &told[1].body["comment"]), (&json!("ben"), &json!("go")));
    assert_eq!((&told[3].body["by"], &told[3].body["comment"]), (&json!("ben"), &json!("enough")));
    until("all is noted", || async { s.state_of("ops").await["sent"] == 4 }).await;
    let state = s.state_of("ops").await;
    assert_eq!((&state["waiting"], &state["last_error"]), (&json!(0), &json!("")));
    assert_eq!(state["last_sent"], "2026-01-01T00:00:00.000Z");
}

#[tokio::test]
async fn denied_withdrawn_and_more_time() {
    let (mut s, receiver) = (Stage::new(), Receiver::start());
    s.role(json!({})).await.unwrap();
    s.notice("ops", &receiver.url(), json!({ "events": "denied,withdrawn,requested,extended" })).await.unwrap();
    let id = s.asked().await;
    s.says("ben", &format!("requests/{id}/deny"), json!({ "comment": "no" })).await.unwrap();
    told_of(&receiver, &["requested", "denied"]).await;
    let id = s.asked().await;
    s.says("ann", &format!("requests/{id}/withdraw"), json!({})).await.unwrap();
    told_of(&receiver, &["requested", "denied", "requested", "withdrawn"]).await;
    let id = s.running().await;
    let more = s.says("ann", &format!("requests/{id}/extend"), json!({ "ttl": "20m" })).await.unwrap();
    let more = more["id"].as_str().unwrap().to_owned();
    s.says("ben", &format!("requests/{more}/approve"), json!({})).await.unwrap();
    let told =
        told_of(&receiver, &["requested", "denied", "requested", "withdrawn", "requested", "requested", "extended"])
            .await;
    let text = told[5].body["text"].as_str().unwrap();
    assert!(
        text.contains(&format!("ann asks for more time: role look on cluster prod for 20 min, beside {id}")),
        "{text}"
    );
}

#[tokio::test]
async fn one_of_several_approvals_is_told_with_what_is_missing() {
    let (mut s, receiver) = (Stage::new(), Receiver::start());
    s.role(json!({ "approvals": [{ "groups": ["leads"], "count": 2 }] })).await.unwrap();
    s.notice("ops", &receiver.url(), json!({})).await.unwrap();
    let id = s.asked().await;
    s.says("ben", &format!("requests/{id}/approve"), json!({ "comment": "fine with me" })).await.unwrap();
    let told = told_of(&receiver, &["requested", "approval"]).await.remove(1).body;
    assert_eq!((&told["by"], &told["comment"]), (&json!("ben"), &json!("fine with me")));
    assert_eq!((&told["request"]["state"], &told["request"]["approvals_missing"]), (&json!("pending"), &json!(1)));
    let text = told["text"].as_str().unwrap();
    assert!(text.starts_with("ben approved for ann, and 1 more must approve: role look on cluster prod"), "{text}");
    assert_eq!(told["commands"][0], format!("dewdrop access approve -mount=test {id}"), "the next one may type it");
    s.says("cleo", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    let told = told_of(&receiver, &["requested", "approval", "approved"]).await.remove(2).body;
    assert_eq!(told["by"], "ben, cleo");
}

#[tokio::test]
async fn a_role_that_is_deleted_ends_its_grants_for_good_and_each_is_told() {
    let (mut s, receiver) = (Stage::new(), Receiver::start());
    s.role(json!({})).await.unwrap();
    let (waits, runs) = (s.asked().await, s.running().await);
    s.notice("ops", &receiver.url(), json!({})).await.unwrap();
    s.harness.delete("roles/look").await.unwrap();
    let told = told_of(&receiver, &["revoked"]).await.remove(0).body;
    assert_eq!((&told["request"]["id"], &told["request"]["state"]), (&json!(runs), &json!("revoked")));
    assert_eq!(told["comment"], "the role look was deleted");
    s.tick().await;
    assert_eq!(receiver.events(), ["revoked"], "once");
    s.role(json!({})).await.unwrap();
    assert!(s.live().await.is_empty() && s.certificate("ann", &runs).await.is_err(), "a new role revives nothing");
    s.says("ben", &format!("requests/{waits}/deny"), json!({})).await.unwrap();
}

#[tokio::test]
async fn what_a_crash_left_of_a_deleted_role_is_ended_by_the_sweep() {
    let (mut s, receiver) = (Stage::new(), Receiver::start());
    s.role(json!({})).await.unwrap();
    let id = s.running().await;
    s.notice("ops", &receiver.url(), json!({})).await.unwrap();
    let role = Batch::new().delete(crate::access::keys::role("look"));
    s.harness.store.commit(role).await.unwrap();
    s.tick().await;
    let told = told_of(&receiver, &["revoked"]).await.remove(0).body;
    assert_eq!((&told["request"]["id"], &told["by"]), (&json!(id), &json!("")));
    assert!(told["text"].as_str().unwrap().starts_with("the access of ann was taken away"), "{told}");
    s.tick().await;
    assert_eq!(receiver.events(), ["revoked"], "once");
}

#[tokio::test]
async fn an_alarm_and_what_time_does() {
    let (mut s, receiver) = (Stage::new(), Receiver::start());
    s.role(json!({ "break_glass_entities": "ann" })).await.unwrap();
    s.notice("ops", &receiver.url(), json!({})).await.unwrap();
    let ask = json!({ "role": "look", "reason": "fire", "break_glass": true });
    let id = s.says("ann", "request", ask).await.unwrap()["id"].as_str().unwrap().to_owned();
    let told = told_of(&receiver, &["break_glass"]).await;
    assert!(told[0].body["text"].as_str().unwrap().starts_with("ALARM: ann took access"), "{told:?}");
    s.certificate("ann", &id).await.unwrap();
    told_of(&receiver, &["break_glass", "started"]).await;
    s.tick().await;
    s.later(11);
    s.tick().await;
    told_of(&receiver, &["break_glass", "started", "expired", "review_due"]).await;
    s.later(1);
    s.tick().await;
    assert_eq!(
        s.sees("ben", "watch").await.unwrap()["requests"][0]["id"],
        id.as_str(),
        "it shows until it is reviewed"
    );
    s.says("ben", &format!("requests/{id}/review"), json!({})).await.unwrap();
    assert_eq!(s.sees("ben", "watch").await.unwrap()["requests"], json!([]));
    // One that nobody answers.
    s.asked().await;
    s.later(8 * 60 + 1);
    s.tick().await;
    s.tick().await;
    told_of(&receiver, &["break_glass", "started", "expired", "review_due", "reviewed", "requested", "lapsed"]).await;
}

#[tokio::test]
async fn only_what_was_wanted_is_told() {
    let (mut s, receiver) = (Stage::new(), Receiver::start());
    s.role(json!({})).await.unwrap();
    s.notice("others", &receiver.url(), json!({ "roles": "loo,lock*" })).await.unwrap();
    s.notice("later", &receiver.url(), json!({ "events": "denied" })).await.unwrap();
    s.notice("these", &receiver.url(), json!({ "roles": "lo*" })).await.unwrap();
    s.asked().await;
    told_of(&receiver, &["requested"]).await;
    for name in ["others", "later"] {
        let state = s.state_of(name).await;
        assert_eq!((&state["waiting"], &state["sent"]), (&json!(0), &json!(0)));
    }
    let refused = s.notice("these", &receiver.url(), json!({ "events": "approved,aproved" })).await.unwrap_err();
    assert!(refused.told.contains("break_glass, review_due"), "{refused}");
}

#[tokio::test]
async fn slack_makes_no_links_and_calls_nobody() {
    let (mut s, receiver) = (Stage::new(), Receiver::start());
    s.role(json!({})).await.unwrap();
    let slack = json!({ "type": "slack", "url": receiver.url(), "insecure_http": true });
    s.harness.write("notices/chat", slack).await.unwrap();
    let reason = "<!channel> <https://evil.example|approve here> *now* `x`";
    let id = s.says("ann", "request", json!({ "role": "look", "reason": reason })).await.unwrap()["id"].clone();
    until("it is told", || async { receiver.told().len() == 1 }).await;
    let told = receiver.told().remove(0);
    assert!(!told.head.to_lowercase().contains("signature"), "{}", told.head);
    assert_eq!(told.body["text"], "ann asks for access: role look on cluster prod for 10 min");
    let blocks = told.body["blocks"].as_array().unwrap();
    let mut texts = blocks.iter().flat_map(|block| {
        let fields = block["fields"].as_array().cloned().unwrap_or_default();
        fields.into_iter().chain(std::iter::once(block["text"].clone()))
    });
    let said = texts.clone().find(|text| text["text"].as_str().is_some_and(|text| text.contains("evil"))).unwrap();
    assert_eq!((&said["type"], &said["text"]), (&json!("plain_text"), &json!(format!("Reason: {reason}"))));
    let commands = texts.find(|text| text["type"] == "mrkdwn").unwrap();
    assert!(commands["text"].as_str().unwrap().contains(&format!("approve -mount=test {}", id.as_str().unwrap())));
}

#[tokio::test]
async fn secrets_are_never_read_back_and_not_sent_elsewhere() {
    let (s, receiver) = (Stage::new(), Receiver::start());
    s.notice("ops", &receiver.url(), json!({})).await.unwrap();
    let mail = json!({
        "type": "email", "host": "mail.example", "username": "dewdrop", "password": "the-password",
        "from": "Dewdrop <dewdrop@example.com>", "to": "leads@example.com, Ben <ben@example.com>",
    });
    s.harness.write("notices/mail", mail).await.unwrap();
    let shown = format!("{} {}", s.state_of("ops").await, s.state_of("mail").await);
    for secret in ["0123456789abcdef", "the-password", "/hooks/T0"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert_eq!(s.state_of("mail").await["port"], 587);
    for change in [
        json!({ "host": "evil.example" }),
        json!({ "port": 2525 }),
        json!({ "tls": "none" }),
        json!({ "username": "other" }),
        json!({ "ca_pem": "x" }),
        json!({ "to": "a@example.com\r\nBcc: b@example.com" }),
        json!({ "from": "" }),
        json!({ "url": "https://a.example" }),
    ] {
        let refused = s.harness.write("notices/mail", change.clone()).await.unwrap_err();
        assert_eq!(refused.kind, Kind::BadRequest, "{change}");
        assert!(!refused.told.contains("the-password"), "{refused}");
    }
    s.harness.write("notices/mail", json!({ "host": "other.example", "password": "another" })).await.unwrap();
    assert_eq!(s.state_of("mail").await["host"], "other.example");
    s.harness.write("notices/mail", json!({ "to": "leads@example.com" })).await.unwrap();
}

#[tokio::test]
async fn lists_of_open_requests_have_all_of_them_and_no_others() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let (open, over, running) = (s.asked().await, s.asked().await, s.running().await);
    s.says("ben", &format!("requests/{over}/deny"), json!({})).await.unwrap();
    for (state, expected) in
        [("pending", vec![open.clone()]), ("active", vec![running.clone()]), ("denied", vec![over])]
    {
        let listed = s.harness.call(dewdrop_core::Operation::List, "requests", json!({ "state": state })).await;
        assert_eq!(listed.unwrap().keys(), expected, "{state}");
    }
    let watched = s.sees("cleo", "watch").await.unwrap();
    let ids: Vec<&str> =
        watched["requests"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&open.as_str()) && ids.contains(&running.as_str()));
    assert_eq!(s.sees("eve", "watch").await.unwrap()["requests"], json!([]), "not hers, and not hers to approve");
    assert_eq!(s.sees("ann", "watch").await.unwrap()["requests"][0]["own"], true);
}
