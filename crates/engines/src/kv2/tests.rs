use std::time::Duration;

use dewdrop_core::mount::MountClass;
use dewdrop_core::route::Room;
use dewdrop_core::{Clock as _, Kind};
use dewdrop_testkit::harness::{Got, Harness};
use serde_json::json;

use super::*;

const START: &str = "2026-01-01T00:00:00.000Z";

fn harness() -> Harness {
    Harness::new(MountClass::Secret, &[("version", "2")], |place| Room::new(Kv2::open(place)))
}

async fn put(h: &Harness, path: &str, data: Value) -> u64 {
    let got = h.write(&format!("data/{path}"), json!({ "data": data })).await.unwrap();
    got.data()["version"].as_u64().unwrap()
}

async fn told(h: &Harness, path: &str, fields: Value) -> String {
    let fault = h.write(path, fields).await.unwrap_err();
    assert!(matches!(fault.kind, Kind::BadRequest | Kind::Conflict), "{fault:?}");
    fault.told.into_owned()
}

async fn read(h: &Harness, path: &str, version: u64) -> Result<Value, Fault> {
    h.read_with(&format!("data/{path}"), json!({ "version": version.to_string() })).await.map(Got::data)
}

#[tokio::test]
async fn shapes_of_a_written_and_read_version() {
    let h = harness();
    let made =
        h.write("data/a/b", json!({ "data": { "x": [1.5, null] }, "options": { "cas": "0" } })).await.unwrap().data();
    let metadata = json!({ "created_time": START, "custom_metadata": null, "deletion_time": "", "destroyed": false, "version": 1 });
    assert_eq!(made, metadata);
    let read = h.read("data/a/b").await.unwrap().data();
    assert_eq!(read, json!({ "data": { "x": [1.5, null] }, "metadata": metadata }));
    let view = h.read("metadata/a/b").await.unwrap().data();
    assert_eq!(
        view,
        json!({
            "cas_required": false, "created_time": START, "current_metadata_version": 0, "current_version": 1,
            "custom_metadata": null, "delete_version_after": "0s", "max_versions": 0, "metadata_cas_required": false,
            "oldest_version": 0, "updated_time": START,
            "versions": { "1": { "created_time": START, "deletion_time": "", "destroyed": false } },
        })
    );
}

#[tokio::test]
async fn a_deleted_version_is_404_with_its_metadata_and_can_be_brought_back() {
    let h = harness();
    put(&h, "a", json!({ "n": 1 })).await;
    h.clock.advance(Duration::from_secs(5));
    assert!(matches!(h.delete("data/a").await, Ok(Got::Nothing)));
    let fault = read(&h, "a", 0).await.unwrap_err();
    let metadata = json!({
        "created_time": START, "custom_metadata": null, "deletion_time": "2026-01-01T00:00:05.000Z", "destroyed": false, "version": 1,
    });
    assert_eq!(fault, Fault::not_found().with_data(json!({ "data": null, "metadata": metadata })));
    let fault = h.read("subkeys/a").await.unwrap_err();
    assert_eq!(fault, Fault::not_found().with_data(json!({ "subkeys": null, "metadata": metadata })));
    let patch = h.call(Operation::Patch, "data/a", json!({ "data": { "z": 1 } })).await.unwrap_err();
    assert_eq!(patch, Fault::not_found().with_data(metadata));

    h.write("undelete/a", json!({ "versions": "1" })).await.unwrap();
    assert_eq!(read(&h, "a", 0).await.unwrap()["data"], json!({ "n": 1 }));
    h.write("destroy/a", json!({ "versions": [1, 1, 7] })).await.unwrap();
    h.write("undelete/a", json!({ "versions": [1] })).await.unwrap();
    let fault = read(&h, "a", 1).await.unwrap_err();
    assert_eq!(fault.data.unwrap()["metadata"]["destroyed"], json!(true));
    assert!(!h.store.dump().iter().any(|(key, _)| key.starts_with(b"d/")), "the data is gone");
}

#[tokio::test]
async fn versions_need_numbers_and_pass_over_strange_ones() {
    let h = harness();
    for family in ["delete", "undelete", "destroy"] {
        let word = if family == "destroy" { "no" } else { "No" };
        assert_eq!(told(&h, &format!("{family}/a"), json!({})).await, format!("{word} version number provided"));
        assert!(told(&h, &format!("{family}/a"), json!({ "versions": ["x"] })).await.contains("\"versions\""));
        for strange in [json!([99]), json!([-1, 0]), json!("1,2"), json!(["6", 6])] {
            assert!(matches!(h.write(&format!("{family}/a"), json!({ "versions": strange })).await, Ok(Got::Nothing)));
        }
        assert_eq!(h.read(&format!("{family}/a")).await.unwrap_err().kind, Kind::Unsupported);
    }
    assert!(h.store.dump().is_empty());
}

#[tokio::test]
async fn check_and_set() {
    let h = harness();
    let mismatch = "check-and-set parameter did not match the current version";
    for (cas, expected) in [
        (json!(1), mismatch),
        (json!("7"), mismatch),
        (json!(-1), mismatch),
        (json!("x"), "error parsing check-and-set parameter"),
        (json!(1.5), "error parsing check-and-set parameter"),
    ] {
        assert_eq!(told(&h, "data/a", json!({ "data": {}, "options": { "cas": cas } })).await, expected);
    }
    assert_eq!(told(&h, "data/a", json!({})).await, "no data provided");
    assert!(told(&h, "data/a", json!({ "data": "x" })).await.contains("\"data\""));
    assert!(told(&h, "data/a", json!({ "data": [1] })).await.contains("\"data\""));
    assert!(told(&h, "data/a", json!({ "data": {}, "options": "x" })).await.contains("\"options\""));
    assert!(h.store.dump().is_empty());
    h.write("data/a", json!({ "data": null, "options": { "cas": 0 } })).await.unwrap();
    assert_eq!(told(&h, "data/a", json!({ "data": {}, "options": { "cas": 0 } })).await, mismatch);
    assert_eq!(told(&h, "data/a", json!({ "data": {}, "options": { "cas": null } })).await, mismatch);
    h.write("config", json!({ "cas_required": "true" })).await.unwrap();
    let required = "check-and-set parameter required for this call";
    assert_eq!(told(&h, "data/a", json!({ "data": {} })).await, required);
    let patch = h.call(Operation::Patch, "data/a", json!({ "data": {} })).await.unwrap_err();
    assert_eq!(patch.told, required);
    let (_, warnings) = h.reply(Operation::Update, "metadata/a", json!({ "cas_required": false })).await.unwrap();
    assert_eq!(
        warnings,
        ["\"cas_required\" set to false, but is mandated by backend config. This value will be ignored."]
    );
}

#[tokio::test]
async fn a_patch_merges_and_removes() {
    let h = harness();
    let reply = h.answer(Operation::Patch, "data/p", json!({ "data": { "a": 1 } })).await.unwrap();
    assert_eq!((reply.status, reply.warnings.len()), (Some(404), 0));
    put(&h, "p", json!({ "a": 1, "b": { "c": 1, "d": 2 } })).await;
    let patch = json!({ "data": { "b": { "c": null, "e": [1] }, "f": null }, "options": { "cas": "1" } });
    assert_eq!(h.call(Operation::Patch, "data/p", patch.clone()).await.unwrap().data()["version"], json!(2));
    assert_eq!(read(&h, "p", 0).await.unwrap()["data"], json!({ "a": 1, "b": { "d": 2, "e": [1] } }));
    assert_eq!(read(&h, "p", 1).await.unwrap()["data"]["b"]["c"], json!(1));
    assert_eq!(h.call(Operation::Patch, "data/p", patch).await.unwrap_err().kind, Kind::Conflict);
    h.call(Operation::Patch, "data/p", json!({ "data": null })).await.unwrap();
    h.call(Operation::Patch, "data/p", json!({ "data": { "q": 1 } })).await.unwrap();
    assert_eq!(read(&h, "p", 0).await.unwrap()["data"], json!({ "q": 1 }));
}

#[tokio::test]
async fn the_larger_number_of_versions_counts() {
    let h = harness();
    for (own, mount, kept) in [(0, 0, 10), (2, 0, 2), (2, 4, 4), (5, 2, 5), (0, 3, 3)] {
        let path = format!("v-{own}-{mount}");
        h.write("config", json!({ "max_versions": mount })).await.unwrap();
        h.write(&format!("metadata/{path}"), json!({ "max_versions": own.to_string() })).await.unwrap();
        for n in 1..=12 {
            put(&h, &path, json!({ "n": n })).await;
        }
        let view = h.read(&format!("metadata/{path}")).await.unwrap().data();
        assert_eq!(view["versions"].as_object().unwrap().len(), kept, "{path}");
        assert_eq!(view["oldest_version"], json!(12 - kept + 1));
        let prefix = format!("d/{path}\0");
        assert_eq!(h.store.dump().iter().filter(|(key, _)| key.starts_with(prefix.as_bytes())).count(), kept);
        assert_eq!(read(&h, &path, 1).await.unwrap_err(), Fault::not_found());
    }
    for strange in [json!(-1), json!(99_999_999_999_u64), json!("x"), json!(2.5)] {
        told(&h, "config", json!({ "max_versions": strange })).await;
        told(&h, "metadata/a", json!({ "max_versions": strange })).await;
    }
}

#[tokio::test]
async fn versions_that_delete_themselves() {
    let h = harness();
    h.write("config", json!({ "delete_version_after": "1h30m" })).await.unwrap();
    h.write("metadata/long", json!({ "delete_version_after": "2h" })).await.unwrap();
    h.write("metadata/short", json!({ "delete_version_after": 60 })).await.unwrap();
    for (path, until) in [("none", "01:30:00"), ("long", "01:30:00"), ("short", "00:01:00")] {
        let made = h.write(&format!("data/{path}"), json!({ "data": {} })).await.unwrap().data();
        assert_eq!(made["deletion_time"], json!(format!("2026-01-01T{until}.000Z")), "{path}");
        assert!(read(&h, path, 0).await.is_ok());
    }
    h.clock.advance(Duration::from_secs(60));
    assert!(read(&h, "short", 0).await.unwrap_err().data.is_some());
    h.write("undelete/short", json!({ "versions": [1] })).await.unwrap();
    assert_eq!(read(&h, "short", 0).await.unwrap()["metadata"]["deletion_time"], json!("2026-01-01T00:02:00.000Z"));
    h.write("config", json!({ "delete_version_after": "-5s" })).await.unwrap();
    assert_eq!(h.read("config").await.unwrap().data()["delete_version_after"], json!("-1s"));
    assert_eq!(h.write("data/short", json!({ "data": {} })).await.unwrap().data()["deletion_time"], json!(""));
    assert!(told(&h, "config", json!({ "delete_version_after": "zz" })).await.contains("\"delete_version_after\""));
    assert!(told(&h, "config", json!({ "delete_version_after": "-zz" })).await.contains("\"delete_version_after\""));
    assert!(
        told(&h, "metadata/a", json!({ "delete_version_after": "-1s" })).await.contains("\"delete_version_after\"")
    );
    let config = h.read("config").await.unwrap().data();
    assert_eq!(
        config,
        json!({ "cas_required": false, "delete_version_after": "-1s", "max_versions": 0, "metadata_cas_required": false })
    );
}

#[tokio::test]
async fn metadata_is_set_and_patched() {
    let h = harness();
    assert_eq!(h.read("metadata/m").await.unwrap_err(), Fault::not_found());
    assert!(matches!(h.write("metadata/m", json!({})).await, Ok(Got::Nothing)));
    assert!(h.store.dump().is_empty(), "nothing was asked, nothing is made");
    let reply = h.answer(Operation::Patch, "metadata/m", json!({ "max_versions": 7 })).await.unwrap();
    assert_eq!(reply.status, Some(404));
    h.write("metadata/m", json!({ "custom_metadata": { "a": "1", "b": 2, "c": true } })).await.unwrap();
    let view = h.read("metadata/m").await.unwrap().data();
    assert_eq!(view["custom_metadata"], json!({ "a": "1", "b": "2", "c": "1" }));
    assert_eq!((&view["current_version"], &view["current_metadata_version"]), (&json!(0), &json!(1)));
    assert_eq!(h.read("data/m").await.unwrap_err(), Fault::not_found());
    let patch = json!({ "custom_metadata": { "a": null, "z": "3" }, "max_versions": null, "cas_required": null, "delete_version_after": null });
    h.call(Operation::Patch, "metadata/m", patch).await.unwrap();
    let view = h.read("metadata/m").await.unwrap().data();
    assert_eq!(view["custom_metadata"], json!({ "b": "2", "c": "1", "z": "3" }));
    assert_eq!(view["current_metadata_version"], json!(2));
    for strange in [json!("x"), json!(["a=b"]), json!({ "b": null }), json!({ "b": {} }), json!({ "b": "" })] {
        told(&h, "metadata/m", json!({ "custom_metadata": strange })).await;
    }
    let many: Map = (0..63).map(|n| (n.to_string(), json!("v"))).collect();
    assert!(h.call(Operation::Patch, "metadata/m", json!({ "custom_metadata": many })).await.is_err());
    h.write("metadata/m", json!({ "custom_metadata": null })).await.unwrap();
    assert_eq!(h.read("metadata/m").await.unwrap().data()["custom_metadata"], json!(null));
}

type Map = serde_json::Map<String, Value>;

#[tokio::test]
async fn metadata_check_and_set() {
    let h = harness();
    let mismatch = "metadata check-and-set parameter does not match the current version";
    let words = |cas: i64| json!({ "metadata_cas": cas, "custom_metadata": { "a": "1" } });
    assert_eq!(told(&h, "metadata/m", words(1)).await, mismatch);
    h.write("metadata/m", words(0)).await.unwrap();
    assert_eq!(told(&h, "metadata/m", words(0)).await, mismatch);
    h.write("metadata/m", json!({ "metadata_cas_required": true })).await.unwrap();
    let required = "metadata check-and-set parameter required for this call";
    assert_eq!(told(&h, "metadata/m", json!({ "max_versions": 1 })).await, required);
    assert_eq!(h.call(Operation::Patch, "metadata/m", json!({ "max_versions": 1 })).await.unwrap_err().told, required);
    h.write("metadata/m", words(2)).await.unwrap();
    put(&h, "m", json!({})).await;
}

#[tokio::test]
async fn lists_scans_and_details() {
    let h = harness();
    for path in ["l/a", "l/b", "l/b/c", "l/b/d", "l/e/f/g", "l/h"] {
        put(&h, path, json!({})).await;
    }
    assert_eq!(h.list("metadata").await.unwrap().keys(), ["l/"]);
    assert_eq!(h.list("metadata/l/").await.unwrap().keys(), ["a", "b", "b/", "e/", "h"]);
    assert_eq!(h.list("metadata/zz").await.unwrap_err(), Fault::not_found());
    let paged = h.call(Operation::List, "metadata/l", json!({ "after": "a", "limit": "2" })).await.unwrap();
    assert_eq!(paged.keys(), ["b", "b/"]);
    let order = ["a", "b", "h", "e/f/g", "b/c", "b/d"];
    let fields = json!({ "after": "b", "limit": "2" });
    assert_eq!(h.call(Operation::Scan, "metadata/l", fields.clone()).await.unwrap().keys(), order);
    assert_eq!(h.call(Operation::Scan, "metadata/zz", Value::Null).await.unwrap().data(), json!({}));
    let details = h.list("detailed-metadata/l").await.unwrap().data();
    assert_eq!(details["keys"], json!(["a", "b", "b/", "e/", "h"]));
    assert_eq!(details["key_info"]["e/"], json!({}));
    assert_eq!(details["key_info"]["a"], h.read("metadata/l/a").await.unwrap().data());
    let details = h.call(Operation::Scan, "detailed-metadata/l", fields).await.unwrap().data();
    assert_eq!(details["keys"], json!(order));
    assert_eq!(details["key_info"]["e/f/g"]["current_version"], json!(1));
    assert_eq!(h.read("detailed-metadata/l/a").await.unwrap_err().kind, Kind::Unsupported);
    assert_eq!(h.list("data/l").await.unwrap_err().kind, Kind::Unsupported);
}

#[tokio::test]
async fn names_within_a_secret() {
    let h = harness();
    put(&h, "s", json!({ "a": 1, "b": { "c": { "d": [1, { "x": 1 }], "e": {} } }, "n": null })).await;
    let whole = json!({ "a": null, "b": { "c": { "d": null, "e": null } }, "n": null });
    let top = json!({ "a": null, "b": null, "n": null });
    for (depth, expected) in [("0", &whole), ("", &whole), ("1", &top), ("-1", &top)] {
        let got = h.read_with("subkeys/s", json!({ "depth": depth })).await.unwrap().data();
        assert_eq!(&got["subkeys"], expected, "depth {depth:?}");
    }
    let got = h.read_with("subkeys/s", json!({ "depth": "2", "version": "1" })).await.unwrap().data();
    assert_eq!(got["subkeys"], json!({ "a": null, "b": { "c": null }, "n": null }));
    assert!(h.read_with("subkeys/s", json!({ "depth": "x" })).await.is_err());
}

#[tokio::test]
async fn deleting_metadata_takes_all_versions_of_this_secret_alone() {
    let h = harness();
    for path in ["a", "a/b", "ab", "a\u{1f600}"] {
        put(&h, path, json!({})).await;
        put(&h, path, json!({})).await;
    }
    h.delete("metadata/a").await.unwrap();
    h.delete("metadata/a").await.unwrap();
    assert_eq!(h.read("data/a").await.unwrap_err(), Fault::not_found());
    assert_eq!(h.store.dump().len(), 9);
    assert_eq!(put(&h, "a", json!({})).await, 1);
}

#[tokio::test]
async fn wrong_paths_say_how_to_go_on() {
    let h = harness();
    for (operation, path, warning) in [
        (Operation::Read, "foo/bar", "'dewdrop kv get'"),
        (Operation::Update, "a", "'dewdrop kv put'"),
        (Operation::List, "", "'dewdrop kv list'"),
        (Operation::Delete, "a", "'dewdrop kv delete'"),
        (Operation::Patch, "a", "'dewdrop kv patch'"),
        (Operation::Scan, "a", "'dewdrop kv scan'"),
        (Operation::List, "config", "'dewdrop kv list'"),
        (Operation::Read, "detailed-metadata", "'dewdrop kv get'"),
        (Operation::Read, "subkeys", "'dewdrop kv get'"),
        (Operation::Read, "data", "Non-listing operations on the root"),
        (Operation::Update, "delete", "Non-listing operations on the root"),
        (Operation::Delete, "metadata", "Non-listing operations on the root"),
    ] {
        let reply = h.answer(operation, path, json!({ "x": 1 })).await.unwrap();
        assert_eq!(reply.status, Some(404));
        assert!(matches!(reply.outcome, Outcome::Nothing));
        assert_eq!(reply.warnings.len(), 1);
        assert!(reply.warnings[0].contains(warning), "{:?}", reply.warnings);
    }
    assert!(told(&h, "data/a\0b", json!({ "data": {} })).await.contains("control character"));
}

#[tokio::test]
async fn a_version_1_mount_is_upgraded() {
    let h = harness();
    let mut batch = Batch::new();
    for n in 0..40 {
        batch = batch.put(format!("s/f/{n}"), format!("{{\"n\":{n}}}"));
    }
    h.store.commit(batch).await.unwrap();
    assert_eq!(Kv2::upgrade(&*h.store, h.clock.now()).await, Ok(40));
    assert_eq!(Kv2::upgrade(&*h.store, h.clock.now()).await, Ok(0));
    assert_eq!(h.list("metadata/f").await.unwrap().keys().len(), 40);
    let read = h.read("data/f/7").await.unwrap().data();
    assert_eq!((&read["data"], &read["metadata"]["version"]), (&json!({ "n": 7 }), &json!(1)));
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_of_two_servers_lose_no_version() {
    let h = harness();
    let place = dewdrop_core::engine::Place {
        store: h.store.clone(),
        clock: h.clock.clone(),
        mount_uuid: "test-uuid".into(),
        mount_accessor: "test_accessor".into(),
        options: BTreeMap::new(),
        house: h.house.clone(),
    };
    let mut other = harness();
    other.room = Room::new(Kv2::open(place));
    h.write("metadata/a", json!({ "max_versions": 1000 })).await.unwrap();
    let (one, two) = (Arc::new(h), Arc::new(other));
    let mut writers = tokio::task::JoinSet::new();
    for n in 0..100 {
        let server = if n % 2 == 0 { one.clone() } else { two.clone() };
        writers.spawn(async move { put(&server, "a", json!({ "n": n })).await });
    }
    let mut versions = writers.join_all().await;
    versions.sort_unstable();
    assert_eq!(versions, (1..=100).collect::<Vec<u64>>());
    let mut written = Vec::new();
    for version in 1..=100 {
        written.push(read(&two, "a", version).await.unwrap()["data"]["n"].as_u64().unwrap());
    }
    written.sort_unstable();
    assert_eq!(written, (0..100).collect::<Vec<u64>>());
}

#[tokio::test]
async fn a_store_that_is_down_is_503_and_nothing_is_cached_wrong() {
    let h = harness();
    put(&h, "a", json!({})).await;
    h.store.set_down(true);
    for fault in [h.read("data/a").await.unwrap_err(), h.write("data/a", json!({ "data": {} })).await.unwrap_err()] {
        assert_eq!(fault.kind, Kind::Unavailable);
    }
    h.store.set_down(false);
    assert_eq!(put(&h, "a", json!({})).await, 2);
}
