//! Sessions in containers, and what is replaced after them.

use super::*;

const SESSION: &str = "0123456789abcdef0123456789abcdef";
const NEXT: &str = "aaaaaaaa-0000-4000-8000-0000000000f2";

async fn agent() -> Rig {
    let mut rig = Rig::new().await;
    rig.be_agent("node-1").await;
    rig
}

impl Rig {
    async fn enter(&self, more: Value) -> Value {
        let mut ask = json!({ "session": SESSION, "node": "node-1", "pod_uid": POD, "container": "web", "ttl": "10m", "told": true });
        merge(&mut ask, more);
        self.harness.write("sessions/enter", ask).await.unwrap().data()["starts"].clone()
    }

    async fn leave(&self) {
        self.harness.write("sessions/leave", json!({ "session": SESSION })).await.unwrap();
    }

    /// The starts that are to be replaced.
    async fn seen(&self, start: &str) -> Value {
        self.beat(json!([held(POD, start)])).await["replace"].clone()
    }
}

#[tokio::test]
async fn after_a_session_the_start_is_replaced_once() {
    let rig = agent().await;
    rig.start(json!({})).await;
    assert_eq!(rig.enter(json!({})).await, 1);
    assert_eq!(rig.enter(json!({})).await, 1, "the API server may ask twice");
    assert_eq!(rig.seen(START).await, Value::Null, "not while it goes on");
    rig.leave().await;
    for _ in 0..2 {
        assert_eq!(rig.seen(START).await, json!([held(POD, START)]), "told until it is done");
    }
    rig.start(json!({ "start": NEXT, "life": START })).await;
    assert_eq!(rig.seen(NEXT).await, Value::Null);
    rig.leave().await;
    rig.pass(300).await;
    assert_eq!(rig.seen(NEXT).await, Value::Null, "once for each session");
}

#[tokio::test]
async fn a_beat_costs_no_more_for_it() {
    let rig = agent().await;
    rig.start(json!({})).await;
    rig.enter(json!({})).await;
    rig.leave().await;
    rig.seen(START).await;
    rig.counts.take();
    rig.seen(START).await;
    assert_eq!(rig.counts.take(), (0, 0), "one scan of the node's rows, and no write");
}

#[tokio::test]
async fn who_stays_while_it_is_renewed_has_seen_the_new_one() {
    let rig = agent().await;
    rig.start(json!({})).await;
    rig.enter(json!({})).await;
    rig.start(json!({ "start": NEXT, "life": START })).await;
    rig.leave().await;
    assert_eq!(rig.seen(NEXT).await, json!([held(POD, NEXT)]));
}

#[tokio::test]
async fn a_container_that_was_started_anew_has_nothing_that_anybody_saw() {
    let rig = agent().await;
    rig.start(json!({})).await;
    rig.enter(json!({})).await;
    rig.start(json!({ "start": NEXT })).await;
    rig.leave().await;
    assert_eq!(rig.seen(NEXT).await, Value::Null, "the session ended with the container");
}

#[tokio::test]
async fn an_end_that_nobody_tells_comes_with_time() {
    let rig = agent().await;
    rig.start(json!({})).await;
    rig.enter(json!({ "told": false, "ttl": "40s" })).await;
    rig.pass(35).await;
    rig.beat(json!([held(POD, START)])).await;
    assert_eq!(rig.seen(START).await, Value::Null);
    rig.pass(20).await;
    assert_eq!(rig.seen(START).await, json!([held(POD, START)]));
}

#[tokio::test]
async fn a_grant_that_got_more_time_is_seen_to_at_its_end() {
    let rig = agent().await;
    rig.start(json!({})).await;
    rig.enter(json!({ "ttl": "20s" })).await;
    rig.pass(40).await;
    assert_eq!(rig.seen(START).await, json!([held(POD, START)]), "its proxy may have died");
    rig.start(json!({ "start": NEXT, "life": START })).await;
    rig.leave().await;
    assert_eq!(rig.seen(NEXT).await, json!([held(POD, NEXT)]), "it went on");
}

#[tokio::test]
async fn who_enters_nothing_of_ours_leaves_nothing() {
    let rig = agent().await;
    rig.start(json!({})).await;
    assert_eq!(rig.enter(json!({ "container": "sidecar" })).await, 0);
    assert_eq!(rig.enter(json!({ "pod_uid": OTHER_POD })).await, 0);
    rig.leave().await;
    assert_eq!(rig.seen(START).await, Value::Null);
    for bad in [json!({ "session": "short" }), json!({ "session": "../".repeat(12) }), json!({ "node": "a/b" })] {
        let mut ask = json!({ "session": SESSION, "node": "node-1", "pod_uid": POD, "container": "web" });
        merge(&mut ask, bad);
        assert_eq!(rig.harness.write("sessions/enter", ask).await.unwrap_err().kind, dewdrop_core::Kind::BadRequest);
    }
}
