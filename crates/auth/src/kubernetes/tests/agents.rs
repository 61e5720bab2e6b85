//! Node agents: who is one, which starts they get tokens for, and how these end.

use super::*;

async fn agent() -> Rig {
    let mut rig = Rig::new().await;
    rig.be_agent("node-1").await;
    rig
}

#[tokio::test]
async fn an_agents_token_says_its_node() {
    let rig = agent().await;
    let meta = &rig.harness.caller.token.as_ref().unwrap().meta;
    let has = |name: &str, value: &str| assert_eq!(meta.get(name).map(String::as_str), Some(value), "{name}");
    has("agent", "true");
    has("node_name", "node-1");
    has("pod_uid", AGENT_POD);
    has("cluster", "test");
    rig.config(json!({ "cluster": "blue" })).await;
    assert_eq!(rig.ask(json!({})).await.unwrap().metadata["cluster"], "blue");
}

#[tokio::test]
async fn an_agent_must_run_on_a_node() {
    let rig = Rig::new().await;
    let agent_with = |field: &str, value: Value| {
        let mut claims = rig.claims(AGENT_POD, "node-1");
        claims["kubernetes.io"]["namespace"] = "system".into();
        claims["kubernetes.io"]["serviceaccount"]["name"] = "agent".into();
        claims["kubernetes.io"][field] = value;
        rig.signer.token(&claims)
    };
    for value in [Value::Null, json!({ "name": "a/b", "uid": "u" })] {
        silent(&rig.login("agent", &agent_with("node", value)).await.unwrap_err());
    }
    // An agent that is no pod has a token that is bound to the node itself.
    let login = rig.login("agent", &agent_with("pod", Value::Null)).await.unwrap();
    assert_eq!(login.metadata["node_name"], "node-1");
    assert!(!login.metadata.contains_key("pod_uid"));
}

#[tokio::test]
async fn a_start_is_a_token_of_its_own() {
    let rig = agent().await;
    let image = format!("app:1@sha256:{}", "a".repeat(64));
    let login = rig.ask(json!({ "image": image })).await.unwrap();
    let metadata = json!({
        "cluster": "test",
        "container": "web",
        "image": image,
        "node_name": "node-1",
        "pod_name": "app-0",
        "pod_uid": POD,
        "role": "app",
        "service_account_name": "app",
        "service_account_namespace": "dev",
        "service_account_secret_name": "",
        "service_account_uid": "5f1e8f3a-0000-4000-8000-0000000000aa",
        "start": START,
    });
    assert_eq!(json!(login.metadata), metadata);
    assert_eq!(login.params.ttl, Duration::from_secs(3600));
    assert_eq!(login.params.kind, Some(TokenKind::Service));
    let accessor = rig.tokens.make(&login).await.unwrap();
    let node = rig.harness.read("agent/nodes/node-1").await.unwrap().data();
    assert_eq!(node["state"], "live");
    assert_eq!(node["starts"][0]["accessor"], accessor);
    assert_eq!(node["starts"][0]["pod_name"], "app-0");
    assert_eq!(rig.harness.list("agent/nodes").await.unwrap().keys(), ["node-1"]);
}

#[tokio::test]
async fn a_second_start_ends_the_first_ones_token() {
    let rig = agent().await;
    let first = rig.start(json!({})).await;
    let side = rig.start(json!({ "container": "side-1" })).await;
    let second = rig.start(json!({ "start": SECOND })).await;
    assert_eq!(rig.tokens.live(), BTreeSet::from([side, second]), "{first} has ended");
    let told = rig.beat(json!([held(POD, START), held(POD, SECOND)])).await;
    assert_eq!(told["unknown"], json!([held(POD, START)]));
}

/// Of two requests for the same container at the same time, one gets a token.
#[tokio::test]
async fn two_starts_at_once_are_one() {
    let rig = agent().await;
    let (one, two) = tokio::join!(rig.ask(json!({})), rig.ask(json!({ "start": SECOND })));
    rig.tokens.make(&one.unwrap()).await.unwrap();
    let fault = rig.tokens.make(&two.unwrap()).await.unwrap_err();
    assert_eq!(fault.kind, Kind::Unavailable, "it may try again: {fault:?}");
    assert_eq!(rig.tokens.live().len(), 1);
}

#[tokio::test]
async fn a_crash_between_two_starts_leaves_no_token_without_a_row() {
    let rig = agent().await;
    rig.start(json!({})).await;
    *rig.tokens.broken.lock() = true;
    assert_eq!(rig.ask(json!({ "start": SECOND })).await.unwrap_err().kind, Kind::Unavailable);
    assert_eq!(rig.tokens.live().len(), 1, "the first one lives until it can be ended");
    *rig.tokens.broken.lock() = false;
    rig.start(json!({ "start": SECOND })).await;
    assert_eq!(rig.tokens.live().len(), 1);
}

#[tokio::test]
async fn nobody_else_is_an_agent() {
    let mut rig = agent().await;
    let starts = json!([held(POD, START)]);
    let calls = [
        ("agent/start", json!({})),
        ("agent/end", json!({ "starts": starts })),
        ("agent/beat", json!({ "starts": starts })),
    ];
    let agents = rig.harness.caller.token.clone().unwrap();
    let change = |change: fn(&mut TokenRecord)| {
        let mut record = (*agents).clone();
        change(&mut record);
        Arc::new(Caller { token: Some(Arc::new(record)), ..Caller::default() })
    };
    let plain = rig.login("plain", &rig.pod_token(POD, "node-1")).await.unwrap();
    let start = rig.ask(json!({})).await.unwrap();
    let callers = [
        ("nobody", Arc::default()),
        ("a pod", caller(&plain)),
        ("a start", caller(&start)),
        ("who chose the metadata himself", change(|token| token.internal = Value::Null)),
        ("an agent of another mount", change(|token| token.internal["mount"] = "other-uuid".into())),
        ("an agent of another namespace", change(|token| token.namespace = "other".into())),
        ("an agent without a node", change(|token| drop(token.meta.remove("node_name")))),
        ("an agent of two nodes", change(|token| token.internal["node"] = "node-2".into())),
        ("no agent", change(|token| drop(token.meta.remove("agent")))),
    ];
    for (who, caller) in callers {
        rig.harness.caller = caller;
        for (path, fields) in &calls {
            let fault = rig.harness.write(path, fields.clone()).await.unwrap_err();
            assert!(silent(&fault).contains("node agent of this mount"), "{who} at {path}: {fault:?}");
        }
    }
}

#[tokio::test]
async fn a_start_is_refused_with_its_reason() {
    let rig = agent().await;
    let why = async |more: Value| silent(&rig.ask(more).await.unwrap_err());
    let other_node = rig.pod_token(POD, "node-2");
    assert!(why(json!({ "jwt": other_node })).await.contains("runs on the node \"node-2\", the agent on \"node-1\""));
    let mut claims = rig.claims(POD, "node-1");
    claims["kubernetes.io"].as_object_mut().unwrap().remove("pod");
    assert!(why(json!({ "jwt": rig.signer.token(&claims) })).await.contains("not bound to a pod"));
    assert!(
        why(json!({ "container": "evil" })).await.contains("container \"evil\" is not among bound_container_names")
    );
    assert!(why(json!({ "role": "plain" })).await.contains("not for containers"));
    let agents = rig.ask(json!({ "role": "agent" })).await.unwrap_err();
    assert!(silent(&agents).contains("not for containers"));
    assert_eq!(rig.tokens.live().len(), 0);
    let node = rig.harness.read("agent/nodes/node-1").await.unwrap_err();
    assert_eq!(node.kind, Kind::NotFound, "a refused start is no sign of life");
}

#[tokio::test]
async fn an_image_and_labels_can_be_bound() {
    let rig = agent().await;
    let digest = format!("sha256:{}", "a".repeat(64));
    let bound = json!({ "bound_image_digests": digest, "bound_pod_labels": { "tier": "web" } });
    rig.harness.write("role/app", bound).await.unwrap();
    let ask = async |image: &str, labels: Value| rig.ask(json!({ "image": image, "labels": labels })).await;
    let good = json!({ "tier": "web", "more": "x" });
    for image in [digest.clone(), format!("app@{digest}"), format!("host:5000/app:1@{digest}")] {
        ask(&image, good.clone()).await.unwrap();
    }
    let refused = async |image: &str, labels: Value| silent(&ask(image, labels).await.unwrap_err());
    assert!(refused("app:1", good.clone()).await.contains("no digest"));
    assert!(refused("", good.clone()).await.contains("no digest"));
    assert!(refused(&digest.replace("aaa", "bbb"), good).await.contains("not among bound_image_digests"));
    assert!(refused(&digest, json!({})).await.contains("label \"tier\""));
    assert!(refused(&digest, json!({ "tier": "db" })).await.contains("label \"tier\""));
}

#[tokio::test]
async fn what_cannot_be_a_name_is_no_key() {
    let rig = agent().await;
    for more in [
        json!({ "container": "a/b" }),
        json!({ "container": "" }),
        json!({ "container": "x".repeat(64) }),
        json!({ "start": "" }),
        json!({ "start": "1" }),
        json!({ "start": "../../x" }),
        json!({ "image": "a b" }),
        json!({ "image": "x".repeat(2000) }),
        json!({ "role": "" }),
        json!({ "jwt": "" }),
        json!({ "labels": (0..300).map(|n| (format!("l{n}"), json!("v"))).collect::<serde_json::Map<_, _>>() }),
    ] {
        assert_eq!(rig.ask(more.clone()).await.unwrap_err().kind, Kind::BadRequest, "{more}");
    }
    for (field, value) in
        [("pod_uid", "x"), ("pod_uid", "../../../../../../../../../../../../.."), ("container", "a/"), ("start", "x")]
    {
        let mut one = held(POD, START);
        one[field] = value.into();
        for path in ["agent/beat", "agent/end"] {
            let fault = rig.harness.write(path, json!({ "starts": [one] })).await.unwrap_err();
            assert_eq!(fault.kind, Kind::BadRequest, "{path} {one}");
        }
    }
    let mut pod = rig.claims("not-a-uuid", "node-1");
    let fault = rig.ask(json!({ "jwt": rig.signer.token(&pod) })).await.unwrap_err();
    assert!(silent(&fault).contains("no UUID"), "{fault:?}");
    pod["kubernetes.io"]["node"]["name"] = "node-1/..".into();
    silent(&rig.ask(json!({ "jwt": rig.signer.token(&pod) })).await.unwrap_err());
    let many: Vec<Value> = (0..5001).map(|_| held(POD, START)).collect();
    for path in ["agent/beat", "agent/end"] {
        assert_eq!(rig.harness.write(path, json!({ "starts": many })).await.unwrap_err().kind, Kind::BadRequest);
    }
}

#[tokio::test]
async fn an_end_ends_what_it_names() {
    let mut rig = agent().await;
    let end = async |rig: &Rig, what: Value| {
        rig.harness.write("agent/end", json!({ "starts": [what] })).await.unwrap();
    };
    let web = rig.start(json!({})).await;
    let side = rig.start(json!({ "container": "side-1" })).await;
    end(&rig, json!({ "pod_uid": POD, "container": "web", "start": SECOND })).await;
    end(&rig, json!({ "pod_uid": POD, "container": "web", "role": "other" })).await;
    end(&rig, json!({ "pod_uid": OTHER_POD, "container": "web" })).await;
    end(&rig, json!({ "pod_uid": POD, "container": "we" })).await;
    assert_eq!(rig.tokens.live(), BTreeSet::from([web.clone(), side.clone()]));
    rig.be_agent("node-2").await;
    end(&rig, json!({ "pod_uid": POD, "container": "web" })).await;
    assert_eq!(rig.tokens.live().len(), 2, "another node's agent ends nothing here");
    rig.be_agent("node-1").await;
    end(&rig, json!({ "pod_uid": POD, "container": "web", "start": START, "role": "app" })).await;
    assert_eq!(rig.tokens.live(), BTreeSet::from([side]));
    end(&rig, json!({ "pod_uid": POD, "container": "side-1" })).await;
    end(&rig, json!({ "pod_uid": POD, "container": "side-1" })).await;
    assert_eq!(rig.tokens.live().len(), 0);
}
