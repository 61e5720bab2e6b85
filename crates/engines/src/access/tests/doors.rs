use super::*;

const SESSION: &str = "0123456789abcdef0123456789abcdef";

fn door(grant: &str, more: Value) -> Value {
    let mut door = json!({
        "session": SESSION, "grant": grant, "cluster": "prod", "namespace": "shop", "name": "web-1", "target": "pods/exec",
    });
    for (name, value) in more.as_object().unwrap() {
        door[name] = value.clone();
    }
    door
}

/// A house where ann's grant lets her exec.
async fn stage() -> (Stage, String) {
    let mut s = Stage::new();
    let rules = json!([
        { "api_groups": [""], "resources": ["pods/exec"], "verbs": ["create"] },
        { "api_groups": [""], "resources": ["pods/ephemeralcontainers"], "verbs": ["patch"] },
    ]);
    s.role(json!({ "rules": rules })).await.unwrap();
    let id = s.running().await;
    (s, id)
}

/// What the webhook is answered: `""` lets in.
async fn asks(s: &Stage, door: Value) -> String {
    let mut ask = json!({ "user": "ann", "question": "q1", "container": "app", "replaced": true });
    for (name, value) in door.as_object().unwrap() {
        ask[name] = value.clone();
    }
    let told = s.harness.write("exec-check", ask).await.unwrap().data();
    if told["allowed"] == true { String::new() } else { told["refused"].as_str().unwrap().to_owned() }
}

async fn announced(s: &Stage, door: Value) {
    s.harness.write("announce", door).await.unwrap();
}

#[tokio::test]
async fn who_was_announced_with_a_grant_gets_in_once() {
    let (s, id) = stage().await;
    announced(&s, door(&id, json!({}))).await;
    assert_eq!(asks(&s, door(&id, json!({}))).await, "");
    assert_eq!(asks(&s, door(&id, json!({}))).await, "", "the API server may ask the same question again");
    let again = asks(&s, door(&id, json!({ "question": "q2" }))).await;
    assert!(again.contains("announced"), "a session's name is good for one door: {again}");
    let debug = json!({ "session": "d".repeat(32), "target": "pods/ephemeralcontainers" });
    announced(&s, door(&id, debug.clone())).await;
    assert_eq!(asks(&s, door(&id, debug)).await, "");
}

#[tokio::test]
async fn the_name_of_a_grant_alone_opens_nothing() {
    let (s, id) = stage().await;
    assert!(asks(&s, door(&id, json!({}))).await.contains("announced"), "forged extras");
    assert!(asks(&s, door("", json!({}))).await.contains("did not come through the access proxy"));
    assert!(asks(&s, door(&id, json!({ "question": "" }))).await.contains("did not come"));
    for other in [
        json!({ "namespace": "web" }),
        json!({ "name": "web-2" }),
        json!({ "target": "pods/attach" }),
        json!({ "cluster": "stage" }),
        json!({ "grant": "another" }),
    ] {
        announced(&s, door(&id, json!({}))).await;
        let told = asks(&s, door(&id, other.clone())).await;
        assert!(told.contains("announced"), "{other}: {told}");
        s.harness.clock.advance(Duration::from_secs(31));
    }
    announced(&s, door(&id, json!({}))).await;
    s.harness.clock.advance(Duration::from_secs(30));
    assert!(asks(&s, door(&id, json!({}))).await.contains("announced"), "an old announcement");
}

#[tokio::test]
async fn the_grant_must_be_this_persons_and_allow_this_and_run() {
    let (mut s, id) = stage().await;
    announced(&s, door(&id, json!({}))).await;
    assert!(asks(&s, door(&id, json!({ "user": "ben" }))).await.contains("not this person's"));
    let attach = json!({ "session": "a".repeat(32), "target": "pods/attach" });
    announced(&s, door(&id, attach.clone())).await;
    assert!(asks(&s, door(&id, attach)).await.contains("does not allow it"));
    let odd = json!({ "session": "b".repeat(32), "target": "pods/log" });
    announced(&s, door(&id, odd.clone())).await;
    assert!(asks(&s, door(&id, odd)).await.contains("does not allow it"));
    s.says("ben", &format!("requests/{id}/revoke"), json!({ "reason": "enough" })).await.unwrap();
    let late = json!({ "session": "c".repeat(32) });
    announced(&s, door(&id, late.clone())).await;
    assert!(asks(&s, door(&id, late)).await.contains("has ended or was revoked"));
}

#[tokio::test]
async fn an_open_namespace_needs_no_grant_and_is_told_for_the_record() {
    let (s, _) = stage().await;
    assert_eq!(asks(&s, door("", json!({ "open": true }))).await, "");
}

#[tokio::test]
async fn a_session_has_a_name_that_nobody_guesses_and_one_door() {
    let (s, id) = stage().await;
    let short = s.harness.write("announce", door(&id, json!({ "session": "short" }))).await;
    assert_eq!(short.unwrap_err().kind, Kind::BadRequest);
    announced(&s, door(&id, json!({}))).await;
    let twice = s.harness.write("announce", door(&id, json!({ "name": "other" }))).await;
    assert!(twice.is_err(), "an announcement is not changed");
}

#[tokio::test]
async fn nobody_takes_all_the_places() {
    let (s, id) = stage().await;
    let of = |grant: &str, number: u32| door(grant, json!({ "session": format!("{number:032}") }));
    for number in 0..200 {
        announced(&s, of("greedy", number)).await;
    }
    let refused = s.harness.write("announce", of("greedy", 200)).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Unavailable);
    announced(&s, door(&id, json!({}))).await;
    assert_eq!(asks(&s, door(&id, json!({}))).await, "");
}

#[tokio::test]
async fn what_labels_open_is_said_whole_or_not_at_all() {
    let s = Stage::new();
    let change = json!({
        "cluster": "prod", "namespace": "shop", "user": "admin", "question": "q1",
        "open": true, "was_open": false, "replaced": true, "was_replaced": true,
    });
    s.harness.write("namespace-doors", change.clone()).await.unwrap();
    for field in ["cluster", "namespace", "user", "open", "was_open", "replaced", "was_replaced"] {
        let mut part = change.clone();
        part.as_object_mut().unwrap().remove(field);
        let refused = s.harness.write("namespace-doors", part).await.unwrap_err();
        assert!(refused.kind == Kind::BadRequest && refused.told.contains(field), "{field}: {refused}");
    }
    let mut long = change;
    long["user"] = "x".repeat(513).into();
    assert!(s.harness.write("namespace-doors", long).await.is_err());
}
