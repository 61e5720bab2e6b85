//! From making a user to taking it away.

use std::collections::BTreeSet;

use dewdrop_core::engine::{Credential, Renewal};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn made_used_renewed_revoked() {
    let b = Bench::new(Postgres::shared()).await;
    b.role("app", json!({})).await.unwrap();
    let made = b.creds("app").await;
    assert!(made.username.starts_with("v--app-"), "{}", made.username);
    assert_eq!(made.data.as_object().unwrap().len(), 2);
    assert_eq!(b.login(&made, "SELECT current_user").unwrap(), made.username);
    let valid = |made: &Made| {
        b.pg.sql(&format!(
            "SELECT extract(epoch FROM rolvaliduntil)::bigint FROM pg_roles WHERE rolname = '{}'",
            made.username
        ))
    };
    assert_eq!(valid(&made), (made.issued.seconds() + 3605).to_string());

    let credential = Credential { issued: made.issued, ..b.h.credential(&made.internal) };
    let ask = Renewal { now: b.h.clock.now(), increment: Duration::from_secs(7200) };
    let renewed = b.h.room.renew(&credential, &ask).await.unwrap();
    assert_eq!(renewed.ttl, Duration::from_secs(7200));
    assert_eq!(valid(&made), (ask.now.seconds() + 7205).to_string());
    let ask = Renewal { now: b.h.clock.now(), increment: Duration::from_secs(48 * 3600) };
    assert_eq!(b.h.room.renew(&credential, &ask).await.unwrap().ttl.as_secs().div_ceil(60), 24 * 60, "cut at max_ttl");

    b.revoke(&made.internal, made.issued).await.unwrap();
    assert!(!b.exists(&made.username));
    assert!(b.login(&made, "SELECT 1").is_err());
    b.revoke(&made.internal, made.issued).await.expect("already gone is success");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_that_owns_and_was_granted_much_goes_all_the_same() {
    let b = Bench::new(Postgres::shared()).await;
    let other = format!("{}_other", b.database);
    b.pg.sql(&format!("CREATE DATABASE {other}"));
    b.pg.sql_in(
        &b.database,
        "CREATE SCHEMA one; CREATE SCHEMA two; CREATE TABLE one.theirs (x int); CREATE SEQUENCE two.s",
    );
    let grants = format!(
        r#"GRANT ALL ON SCHEMA one, two TO "{{{{name}}}}"; GRANT SELECT ON ALL TABLES IN SCHEMA one TO "{{{{name}}}}";
           GRANT ALL ON ALL SEQUENCES IN SCHEMA two TO "{{{{name}}}}"; GRANT CONNECT, CREATE ON DATABASE {} TO "{{{{name}}}}";
           GRANT CREATE ON DATABASE {other} TO "{{{{name}}}}"; -- a comment at the end"#,
        b.database
    );
    b.role("owner", json!({ "creation_statements": [CREATE, grants] })).await.unwrap();
    let made = b.creds("owner").await;
    b.login(&made, "CREATE TABLE one.mine (x int); INSERT INTO one.mine VALUES (7); CREATE TABLE two.mine AS SELECT 1; CREATE SCHEMA three; CREATE TYPE two.t AS (a int); ALTER DEFAULT PRIVILEGES IN SCHEMA two GRANT SELECT ON TABLES TO public").unwrap();
    b.pg.sql_as(&made.username, &made.password, &other, "CREATE SCHEMA mine; CREATE TABLE mine.t (x int)").unwrap();
    b.revoke(&made.internal, made.issued).await.unwrap();
    assert!(!b.exists(&made.username));
    assert_eq!(b.pg.sql_in(&b.database, "SELECT x FROM one.mine"), "7", "what it made stays");
    let owner =
        b.pg.sql_in(&b.database, "SELECT tableowner FROM pg_tables WHERE tablename = 'mine' AND schemaname = 'one'");
    assert_eq!(owner, SUPERUSER);
    assert_eq!(b.pg.sql_in(&other, "SELECT count(*) FROM mine.t"), "0");
}

/// The connection's user is no superuser, as with every database in a cloud.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_manager_without_superuser_suffices() {
    let b = Bench::new(Postgres::shared()).await;
    let manager = format!("manager_{}", b.database);
    b.pg.sql(&format!("CREATE ROLE {manager} LOGIN CREATEROLE PASSWORD 'manager-pass'; GRANT ALL ON DATABASE {} TO {manager} WITH GRANT OPTION", b.database));
    b.pg.sql_in(&b.database, &format!("CREATE SCHEMA app AUTHORIZATION {manager}"));
    b.connect(json!({ "username": manager, "password": "manager-pass" })).await.unwrap();
    b.role("app", json!({ "creation_statements": [CREATE, r#"GRANT ALL ON SCHEMA app TO "{{name}}""#] }))
        .await
        .unwrap();
    let made = b.creds("app").await;
    b.login(&made, "CREATE TABLE app.t (x int)").unwrap();
    b.revoke(&made.internal, made.issued).await.unwrap();
    assert!(!b.exists(&made.username));
    assert_eq!(b.pg.sql_in(&b.database, "SELECT tableowner FROM pg_tables WHERE tablename = 't'"), manager);
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_end_with_their_user() {
    let b = Bench::new(Postgres::shared()).await;
    b.role("app", json!({ "creation_statements": [CREATE, format!("GRANT CREATE ON DATABASE {} TO \"{{{{name}}}}\"", b.database)] })).await.unwrap();
    let made = b.creds("app").await;
    let (pg, user, password, database) =
        (b.pg.clone(), made.username.clone(), made.password.clone(), b.database.clone());
    // It holds a lock on a table of its own, which stands in the way of the revocation.
    let session = tokio::task::spawn_blocking(move || {
        pg.sql_as(
            &user,
            &password,
            &database,
            "CREATE SCHEMA s; CREATE TABLE s.t (x int); COMMIT; BEGIN; LOCK s.t; SELECT pg_sleep(60)",
        )
    });
    let sleeping =
        format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}' AND wait_event = 'PgSleep'", made.username);
    until("the session sleeps", async || b.pg.sql(&sleeping) == "1").await;
    b.revoke(&made.internal, made.issued).await.unwrap();
    assert!(session.await.unwrap().unwrap_err().contains("terminating connection"));
    assert_eq!(b.pg.sql(&format!("SELECT count(*) FROM pg_stat_activity WHERE usename = '{}'", made.username)), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn own_statements_are_used_and_what_cannot_go_is_disarmed() {
    let b = Bench::new(Postgres::shared()).await;
    let log = format!("log_{}", b.database);
    b.pg.sql_in(&b.database, &format!("CREATE TABLE {log} (what text)"));
    let note = |what: &str| format!("INSERT INTO {log} VALUES ('{what} {{{{name}}}}')");
    b.role(
        "own",
        json!({
            "revocation_statements": [note("revoked"), r#"DROP ROLE "{{name}}""#],
            "renew_statements": note("renewed"),
        }),
    )
    .await
    .unwrap();
    let made = b.creds("own").await;
    let credential = b.h.credential(&made.internal);
    b.h.room.renew(&credential, &Renewal { now: b.h.clock.now(), increment: Duration::ZERO }).await.unwrap();
    b.revoke(&made.internal, made.issued).await.unwrap();
    let logged = b.pg.sql_in(&b.database, &format!("SELECT what FROM {log} WHERE what LIKE '%{}'", made.username));
    assert_eq!(logged, format!("renewed {0}\nrevoked {0}", made.username));

    b.role("own", json!({ "revocation_statements": ["SELECT 1/0"], "preflight": false })).await.unwrap();
    let stuck = b.creds("own").await;
    let told = b.revoke(&stuck.internal, stuck.issued).await.unwrap_err().told;
    assert!(told.contains("\"pg\"") && told.contains(&stuck.username), "{told}");
    assert!(b.exists(&stuck.username));
    assert!(b.login(&stuck, "SELECT 1").is_err(), "it may do nothing more");
    // The operator mends the role: that counts for what was made before.
    b.role("own", json!({ "revocation_statements": [] })).await.unwrap();
    b.revoke(&stuck.internal, stuck.issued).await.unwrap();
    // The role is deleted: what the lease holds counts.
    b.role("own", json!({ "revocation_statements": [note("late"), r#"DROP ROLE "{{name}}""#] })).await.unwrap();
    let last = b.creds("own").await;
    b.h.delete("roles/own").await.unwrap();
    b.revoke(&last.internal, last.issued).await.unwrap();
    assert_eq!(
        b.pg.sql_in(&b.database, &format!("SELECT count(*) FROM {log} WHERE what = 'late {}'", last.username)),
        "1"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_creation_leaves_nothing_and_is_rolled_back() {
    let b = Bench::new(Postgres::shared()).await;
    b.pg.sql_in(&b.database, "CREATE TABLE rolled (name text)");
    b.role(
        "half",
        json!({
            "creation_statements": [CREATE, r#"GRANT no_such_role TO "{{name}}""#],
            "rollback_statements": "INSERT INTO rolled VALUES ('{{name}}')",
            "preflight": false,
        }),
    )
    .await
    .unwrap();
    let (fault, internal) = b.ask("half").await.map(|_| ()).unwrap_err();
    assert_eq!(fault.kind, dewdrop_core::Kind::Target);
    assert!(fault.told.contains("role \"no_such_role\" does not exist (SQLSTATE 42704)"), "{}", fault.told);
    let internal = internal.expect("a lease was written");
    assert!(!b.exists(internal["username"].as_str().unwrap()));
    assert_eq!(b.pg.sql_in(&b.database, "SELECT count(*) FROM rolled"), "1");
    b.revoke(&internal, b.h.clock.now()).await.expect("the keeper is content at once");
}

#[tokio::test(flavor = "multi_thread")]
async fn sql_in_names_stays_text() {
    let mut b = Bench::new(Postgres::shared()).await;
    let template = "{{.DisplayName}}-{{random 8}}";
    b.connect(json!({ "username_template": template })).await.unwrap();
    let body = r#"DO $$ BEGIN EXECUTE 'COMMENT ON ROLE "{{name}}" IS ''x'''; END $$"#;
    b.role("evil", json!({ "creation_statements": [CREATE, body], "preflight": false })).await.unwrap();
    for display in [
        r#"x" SUPERUSER; --"#,
        "x'; DROP DATABASE postgres; --",
        "a\\' OR 1=1",
        "$$; DROP TABLE x; $$",
        "{{password}}",
        "jiří@firma.cz",
        "a\u{0}b\nc",
        "",
    ] {
        b.called(display);
        let made = b.creds("evil").await;
        assert!(b.exists(&made.username), "{display}");
        let is_super = b.pg.sql(&format!("SELECT rolsuper FROM pg_roles WHERE rolname = '{}'", made.username));
        assert_eq!(is_super, "f", "{display}");
        b.revoke(&made.internal, made.issued).await.unwrap();
        assert!(!b.exists(&made.username), "{display}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_at_once() {
    let b = Bench::new(Postgres::shared()).await;
    b.role("app", json!({})).await.unwrap();
    let b = Arc::new(b);
    let asked: Vec<_> = (0..200)
        .map(|_| {
            let b = b.clone();
            tokio::spawn(async move { b.creds("app").await })
        })
        .collect();
    let mut made = Vec::new();
    for one in asked {
        made.push(one.await.unwrap());
    }
    let names: BTreeSet<&str> = made.iter().map(|m| m.username.as_str()).collect();
    assert_eq!(names.len(), 200);
    let ours = format!(
        "SELECT count(*) FROM pg_roles r, pg_shdescription d WHERE d.objoid = r.oid AND d.description LIKE 'dewdrop:{}:%'",
        b.place.mount_uuid
    );
    assert_eq!(b.pg.sql(&ours), "200");
    let gone: Vec<_> = made
        .into_iter()
        .map(|m| {
            let b = b.clone();
            tokio::spawn(async move { b.revoke(&m.internal, m.issued).await })
        })
        .collect();
    for one in gone {
        one.await.unwrap().unwrap();
    }
    assert_eq!(b.pg.sql(&ours), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_reach_the_target_as_verifiers() {
    let b = Bench::new(Postgres::shared()).await;
    b.role("app", json!({})).await.unwrap();
    let made = b.creds("app").await;
    b.login(&made, "SELECT 1").unwrap();
    let stored = b.pg.sql(&format!("SELECT left(rolpassword, 18) FROM pg_authid WHERE rolname = '{}'", made.username));
    assert_eq!(stored, "SCRAM-SHA-256$4096");
    assert!(!b.pg.log().contains(&format!("'{}'", made.password)) || made.password.len() < 12);
    let sent = format!("CREATE ROLE \"{}\" WITH LOGIN PASSWORD ", made.username);
    let line = b.pg.log().lines().find(|l| l.contains(&sent)).expect("it was logged").to_owned();
    assert!(line.contains("SCRAM-SHA-256$4096:") && !line.contains(&made.password), "{line}");

    b.connect(json!({ "password_authentication": "password" })).await.unwrap();
    let plain = b.creds("app").await;
    b.login(&plain, "SELECT 1").unwrap();
    assert!(b.pg.log().contains(&format!("PASSWORD '{}'", plain.password)), "as the operator asked");
    for made in [made, plain] {
        b.revoke(&made.internal, made.issued).await.unwrap();
    }
}
