//! Receivers that are down, slow, or picky; servers that start again.

use dewdrop_testkit::receiver::dead_port;

use super::*;
use crate::access::notices::for_tests::write_letters;

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}/hooks/T0")
}

#[tokio::test]
async fn what_waits_is_sent_after_a_restart_once_the_receiver_is_there() {
    let mut s = Stage::new();
    let port = dead_port();
    s.role(json!({})).await.unwrap();
    s.notice("ops", &url(port), json!({})).await.unwrap();
    let id = s.asked().await;
    s.says("ben", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    until("it was tried", || async { !s.state_of("ops").await["last_error"].as_str().unwrap().is_empty() }).await;
    let state = s.state_of("ops").await;
    assert_eq!((&state["waiting"], &state["last_sent"]), (&json!(2), &json!("")));
    assert!(!state["last_error"].as_str().unwrap().contains("hooks"), "{state}");

    // Another server over the same store; a standby's rounds are not made, so nothing is sent before the first.
    let (store, clock, house) = (s.harness.store.clone(), s.harness.clock.clone(), s.harness.house.clone());
    s.harness = Harness::new(MountClass::Secret, &[], |mut place| {
        (place.store, place.clock, place.house) = (store.clone(), clock.clone(), house.clone());
        Room::new(Access::open(place))
    });
    (s.harness.store, s.harness.clock, s.harness.house) = (store, clock, house);
    let receiver = Receiver::on(port, Box::new(|_| Some("200 OK")));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(receiver.told().is_empty());
    s.tick().await;
    let told = told_of(&receiver, &["requested", "approved"]).await;
    assert_ne!(told[0].body["id"], told[1].body["id"]);
    until("all is noted", || async { s.state_of("ops").await["waiting"] == 0 }).await;
}

#[tokio::test]
async fn receivers_that_are_dead_or_slow_hold_up_nobody() {
    let mut s = Stage::new();
    let (slow, good) = (Receiver::on(0, Box::new(|_| None)), Receiver::start());
    s.role(json!({})).await.unwrap();
    s.notice("a-dead", &url(dead_port()), json!({})).await.unwrap();
    s.notice("b-slow", &slow.url(), json!({})).await.unwrap();
    s.notice("c-good", &good.url(), json!({})).await.unwrap();
    for _ in 0..5 {
        s.asked().await;
    }
    told_of(&good, &["requested"; 5]).await;
    // The first try at the slow one goes on still.
    assert_eq!(slow.told().len(), 1, "one at a time");
    assert_eq!(s.state_of("b-slow").await["waiting"], 5);
    until("the dead one was tried", || async { s.state_of("a-dead").await["last_error"] != "" }).await;
}

#[tokio::test]
async fn a_letter_that_is_not_taken_does_not_hide_the_others() {
    let mut s = Stage::new();
    let picky = |told: &Told| Some(if told.body["event"] == "requested" { "400 Bad Request" } else { "200 OK" });
    let receiver = Receiver::on(0, Box::new(picky));
    s.role(json!({})).await.unwrap();
    s.notice("ops", &receiver.url(), json!({})).await.unwrap();
    let id = s.asked().await;
    until("it was tried", || async { !receiver.told().is_empty() }).await;
    s.says("ben", &format!("requests/{id}/approve"), json!({})).await.unwrap();
    s.certificate("ann", &id).await.unwrap();
    until("the others arrive", || async { s.state_of("ops").await["sent"] == 2 }).await;
    assert_eq!(s.state_of("ops").await["last_error"], "the receiver answered 400");
    s.later(24 * 60);
    s.tick().await;
    until("it is given up after a day", || async { s.state_of("ops").await["given_up"] == 1 }).await;
    // Each wait is longer than the one before.
    assert!(receiver.told().len() < 20, "{} tries", receiver.told().len());
}

#[tokio::test]
async fn ten_thousand_letters_are_bounded_and_the_alarm_stays() {
    let mut s = Stage::new();
    let port = dead_port();
    s.role(json!({ "break_glass_entities": "ann" })).await.unwrap();
    s.notice("ops", &url(port), json!({})).await.unwrap();
    let ask = json!({ "role": "look", "reason": "fire", "break_glass": true });
    s.says("ann", "request", ask).await.unwrap();
    let id = s.asked().await;
    write_letters(&*s.harness.store, "ops", &id, s.harness.clock.now(), 10_000).await;
    s.asked().await;
    until("the oldest are dropped", || async { s.state_of("ops").await["dropped"] != 0 }).await;
    let state = s.state_of("ops").await;
    assert_eq!((&state["waiting"], &state["dropped"]), (&json!(1000), &json!(9003)));
    let receiver = Receiver::on(port, Box::new(|_| Some("200 OK")));
    until("all arrive", || async {
        // Its rest after the failures before passes, too.
        if receiver.count() == 0 {
            s.later(1);
        }
        s.tick().await;
        receiver.count() >= 1000
    })
    .await;
    assert!(receiver.events().iter().any(|event| event == "break_glass"));
    until("all is noted", || async { s.state_of("ops").await["waiting"] == 0 }).await;
}

#[tokio::test]
async fn redirects_are_not_followed_and_a_test_tells_what_came_of_it() {
    let s = Stage::new();
    let (good, moved) =
        (Receiver::start(), Receiver::on(0, Box::new(|_| Some("307 Temporary Redirect\r\nLocation: /x"))));
    s.notice("good", &good.url(), json!({})).await.unwrap();
    s.notice("moved", &moved.url(), json!({})).await.unwrap();
    let told = s.harness.write("notices/good/test", json!({})).await.unwrap().data();
    assert_eq!(told["sent"], true);
    assert_eq!((&good.told()[0].body["id"], &good.told()[0].body["event"]), (&told["id"], &json!("test")));
    let refused = s.harness.write("notices/moved/test", json!({})).await.unwrap_err();
    assert!(refused.told.contains("307; redirects are not followed"), "{refused}");
    assert_eq!(moved.told().len(), 1);
    assert_eq!(s.harness.write("notices/none/test", json!({})).await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn a_deleted_notice_leaves_nothing() {
    let mut s = Stage::new();
    s.role(json!({})).await.unwrap();
    s.notice("ops", &url(dead_port()), json!({})).await.unwrap();
    s.asked().await;
    until("it was tried", || async { s.state_of("ops").await["last_error"] != "" }).await;
    s.harness.delete("notices/ops").await.unwrap();
    s.later(10);
    s.tick().await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    for (key, _) in s.harness.store.dump() {
        let key = String::from_utf8_lossy(&key).into_owned();
        assert!(!["notices/", "outbox/", "told/"].iter().any(|start| key.starts_with(start)), "{key}");
    }
}
