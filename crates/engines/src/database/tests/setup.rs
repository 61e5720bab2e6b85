//! Connections and roles as records: shapes, merging, refusals, TLS.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_shown_without_secrets_and_merged() {
    let b = Bench::new(Postgres::shared()).await;
    b.connect(
        json!({ "nonsense": 1, "private_key": "SECRET-KEY", "max_open_connections": 3, "password_policy": "pp" }),
    )
    .await
    .unwrap();
    b.h.write("config/pg", json!({ "allowed_roles": ["app", "ap*"], "root_rotation_statements": "ALTER x, y" }))
        .await
        .unwrap();
    let shown = b.h.read("config/pg").await.unwrap().data();
    assert_eq!(
        shown,
        json!({
            "allowed_roles": ["app", "ap*"],
            "connection_details": {
                "connection_url": b.pg.url(&b.database, "sslmode=disable"),
                "max_open_connections": 3, "nonsense": 1, "username": SUPERUSER,
            },
            "password_policy": "pp", "plugin_name": "postgresql-database-plugin", "plugin_version": "",
            "root_credentials_rotate_statements": ["ALTER x, y"],
        })
    );
    assert_eq!(b.h.list("config").await.unwrap().keys(), ["pg"]);
    b.h.write("reset/pg", json!({})).await.unwrap();
    b.role("other", json!({ "preflight": false })).await.unwrap();
    assert_eq!(b.ask("other").await.map(|_| ()).unwrap_err().0.told, "\"other\" is not an allowed role");
    let url = format!("postgresql://{SUPERUSER}:{PASSWORD}@127.0.0.1:{}/{}?sslmode=disable", b.pg.port, b.database);
    let (_, warnings) = b.h.reply(Operation::Update, "config/pg", json!({ "connection_url": url })).await.unwrap();
    assert!(warnings[0].starts_with("Password found in connection_url"), "{warnings:?}");
    assert!(!b.h.read("config/pg").await.unwrap().data().to_string().contains(PASSWORD));
    assert!(b.h.write("rotate-root/pg", json!({})).await.is_err(), "the URL would still hold the old one");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_connections_are_refused() {
    let b = Bench::bare(Postgres::shared(), short());
    let url = b.pg.url("postgres", "sslmode=disable");
    for (fields, told) in [
        (json!({}), "empty plugin name"),
        (json!({ "plugin_name": "mysql-database-plugin" }), "is not supported"),
        (json!({ "connection_url": "" }), "connection_url cannot be empty"),
        (json!({ "connection_url": "mysql://x" }), "must begin with postgresql://"),
        (json!({ "password": "wrong-Password" }), "password authentication failed"),
        (json!({ "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/x" }), "failed to connect"),
        (json!({ "username_template": "{{bad" }), "function not defined"),
        (json!({ "password_authentication": "md5" }), "not a valid password authentication type"),
        (json!({ "max_open_connections": "many" }), "whole number"),
        (json!({ "reconcile": "maybe" }), "field \"reconcile\": expected one of: report, drop, off"),
        (json!({ "tls_ca": "x", "connection_url": format!("{url}&sslmode=verify-ca") }), "tls_ca"),
    ] {
        let mut all = json!({ "connection_url": url, "username": SUPERUSER, "password": PASSWORD, "plugin_name": "postgresql-database-plugin" });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        if fields == json!({}) {
            all = fields.clone();
        }
        let fault = b.h.write("config/pg", all).await.unwrap_err();
        assert!(fault.kind == dewdrop_core::Kind::BadRequest && fault.told.contains(told), "{fields}: {}", fault.told);
        assert!(!fault.told.contains(PASSWORD) && !fault.told.contains("wrong-Password"), "{}", fault.told);
    }
    assert!(b.h.list("config").await.is_err(), "nothing was written");
    for path in ["reset/none", "rotate-root/none", "reconcile/none"] {
        assert!(
            b.h.write(path, json!({})).await.unwrap_err().told.contains("failed to find entry for connection"),
            "{path}"
        );
    }
    b.h.delete("config/none").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_must_prove_itself_as_far_as_is_asked() {
    let b = Bench::new(Postgres::shared()).await;
    let other_ca = dewdrop_testkit::pki::Ca::new("another authority").pem();
    let named = |mode: &str| {
        format!("postgresql://{{{{username}}}}:{{{{password}}}}@localhost:{}/postgres?sslmode={mode}", b.pg.port)
    };
    let addressed = |mode: &str| b.pg.url("postgres", &format!("sslmode={mode}"));
    for (url, ca, works) in [
        (named("prefer"), "", true),
        (named("require"), "", true),
        (named("require"), other_ca.as_str(), false),
        (addressed("verify-ca"), b.pg.ca_cert.as_str(), true),
        (addressed("verify-ca"), other_ca.as_str(), false),
        (named("verify-full"), b.pg.ca_cert.as_str(), true),
        (addressed("verify-full"), b.pg.ca_cert.as_str(), false),
    ] {
        let done = b.connect(json!({ "connection_url": url, "tls_ca": ca })).await;
        assert_eq!(done.is_ok(), works, "{url} {done:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn roles_have_the_shape_of_the_api() {
    let b = Bench::bare(Postgres::shared(), short());
    assert_eq!(b.role("r", json!({ "db_name": "" })).await.unwrap_err().told, "database name is required");
    b.role(
        "r",
        json!({ "db_name": "nope", "creation_statements": "a, {{expiration}}; b", "rollback_statements": ["", ""] }),
    )
    .await
    .unwrap();
    assert_eq!(
        b.h.read("roles/r").await.unwrap().data(),
        json!({
            "creation_statements": ["a, {{expiration}}; b"], "credential_type": "password", "db_name": "nope",
            "default_ttl": 3600, "max_ttl": 86400, "renew_statements": [], "revocation_statements": [], "rollback_statements": ["", ""],
        })
    );
    assert_eq!(
        b.ask("r").await.map(|_| ()).unwrap_err().0.told,
        "failed to find entry for connection with name: \"nope\""
    );
    assert_eq!(b.ask("none").await.map(|_| ()).unwrap_err().0.told, "unknown role: none");
    assert!(
        b.role("r", json!({ "credential_type": "bogus" })).await.unwrap_err().told.contains("invalid credential_type")
    );
    assert!(b.role("r", json!({ "default_ttl": "-3h" })).await.is_err());
    assert_eq!(b.h.list("roles").await.unwrap().keys(), ["r"]);
    b.h.delete("roles/r").await.unwrap();
    b.h.delete("roles/r").await.unwrap();
    assert!(b.h.list("roles").await.is_err());
}
