use super::*;

const BINDING: &str = "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/x";

async fn told(s: &Stage, grant: &str, cluster: &str, left: Value) -> Result<Got, Fault> {
    let line = json!({ "kind": "left", "grant": grant, "cluster": cluster, "left": left });
    s.harness.write("record", json!({ "lines": [line] })).await
}

fn made(uid: &str) -> Value {
    json!({ "act": "made", "path": BINDING, "uid": uid, "until": "", "why": "" })
}

async fn sweeps(s: &Stage) -> Value {
    s.harness.read_with("live", json!({ "cluster": "prod" })).await.unwrap().data()["sweeps"].clone()
}

async fn items(s: &mut Stage, id: &str) -> Value {
    s.sees("ann", &format!("requests/{id}")).await.unwrap()["left_behind"]["items"].clone()
}

#[tokio::test]
async fn what_was_made_is_shown_and_deleted_only_where_the_role_says_so() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    let id = s.running().await;
    told(&s, &id, "prod", made("u1")).await.unwrap();
    told(&s, &id, "prod", made("u1")).await.unwrap();
    told(&s, &id, "prod", json!({ "act": "token", "path": "/t", "uid": "", "until": "2026-01-01T00:05:00Z" }))
        .await
        .unwrap();
    let shown = items(&mut s, &id).await;
    assert_eq!((shown.as_array().unwrap().len(), &shown[0]["uid"]), (2, &json!("u1")), "once: {shown}");
    assert_eq!(shown[1]["expires_at"], "2026-01-01T00:05:00Z");
    s.role(json!({ "sweep": "delete" })).await.unwrap();
    assert_eq!(sweeps(&s).await, json!([]), "it still runs");
    s.says("ben", &format!("requests/{id}/revoke"), json!({})).await.unwrap();
    assert_eq!(sweeps(&s).await, json!([{ "grant": id, "items": [{ "path": BINDING, "uid": "u1" }] }]));
    s.role(json!({ "sweep": "report" })).await.unwrap();
    assert_eq!(sweeps(&s).await, json!([]), "the role's word of now");
    assert!(s.role(json!({ "sweep": "perhaps" })).await.is_err());
}

#[tokio::test]
async fn what_was_swept_is_not_asked_for_again_and_what_was_kept_later() {
    let mut s = Stage::new();
    s.role(json!({ "sweep": "delete" })).await.unwrap();
    let id = s.running().await;
    told(&s, &id, "prod", made("u1")).await.unwrap();
    told(&s, &id, "prod", made("u2")).await.unwrap();
    s.later(11);
    let of = |act: &str, uid: &str| json!({ "act": act, "path": BINDING, "uid": uid, "why": "403: no" });
    told(&s, &id, "prod", of("swept", "u1")).await.unwrap();
    told(&s, &id, "prod", of("gone", "u1")).await.unwrap();
    told(&s, &id, "prod", of("kept", "u2")).await.unwrap();
    assert_eq!(sweeps(&s).await, json!([]), "not at once again");
    s.later(1);
    assert_eq!(sweeps(&s).await[0]["items"], json!([{ "path": BINDING, "uid": "u2" }]));
    let shown = items(&mut s, &id).await;
    assert_eq!((&shown[0]["end"], &shown[1]["why"]), (&json!("swept"), &json!("403: no")));
    s.later(60 * 25);
    assert_eq!(sweeps(&s).await, json!([]), "not for ever");
}

#[tokio::test]
async fn a_proxy_tells_of_its_own_cluster_and_of_grants_that_are() {
    let mut s = Stage::new();
    s.role(json!({ "sweep": "delete" })).await.unwrap();
    let id = s.running().await;
    told(&s, &id, "other", made("u1")).await.unwrap();
    told(&s, "nobody", "prod", made("u1")).await.unwrap();
    told(&s, &id, "prod", json!("what")).await.unwrap();
    assert!(told(&s, &id, "prod", made(&"u".repeat(2000))).await.is_err());
    assert_eq!(items(&mut s, &id).await, Value::Null);
    for number in 0..205 {
        told(&s, &id, "prod", made(&format!("u{number}"))).await.unwrap();
    }
    let shown = s.sees("ann", &format!("requests/{id}")).await.unwrap()["left_behind"].clone();
    assert_eq!((shown["items"].as_array().unwrap().len(), &shown["more"]), (200, &json!(5)));
}

#[tokio::test]
async fn a_role_that_says_none_leaves_it_to_the_audit_log() {
    let mut s = Stage::new();
    s.role(json!({ "sweep": "none" })).await.unwrap();
    let id = s.running().await;
    told(&s, &id, "prod", made("u1")).await.unwrap();
    assert_eq!(items(&mut s, &id).await, Value::Null);
}
