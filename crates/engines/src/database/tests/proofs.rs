//! Preflight and client certificates.

use dewdrop_core::engine::Renewal;
use dewdrop_core::store::{Batch, Store};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_do_not_work_are_refused_with_the_reason() {
    let b = Bench::new(Postgres::shared()).await;
    for (fields, told) in [
        (
            json!({ "creation_statements": [CREATE, "GRANT no_such_role TO \"{{name}}\""] }),
            "role \"no_such_role\" does not exist",
        ),
        (json!({ "creation_statements": ["CREATE ROLE \"{{name}}\" NOPE"] }), "unrecognized role option \"nope\""),
        (json!({ "creation_statements": ["SELECT 1"] }), "does not exist"),
        (json!({ "revocation_statements": ["DROP ROLE no_such_role"] }), "cannot be taken away"),
        (json!({ "creation_statements": ["DO $$ DROP ROLE {{name}} $$"] }), "cannot be filled in safely"),
    ] {
        let fault = b.role("bad", fields.clone()).await.unwrap_err();
        assert!(fault.kind == dewdrop_core::Kind::BadRequest && fault.told.contains(told), "{fields}: {}", fault.told);
        assert!(!fault.told.contains("Password-"), "{}", fault.told);
    }
    assert!(b.h.read("roles/bad").await.is_err(), "it was not written");
    let left =
        format!("SELECT count(*) FROM pg_shdescription WHERE description LIKE 'dewdrop:{}:%'", b.place.mount_uuid);
    assert_eq!(b.pg.sql(&left), "0", "nothing of the proofs is left");
    assert!(notes(&b).is_empty());
    b.role("bad", json!({ "creation_statements": ["SELECT 1"], "preflight": false })).await.unwrap();
    assert_eq!(b.h.read("roles/bad").await.unwrap().data()["preflight"], json!(false));
}

fn notes(b: &Bench) -> Vec<Vec<u8>> {
    let keys = b.h.store.dump().into_iter().map(|(key, _)| key);
    keys.filter(|key| key.starts_with(b"proof/")).collect()
}

/// The store and the target as a crash in a proof leaves them.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_proof_leaves_no_user() {
    let mut b = Bench::new(Postgres::shared()).await;
    b.role("app", json!({})).await.unwrap();
    assert!(notes(&b).is_empty(), "a proof that ended leaves nothing");
    let made = b.creds("app").await;
    b.h.house.leases.lock().clear();
    let note = json!({ "user": made.internal, "since": b.h.clock.now().0 });
    let key = format!("proof/{}", made.username);
    b.h.store.commit(Batch::new().put_json(key, &note).unwrap()).await.unwrap();
    b.restart();
    assert_eq!(b.h.read("reconcile/pg").await.unwrap().data()["orphans"], json!([]), "it is known");
    b.h.clock.advance(Duration::from_secs(120));
    b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    until("the note is struck out", async || notes(&b).is_empty()).await;
    assert!(!b.exists(&made.username));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_proof_serves_all_and_brings_no_deleted_role_back() {
    let b = Arc::new(Bench::bare(Postgres::shared(), Limits::default()));
    b.pg.sql(&format!("CREATE DATABASE {}", b.database));
    let slow = json!({ "creation_statements": [CREATE, "SELECT pg_sleep(1)"] });
    b.role("many", slow.clone()).await.unwrap();
    b.role("gone", slow).await.unwrap();
    b.connect(json!({})).await.unwrap();
    let ask = |role: &'static str| {
        let b = b.clone();
        tokio::spawn(async move { b.ask(role).await })
    };
    let asked = [ask("many"), ask("many"), ask("many")];
    for one in asked {
        assert!(one.await.unwrap().is_ok());
    }
    let log = b.pg.log();
    let mark = |role: &str| format!("dewdrop:{}:{role}'", b.place.mount_uuid);
    let proofs = log.lines().filter(|l| l.contains("\"v-prefligh") && l.contains(&mark("many"))).count();
    assert_eq!(proofs, 1);

    let asked = ask("gone");
    until("the proof is under way", async || !notes(&b).is_empty()).await;
    b.h.delete("roles/gone").await.unwrap();
    assert!(asked.await.unwrap().is_err());
    assert!(b.h.read("roles/gone").await.is_err(), "it stays deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_leads_elsewhere_needs_a_new_proof() {
    let b = Bench::new(Postgres::shared()).await;
    b.pg.sql_in(&b.database, "CREATE SCHEMA app");
    let own = json!({ "creation_statements": [CREATE, r#"GRANT USAGE ON SCHEMA app TO "{{name}}""#] });
    b.role("app", own).await.unwrap();
    b.creds("app").await;
    b.connect(json!({ "max_open_connections": 2 })).await.unwrap();
    b.creds("app").await;
    // There is no such schema, and nobody is handed a lease before that is known.
    b.connect(json!({ "connection_url": b.pg.url("postgres", "sslmode=disable") })).await.unwrap();
    let (fault, lease) = b.ask("app").await.map(|_| ()).unwrap_err();
    assert!(lease.is_none() && fault.told.contains("preflight"), "{}", fault.told);
    b.h.delete("config/pg").await.unwrap();
    b.connect(json!({})).await.unwrap();
    b.creds("app").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_password_expires_by_itself() {
    let b = Bench::new(Postgres::shared()).await;
    let plain = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}'";
    let own = json!({ "creation_statements": plain, "renew_statements": "COMMENT ON ROLE \"{{name}}\" IS 'renewed'" });
    let left = |made: &Made| {
        let seconds = b.pg.sql(&format!(
            "SELECT coalesce(extract(epoch FROM rolvaliduntil), 0)::bigint FROM pg_roles WHERE rolname = '{}'",
            made.username
        ));
        seconds.parse::<u64>().unwrap().saturating_sub(b.h.clock.now().seconds())
    };
    for (role, fields) in [("app", own), ("default", json!({ "creation_statements": [] }))] {
        assert!(b.role(role, fields).await.unwrap().is_empty(), "no warning");
        let made = b.creds(role).await;
        b.login(&made, "SELECT 1").unwrap();
        assert!((3590..3610).contains(&left(&made)), "{role}: {}", left(&made));
        let ask = Renewal { now: b.h.clock.now(), increment: Duration::from_secs(7200) };
        b.h.room.renew(&b.h.credential(&made.internal), &ask).await.unwrap();
        assert!((7190..7210).contains(&left(&made)), "{role} renewed: {}", left(&made));
        b.revoke(&made.internal, made.issued).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_open_the_door_for_their_user_alone() {
    let b = Bench::new(Postgres::shared()).await;
    let config = |kind: &str| json!({ "ca_cert": b.pg.ca_cert, "ca_private_key": b.pg.ca_key, "key_type": kind });
    let fields = |kind: &str| json!({ "credential_type": "client_certificate", "creation_statements": [], "credential_config": config(kind) });
    for kind in ["ec", "ed25519", "rsa"] {
        b.role("cert", fields(kind)).await.unwrap();
        let made = b.creds("cert").await;
        let (certificate, key) =
            (made.data["client_certificate"].as_str().unwrap(), made.data["private_key"].as_str().unwrap());
        assert_eq!(made.data["private_key_type"], "pkcs8");
        let who = b.pg.sql_by_certificate(&made.username, certificate, key, "SELECT current_user");
        assert_eq!(who.unwrap(), made.username, "{kind}");
        assert!(b.pg.sql_by_certificate(SUPERUSER, certificate, key, "SELECT 1").is_err(), "of another user");
        b.revoke(&made.internal, made.issued).await.unwrap();
        assert!(b.pg.sql_by_certificate(&made.username, certificate, key, "SELECT 1").is_err(), "revoked");
    }
    let shown = b.h.read("roles/cert").await.unwrap().data();
    assert!(
        shown["credential_config"].get("ca_private_key").is_none() && shown["credential_config"]["key_type"] == "rsa"
    );
    for (kind, more, told) in [
        ("", json!({}), "invalid key_type"),
        ("ec", json!({"key_bits": 100}), "invalid key_bits"),
        ("ec", json!({"ca_cert": "x"}), "invalid ca_cert"),
    ] {
        let mut bad = fields(kind);
        bad["credential_config"].as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let fault = b.role("cert", bad).await.unwrap_err();
        assert!(fault.told.contains(told) && !fault.told.contains("PRIVATE KEY"), "{}", fault.told);
    }
}
