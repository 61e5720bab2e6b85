use super::*;

#[tokio::test]
async fn everybody_sees_the_roles_that_he_may_ask_for_and_no_others() {
    let mut s = Stage::new();
    s.role(json!({ "ticket_pattern": "^OPS", "break_glass_entities": "ben" })).await.unwrap();
    s.harness
        .write(
            "roles/bank",
            json!({ "clusters": "prod", "namespaces": "bank", "requester_groups": "security", "auto_approve": true,
                    "rules": [{ "api_groups": [""], "resources": ["secrets"], "verbs": ["get"] }] }),
        )
        .await
        .unwrap();
    let sees = async |s: &mut Stage, name: &str| {
        s.harness.caller = caller(&format!("e-{name}"));
        s.harness.list("offers").await.map(Got::data)
    };
    let ann = sees(&mut s, "ann").await.unwrap();
    assert_eq!(ann["keys"], json!(["look"]));
    let look = &ann["key_info"]["look"];
    assert_eq!((&look["approvals"], &look["ticket_pattern"]), (&json!("1 of leads"), &json!("^OPS")));
    assert_eq!((&look["max_ttl"], &look["break_glass"]), (&json!(3600), &json!(false)));
    assert_eq!(sees(&mut s, "ben").await.unwrap()["key_info"]["look"]["break_glass"], true);
    let dora = sees(&mut s, "dora").await.unwrap();
    assert_eq!((&dora["keys"], &dora["key_info"]["bank"]["approvals"]), (&json!(["bank"]), &json!("")));
    assert!(dora["key_info"]["bank"]["dangers"][0].as_str().unwrap().contains("secrets"));
    assert_eq!(sees(&mut s, "eve").await.unwrap_err().kind, Kind::NotFound);
    s.harness.caller = Arc::default();
    assert_eq!(s.harness.list("offers").await.unwrap_err().kind, Kind::BadRequest, "a token of nobody");
}

#[tokio::test]
async fn a_request_that_waits_says_how_many_approvals_are_missing() {
    let mut s = Stage::new();
    s.role(json!({ "approvals": [{ "groups": ["leads"], "count": 2 }] })).await.unwrap();
    let id = s.asked().await;
    let missing =
        async |s: &mut Stage| s.sees("ann", &format!("requests/{id}")).await.unwrap()["approvals_missing"].clone();
    assert_eq!(missing(&mut s).await, 2);
    s.says("ben", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    assert_eq!(missing(&mut s).await, 1);
    s.says("cleo", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    assert_eq!(missing(&mut s).await, 0);
}
