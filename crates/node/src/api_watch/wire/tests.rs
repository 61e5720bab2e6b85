use serde_json::{Value, json};

use super::*;

fn raw(statuses: Value) -> Value {
    json!({
        "metadata": { "name": "p", "namespace": "default", "uid": "u-1", "resourceVersion": "42", "labels": { "tier": "web" },
                      "managedFields": [{ "anything": true }] },
        "spec": {
            "nodeName": "n1",
            "volumes": [{ "name": "plain", "emptyDir": {} }, { "name": "s", "csi": { "driver": "csi.dewdrop.dev" } }],
            "containers": [{ "name": "app", "image": "app:1", "env": [{ "name": "A", "value": "b" }] }],
            "initContainers": [{ "name": "init", "image": "init@sha256:1" }],
        },
        "status": { "phase": "Running", "containerStatuses": statuses },
    })
}

fn status(state: Value, last: Value) -> Status {
    let mut value =
        raw(json!([{ "name": "app", "containerID": "containerd://own", "state": state, "lastState": last }]));
    value["status"]["conditions"] = json!([{ "type": "Ready" }]);
    pod(value.to_string().as_bytes()).unwrap().unwrap().statuses.remove("app").unwrap()
}

fn newest(id: &str, has_ended: bool) -> Option<Newest> {
    Some(Newest { id: id.into(), has_ended })
}

#[test]
fn the_few_fields_that_count() {
    let seen = pod(raw(Value::Null).to_string().as_bytes()).unwrap().unwrap();
    assert_eq!((seen.uid.as_str(), seen.version, seen.is_over), ("u-1", 42, false));
    assert_eq!(seen.labels["tier"], "web");
    assert_eq!((seen.images["app"].as_str(), seen.images["init"].as_str()), ("app:1", "init@sha256:1"));
    assert!(seen.statuses.is_empty());
    for (phase, is_over) in [("Pending", false), ("Failed", true), ("Succeeded", true)] {
        let mut value = raw(json!([]));
        value["status"]["phase"] = phase.into();
        assert_eq!(pod(value.to_string().as_bytes()).unwrap().unwrap().is_over, is_over, "{phase}");
    }
}

#[test]
fn pods_without_a_volume_of_ours_are_not_kept() {
    let mut value = raw(json!([]));
    value["spec"]["volumes"][1]["csi"]["driver"] = "other.example".into();
    assert_eq!(pod(value.to_string().as_bytes()), Ok(None));
    value["spec"]["volumes"] = Value::Null;
    assert_eq!(pod(value.to_string().as_bytes()), Ok(None));
    let line = json!({ "type": "ADDED", "object": value }).to_string();
    assert_eq!(event(line.as_bytes()), Ok((Event::Other, "42".into())), "but the watch is further");
}

#[test]
fn what_a_status_says() {
    let ended = |id: &str| json!({ "terminated": { "exitCode": 1, "containerID": id } });
    let runs = || json!({ "running": { "startedAt": "2030-01-01T00:00:00Z" } });
    let before = Some("old".to_owned());
    assert_eq!(status(runs(), json!({})), Status { newest: newest("own", false), before: None });
    assert_eq!(status(runs(), ended("cri-o://old")), Status { newest: newest("own", false), before: before.clone() });
    assert_eq!(
        status(ended("containerd://own"), ended("containerd://old")),
        Status { newest: newest("own", true), before }
    );
    assert_eq!(status(ended(""), json!({})).newest, newest("own", true), "the runtime has forgotten it");
    let waits = || json!({ "waiting": { "reason": "CrashLoopBackOff" } });
    assert_eq!(status(waits(), ended("containerd://own")), Status { newest: newest("own", true), before: None });
    assert_eq!(status(waits(), json!({})), Status::default(), "nothing of it has run");
}

#[test]
fn events() {
    let tell = |kind: &str, object: Value| event(json!({ "type": kind, "object": object }).to_string().as_bytes());
    assert!(
        matches!(tell("MODIFIED", raw(json!([]))), Ok((Event::Pod(seen), version)) if seen.uid == "u-1" && version == "42")
    );
    assert_eq!(tell("DELETED", raw(json!([]))), Ok((Event::Gone("u-1".into()), "42".into())));
    let mark =
        json!({ "kind": "Pod", "metadata": { "resourceVersion": "77" }, "spec": { "containers": null }, "status": {} });
    assert_eq!(tell("BOOKMARK", mark), Ok((Event::Other, "77".into())));
    let error = |code: u16| json!({ "kind": "Status", "status": "Failure", "message": "hunter2", "code": code });
    assert_eq!(tell("ERROR", error(410)), Ok((Event::Expired, String::new())));
    assert!(tell("ERROR", error(500)).unwrap_err().ends_with("status 500"));
    assert!(tell("NEWS", raw(json!([]))).is_err());
}

#[test]
fn what_cannot_be_read_is_not_quoted() {
    for text in ["", "null", "[]", r#"{"type":"ADDED"}"#, r#"{"type":"ADDED","object":"hunter2"}"#, r#"{"type":1}"#] {
        let told = event(text.as_bytes()).unwrap_err();
        assert!(!told.contains("hunter2"), "{told}");
    }
    assert!(list(b"{}").is_err());
    assert!(list(br#"{"metadata":{}}"#).unwrap_err().contains("no version"));
    assert!(list(br#"{"metadata":{"resourceVersion":"1"},"items":null}"#).unwrap().pods.is_empty());
}

proptest::proptest! {
    #[test]
    fn no_line_breaks_it(line in proptest::collection::vec(proptest::num::u8::ANY, 0..300)) {
        drop(event(&line));
        drop(list(&line));
    }
}
