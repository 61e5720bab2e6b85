//! Doors that open by grants.

use std::sync::Mutex;

use super::tests::*;
use super::*;
use crate::gate::Keeper;
use serde_json::{Value, json};

/// A server that writes down what it is asked.
#[derive(Clone, Default)]
struct Asked {
    checks: Arc<Mutex<Vec<Value>>>,
    entered: Arc<Mutex<Vec<Value>>>,
    relabelled: Arc<Mutex<Vec<Value>>>,
    refuses: bool,
    away: bool,
    cannot_note: bool,
    starts: u64,
}

#[async_trait::async_trait]
impl Keeper for Asked {
    async fn check(&self, door: &Value) -> Result<Result<u64, String>, String> {
        self.checks.lock().unwrap().push(door.clone());
        match (self.away, self.refuses && door["open"] != true) {
            (true, _) => Err("cut".into()),
            (_, true) => Ok(Err("no access proxy has announced it".into())),
            _ => Ok(Ok(600)),
        }
    }

    async fn enter(&self, session: &Value) -> Result<u64, String> {
        self.entered.lock().unwrap().push(session.clone());
        if self.cannot_note { Err("full".into()) } else { Ok(self.starts) }
    }

    async fn relabelled(&self, change: &Value) -> Result<(), String> {
        self.relabelled.lock().unwrap().push(change.clone());
        if self.away { Err("cut".into()) } else { Ok(()) }
    }
}

fn server() -> Asked {
    Asked { starts: 1, ..Asked::default() }
}

/// A pod of ours as it runs.
fn running() -> Value {
    let mut pod = ours();
    pod["metadata"] = json!({ "uid": "pod-uid" });
    pod["spec"]["nodeName"] = "node-1".into();
    pod["spec"]["containers"].as_array_mut().unwrap().push(json!({ "name": "side" }));
    pod
}

fn exec(more: Value) -> String {
    let options = json!({ "kind": "PodExecOptions", "container": "app", "command": ["sh"] });
    let mut body: Value = serde_json::from_str(&ask("CONNECT", "exec", "team", &options)).unwrap();
    body["request"]["userInfo"]["extra"] = json!({ "dewdrop.dev/grant": ["g1"], "dewdrop.dev/session": ["s1"] });
    for (pointer, value) in more.as_object().unwrap() {
        body["request"][pointer.as_str()] = value.clone();
    }
    body.to_string()
}

async fn judged(server: &Asked, fake: Fake, body: &str) -> Verdict {
    let judge = judge(fake).with_gate(Gate::new(Box::new(server.clone()), "prod".into()));
    judge.validate(&Question::read(body.as_bytes()).unwrap()).await.unwrap()
}

fn there() -> Fake {
    Fake { pod: Some(running()), ..Fake::default() }
}

fn there_with(label: &str, value: &str) -> Fake {
    Fake { pod: Some(running()), ..labelled(label, value) }
}

#[tokio::test]
async fn a_grant_opens_and_the_session_is_noted_before_it_begins() {
    let server = server();
    assert_eq!(judged(&server, there(), &exec(json!({}))).await, Verdict::allowed());
    let asked = json!({
        "cluster": "prod", "namespace": "team", "name": "p", "target": "pods/exec", "container": "app", "user": "alice",
        "grant": "g1", "session": "s1", "question": "u", "open": false, "replaced": true,
    });
    assert_eq!(*server.checks.lock().unwrap(), [asked]);
    let noted = json!({
        "node": "node-1", "pod_uid": "pod-uid", "container": "app", "session": "s1", "told": true, "ttl": 660,
    });
    assert_eq!(*server.entered.lock().unwrap(), [noted]);
}

#[tokio::test]
async fn without_one_the_refusal_says_how_to_ask() {
    let server = Asked { refuses: true, ..server() };
    let told = judged(&server, there(), &exec(json!({}))).await.denied.unwrap();
    for words in
        ["exec into a pod with secrets needs a grant", "no access proxy", "dewdrop access request", "-cluster prod"]
    {
        assert!(told.contains(words), "{told}");
    }
    assert!(server.entered.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_is_said_twice_of_somebody_is_not_believed() {
    let server = server();
    let extra = json!({ "userInfo": { "username": "a", "extra": { "dewdrop.dev/grant": ["g1", "g2"], "dewdrop.dev/session": [] } } });
    judged(&server, there(), &exec(extra)).await;
    let asked = server.checks.lock().unwrap()[0].clone();
    assert_eq!((&asked["grant"], &asked["session"]), (&json!(""), &json!("")));
}

#[tokio::test]
async fn a_server_that_is_away_lets_nobody_in_and_hinders_nobody_elsewhere() {
    let away = Asked { away: true, ..server() };
    let told = judged(&away, there(), &exec(json!({}))).await.denied.unwrap();
    assert!(told.contains("does not answer"), "{told}");
    let plain = Fake { pod: Some(plain(&json!([]))), ..Fake::default() };
    assert_eq!(judged(&away, plain, &exec(json!({}))).await, Verdict::allowed());
    assert_eq!(judged(&away, Fake::default(), &exec(json!({}))).await, Verdict::allowed(), "no such pod");
    assert_eq!(away.checks.lock().unwrap().len(), 1, "nobody is asked about pods without secrets");
    let full = Asked { cannot_note: true, ..server() };
    assert!(judged(&full, there(), &exec(json!({}))).await.denied.unwrap().contains("cannot note"));
    let early = Asked { starts: 0, ..server() };
    assert!(judged(&early, there(), &exec(json!({}))).await.denied.unwrap().contains("try again"));
}

#[tokio::test]
async fn an_open_namespace_lets_in_and_it_is_on_the_record() {
    let refusing = Asked { refuses: true, ..server() };
    let open = || there_with("dewdrop.dev/allow-exec", "true");
    assert_eq!(judged(&refusing, open(), &exec(json!({}))).await, Verdict::allowed());
    let asked = refusing.checks.lock().unwrap()[0].clone();
    assert_eq!((&asked["open"], &asked["grant"], &asked["user"]), (&json!(true), &json!(""), &json!("alice")));
    let noted = refusing.entered.lock().unwrap()[0].clone();
    assert_eq!((&noted["session"], &noted["told"], &noted["ttl"]), (&json!("u"), &json!(false), &Value::Null));
    let away = Asked { away: true, ..server() };
    let verdict = judged(&away, open(), &exec(json!({}))).await;
    assert!(verdict.denied.is_none() && verdict.warnings[0].contains("not on the record"), "{verdict:?}");
}

#[tokio::test]
async fn a_namespace_may_keep_its_credentials_and_that_is_on_the_record() {
    let server = server();
    let keeps = there_with("dewdrop.dev/replace-after-exec", "false");
    assert_eq!(judged(&server, keeps, &exec(json!({}))).await, Verdict::allowed());
    assert_eq!(server.checks.lock().unwrap()[0]["replaced"], false);
    assert!(server.entered.lock().unwrap().is_empty());
}

#[tokio::test]
async fn only_what_was_entered_is_replaced() {
    for (sub, container, entered) in [
        ("exec", json!("app"), 1),
        ("attach", json!("app"), 1),
        ("attach", json!(null), 1),
        ("exec", json!(""), 1),
        ("exec", json!("side"), 0),
        ("portforward", json!(null), 0),
    ] {
        let server = server();
        let body = exec(json!({ "subResource": sub, "object": { "container": container } }));
        assert_eq!(judged(&server, there(), &body).await, Verdict::allowed());
        assert_eq!(
            (server.checks.lock().unwrap().len(), server.entered.lock().unwrap().len()),
            (1, entered),
            "{sub} {container}"
        );
    }
}

#[tokio::test]
async fn a_dry_run_is_judged_and_notes_nothing_and_the_same_question_is_the_same_session() {
    let server = server();
    assert_eq!(judged(&server, there(), &exec(json!({ "dryRun": true }))).await, Verdict::allowed());
    assert_eq!((server.checks.lock().unwrap().len(), server.entered.lock().unwrap().len()), (1, 0));
    for _ in 0..2 {
        judged(&server, there(), &exec(json!({}))).await;
    }
    let entered = server.entered.lock().unwrap();
    assert_eq!(entered[0], entered[1]);
}

#[tokio::test]
async fn a_container_to_look_for_faults_needs_a_grant_where_there_are_secrets() {
    let server = Asked { refuses: true, ..server() };
    let body = |pod: &Value| ask("UPDATE", "ephemeralcontainers", "team", pod);
    let told = judged(&server, Fake::default(), &body(&running())).await.denied.unwrap();
    assert!(told.contains("ephemeralcontainers into a pod with secrets needs a grant"), "{told}");
    assert_eq!(server.checks.lock().unwrap()[0]["target"], "pods/ephemeralcontainers");
    assert_eq!(judged(&server, Fake::default(), &body(&plain(&json!([])))).await, Verdict::allowed());
    let told = judged(&server, Fake::default(), &body(&bad())).await.denied.unwrap();
    assert!(
        told.contains("host-namespaces") && server.checks.lock().unwrap().len() == 1,
        "the rules come first: {told}"
    );
    assert_eq!(judged(&server, Fake::default(), &ask("CREATE", "", "team", &ours())).await, Verdict::allowed());
    assert_eq!(server.checks.lock().unwrap().len(), 1, "pods that are made need none");
}

/// A namespace that is made (`old` is null) or changed.
fn labels(old: &Value, new: &Value, more: Value) -> String {
    let namespace = |labels: &Value| json!({ "kind": "Namespace", "metadata": { "name": "team", "labels": labels } });
    let operation = if old.is_null() { "CREATE" } else { "UPDATE" };
    let mut body: Value = serde_json::from_str(&ask(operation, "", "team", &namespace(new))).unwrap();
    body["request"]["resource"]["resource"] = "namespaces".into();
    body["request"]["name"] = "team".into();
    body["request"]["oldObject"] = if old.is_null() { Value::Null } else { namespace(old) };
    for (name, value) in more.as_object().unwrap() {
        body["request"][name] = value.clone();
    }
    body.to_string()
}

#[tokio::test]
async fn labels_that_open_doors_are_told_when_they_are_set_and_when_they_go() {
    let (open, keep) =
        (json!({ "dewdrop.dev/allow-exec": "true" }), json!({ "dewdrop.dev/replace-after-exec": "false" }));
    let none = json!({});
    for (old, new, said, warned) in [
        (&Value::Null, &open, [true, false, true, true], "nobody needs a grant"),
        (&none, &open, [true, false, true, true], "nobody needs a grant"),
        (&open, &none, [false, true, true, true], ""),
        (&none, &keep, [false, false, false, true], "not replaced"),
        (&keep, &json!(null), [false, false, true, false], ""),
    ] {
        let server = server();
        let verdict = judged(&server, Fake::default(), &labels(old, new, json!({}))).await;
        assert_eq!(verdict.denied, None);
        let warnings = verdict.warnings.join(" ");
        assert!(warnings.contains(warned) && warnings.is_empty() == warned.is_empty(), "{warnings}");
        let [open, was_open, replaced, was_replaced] = said;
        let told = json!({
            "cluster": "prod", "namespace": "team", "user": "alice", "question": "u",
            "open": open, "was_open": was_open, "replaced": replaced, "was_replaced": was_replaced,
        });
        assert_eq!(*server.relabelled.lock().unwrap(), [told], "{old} {new}");
    }
}

#[tokio::test]
async fn labels_that_change_nothing_are_not_told_and_nobody_is_stopped() {
    let (open, none) = (json!({ "dewdrop.dev/allow-exec": "true" }), json!({}));
    let server = server();
    for body in [
        labels(&open, &json!({ "dewdrop.dev/allow-exec": "true", "a": "b" }), json!({})),
        labels(&none, &json!({ "dewdrop.dev/allow-exec": "yes" }), json!({})),
        labels(&Value::Null, &none, json!({})),
        labels(&none, &open, json!({ "dryRun": true })),
        labels(&none, &open, json!({ "operation": "DELETE" })),
        labels(&none, &open, json!({ "subResource": "finalize" })),
    ] {
        assert_eq!(judged(&server, Fake::default(), &body).await, Verdict::allowed());
    }
    assert!(server.relabelled.lock().unwrap().is_empty());
    let away = Asked { away: true, ..server };
    let verdict = judged(&away, Fake::default(), &labels(&none, &open, json!({}))).await;
    assert!(verdict.denied.is_none() && verdict.warnings[1].contains("not on the record: cut"), "{verdict:?}");
    let without_a_gate = judge(Fake::default());
    let body = labels(&none, &open, json!({}));
    assert_eq!(without_a_gate.validate(&Question::read(body.as_bytes()).unwrap()).await, Ok(Verdict::allowed()));
    let broken = labels(&none, &open, json!({ "object": { "metadata": 7 } }));
    let judge = judge(Fake::default()).with_gate(Gate::new(Box::new(away), "prod".into()));
    assert!(judge.validate(&Question::read(broken.as_bytes()).unwrap()).await.is_err());
}
