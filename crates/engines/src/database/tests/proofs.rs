//! Preflight and client certificates.

use dewdrop_core::engine::Renewal;

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
    b.role("bad", json!({ "creation_statements": ["SELECT 1"], "preflight": false })).await.unwrap();
    assert_eq!(b.h.read("roles/bad").await.unwrap().data()["preflight"], json!(false));
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
