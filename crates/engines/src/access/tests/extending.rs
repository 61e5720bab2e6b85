use super::*;

#[tokio::test]
async fn more_time_is_approved_like_the_grant_itself() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let id = s.running().await;
    s.later(8);
    let more =
        s.says("ann", &format!("requests/{id}/extend"), json!({ "ttl": "20m", "reason": "longer" })).await.unwrap();
    assert_eq!((&more["state"], &more["extends"]), (&json!("pending"), &json!(id)));
    let more = more["id"].as_str().unwrap().to_owned();
    assert!(s.says("ann", &format!("requests/{more}/approve"), json!({})).await.is_err());
    let case = s.says("cleo", &format!("requests/{more}/approve"), json!({})).await.unwrap();
    assert_eq!(case["state"], "applied");
    let case = s.sees("ann", &format!("requests/{id}")).await.unwrap();
    assert_eq!(case["ends_at"], "2026-01-01T00:28:00.000Z");
    assert!(s.certificate("ann", &more).await.is_err(), "it is no grant of its own");
    s.later(19);
    assert_eq!(s.live().await, [id.as_str()]);
}

#[tokio::test]
async fn what_is_over_is_not_made_longer() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let id = s.running().await;
    let more =
        s.says("ann", &format!("requests/{id}/extend"), json!({})).await.unwrap()["id"].as_str().unwrap().to_owned();
    s.later(10);
    let late = s.says("cleo", &format!("requests/{more}/approve"), json!({})).await.unwrap_err();
    assert_eq!(late.told, "the request is expired; only one that is active can be extended");
    assert!(s.says("ann", &format!("requests/{id}/extend"), json!({})).await.is_err());
    assert!(s.live().await.is_empty());
}

#[tokio::test]
async fn a_role_without_approvers_extends_at_once() {
    let mut s = Stage::new();
    s.role(json!({ "approvals": [], "auto_approve": true })).await.unwrap();
    let id = s.says("ann", "request", json!({ "role": "look", "reason": "x" })).await.unwrap()["id"]
        .as_str()
        .unwrap()
        .to_owned();
    s.certificate("ann", &id).await.unwrap();
    s.later(5);
    let more = s.says("ann", &format!("requests/{id}/extend"), json!({})).await.unwrap();
    assert_eq!(more["state"], "applied");
    s.later(9);
    assert_eq!(s.live().await, [id.as_str()]);
}
