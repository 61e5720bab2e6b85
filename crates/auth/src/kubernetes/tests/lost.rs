//! Beats, and nodes that fall silent.

use std::sync::atomic::Ordering;

use super::*;

async fn agent() -> Rig {
    let mut rig = Rig::new().await;
    rig.be_agent("node-1").await;
    rig
}

#[tokio::test]
async fn a_beat_answers_what_has_no_token() {
    let rig = agent().await;
    let first = rig.start(json!({})).await;
    let told = rig.beat(json!([held(POD, START), held(OTHER_POD, START)])).await;
    assert_eq!(told, json!({ "grace": 60, "next": 20, "unknown": [held(OTHER_POD, START)] }));
    // An operator ends the token.
    rig.tokens.end_tokens(&[first]).await.unwrap();
    assert_eq!(rig.beat(json!([held(POD, START)])).await["unknown"], json!([held(POD, START)]));
    assert_eq!(rig.beat(json!([])).await["unknown"], json!([]));
}

#[tokio::test]
async fn a_beat_brings_the_containers_id() {
    let rig = agent().await;
    rig.start(json!({})).await;
    let mut one = held(POD, START);
    one["container_id"] = "containerd://abc".into();
    rig.beat(json!([one])).await;
    let node = rig.harness.read("agent/nodes/node-1").await.unwrap().data();
    assert_eq!(node["starts"][0]["container_id"], "containerd://abc");
    assert_eq!(node["starts"][0]["accessor"], "accessor-1", "the rest stays");
    rig.counts.take();
    rig.beat(json!([one])).await;
    assert_eq!(rig.counts.take(), (0, 0), "what is known costs one scan of the node's rows, and no write");
}

#[tokio::test]
async fn a_complete_list_ends_what_it_does_not_name() {
    let mut rig = agent().await;
    rig.start(json!({})).await;
    let other = rig.start(json!({ "jwt": rig.pod_token(OTHER_POD, "node-1") })).await;
    let list = json!({ "starts": [held(OTHER_POD, START)], "complete": true });
    rig.harness.write("agent/beat", list.clone()).await.unwrap();
    assert_eq!(rig.tokens.live().len(), 2, "a start may be younger than the list");
    rig.pass(31).await;
    rig.beat(json!([])).await;
    assert_eq!(rig.tokens.live().len(), 2, "a list that is not said to be complete ends nothing");
    rig.harness.write("agent/beat", list).await.unwrap();
    assert_eq!(rig.tokens.live(), BTreeSet::from([other]));
    rig.be_agent("node-2").await;
    rig.harness.write("agent/beat", json!({ "complete": true })).await.unwrap();
    assert_eq!(rig.tokens.live().len(), 1, "another node's starts are none of its business");
}

#[tokio::test]
async fn beats_write_once_in_a_third_of_the_grace() {
    let rig = agent().await;
    rig.start(json!({})).await;
    rig.counts.take();
    for _ in 0..60 {
        rig.beat(json!([held(POD, START)])).await;
        rig.pass(1).await;
    }
    let commits = rig.counts.commits.load(Ordering::SeqCst);
    assert!(commits <= 3, "{commits} writes in a minute");
    assert_eq!(rig.state("node-1").await, "live");
}

#[tokio::test]
async fn a_silent_node_is_lost_and_its_starts_end() {
    let mut rig = agent().await;
    rig.start(json!({})).await;
    rig.be_agent("node-2").await;
    let other = rig.start(json!({ "jwt": rig.pod_token(OTHER_POD, "node-2") })).await;
    rig.pass(59).await;
    rig.beat(json!([])).await;
    rig.pass(3).await;
    assert_eq!(rig.state("node-1").await, "lost");
    assert_eq!(rig.state("node-2").await, "live");
    assert_eq!(rig.tokens.live(), BTreeSet::from([other]));

    // It comes back.
    rig.be_agent("node-1").await;
    assert_eq!(rig.beat(json!([held(POD, START)])).await["unknown"], json!([held(POD, START)]));
    assert_eq!(rig.state("node-1").await, "live");
    rig.start(json!({ "start": SECOND })).await;
    rig.pass(1).await;
    assert_eq!(rig.tokens.live().len(), 2, "a new start of a node that is back lives");
}

#[tokio::test]
async fn a_start_alone_is_a_sign_of_life() {
    let rig = agent().await;
    rig.start(json!({})).await;
    rig.pass(50).await;
    rig.start(json!({ "container": "side-1" })).await;
    rig.pass(50).await;
    assert_eq!(rig.tokens.live().len(), 2);
    rig.pass(12).await;
    assert_eq!(rig.tokens.live().len(), 0, "it has never beaten, and is silent all the same");
}

#[tokio::test]
async fn the_grace_is_as_configured() {
    let rig = agent().await;
    rig.config(json!({ "node_grace": "10s" })).await;
    rig.start(json!({})).await;
    assert_eq!(rig.beat(json!([])).await, json!({ "grace": 10, "next": 3, "unknown": [] }));
    rig.pass(10).await;
    assert_eq!(rig.tokens.live().len(), 1);
    rig.pass(1).await;
    assert_eq!(rig.tokens.live().len(), 0);
}

#[tokio::test]
async fn a_restart_makes_no_node_look_silent() {
    let mut rig = agent().await;
    rig.start(json!({})).await;
    rig.pass(55).await;
    rig.harness.clock.advance(Duration::from_secs(3600));
    rig.restart();
    rig.pass(60).await;
    assert_eq!(rig.tokens.live().len(), 1, "its grace began anew");
    assert_eq!(rig.state("node-1").await, "live");
    rig.pass(2).await;
    assert_eq!(rig.tokens.live().len(), 0);
    assert_eq!(rig.state("node-1").await, "lost");
}

#[tokio::test]
async fn a_server_that_was_away_himself_blames_nobody() {
    let rig = agent().await;
    rig.start(json!({})).await;
    rig.pass(5).await;
    rig.harness.clock.advance(Duration::from_secs(3600));
    rig.tick().await;
    assert_eq!(rig.tokens.live().len(), 1);
    rig.pass(61).await;
    assert_eq!(rig.tokens.live().len(), 0);
    // And so with caches that are forgotten.
    rig.start(json!({})).await;
    rig.pass(59).await;
    rig.harness.room.forget_caches();
    rig.pass(60).await;
    assert_eq!(rig.tokens.live().len(), 1);
}

#[tokio::test]
async fn the_end_of_a_lost_node_goes_on_after_a_restart() {
    let mut rig = agent().await;
    for pod in 0..450 {
        let uid = format!("0e0f6a5c-0000-4000-8000-{pod:012}");
        rig.start(json!({ "jwt": rig.pod_token(&uid, "node-1") })).await;
    }
    *rig.tokens.broken.lock() = true;
    rig.harness.clock.advance(Duration::from_secs(1));
    rig.tick().await;
    for _ in 0..60 {
        rig.harness.clock.advance(Duration::from_secs(1));
        let _ = rig.harness.room.tick(&rig.harness.mount, rig.harness.clock.now()).await;
    }
    assert_eq!(rig.state("node-1").await, "lost");
    assert_eq!(rig.tokens.live().len(), 450);
    rig.restart();
    *rig.tokens.broken.lock() = false;
    rig.harness.clock.advance(Duration::from_millis(1));
    // It is back before its starts have ended: they end all the same, and it is told so already.
    rig.be_agent("node-1").await;
    let first = held("0e0f6a5c-0000-4000-8000-000000000000", START);
    assert_eq!(rig.beat(json!([first])).await["unknown"], json!([first]));
    let new = rig.start(json!({ "start": SECOND })).await;
    rig.pass(2).await;
    assert_eq!(rig.tokens.live(), BTreeSet::from([new]));
    assert_eq!(rig.state("node-1").await, "live");
}

#[tokio::test]
async fn a_row_without_a_token_is_swept() {
    let rig = agent().await;
    rig.start(json!({})).await;
    rig.tokens.live.lock().clear();
    rig.pass(62).await;
    let node = rig.harness.read("agent/nodes/node-1").await.unwrap().data();
    assert_eq!((&node["state"], &node["starts"]), (&json!("lost"), &json!([])));
}

#[tokio::test]
async fn a_node_that_is_long_lost_is_forgotten() {
    let rig = agent().await;
    rig.start(json!({})).await;
    rig.pass(62).await;
    rig.harness.clock.advance(Duration::from_secs(25 * 3600));
    rig.pass(2).await;
    assert_eq!(rig.harness.list("agent/nodes").await.unwrap_err().kind, Kind::NotFound);
    rig.start(json!({})).await;
    assert_eq!(rig.state("node-1").await, "live", "and may come back");
}

#[tokio::test]
async fn many_nodes_are_lost_together() {
    let mut rig = Rig::new().await;
    for node in 0..120 {
        let name = format!("node-{node}");
        rig.be_agent(&name).await;
        let uid = format!("0e0f6a5c-0000-4000-8000-{node:012}");
        rig.start(json!({ "jwt": rig.pod_token(&uid, &name) })).await;
    }
    rig.pass(61).await;
    rig.pass(10).await;
    assert_eq!(rig.tokens.live().len(), 0);
}
