//! Containers that log in themselves.

use super::*;

const APP: &str = "dewdrop://dev/web";

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.harness.write("role/app", json!({ "agentless": true, "token_max_ttl": "8h" })).await.unwrap();
    rig
}

/// A token of the pod for these audiences.
fn token(rig: &Rig, pod: &str, audiences: Value) -> String {
    let mut claims = rig.claims(pod, "node-1");
    claims["aud"] = audiences;
    rig.signer.token(&claims)
}

#[tokio::test]
async fn a_container_logs_in_with_the_token_for_it_alone() {
    let rig = rig().await;
    let login = rig.login("app", &token(&rig, POD, json!([APP]))).await.unwrap();
    for (name, value) in
        [("container", "web"), ("pod_uid", POD), ("pod_name", "app-0"), ("node_name", "node-1"), ("agentless", "true")]
    {
        assert_eq!(login.metadata[name], value);
    }
    assert_eq!(login.params.kind, Some(TokenKind::Service));
    assert_eq!((login.params.period, login.params.ttl), (Duration::from_secs(60), Duration::ZERO));
    assert_eq!(login.params.explicit_max_ttl, Duration::from_secs(8 * 3600));
    rig.harness.write("role/app", json!({ "token_period": "5m" })).await.unwrap();
    let login = rig.login("app", &token(&rig, POD, json!([APP]))).await.unwrap();
    assert_eq!(login.params.period, Duration::from_secs(300));
}

#[tokio::test]
async fn no_other_token_opens_a_containers_role() {
    let rig = rig().await;
    for audiences in [
        json!(["dewdrop"]),
        json!([]),
        json!(["vault", APP]),
        json!([APP, "dewdrop://dev/side-1"]),
        json!(["dewdrop://other/web"]),
        json!(["dewdrop://dev/"]),
        json!(["dewdrop://dev/x/web"]),
        json!(["dewdrop://dev/We b"]),
        json!(["else://dev/web"]),
        json!(["dewdrop://dev/db"]), // Not among bound_container_names.
    ] {
        silent(&rig.login("app", &token(&rig, POD, audiences)).await.unwrap_err());
    }
    // The account's holder mints one that is bound to no pod.
    let mut claims = rig.claims(POD, "node-1");
    claims["aud"] = json!([APP]);
    claims["kubernetes.io"].as_object_mut().unwrap().remove("pod");
    assert!(silent(&rig.login("app", &rig.signer.token(&claims)).await.unwrap_err()).contains("bound to a pod"));
}

/// The token of a container opens nothing else: no plain role, and no agent can use it as a pod's.
#[tokio::test]
async fn a_containers_token_is_good_for_nothing_else() {
    let mut rig = rig().await;
    let jwt = token(&rig, POD, json!([APP]));
    assert!(rig.login("plain", &jwt).await.is_err());
    rig.be_agent("node-1").await;
    assert!(rig.ask(json!({ "jwt": jwt })).await.is_err());
}

#[tokio::test]
async fn a_role_that_does_not_say_so_is_for_agents_alone() {
    let rig = Rig::new().await;
    silent(&rig.login("app", &token(&rig, POD, json!([APP]))).await.unwrap_err());
}

#[tokio::test]
async fn one_token_for_each_container_and_role() {
    let mut rig = rig().await;
    let make = async |rig: &Rig, pod: &str, audience: &str| {
        let login = rig.login("app", &token(rig, pod, json!([audience]))).await.unwrap();
        rig.tokens.make(&login).await.unwrap()
    };
    let first = make(&rig, POD, APP).await;
    let side = make(&rig, POD, "dewdrop://dev/side-1").await;
    let other = make(&rig, OTHER_POD, APP).await;
    rig.restart();
    let second = make(&rig, POD, APP).await;
    assert_eq!(rig.tokens.live(), BTreeSet::from([side, other, second]), "{first} has ended");
    // Of two at once, one gets a token.
    let jwt = token(&rig, POD, json!([APP]));
    let (one, two) = tokio::join!(rig.login("app", &jwt), rig.login("app", &jwt));
    rig.tokens.make(&one.unwrap()).await.unwrap();
    rig.tokens.make(&two.unwrap()).await.unwrap_err();
    assert_eq!(rig.tokens.live().len(), 3);
}

/// The list of an agent says nothing of containers that log in themselves.
#[tokio::test]
async fn an_agents_list_does_not_end_them() {
    let mut rig = rig().await;
    let login = rig.login("app", &token(&rig, POD, json!([APP]))).await.unwrap();
    let made = rig.tokens.make(&login).await.unwrap();
    rig.be_agent("node-1").await;
    rig.harness.clock.advance(Duration::from_secs(120));
    rig.harness.write("agent/beat", json!({ "starts": [], "complete": true })).await.unwrap();
    rig.pass(120).await;
    assert_eq!(rig.tokens.live(), BTreeSet::from([made]));
}

#[tokio::test]
async fn a_renewal_asks_the_role_of_now() {
    let rig = rig().await;
    let login = rig.login("app", &token(&rig, POD, json!([APP]))).await.unwrap();
    let renew = async || rig.harness.room.renew_login(&login.internal, &Caller::default()).await;
    assert_eq!(renew().await.unwrap().period, Duration::from_secs(60));
    rig.harness.write("role/app", json!({ "bound_container_names": "else" })).await.unwrap();
    silent(&renew().await.unwrap_err());
    rig.harness.write("role/app", json!({ "bound_container_names": "web", "agentless": false })).await.unwrap();
    silent(&renew().await.unwrap_err());
}

#[tokio::test]
async fn what_such_a_role_must_say() {
    let rig = rig().await;
    let bound =
        json!({ "bound_service_account_names": "app", "bound_service_account_namespaces": "dev", "agentless": true });
    for (more, word) in [
        (json!({ "audience": "dewdrop" }), "bound_container_names"),
        (json!({ "container": true }), "audience"),
        (json!({ "container": true, "audience": "dewdrop", "bound_pod_labels": { "a": "b" } }), "bound_pod_labels"),
        (json!({ "agent": true, "audience": "dewdrop" }), ""),
    ] {
        let mut fields = bound.clone();
        merge(&mut fields, more);
        let fault = rig.harness.write("role/new", fields).await.unwrap_err();
        assert!(fault.kind == Kind::BadRequest && fault.told.contains(word), "{fault:?}");
    }
    assert_eq!(rig.harness.read("role/app").await.unwrap().data()["agentless"], true);
}
