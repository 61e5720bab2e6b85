//! What was acknowledged is there after `kill -9`; what was due while the server was down is taken back; SIGTERM lets
//! requests end; two servers never share a folder.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use std::io::Write;
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use common::eventually;
use common::http::read_answer;
use common::kept::Kept;
use common::postgres::Postgres;
use rustix::process::Signal;
use serde_json::json;

#[test]
fn what_was_acknowledged_survives_kill_9() {
    let mut server = Kept::start();
    server.call("POST", "sys/mounts/kv", &json!({ "type": "kv", "options": { "version": "2" } })).ok();
    server
        .call("POST", "sys/policies/acl/kept", &json!({ "policy": "path \"kv/*\" { capabilities = [\"read\"] }" }))
        .ok();
    for round in 0..3 {
        let acknowledged = written_until_killed(&mut server, round);
        assert!(acknowledged.len() > 10, "only {} writes were acknowledged", acknowledged.len());
        server.start_again();
        for (path, value) in &acknowledged {
            let found = server.call("GET", &format!("kv/data/{path}"), &json!(null));
            assert_eq!(found.status, 200, "{path} was acknowledged and is lost: {}", found.text());
            assert_eq!(&found.at("/data/data/value"), value);
        }
    }
    assert!(server.call("GET", "sys/policies/acl/kept", &json!(null)).ok().text().contains("kv/*"));
}

/// Four clients write until the server is killed in the midst of it; returns what was acknowledged.
fn written_until_killed(server: &mut Kept, round: u32) -> Vec<(String, String)> {
    let (acknowledged, over) = (Mutex::new(Vec::new()), AtomicBool::new(false));
    let (http, root) = (server.http(), server.root.clone());
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (acknowledged, over, root) = (&acknowledged, &over, &root);
            scope.spawn(move || {
                for n in 0.. {
                    let (path, value) = (format!("r{round}/c{client}/n{n}"), format!("{round}-{client}-{n}"));
                    if over.load(Ordering::Relaxed) || std::net::TcpStream::connect(("127.0.0.1", http.port)).is_err() {
                        return;
                    }
                    let body = json!({ "data": { "value": value } });
                    let sent =
                        std::panic::catch_unwind(|| http.json("POST", &format!("kv/data/{path}"), root, &body).status);
                    match sent {
                        Ok(200) => acknowledged.lock().unwrap().push((path, value)),
                        _ => return,
                    }
                }
            });
        }
        eventually("some writes are acknowledged", || acknowledged.lock().unwrap().len() > 40);
        server.kill();
        over.store(true, Ordering::Relaxed);
    });
    acknowledged.into_inner().unwrap()
}

#[test]
fn a_lease_that_fell_due_while_the_server_was_down_is_taken_back() {
    let postgres = Postgres::start();
    let mut server = Kept::start();
    server.call("POST", "sys/mounts/database", &json!({ "type": "database" })).ok();
    server
        .call(
            "POST",
            "database/config/pg",
            &json!({
                "plugin_name": "postgresql-database-plugin", "allowed_roles": "*", "username": "postgres", "password": "any",
                "connection_url":
                    format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", postgres.port),
            }),
        )
        .ok();
    let role = |ttl: &str| {
        json!({
            "db_name": "pg", "default_ttl": ttl, "max_ttl": "1h",
            "creation_statements": ["CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"],
        })
    };
    server.call("POST", "database/roles/short", &role("2s")).ok();
    server.call("POST", "database/roles/long", &role("1h")).ok();
    let short = server.call("GET", "database/creds/short", &json!(null)).ok().at("/data/username");
    let long = server.call("GET", "database/creds/long", &json!(null)).ok();
    let (user, lease) = (long.at("/data/username"), long.at("/lease_id"));
    server.kill();
    assert!(postgres.has_user(&short) && postgres.has_user(&user));
    // PostgreSQL's own clock says when the lease is due.
    eventually("the lease is due", || {
        postgres
            .psql("postgres", "", &format!("select rolvaliduntil < now() from pg_roles where rolname='{short}'"))
            .unwrap()
            == "t"
    });
    server.start_again();
    eventually("the user of the due lease is gone", || !postgres.has_user(&short));
    assert!(postgres.has_user(&user), "a lease that is not due was taken back");
    server.call("PUT", "sys/leases/lookup", &json!({ "lease_id": lease })).ok();
    server.call("PUT", "sys/leases/revoke", &json!({ "lease_id": lease, "sync": true })).ok();
    assert!(!postgres.has_user(&user));
}

#[test]
fn sigterm_lets_requests_end() {
    let mut server = Kept::start();
    server.call("POST", "sys/mounts/kv", &json!({ "type": "kv" })).ok();
    let http = server.http();
    let body = "{\"value\":\"after the signal\"}";
    let mut stream = http.open();
    let head = format!(
        "POST /v1/kv/late HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Vault-Token: {}\r\nContent-Length: {}\r\n\r\n",
        server.root,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(&body.as_bytes()[..5]).unwrap();
    // The server has seen the head of the request before the signal: a later request has been answered.
    server.call("GET", "sys/mounts", &json!(null)).ok();
    server.signal(Signal::TERM);
    eventually("no new connections are taken", || std::net::TcpStream::connect(("127.0.0.1", http.port)).is_err());
    assert!(server.is_alive(), "the server left in the middle of a request");
    stream.write_all(&body.as_bytes()[5..]).unwrap();
    let answer = read_answer(&mut stream);
    assert_eq!(answer.status, 204, "{}", answer.text());
    assert!(server.ended().success());
    server.start_again();
    assert_eq!(server.call("GET", "kv/late", &json!(null)).ok().at("/data/value"), "after the signal");
}

#[test]
fn a_second_server_on_the_same_folder_is_refused() {
    let mut server = Kept::start();
    // The same configuration on another port, so that only the folder is in the way.
    let config = std::fs::read_to_string(server.folder().join("server.hcl")).unwrap();
    let second = server.folder().join("second.hcl");
    std::fs::write(&second, config.replace(&format!("127.0.0.1:{}", server.http().port), "127.0.0.1:0")).unwrap();
    let output = std::process::Command::new(common::server_program())
        .arg("server")
        .arg(format!("-config={}", second.display()))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(told.contains("in use by another") || told.contains("already open"), "no clear sentence: {told}");
    assert!(!told.contains("panicked"), "{told}");
    assert!(server.is_alive());
    assert_eq!(server.http().send("GET", "sys/health", "", b"").status, 200);
}
