use serde_json::{Value, json};

use super::*;
use crate::carrier::Untold;
use crate::carrier::stub::{Stub, Told};

const PROXY: &str = "system:serviceaccount:dewdrop-system:dewdrop-proxy";

/// As much as a server takes.
fn fits(told: &Told) -> Result<(), Untold> {
    let Told::Lines(lines) = told else { return Ok(()) };
    let body = json!({ "lines": lines });
    assert!(body.to_string().matches('"').count() / 2 <= 1000, "a server takes no more strings");
    let texts = lines.iter().map(|line| serde_json::to_value(line).unwrap());
    let all: Vec<Value> =
        texts.flat_map(|line| line.as_object().unwrap().values().cloned().collect::<Vec<_>>()).collect();
    assert!(all.iter().filter_map(Value::as_str).all(|text| text.len() <= 1024), "nor longer ones");
    Ok(())
}

fn ear(held: &Stub, token: &std::path::Path) -> Ear {
    held.says(fits);
    let reader = Reader { cluster: "prod".into(), proxy: PROXY.into(), skip: vec!["system:".into()] };
    Ear::new(reader, token.into(), Arc::new(held.clone()))
}

fn event(id: &str, user: &str, change: Value) -> Value {
    let mut event = json!({
        "auditID": id, "stage": "ResponseComplete", "verb": "create", "user": { "username": user },
        "requestURI": "/api/v1/namespaces/shop/pods/web/exec?command=mysql&command=-pS3cret", "sourceIPs": ["1.1.1.1", "10.0.0.9"],
        "objectRef": { "resource": "pods", "namespace": "shop", "name": "web", "apiVersion": "v1", "subresource": "exec" },
        "responseStatus": { "code": 101 }, "requestReceivedTimestamp": "2026-01-01T00:00:00.000001Z",
        "requestObject": { "data": { "password": "S3cret" } },
    });
    for (name, value) in change.as_object().unwrap() {
        event[name] = value.clone();
    }
    event
}

fn list(events: &[Value]) -> Vec<u8> {
    json!({ "kind": "EventList", "apiVersion": "audit.k8s.io/v1", "items": events }).to_string().into_bytes()
}

fn ann(grant: &Value) -> Value {
    json!({ "impersonatedUser": { "username": "ann", "extra": { "dewdrop.dev/grant": grant } } })
}

#[tokio::test]
async fn what_came_by_a_grant_is_joined_and_everything_else_went_around() {
    let held = Stub::default();
    let ear = ear(&held, std::path::Path::new("/nowhere"));
    let events = [
        event("a-1", PROXY, ann(&json!(["g1"]))),
        event("a-2", "kubernetes-admin", json!({})),
        event("a-3", "kubernetes-admin", ann(&json!(["g1"]))),
        event("a-4", "system:node:n1", json!({})),
        event("a-5", PROXY, ann(&json!(["g1", "g2"]))),
        event("a-6", "kubernetes-admin", json!({ "stage": "RequestReceived" })),
        event("a-8", "kubernetes-admin", json!({ "objectRef": null, "requestURI": "/logs?x=S3cret" })),
    ];
    ear.take(&list(&events)).await.unwrap();
    let lines = held.lines();
    let told: Vec<_> = lines
        .iter()
        .map(|line| {
            (
                line.api.audit_id.as_str(),
                line.grant.as_str(),
                line.user.as_str(),
                line.api.acting_as.as_str(),
                line.api.around,
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            ("a-1", "g1", "ann", "", false),
            ("a-2", "", "kubernetes-admin", "", true),
            ("a-3", "", "kubernetes-admin", "ann", true),
            ("a-8", "", "kubernetes-admin", "", true),
        ]
    );
    assert_eq!((lines[0].what.target.as_str(), lines[0].source.as_str()), ("pods/exec", "10.0.0.9"));
    assert_eq!((lines[0].end.code, lines[3].what.target.as_str()), (101, "/logs"));
    assert!(!serde_json::to_string(&lines).unwrap().contains("S3cret"), "neither bodies nor queries");
}

#[tokio::test]
async fn what_comes_twice_is_written_once_and_what_could_not_be_written_comes_again() {
    let held = Stub::default();
    let ear = ear(&held, std::path::Path::new("/nowhere"));
    let body = list(&[event("a-1", "admin", json!({})), event("a-1", "admin", json!({}))]);
    held.says(|_| Err(Untold::Away("away".into())));
    assert_eq!(ear.take(&body).await.unwrap_err().0, StatusCode::SERVICE_UNAVAILABLE);
    held.says(fits);
    ear.take(&list(&[event("a-1", "admin", json!({}))])).await.unwrap();
    ear.take(&body).await.unwrap();
    assert_eq!(held.lines().len(), 1);
    for wrong in [&b"{}"[..], b"", br#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1beta1","items":[]}"#] {
        assert_eq!(ear.take(wrong).await.unwrap_err().0, StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn whoever_names_his_requests_himself_hides_none_of_them() {
    let held = Stub::default();
    let ear = ear(&held, std::path::Path::new("/nowhere"));
    let at = |second: u32| json!({ "requestReceivedTimestamp": format!("2026-01-01T00:00:{second:02}.000001Z") });
    let mut events: Vec<Value> =
        ["a b", "a/b.c", "", "\u{1b}[2J", &"x".repeat(65)].map(|id| event(id, "eve", at(1))).into();
    events.extend([event("same", "eve", at(1)), event("same", "eve", at(2))]);
    events.push(event("same", "eve", json!({ "verb": "delete" })));
    ear.take(&list(&events)).await.unwrap();
    ear.take(&list(&[event("same", "eve", at(3))])).await.unwrap();
    ear.take(&list(&events)).await.unwrap();
    let lines = held.lines();
    assert_eq!(lines.len(), events.len() + 1, "each of them once");
    let is_plain =
        |id: &str| (1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    assert!(lines.iter().all(|line| is_plain(&line.api.audit_id)));
}

#[tokio::test]
async fn many_events_and_long_words_are_written_all_the_same() {
    let held = Stub::default();
    let ear = ear(&held, std::path::Path::new("/nowhere"));
    let long = json!({ "objectRef": { "resource": "pods", "namespace": "shop", "name": "界".repeat(500) } });
    let mut events: Vec<Value> = (0..399).map(|n| event(&format!("a-{n}"), "eve", json!({}))).collect();
    events.push(event("long", "eve", long));
    ear.take(&list(&events)).await.unwrap();
    assert_eq!(held.lines().len(), 400);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_keeps_no_place() {
    let forever = std::future::pending::<()>;
    let serves = |known: bool| async move { unless_a_stranger(&AtomicBool::new(known), forever()).await };
    assert!(timeout(STRANGER * 2, serves(false)).await.is_ok());
    assert!(timeout(STRANGER * 2, serves(true)).await.is_err(), "the API server keeps its connection");
}

#[test]
fn only_the_token_of_the_file_counts() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    let ear = ear(&Stub::default(), &file);
    let shows = |text: &'static str| {
        ear.knows(&HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_static(text))]))
    };
    assert!(!shows("Bearer "), "there is no file");
    std::fs::write(&file, "0123456789abcdef\n").unwrap();
    assert!(shows("Bearer 0123456789abcdef"));
    assert!(!shows("Bearer 0123456789abcdee") && !shows("0123456789abcdef") && !ear.knows(&HeaderMap::new()));
    std::fs::write(&file, "").unwrap();
    assert!(!shows("Bearer "), "an empty file lets nobody in");
}

#[test]
fn the_proxy_knows_its_own_name() {
    use base64::Engine as _;
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(json!({ "sub": PROXY }).to_string());
    assert_eq!(name_of(&format!("x.{claims}.y\n")).as_deref(), Some(PROXY));
    assert_eq!(name_of("opaque"), None);
}
