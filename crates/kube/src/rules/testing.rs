//! Pods for the tests of the rules.

use serde_json::{Value, json};

use super::{Ground, SecretFolders, Violation, check};
use crate::pod::Pod;

/// The cluster of the tests.
pub fn ground() -> Ground {
    Ground {
        audience: "dewdrop".into(),
        folders: SecretFolders::new("/var/lib/kubelet"),
        exec_image: Some("dewdrop-exec:1".into()),
    }
}

/// A pod with `app`, which has a volume of ours, and `sidecar`, which has not.
pub fn good() -> Value {
    json!({
        "metadata": {"name": "p", "namespace": "team"},
        "spec": {
            "volumes": [volume("db", "app", "app")],
            "containers": [
                {"name": "app", "volumeMounts": [mount("db")]},
                {"name": "sidecar"},
            ],
        },
    })
}

/// A volume of ours.
pub fn volume(name: &str, container: &str, role: &str) -> Value {
    json!({"name": name, "csi": {"driver": "csi.dewdrop.dev", "readOnly": true, "volumeAttributes": {
        "container": container, "role": role, "credentials": "db = database/creds/app",
    }}})
}

/// A projected token for one container.
pub fn token(name: &str, audience: &str) -> Value {
    json!({"name": name, "projected": {"sources": [{"serviceAccountToken": {"audience": audience, "path": "token"}}]}})
}

/// A mount of it.
pub fn mount(name: &str) -> Value {
    json!({"name": name, "mountPath": format!("/{name}"), "readOnly": true})
}

/// The good pod with one place set to another value.
pub fn with(pointer: &str, value: Value) -> Value {
    let mut pod = good();
    set(&mut pod, pointer, value);
    pod
}

/// Sets a place, and makes it when it is a field that is not there; `-` at the end appends.
pub fn set(pod: &mut Value, pointer: &str, value: Value) {
    let (parent, last) = pointer.rsplit_once('/').unwrap();
    match pod.pointer_mut(parent).unwrap() {
        Value::Array(list) if last == "-" => list.push(value),
        Value::Array(list) => list[last.parse::<usize>().unwrap()] = value,
        Value::Object(fields) => drop(fields.insert(last.into(), value)),
        _ => panic!("{parent} is neither"),
    }
}

/// Reads a pod.
pub fn pod(value: &Value) -> Pod {
    serde_json::from_value(value.clone()).unwrap()
}

/// What the rules say of it.
pub fn judged(value: &Value) -> Vec<Violation> {
    check(&pod(value), "team", &ground())
}

/// The names of the rules that it breaks.
pub fn broken(value: &Value) -> Vec<&'static str> {
    judged(value).into_iter().map(|violation| violation.rule).collect()
}

#[test]
fn the_good_pod_breaks_no_rule() {
    assert_eq!(judged(&good()), []);
}

#[test]
fn a_pod_without_our_volumes_may_do_as_it_likes() {
    let mut pod = with("/spec/hostPID", json!(true));
    set(
        &mut pod,
        "/spec/volumes",
        json!([{"name": "db", "csi": {"driver": "csi.example.com"}}, {"name": "x", "hostPath": {"path": "/"}}]),
    );
    assert_eq!(judged(&pod), []);
}

#[test]
fn everything_is_told_at_once_and_each_with_what_to_do() {
    let mut pod = with("/spec/hostPID", json!(true));
    set(&mut pod, "/spec/shareProcessNamespace", json!(true));
    set(&mut pod, "/spec/containers/1/volumeMounts", json!([mount("db")]));
    let found = judged(&pod);
    assert_eq!(found.len(), 3, "{found:?}");
    let text = super::told(&found);
    assert!(text.starts_with("3 things are to be changed:\n- ["), "{text}");
    assert!(found.iter().all(|v| text.contains(&v.todo) && !v.todo.is_empty()));
}

#[test]
fn null_is_as_good_as_nothing() {
    let mut pod = good();
    for place in [
        "/spec/initContainers",
        "/spec/ephemeralContainers",
        "/spec/hostPID",
        "/metadata/annotations",
        "/spec/containers/1/volumeMounts",
        "/spec/containers/1/securityContext",
    ] {
        set(&mut pod, place, json!(null));
    }
    assert_eq!(judged(&pod), []);
}
