use super::*;

async fn told(s: &mut Stage, name: &str, path: &str, fields: Value) -> String {
    let fault = s.says(name, path, fields).await.unwrap_err();
    assert!(matches!(fault.kind, Kind::BadRequest | Kind::Denied | Kind::NotFound), "{fault:?}");
    fault.told.into_owned()
}

#[tokio::test]
async fn nobody_approves_his_own_request_and_strangers_none() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let ask = json!({ "role": "look", "reason": "x" });
    let own = s.says("ben", "request", ask).await.unwrap()["id"].as_str().unwrap().to_owned();
    let approve = format!("requests/{own}/approve");
    assert_eq!(told(&mut s, "ben", &approve, json!({})).await, "nobody can approve or review a request of his own");
    assert_eq!(told(&mut s, "ann", &approve, json!({})).await, "you are not among the approvers of the role \"look\"");
    assert_eq!(
        told(&mut s, "eve", &format!("requests/{own}/deny"), json!({})).await,
        "you are not among the approvers of the role \"look\""
    );
}

#[tokio::test]
async fn others_do_not_see_a_request() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let id = s.asked().await;
    assert!(s.lists("eve").await.is_empty() && s.lists("dora").await.is_empty());
    assert_eq!(s.sees("eve", &format!("requests/{id}")).await.unwrap_err().kind, Kind::NotFound);
    assert_eq!(s.certificate("ben", &id).await.unwrap_err().kind, Kind::NotFound);
    for path in ["extend", "withdraw"] {
        assert!(s.says("eve", &format!("requests/{id}/{path}"), json!({})).await.is_err());
    }
    let denied = s.says("eve", "request", json!({ "role": "look", "reason": "x" })).await.unwrap_err();
    let none = s.says("eve", "request", json!({ "role": "none", "reason": "x" })).await.unwrap_err();
    assert_eq!(denied.told.replace("look", "none"), none.told, "a role that one may not ask for looks like none");
}

#[tokio::test]
async fn a_token_of_nobody_neither_asks_nor_decides() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let id = s.asked().await;
    for caller in [caller(""), caller("e-nobody"), Arc::default()] {
        s.harness.caller = caller;
        for path in ["request".to_owned(), format!("requests/{id}/approve"), format!("requests/{id}/withdraw")] {
            let fault = s.harness.write(&path, json!({ "role": "look", "reason": "x" })).await.unwrap_err();
            assert_eq!(fault.kind, Kind::BadRequest, "{path}");
        }
        assert_eq!(s.harness.read(&format!("requests/{id}")).await.unwrap_err().kind, Kind::BadRequest);
        assert_eq!(s.harness.list("requests").await.unwrap_err().kind, Kind::BadRequest);
    }
}

#[tokio::test]
async fn what_is_asked_lies_within_the_role() {
    let mut s = Stage::new();
    s.role(json!({ "reason_pattern": "^[A-Z]", "ticket_pattern": "^OPS-[0-9]+$" })).await.unwrap();
    let good = json!({ "role": "look", "reason": "Disk", "ticket": "OPS-1" });
    s.says("ann", "request", good.clone()).await.unwrap();
    for (field, value, says) in [
        ("reason", json!(""), "reason: say why; approvers read it"),
        ("reason", json!("disk"), "reason: this role wants one that matches ^[A-Z]"),
        ("ticket", json!("OPS-x"), "ticket: this role wants one that matches ^OPS-[0-9]+$"),
        ("ttl", json!("2h"), "ttl: this role gives at most 3600 seconds"),
        ("ttl", json!(0), "ttl: this role gives at most 3600 seconds"),
        ("cluster", json!("test"), "the role does not have: cluster \"test\""),
        ("cluster", json!("*"), "cluster: a grant is for one cluster"),
        ("namespaces", json!("shop,kube-system"), "the role does not have: namespace \"kube-system\""),
        ("namespaces", json!("*"), "the role does not have: namespace \"*\""),
        (
            "rules",
            json!([{ "api_groups": [""], "resources": ["secrets"], "verbs": ["get"] }]),
            "the role does not have: get secrets",
        ),
        ("rules", json!([{ "verbs": ["get"] }]), "a rule needs resources, such as pods, pods/log"),
        ("rules", json!("x"), "rules is no JSON"),
    ] {
        let mut fields = good.clone();
        fields[field] = value;
        assert_eq!(told(&mut s, "ann", "request", fields).await, says);
    }
}

#[tokio::test]
async fn outside_of_its_hours_a_role_is_not_to_be_had() {
    let mut s = Stage::new();
    // The stage stands at a Thursday, 00:00.
    s.role(json!({ "hours": "mon-fri 08:00-18:00" })).await.unwrap();
    let ask = json!({ "role": "look", "reason": "x" });
    assert_eq!(
        told(&mut s, "ann", "request", ask.clone()).await,
        "this role can be asked for mon-fri 08:00-18:00 only"
    );
    s.later(9 * 60);
    s.says("ann", "request", ask).await.unwrap();
}

#[tokio::test]
async fn an_approval_is_for_what_was_read_and_only_in_time() {
    let mut s = Stage::new();
    s.role(json!({ "request_ttl": "30m" })).await.unwrap();
    let id = s.asked().await;
    let approve = format!("requests/{id}/approve");
    let says = told(&mut s, "ben", &approve, json!({ "digest": "0".repeat(64) })).await;
    assert!(says.starts_with("digest: this is another request"), "{says}");
    s.later(30);
    let says = told(&mut s, "ben", &approve, json!({})).await;
    assert_eq!(says, "the request is lapsed; only one that is pending can be approved");
}

#[tokio::test]
async fn an_approver_who_left_does_not_count() {
    let mut s = Stage::new();
    s.role(json!({ "approvals": [{ "groups": ["leads"], "count": 2 }] })).await.unwrap();
    let id = s.asked().await;
    s.says("ben", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    s.person("ben", &["devs"]);
    let case = s.says("cleo", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    assert_eq!(case["state"], "pending");
    // And not when he leaves between the grant and its start.
    s.person("ben", &["devs", "leads"]);
    s.person("fay", &["leads"]);
    let case = s.says("fay", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    assert_eq!(case["state"], "granted");
    s.gone("fay");
    s.gone("cleo");
    let refused = s.certificate("ann", &id).await.unwrap_err();
    assert_eq!(refused.told, "one who approved may not approve any more; ask anew");
}

#[tokio::test]
async fn a_grant_does_not_outlive_its_role_or_its_person() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let id = s.running().await;
    assert_eq!(s.live().await, [id.as_str()]);
    s.role(json!({ "namespaces": "web" })).await.unwrap();
    assert!(s.live().await.is_empty());
    let refused = s.certificate("ann", &id).await.unwrap_err();
    assert_eq!(refused.told, "the role was changed and no longer has what was granted; ask anew");
    s.role(json!({ "namespaces": "shop,web" })).await.unwrap();
    s.person("ann", &[]);
    assert!(s.live().await.is_empty() && s.certificate("ann", &id).await.is_err());
    s.person("ann", &["devs"]);
    assert_eq!(s.live().await, [id.as_str()]);
    s.gone("ann");
    assert!(s.live().await.is_empty());
    s.person("ann", &["devs"]);
    s.harness.delete("roles/look").await.unwrap();
    assert!(s.live().await.is_empty() && s.certificate("ann", &id).await.is_err());
}

#[tokio::test]
async fn a_role_that_was_narrowed_is_not_approved_as_it_was() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let id = s.asked().await;
    s.role(json!({ "namespaces": "web" })).await.unwrap();
    let says = told(&mut s, "ben", &format!("requests/{id}/approve"), json!({})).await;
    assert_eq!(says, "the role was changed since; the role does not have: namespace \"shop\": ask anew");
}

#[tokio::test]
async fn roles_that_cannot_be_right() {
    let s = Stage::new();
    for change in [
        json!({ "clusters": "" }),
        json!({ "rules": [] }),
        json!({ "rules": [{ "api_groups": [""], "resources": ["pods"], "verbs": ["get"], "nonsense": 1 }] }),
        json!({ "requester_groups": "" }),
        json!({ "default_ttl": "2h" }),
        json!({ "max_ttl": "30d" }),
        json!({ "reason_pattern": "(" }),
        json!({ "hours": "always" }),
        json!({ "kubernetes_groups": "system:masters" }),
        json!({ "request_ttl": "1s" }),
    ] {
        assert_eq!(s.role(change.clone()).await.unwrap_err().kind, Kind::BadRequest, "{change}");
    }
    assert!(s.harness.read("roles/look").await.is_err(), "nothing was kept");
}

#[tokio::test]
async fn open_requests_are_counted_and_those_that_are_over_are_not() {
    let mut s = Stage::new();
    s.role(json!({ "request_ttl": "30m" })).await.unwrap();
    for _ in 0..50 {
        s.asked().await;
    }
    let ask = json!({ "role": "look", "reason": "x" });
    assert_eq!(told(&mut s, "ann", "request", ask.clone()).await, "you have 50 open requests; withdraw some first");
    s.says("ben", "request", ask.clone()).await.unwrap();
    s.later(30);
    s.says("ann", "request", ask).await.unwrap();
    assert_eq!(s.lists("cleo").await.len(), 52, "nothing of the record is lost");
}
