use super::*;

#[tokio::test]
async fn asked_approved_started_and_over() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let asked = json!({ "role": "look", "reason": "disk full", "namespaces": "shop", "ttl": "5m" });
    let case = s.says("ann", "request", asked).await.unwrap();
    assert_eq!(case["summary"], json!(["get, list pods, pods/log in namespace shop of cluster prod"]));
    assert_eq!((&case["requester"], &case["approvals_needed"]), (&json!("ann"), &json!("1 of leads")));
    let id = case["id"].as_str().unwrap().to_owned();
    assert_eq!(s.lists("ben").await, [id.as_str()]);
    let read = s.sees("ben", &format!("requests/{id}")).await.unwrap();
    assert_eq!(read, case, "approvers read what whoever asked reads");
    assert!(s.live().await.is_empty());
    let fields = json!({ "digest": read["digest"], "comment": "ok" });
    let case = s.says("ben", &format!("requests/{id}/approve"), fields).await.unwrap();
    assert_eq!(case["state"], "granted");
    assert!(s.live().await.is_empty(), "not before it is started");
    s.later(3);
    let signed = s.certificate("ann", &id).await.unwrap();
    assert_eq!(signed["grant_ends_at"], "2026-01-01T00:08:00.000Z");
    assert_eq!(s.live().await, [id.as_str()]);
    s.later(4);
    assert_eq!(s.certificate("ann", &id).await.unwrap()["grant_ends_at"], signed["grant_ends_at"]);
    s.later(1);
    assert!(s.live().await.is_empty());
    let refused = s.certificate("ann", &id).await.unwrap_err();
    assert_eq!(refused.told, "the request is expired; only one that is granted can be started");
}

#[tokio::test]
async fn revoked_is_over_at_once_and_proxies_hear_of_it() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let id = s.running().await;
    let live = s.harness.read("live").await.unwrap().data();
    let proxy = Harness {
        caller: caller("e-proxy"),
        clock: s.harness.clock.clone(),
        store: s.harness.store.clone(),
        house: s.harness.house.clone(),
        mount: s.harness.mount.clone(),
        room: s.harness.room.clone(),
    };
    let held = proxy.read_with("live", json!({ "version": live["version"], "wait": "30s" }));
    tokio::pin!(held);
    assert!(tokio::time::timeout(Duration::from_millis(50), &mut held).await.is_err(), "nothing to tell yet");
    s.says("ben", &format!("requests/{id}/revoke"), json!({ "reason": "enough" })).await.unwrap();
    let told = tokio::time::timeout(Duration::from_secs(20), held).await.unwrap().unwrap().data();
    assert_eq!(told["grants"], json!([]));
    assert!(s.certificate("ann", &id).await.is_err());
    let case = s.sees("ann", &format!("requests/{id}")).await.unwrap();
    assert_eq!((&case["state"], &case["ended"]["by"]), (&json!("revoked"), &json!("ben")));
}

#[tokio::test]
async fn several_must_approve() {
    let mut s = Stage::new();
    s.role(json!({ "approvals": [{ "groups": ["leads"], "count": 2 }, { "groups": ["security"] }] })).await.unwrap();
    let id = s.asked().await;
    for (name, state) in [("ben", "pending"), ("dora", "pending"), ("cleo", "granted")] {
        let case = s.says(name, &format!("requests/{id}/approve"), json!({})).await.unwrap();
        assert_eq!(case["state"], state, "{name}");
    }
}

#[tokio::test]
async fn a_break_glass_is_granted_at_once_and_shows_until_it_is_reviewed() {
    let mut s = Stage::new();
    s.role(json!({ "break_glass_entities": "ann" })).await.unwrap();
    let ask = json!({ "role": "look", "reason": "fire", "break_glass": true });
    let refused = s.says("ben", "request", ask.clone()).await.unwrap_err();
    assert!(refused.told.contains("break-glass"), "{refused}");
    let case = s.says("ann", "request", ask).await.unwrap();
    assert_eq!((&case["state"], &case["needs_review"]), (&json!("granted"), &json!(true)));
    let id = case["id"].as_str().unwrap().to_owned();
    s.certificate("ann", &id).await.unwrap();
    s.later(100 * 24 * 60);
    s.harness.room.tick(&s.harness.mount, dewdrop_core::Clock::now(&*s.harness.clock)).await.unwrap();
    assert_eq!(s.lists("cleo").await, [id.as_str()], "it is kept until then");
    assert!(s.says("ann", &format!("requests/{id}/review"), json!({})).await.is_err());
    s.says("cleo", &format!("requests/{id}/review"), json!({ "comment": "was right" })).await.unwrap();
    s.later(61);
    s.harness.room.tick(&s.harness.mount, dewdrop_core::Clock::now(&*s.harness.clock)).await.unwrap();
    assert!(s.lists("cleo").await.is_empty());
}

#[tokio::test]
async fn without_approvers_only_when_it_is_said_outright() {
    let mut s = Stage::new();
    for change in [
        json!({ "approvals": [] }),
        json!({ "approvals": [{ "groups": ["leads"], "count": 0 }] }),
        json!({ "approvals": [{ "count": 1 }] }),
        json!({ "auto_approve": true }),
    ] {
        assert_eq!(s.role(change).await.unwrap_err().kind, Kind::BadRequest);
    }
    s.role(json!({ "approvals": [], "auto_approve": true })).await.unwrap();
    let case = s.says("ann", "request", json!({ "role": "look", "reason": "look" })).await.unwrap();
    assert_eq!(case["state"], "granted");
}
