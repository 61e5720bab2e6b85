//! Root passwords and static roles.

use dewdrop_core::store::{Batch, Store};

use super::*;

/// A connection by a superuser of its own, whose password may change.
async fn own_root(pg: Arc<Postgres>) -> (Bench, String) {
    let b = Bench::with_limits(pg, short()).await;
    let root = format!("root_{}", b.database);
    b.pg.sql(&format!("CREATE ROLE {root} LOGIN SUPERUSER PASSWORD 'first-Password'"));
    b.connect(json!({ "username": root, "password": "first-Password" })).await.unwrap();
    b.role("app", json!({})).await.unwrap();
    (b, root)
}

fn stored(b: &Bench, key: &str) -> Value {
    let (_, value) = b.h.store.dump().into_iter().find(|(k, _)| k == key.as_bytes()).expect("the record");
    serde_json::from_slice(&value).expect("JSON")
}

async fn store(b: &mut Bench, key: &str, record: &Value) {
    b.h.store.commit(Batch::new().put_json(key, record).unwrap()).await.unwrap();
    b.restart();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_password_is_replaced_and_known_to_us_alone() {
    let (b, root) = own_root(Postgres::shared()).await;
    b.h.write("rotate-root/pg", json!({})).await.unwrap();
    assert!(b.pg.sql_as(&root, "first-Password", "postgres", "SELECT 1").is_err());
    b.creds("app").await;
    let record = stored(&b, "config/pg");
    assert!(record.get("pending").is_none());
    let now = record["password"].as_str().unwrap().to_owned();
    b.pg.sql_as(&root, &now, "postgres", "SELECT 1").unwrap();
    let shown = b.h.read("config/pg").await.unwrap().data().to_string();
    assert!(!shown.contains(&now) && !shown.contains("first-Password"));
    assert!(!b.pg.log().contains(&format!("'{now}'")), "only a verifier was sent");
}

/// The record as a crash leaves it: before the target was told, and after.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_root_rotation_loses_nothing() {
    let (mut b, root) = own_root(Postgres::shared()).await;
    let old = b.h.clock.now().0 - 3_600_000;
    let mut record = stored(&b, "config/pg");
    record["pending"] = json!({ "password": "second-Password", "since": old });
    store(&mut b, "config/pg", &record).await;
    b.creds("app").await;
    assert_eq!(stored(&b, "config/pg")["password"], "first-Password");
    assert!(stored(&b, "config/pg").get("pending").is_none());

    store(&mut b, "config/pg", &record).await;
    b.pg.sql(&format!("ALTER ROLE {root} PASSWORD 'second-Password'"));
    b.creds("app").await;
    assert_eq!(stored(&b, "config/pg")["password"], "second-Password");

    // Fresh: the change may still reach the target, so that both are kept, and either works.
    record["password"] = json!("second-Password");
    record["pending"] = json!({ "password": "third-Password", "since": b.h.clock.now().0 });
    store(&mut b, "config/pg", &record).await;
    b.creds("app").await;
    assert_eq!(stored(&b, "config/pg")["pending"]["password"], "third-Password");
    b.pg.sql(&format!("ALTER ROLE {root} PASSWORD 'third-Password'"));
    b.creds("app").await;
    assert_eq!(stored(&b, "config/pg")["password"], "third-Password");
    b.h.write("rotate-root/pg", json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_rotation_that_fails_changes_nothing() {
    let (b, root) = own_root(Arc::new(Postgres::start())).await;
    b.connect(json!({ "username": root, "password": "first-Password", "root_rotation_statements": ["ALTER ROLE nobody_here PASSWORD '{{password}}'"] })).await.unwrap();
    assert!(b.h.write("rotate-root/pg", json!({})).await.unwrap_err().told.contains("does not exist"));
    b.creds("app").await;
    b.connect(json!({ "username": root, "password": "first-Password", "root_rotation_statements": [] })).await.unwrap();
    b.creds("app").await;
    b.pg.pause();
    let told = b.h.write("rotate-root/pg", json!({})).await.unwrap_err().told;
    b.pg.go_on();
    assert!(told.contains("\"pg\"") && !told.contains("Password-"), "{told}");
    until("a credential again", async || b.ask("app").await.is_ok()).await;
    b.h.store.set_down(true);
    assert!(b.h.write("rotate-root/pg", json!({})).await.is_err());
    b.h.store.set_down(false);
    b.creds("app").await;
}

async fn static_user(b: &Bench, name: &str) -> String {
    let user = format!("{name}_{}", b.database);
    b.pg.sql(&format!("CREATE ROLE {user} LOGIN PASSWORD 'by-hand'"));
    let fields = json!({ "db_name": "pg", "username": user, "rotation_period": "1h" });
    b.h.write(&format!("static-roles/{name}"), fields).await.unwrap();
    user
}

async fn password(b: &Bench, name: &str) -> String {
    let data = b.h.read(&format!("static-creds/{name}")).await.unwrap().data();
    data["password"].as_str().unwrap().to_owned()
}

fn opens(b: &Bench, user: &str, password: &str) -> bool {
    b.pg.sql_as(user, password, "postgres", "SELECT 1").is_ok()
}

#[tokio::test(flavor = "multi_thread")]
async fn static_passwords_rotate_by_the_period_and_by_hand() {
    let b = Bench::new(Postgres::shared()).await;
    let user = static_user(&b, "s1").await;
    let first = password(&b, "s1").await;
    assert!(opens(&b, &user, &first) && !opens(&b, &user, "by-hand"), "rotated at once");
    b.h.write("rotate-role/s1", json!({})).await.unwrap();
    let second = password(&b, "s1").await;
    assert!(opens(&b, &user, &second) && !opens(&b, &user, &first));
    b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    b.h.clock.advance(Duration::from_secs(1800));
    let data = b.h.read("static-creds/s1").await.unwrap().data();
    assert!((1790..=1800).contains(&data["ttl"].as_u64().unwrap()), "{data}");
    assert_eq!(data["rotation_period"], 3600);
    b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    assert_eq!(password(&b, "s1").await, second, "not due");
    b.h.clock.advance(Duration::from_secs(1801));
    b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    until("the third password", async || password(&b, "s1").await != second).await;
    assert!(opens(&b, &user, &password(&b, "s1").await));
    b.h.delete("static-roles/s1").await.unwrap();
    assert!(b.h.list("static-roles").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_fails_is_tried_again_and_holds_up_no_other() {
    let mut b = Bench::new(Postgres::shared()).await;
    let (bad, good) = (static_user(&b, "bad").await, static_user(&b, "good").await);
    let (bad_before, good_before) = (password(&b, "bad").await, password(&b, "good").await);
    b.pg.sql(&format!("ALTER ROLE {bad} RENAME TO {bad}_x"));
    b.restart();
    b.h.clock.advance(Duration::from_secs(3601));
    b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    until("the good one", async || password(&b, "good").await != good_before).await;
    assert_eq!(password(&b, "bad").await, bad_before);
    b.pg.sql(&format!("ALTER ROLE {bad}_x RENAME TO {bad}; ALTER ROLE {bad} PASSWORD 'lost'"));
    until("the bad one", async || {
        b.h.clock.advance(Duration::from_secs(2));
        b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
        password(&b, "bad").await != bad_before
    })
    .await;
    assert!(opens(&b, &bad, &password(&b, "bad").await) && opens(&b, &good, &password(&b, "good").await));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_a_static_rotation_loses_nothing() {
    let mut b = Bench::new(Postgres::shared()).await;
    let user = static_user(&b, "s").await;
    for target_was_told in [false, true] {
        let mut record = stored(&b, "static-role/s");
        record["pending"] = json!({ "password": format!("pending-{target_was_told}"), "since": b.h.clock.now().0 });
        if target_was_told {
            b.pg.sql(&format!("ALTER ROLE {user} PASSWORD 'pending-true'"));
        }
        store(&mut b, "static-role/s", &record).await;
        // Either a reader ends it, or the calendar.
        if target_was_told {
            b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
            until("the calendar", async || stored(&b, "static-role/s")["pending"].is_null()).await;
        }
        assert_eq!(password(&b, "s").await, format!("pending-{target_was_told}"));
        assert!(opens(&b, &user, &password(&b, "s").await));
        assert!(stored(&b, "static-role/s")["pending"].is_null());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn schedules_rotate_only_in_their_window() {
    let b = Bench::new(Postgres::shared()).await;
    let user = format!("sched_{}", b.database);
    b.pg.sql(&format!("CREATE ROLE {user} LOGIN PASSWORD 'by-hand'"));
    b.h.clock.jump_to(Moment::parse_rfc3339("2027-03-01T12:00:00Z").unwrap());
    let fields = json!({ "db_name": "pg", "username": user, "rotation_schedule": "0 0 * * SAT", "rotation_window": "1h", "skip_import_rotation": true });
    b.h.write("static-roles/s", fields).await.unwrap();
    assert!(opens(&b, &user, "by-hand"), "not touched");
    let data = b.h.read("static-creds/s").await.unwrap().data();
    assert_eq!(
        (&data["password"], &data["rotation_schedule"], &data["rotation_window"]),
        (&json!(""), &json!("0 0 * * SAT"), &json!(3600))
    );
    assert_eq!(data["ttl"], json!(4 * 86400 + 12 * 3600));
    b.h.clock.jump_to(Moment::parse_rfc3339("2027-03-06T00:00:30Z").unwrap());
    b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    until("rotated", async || !password(&b, "s").await.is_empty()).await;
    assert!(opens(&b, &user, &password(&b, "s").await));
    let rotated = password(&b, "s").await;
    b.h.clock.jump_to(Moment::parse_rfc3339("2027-03-13T02:00:00Z").unwrap());
    let due = b.h.read("static-creds/s").await.unwrap().data()["ttl"].as_u64().unwrap();
    assert_eq!(due, 6 * 86400 + 22 * 3600, "the window was missed: the next one counts");
    assert_eq!(password(&b, "s").await, rotated);
}

/// Ticks for a while; nothing may rotate.
async fn nothing_rotates(b: &Bench, name: &str) {
    let before = stored(b, &format!("static-role/{name}"));
    for _ in 0..10 {
        b.h.clock.advance(Duration::from_secs(2));
        b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    assert_eq!(stored(b, &format!("static-role/{name}")), before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_failed_waits_for_the_next_window() {
    let b = Bench::new(Postgres::shared()).await;
    let user = format!("wait_{}", b.database);
    b.pg.sql(&format!("CREATE ROLE {user} LOGIN PASSWORD 'by-hand'"));
    b.h.clock.jump_to(Moment::parse_rfc3339("2027-03-01T12:00:00Z").unwrap());
    let fields =
        json!({ "db_name": "pg", "username": user, "rotation_schedule": "0 0 * * SAT", "rotation_window": "1h" });
    b.h.write("static-roles/s", fields).await.unwrap();
    let first = password(&b, "s").await;
    b.pg.sql(&format!("ALTER ROLE {user} RENAME TO {user}_x"));
    b.h.clock.jump_to(Moment::parse_rfc3339("2027-03-06T00:00:30Z").unwrap());
    b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
    until("it was tried", async || b.pg.log().contains(&format!("role \"{user}\" does not exist"))).await;
    b.pg.sql(&format!("ALTER ROLE {user}_x RENAME TO {user}; ALTER ROLE {user} PASSWORD '{first}'"));
    b.h.clock.jump_to(Moment::parse_rfc3339("2027-03-06T02:00:00Z").unwrap());
    nothing_rotates(&b, "s").await;
    assert!(opens(&b, &user, &first));
    b.h.clock.jump_to(Moment::parse_rfc3339("2027-03-13T00:00:30Z").unwrap());
    until("the next window", async || {
        b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
        password(&b, "s").await != first
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_by_hand_begins_the_period_anew() {
    let b = Bench::new(Postgres::shared()).await;
    static_user(&b, "s").await;
    b.h.clock.advance(Duration::from_secs(3000));
    b.h.write("rotate-role/s", json!({})).await.unwrap();
    b.h.clock.advance(Duration::from_secs(1000));
    nothing_rotates(&b, "s").await;
    let before = password(&b, "s").await;
    b.h.clock.advance(Duration::from_secs(3000));
    until("the period is over", async || {
        b.h.room.tick(&b.h.mount, b.h.clock.now()).await.unwrap();
        password(&b, "s").await != before
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_static_roles_are_refused() {
    let b = Bench::new(Postgres::shared()).await;
    b.role("taken", json!({})).await.unwrap();
    let user = static_user(&b, "s").await;
    for (name, fields, told) in [
        ("x", json!({}), "database name is a required field"),
        ("x", json!({ "db_name": "pg", "username": user }), "rotation_period is required"),
        ("x", json!({ "db_name": "pg", "rotation_period": "1h" }), "username is a required field"),
        ("x", json!({ "db_name": "pg", "username": user, "rotation_period": "1s" }), "5 seconds or more"),
        ("x", json!({ "db_name": "pg", "username": user, "rotation_schedule": "bad" }), "five fields"),
        ("x", json!({ "db_name": "pg", "username": user, "rotation_schedule": "0 0 30 2 *" }), "never comes"),
        (
            "x",
            json!({ "db_name": "pg", "username": user, "rotation_period": "1h", "rotation_schedule": "* * * * *" }),
            "exclude each other",
        ),
        (
            "x",
            json!({ "db_name": "nope", "username": user, "rotation_period": "1h" }),
            "failed to find entry for connection",
        ),
        (
            "x",
            json!({ "db_name": "pg", "username": "no_such_user", "rotation_period": "1h" }),
            "error setting credentials",
        ),
        ("s", json!({ "username": "other", "rotation_period": "1h" }), "cannot update static account username"),
        ("taken", json!({ "db_name": "pg", "username": user, "rotation_period": "1h" }), "must be unique"),
    ] {
        let fault = b.h.write(&format!("static-roles/{name}"), fields.clone()).await.unwrap_err();
        assert!(fault.told.contains(told), "{fields}: {}", fault.told);
    }
    assert_eq!(b.h.list("static-roles").await.unwrap().keys(), ["s"]);
    assert!(b.h.write("rotate-role/x", json!({})).await.unwrap_err().told.contains("no static role found"));
    assert!(b.h.read("static-creds/x").await.unwrap_err().told.contains("unknown role: x"));
}
