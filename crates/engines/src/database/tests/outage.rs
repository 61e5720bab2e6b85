//! Targets that are down, paused, restarted, moved away.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_was_away_needs_no_hand() {
    let mut b = Bench::with_limits(Arc::new(Postgres::start()), short()).await;
    b.role("app", json!({})).await.unwrap();
    let before = b.creds("app").await;
    b.pg.stop();
    let (fault, internal) = b.ask("app").await.map(|_| ()).unwrap_err();
    assert_eq!(fault.kind, dewdrop_core::Kind::Target);
    assert!(fault.told.contains("\"pg\"") && !fault.told.contains(PASSWORD), "{}", fault.told);
    let during = internal.expect("the lease was written first");
    let issued = b.h.clock.now();
    assert!(b.revoke(&before.internal, before.issued).await.is_err());
    assert!(b.revoke(&during, issued).await.is_err());
    // Writing a role is possible meanwhile; the proof comes before the first credential.
    assert!(b.role("later", json!({})).await.unwrap().is_empty());
    b.restart();
    assert!(b.ask("later").await.is_err_and(|(_, lease)| lease.is_none()), "no lease before the proof");

    b.pg.start_again();
    b.revoke(&before.internal, before.issued).await.unwrap();
    b.h.clock.advance(short().total());
    b.revoke(&during, issued).await.unwrap();
    let after = b.creds("later").await;
    b.login(&after, "SELECT 1").unwrap();
    assert!(!b.exists(&before.username) && !b.exists(during["username"].as_str().unwrap()));
    // Pooled connections that died unnoticed cost nobody a failure.
    b.pg.stop();
    b.pg.start_again();
    b.creds("app").await;
}

/// What was given up here must not happen later, when the paused target goes on: neither before the revocation nor
/// after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_paused_target_makes_no_late_users() {
    let b = Bench::with_limits(Arc::new(Postgres::start()), short()).await;
    b.role("app", json!({})).await.unwrap();
    b.creds("app").await;
    b.pg.pause();
    let (fault, internal) = b.ask("app").await.map(|_| ()).unwrap_err();
    assert!(fault.told.contains("no answer within 2 s"), "{}", fault.told);
    let (internal, issued) = (internal.unwrap(), b.h.clock.now());
    // The deadline of the batch, in the target's own time, has passed as well.
    b.pg.go_on();
    let username = internal["username"].as_str().unwrap().to_owned();
    until("the batch is refused", async || b.pg.log().contains("dewdrop: too late\"")).await;
    assert!(!b.exists(&username));
    let told = b.revoke(&internal, issued).await.unwrap_err().told;
    assert!(told.contains("may still be under way"), "{told}");
    b.h.clock.advance(short().total());
    b.revoke(&internal, issued).await.unwrap();
    b.creds("app").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_connection_is_kept_for_its_leases() {
    let mut b = Bench::new(Postgres::shared()).await;
    b.role("app", json!({})).await.unwrap();
    let (first, second) = (b.creds("app").await, b.creds("app").await);
    b.h.delete("config/pg").await.unwrap();
    assert!(b.h.read("config/pg").await.is_err());
    assert!(b.h.list("config").await.is_err());
    let told = b.ask("app").await.map(|_| ()).unwrap_err().0.told;
    assert_eq!(told, "failed to find entry for connection with name: \"pg\"");
    b.restart();
    b.revoke(&first.internal, first.issued).await.unwrap();
    assert!(!b.exists(&first.username));
    // A new connection of the same name, to elsewhere, is not taken for it.
    b.connect(json!({ "connection_url": "postgresql://{{username}}:{{password}}@127.0.0.1:1/none", "verify_connection": false })).await.unwrap();
    let retired = |b: &Bench| b.h.store.dump().iter().filter(|(key, _)| key.starts_with(b"retired/")).count();
    let tick = async |b: &Bench| {
        b.h.clock.advance(Duration::from_secs(700));
        b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    };
    tick(&b).await;
    assert_eq!(retired(&b), 1, "a lease still needs it");
    b.revoke(&second.internal, second.issued).await.unwrap();
    assert!(!b.exists(&second.username));
    tick(&b).await;
    assert_eq!(retired(&b), 0);
}

/// The usual way out of a lost password: the connection is deleted and written anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_was_written_anew_takes_over() {
    let b = Bench::with_limits(Postgres::shared(), short()).await;
    let root = format!("root_{}", b.database);
    b.pg.sql(&format!("CREATE ROLE {root} LOGIN SUPERUSER PASSWORD 'first-Password'"));
    b.connect(json!({ "username": root, "password": "first-Password" })).await.unwrap();
    b.role("app", json!({})).await.unwrap();
    let made = b.creds("app").await;
    b.pg.sql(&format!("ALTER ROLE {root} PASSWORD 'second-Password'; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{root}'"));
    b.h.delete("config/pg").await.unwrap();
    assert!(b.revoke(&made.internal, made.issued).await.is_err());
    // One that leads elsewhere, where nobody of that name is, proves nothing.
    let elsewhere = Postgres::start();
    b.connect(json!({ "connection_url": elsewhere.url("postgres", "sslmode=disable") })).await.unwrap();
    assert!(b.revoke(&made.internal, made.issued).await.is_err());
    b.connect(json!({ "username": root, "password": "second-Password" })).await.unwrap();
    b.revoke(&made.internal, made.issued).await.unwrap();
    assert!(!b.exists(&made.username));
}

#[tokio::test(flavor = "multi_thread")]
async fn users_without_a_lease_are_found_and_dropped() {
    let b = Bench::new(Postgres::shared()).await;
    b.role("app", json!({})).await.unwrap();
    let (kept, orphan, third) = (b.creds("app").await, b.creds("app").await, b.creds("app").await);
    let foreign = format!("v-foreign-{}", b.database);
    b.pg.sql(&format!("CREATE ROLE \"{foreign}\"; COMMENT ON ROLE \"{foreign}\" IS 'dewdrop:another:app'"));
    assert_eq!(
        b.h.read("reconcile/pg").await.unwrap().data(),
        json!({ "mode": "report", "checked": 3, "orphans": [] })
    );
    b.h.house.leases.lock().retain(|lease| lease.lease_id != orphan.username);
    let found = b.h.read("reconcile/pg").await.unwrap().data();
    assert_eq!(found["orphans"], json!([{ "username": orphan.username, "role": "app" }]));
    // By itself it only tells, unless it was told to act.
    b.h.clock.advance(Duration::from_secs(10));
    b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    b.h.clock.advance(Duration::from_secs(7200));
    b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    assert_eq!(b.h.write("reconcile/pg", json!({})).await.unwrap().data()["dropped"], json!([orphan.username]));
    assert!(!b.exists(&orphan.username) && b.exists(&kept.username) && b.exists(&foreign));

    b.connect(json!({ "reconcile": "drop", "reconcile_period": "10m" })).await.unwrap();
    b.h.house.leases.lock().retain(|lease| lease.lease_id != third.username);
    b.h.clock.advance(Duration::from_secs(601));
    b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    until("the third is dropped", async || !b.exists(&third.username)).await;
    assert!(b.exists(&kept.username) && b.exists(&foreign));
    b.pg.sql(&format!("DROP ROLE \"{foreign}\""));
}
