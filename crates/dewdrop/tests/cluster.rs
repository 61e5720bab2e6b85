//! Two servers over one etcd: one is active, the other stands by and takes over, whether the first was killed or only
//! paused; and one that wakes up late neither answers from memory nor writes.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use common::etcd::Etcd;
use common::eventually;
use common::kept::Kept;
use rustix::process::Signal;
use serde_json::{Value, json};

/// Both are known to each other's clients by their `api_addr`, and open themselves with the same key.
const SEAL: &str = "seal \"static\" {\n  current_key_id = \"t\"\n  current_key = \"file://SEAL\"\n}\n";

fn status(server: &Kept) -> u16 {
    server.http().send("GET", "sys/health", "", b"").status
}

fn read(server: &Kept, root: &str) -> (u16, Value) {
    let answer = server.http().send("GET", "secret/app", root, b"");
    (answer.status, answer.value()["data"]["v"].clone())
}

#[test]
fn one_serves_and_the_other_takes_over() {
    let etcd = Etcd::start();
    let storage = format!(
        "storage \"etcd\" {{\n  address = \"http://127.0.0.1:{}\"\n}}\naudit_log {{\n  path = \"FOLDER/audit\"\n}}\n",
        etcd.port
    );
    let mut first = Kept::over(&storage, SEAL, "");
    let root = first.root.clone();
    first.call("POST", "sys/mounts/secret", &json!({ "type": "kv" })).ok();
    first.call("POST", "secret/app", &json!({ "v": "1" })).ok();
    let token = first.call("POST", "auth/token/create", &json!({ "policies": ["root"] })).at("/auth/client_token");

    let mut second = Kept::beside(&storage, SEAL);
    second.await_status(&[429]);
    let health = second.http().send("GET", "sys/health?standbyok=true", "", b"");
    assert_eq!(
        (health.status, &health.value()["sealed"], &health.value()["standby"]),
        (200, &json!(false), &json!(true))
    );
    let leader = second.http().send("GET", "sys/leader", "", b"").value();
    let address = format!("http://127.0.0.1:{}", first.http().port);
    assert_eq!((&leader["is_self"], &leader["leader_address"]), (&json!(false), &json!(address)));
    let sent_on = second.http().send("GET", "secret/app?x=1", &root, b"");
    let head = String::from_utf8_lossy(&sent_on.whole).into_owned();
    assert!(sent_on.status == 307 && head.contains(&format!("{address}/v1/secret/app?x=1")), "{head}");
    assert_eq!(second.http().send("PUT", "sys/seal", &root, b"").status, 503, "not the other one's");

    // Killed: the second takes over, with all that was acknowledged.
    first.kill();
    eventually("the second serves", || status(&second) == 200);
    assert_eq!(read(&second, &root), (200, json!("1")));

    // Back: it stands by. The active one is paused: the first takes over, and what is revoked there stays so.
    first.spawn_again();
    first.await_status(&[429]);
    second.signal(Signal::STOP);
    eventually("the first serves", || status(&first) == 200);
    first.http().json("POST", "auth/token/revoke", &root, &json!({ "token": token })).ok();
    first.http().json("POST", "secret/app", &root, &json!({ "v": "2" })).ok();
    second.signal(Signal::CONT);
    let late = second.http().json("POST", "secret/app", &root, &json!({ "v": "late" }));
    assert!(matches!(late.status, 307 | 503), "{} {}", late.status, late.text());
    let remembered = second.http().send("GET", "auth/token/lookup-self", &token, b"").status;
    assert!(matches!(remembered, 307 | 503), "a revoked token was answered with {remembered}");
    second.await_status(&[429]);
    assert_eq!(read(&first, &root), (200, json!("2")));

    // Asked to step down.
    first.http().json("PUT", "sys/step-down", &root, &Value::Null).ok();
    eventually("the second serves again", || status(&second) == 200);
    first.await_status(&[429]);
    assert_eq!(read(&second, &root), (200, json!("2")));
    // A clean end frees the lock at once.
    second.signal(Signal::TERM);
    assert!(second.ended().success());
    eventually("the first serves again", || status(&first) == 200);
}
