use super::*;

async fn piece(s: &Stage, number: u32, cast: &str, more: Value) -> Result<Got, Fault> {
    let mut fields = json!({ "number": number, "cast": cast });
    for (name, value) in more.as_object().unwrap() {
        fields[name] = value.clone();
    }
    s.harness.write("recordings/r1", fields).await
}

#[tokio::test]
async fn pieces_come_in_order_and_are_never_changed() {
    let s = Stage::new();
    assert!(piece(&s, 1, "x", json!({})).await.is_err(), "it has not begun");
    piece(&s, 0, "head\n", json!({ "about": { "grant": "g1", "user": "ann" } })).await.unwrap();
    piece(&s, 0, "head\n", json!({})).await.unwrap();
    assert!(piece(&s, 0, "other\n", json!({})).await.is_err());
    assert!(piece(&s, 2, "x", json!({})).await.is_err(), "one is missing");
    piece(&s, 1, "one\n", json!({})).await.unwrap();
    piece(&s, 2, "two\n", json!({ "last": true })).await.unwrap();
    assert!(piece(&s, 3, "x", json!({})).await.is_err(), "it has ended");
    let read = s.harness.read("recordings/r1").await.unwrap().data();
    assert_eq!((&read["cast"], &read["next"]), (&json!("head\none\ntwo\n"), &Value::Null));
    assert_eq!((&read["user"], &read["ended_at"]), (&json!("ann"), &json!("2026-01-01T00:00:00.000Z")));
    let listed = s.harness.list("recordings").await.unwrap().data();
    assert_eq!(listed["key_info"]["r1"]["grant"], "g1");
}

#[tokio::test]
async fn a_long_one_is_read_in_parts_and_removed_when_it_is_old() {
    let s = Stage::new();
    for number in 0..40 {
        piece(&s, number, &format!("{number},"), json!({})).await.unwrap();
    }
    let (mut whole, mut from) = (String::new(), json!(0));
    while !from.is_null() {
        let read = s.harness.read_with("recordings/r1", json!({ "from": from })).await.unwrap().data();
        whole += read["cast"].as_str().unwrap();
        from = read["next"].clone();
    }
    let expected: String = (0..40).map(|number| format!("{number},")).collect();
    assert_eq!(whole, expected);
    s.later(91 * 24 * 60);
    s.harness.room.tick(&s.harness.mount, dewdrop_core::Clock::now(&*s.harness.clock)).await.unwrap();
    assert_eq!(s.harness.read("recordings/r1").await.unwrap_err().kind, Kind::NotFound);
}

#[tokio::test]
async fn one_that_is_full_takes_its_end_and_nothing_more() {
    use dewdrop_core::store::{Batch, Store};
    let s = Stage::new();
    piece(&s, 0, "head", json!({})).await.unwrap();
    let full = json!({ "of": {}, "began": 0, "ended": null, "bytes": (1u64 << 30) - 2 });
    s.harness.store.commit(Batch::new().put_json("recordings/r1", &full).unwrap()).await.unwrap();
    assert_eq!(piece(&s, 1, "abc", json!({})).await.unwrap_err().kind, Kind::BadRequest);
    piece(&s, 1, "ab", json!({})).await.unwrap();
    piece(&s, 2, "", json!({ "last": true })).await.unwrap();
}

#[tokio::test]
async fn what_is_too_large_or_no_text_is_refused() {
    let s = Stage::new();
    assert!(piece(&s, 0, &"x".repeat((1 << 20) + 1), json!({})).await.is_err());
    assert!(piece(&s, 0, "x", json!({ "about": { "user": "x".repeat(2001) } })).await.is_err());
    assert!(piece(&s, 0, "x", json!({ "about": { "user": 7 } })).await.is_err());
    assert!(s.harness.write("recordings/r1", json!({ "number": -1 })).await.is_err());
}
