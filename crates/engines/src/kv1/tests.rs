use dewdrop_core::call::Reply;
use dewdrop_core::mount::MountClass;
use dewdrop_core::route::Room;
use dewdrop_core::{Kind, Operation};
use dewdrop_testkit::harness::{Got, Harness};
use serde_json::{Value, json};

use super::*;

fn harness() -> Harness {
    Harness::new(MountClass::Secret, &[("version", "1")], |place| Room::new(Kv1::open(place)))
}

#[tokio::test]
async fn a_secret_is_kept_as_it_was_given() {
    let h = harness();
    let secret = json!({ "x": { "y": [1, 2.5, "z", null] }, "path": "mine", "ttl": "1h" });
    assert!(matches!(h.write("a/b", secret.clone()).await, Ok(Got::Nothing)));
    assert_eq!(h.read("a/b").await.unwrap().data(), secret);
    h.write("a/b", json!({ "n": 2 })).await.unwrap();
    assert_eq!(h.read("a/b").await.unwrap().data(), json!({ "n": 2 }));
    assert!(matches!(h.delete("a/b").await, Ok(Got::Nothing)));
    assert!(matches!(h.delete("a/b").await, Ok(Got::Nothing)));
    assert_eq!(h.read("a/b").await.unwrap_err(), Fault::not_found());
}

#[tokio::test]
async fn what_cannot_be_written_is_refused() {
    let h = harness();
    for (path, data, told) in [
        ("a", json!({}), "missing data fields"),
        ("", json!({ "x": 1 }), "missing path"),
        ("a\0b", json!({ "x": 1 }), "the path holds a control character; use printable ones"),
    ] {
        let fault = h.write(path, data).await.unwrap_err();
        assert_eq!((fault.kind, fault.told.as_ref()), (Kind::BadRequest, told));
    }
    assert!(h.store.dump().is_empty());
    assert_eq!(h.call(Operation::Patch, "a", json!({ "x": 1 })).await.unwrap_err().kind, Kind::Unsupported);
}

#[tokio::test]
async fn lists_and_scans() {
    let h = harness();
    for path in ["a", "b/c", "b/d/e", "b"] {
        h.write(path, json!({ "x": 1 })).await.unwrap();
    }
    assert_eq!(h.list("").await.unwrap().keys(), ["a", "b", "b/"]);
    assert_eq!(h.list("b/").await.unwrap().keys(), ["c", "d/"]);
    assert_eq!(h.list("nope").await.unwrap_err(), Fault::not_found());
    let page = h.call(Operation::List, "", json!({ "after": "a", "limit": "1" })).await.unwrap();
    assert_eq!(page.keys(), ["b"]);
    assert_eq!(h.call(Operation::Scan, "", Value::Null).await.unwrap().keys(), ["a", "b", "b/c", "b/d/e"]);
    assert_eq!(h.call(Operation::Scan, "nope", Value::Null).await.unwrap().data(), json!({}));
}

#[tokio::test]
async fn a_first_write_can_be_told_from_a_later_one() {
    let h = harness();
    let spot = h.room.find("a/b", Operation::Update).unwrap();
    assert!(spot.tells_create);
    assert!(!h.room.exists(&spot).await.unwrap());
    h.write("a/b", json!({ "x": 1 })).await.unwrap();
    assert!(h.room.exists(&spot).await.unwrap());
}

#[test]
fn a_secret_may_say_how_long_it_may_be_kept() {
    let seconds = |data: Value| life_of(data.as_object().unwrap()).map(|d| d.as_secs());
    assert_eq!(seconds(json!({ "x": 1 })), None);
    assert_eq!(seconds(json!({ "ttl": "1h" })), Some(3600));
    assert_eq!(seconds(json!({ "lease": "30m" })), Some(1800));
    assert_eq!(seconds(json!({ "ttl": "", "lease": 7 })), Some(0));
    assert_eq!(seconds(json!({ "ttl": null, "lease": 7 })), Some(0));
    assert_eq!(seconds(json!({ "ttl": "2d" })), Some(172_800));
    for strange in [json!("zzz"), json!(-5), json!(3.7), json!(true), json!("99999999h"), json!([1])] {
        assert_eq!(seconds(json!({ "ttl": strange })), None);
    }
}

#[tokio::test]
async fn reads_show_the_lease_duration() {
    let h = harness();
    h.write("a", json!({ "x": 1 })).await.unwrap();
    h.write("b", json!({ "x": 1, "ttl": 60 })).await.unwrap();
    for (path, seconds) in [("a", 2_764_800), ("b", 60)] {
        let Reply { lease_hint, .. } = h.answer(Operation::Read, path, Value::Null).await.unwrap();
        assert_eq!(lease_hint, Some(Duration::from_secs(seconds)));
    }
}
