use std::collections::BTreeMap;
use std::time::Duration;

use dewdrop_core::Moment;
use serde_json::{Value, json};

use super::{MOST_LOCKS, User, configured, make_room};
use crate::config::Lockout;
use crate::vault::rig::Rig;

async fn rig() -> Rig {
    let rig = Rig::new().await;
    rig.must("POST", "sys/auth/userpass", json!({ "type": "userpass" })).await;
    for name in ["bob", "al"] {
        rig.must("POST", &format!("auth/userpass/users/{name}"), json!({ "password": "right" })).await;
    }
    rig
}

async fn login(rig: &Rig, name: &str, password: &str) -> (u16, String) {
    let got =
        rig.ask("POST", &format!("auth/userpass/login/{name}"), json!({ "password": password })).with("").send().await;
    (got.status, got.error().to_owned())
}

async fn fail(rig: &Rig, name: &str, times: usize) {
    for _ in 0..times {
        assert_eq!(login(rig, name, "wrong").await, (400, "invalid username or password".to_owned()));
    }
}

fn denied() -> (u16, String) {
    (403, "permission denied".to_owned())
}

async fn accessor(rig: &Rig) -> String {
    let mounts = rig.must("GET", "sys/auth", Value::Null).await;
    mounts["data"]["userpass/"]["accessor"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn five_failures_lock_until_the_time_is_over() {
    let rig = rig().await;
    fail(&rig, "Bob", 5).await;
    assert_eq!(login(&rig, "bob", "right").await, denied(), "the case of the name does not matter");
    assert_eq!(login(&rig, "al", "right").await.0, 200);
    let accessor = accessor(&rig).await;
    let shown = rig.must("GET", "sys/locked-users", Value::Null).await;
    let expected = json!({
        "total": 1,
        "by_namespace": [{
            "namespace_id": "root", "namespace_path": "", "counts": 1,
            "mount_accessors": [{ "mount_accessor": accessor, "counts": 1, "alias_identifiers": ["bob"] }],
        }],
    });
    assert_eq!(shown["data"], expected);
    rig.advance(15 * 60);
    assert_eq!(login(&rig, "bob", "right").await.0, 200);
    let shown = rig.must("GET", "sys/locked-users", Value::Null).await;
    assert_eq!(shown["data"]["total"], 0);
}

#[tokio::test]
async fn a_success_or_time_forgets_the_failures() {
    let rig = rig().await;
    fail(&rig, "bob", 4).await;
    assert_eq!(login(&rig, "bob", "right").await.0, 200);
    fail(&rig, "bob", 4).await;
    rig.advance(15 * 60 + 1);
    fail(&rig, "bob", 4).await;
    assert_eq!(login(&rig, "bob", "right").await.0, 200);
}

#[tokio::test]
async fn an_operator_unlocks() {
    let rig = rig().await;
    fail(&rig, "bob", 5).await;
    let accessor = accessor(&rig).await;
    for path in [format!("sys/locked-users/{accessor}/unlock/nobody"), "sys/locked-users/zork/unlock/bob".to_owned()] {
        assert_eq!(rig.ask("POST", &path, Value::Null).send().await.status, 204);
    }
    assert_eq!(login(&rig, "bob", "right").await, denied());
    let stranger =
        rig.ask("POST", &format!("sys/locked-users/{accessor}/unlock/bob"), Value::Null).with("").send().await;
    assert_eq!(stranger.status, 403);
    rig.must("POST", &format!("sys/locked-users/{accessor}/unlock/bob"), Value::Null).await;
    assert_eq!(login(&rig, "bob", "right").await.0, 200);
    let shown = rig.must("GET", "sys/locked-users?mount_accessor=zork", Value::Null).await;
    assert_eq!(
        shown["data"]["by_namespace"][0]["mount_accessors"][0],
        json!({ "mount_accessor": "zork", "counts": 0, "alias_identifiers": null })
    );
}

#[tokio::test]
async fn a_lock_survives_a_restart() {
    let mut rig = rig().await;
    fail(&rig, "bob", 5).await;
    rig.restart().await;
    assert_eq!(login(&rig, "bob", "right").await, denied());
    rig.advance(15 * 60);
    rig.restart().await;
    assert_eq!(login(&rig, "bob", "right").await.0, 200);
    let left = rig.vault().store.scan(super::PREFIX.as_bytes(), None, 10).await.unwrap();
    assert!(left.is_empty(), "what is over is removed");
}

#[tokio::test]
async fn a_mount_says_how_many_and_how_long_or_not_at_all() {
    let rig = rig().await;
    let tune = json!({ "user_lockout_config": { "lockout_threshold": 2, "lockout_duration": "3s", "lockout_counter_reset_duration": "2s" } });
    rig.must("POST", "sys/auth/userpass/tune", tune).await;
    fail(&rig, "bob", 2).await;
    assert_eq!(login(&rig, "bob", "right").await, denied());
    rig.advance(3);
    fail(&rig, "bob", 1).await;
    rig.advance(3);
    fail(&rig, "bob", 1).await;
    assert_eq!(login(&rig, "bob", "right").await.0, 200);
    fail(&rig, "bob", 2).await;
    rig.must("POST", "sys/auth/userpass/tune", json!({ "user_lockout_config": { "lockout_disable": true } })).await;
    fail(&rig, "bob", 9).await;
    assert_eq!(login(&rig, "bob", "right").await.0, 200);
}

#[tokio::test]
async fn a_name_that_nobody_has_answers_like_one_that_somebody_has() {
    let rig = rig().await;
    fail(&rig, "ghost", 5).await;
    assert_eq!(login(&rig, "ghost", "wrong").await, denied());
}

#[tokio::test]
async fn a_role_id_is_locked_as_well() {
    let rig = Rig::new().await;
    rig.must("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    rig.must("POST", "auth/approle/role/r", json!({ "bind_secret_id": true })).await;
    rig.must("POST", "auth/approle/role/r/role-id", json!({ "role_id": "rid" })).await;
    let secret = rig.must("POST", "auth/approle/role/r/secret-id", json!({})).await["data"]["secret_id"].clone();
    let login = |secret: Value| {
        rig.ask("POST", "auth/approle/login", json!({ "role_id": "rid", "secret_id": secret })).with("").send()
    };
    for _ in 0..5 {
        assert_eq!(login(json!("wrong")).await.status, 400);
    }
    assert_eq!(login(secret.clone()).await.status, 403);
    rig.advance(900);
    assert_eq!(login(secret).await.status, 200);
}

#[tokio::test]
async fn a_clock_that_jumps_back_does_not_lock_for_longer() {
    let rig = rig().await;
    rig.advance(24 * 3600);
    fail(&rig, "bob", 5).await;
    rig.clock.jump_to(Moment(1_800_000_000_000));
    assert_eq!(login(&rig, "bob", "right").await, denied());
    rig.advance(15 * 60);
    assert_eq!(login(&rig, "bob", "right").await.0, 200);
}

#[test]
fn too_many_locks_lose_those_that_end_first() {
    let user = |n: usize| User { mount: "m".into(), name: n.to_string() };
    let mut locks: BTreeMap<User, Moment> = (0..=MOST_LOCKS).map(|n| (user(n), Moment(1000 + n as u64))).collect();
    let gone = make_room(&mut locks, Moment(0));
    assert_eq!(gone.len(), 100);
    assert!(!locks.contains_key(&user(0)) && locks.contains_key(&user(MOST_LOCKS)));
    assert!(make_room(&mut locks, Moment(u64::MAX)).is_empty(), "there is room");
}

#[test]
fn the_configuration_fills_gaps_from_all() {
    let lockout = |threshold, minutes: Option<u64>| Lockout {
        threshold,
        duration: minutes.map(|m| Duration::from_secs(60 * m)),
        reset: None,
        disabled: None,
    };
    let config =
        BTreeMap::from([("all".to_owned(), lockout(Some(9), None)), ("userpass".to_owned(), lockout(None, Some(1)))]);
    let filled = configured(&config);
    let userpass = &filled["userpass"];
    assert_eq!(
        (userpass.threshold, userpass.duration, userpass.counter_reset),
        (9, Duration::from_secs(60), Duration::from_secs(900))
    );
}

#[tokio::test]
async fn what_a_mount_does_not_set_is_as_configured_and_shown_as_zero() {
    let rig = rig().await;
    let tune = async |config: Value| {
        rig.must("POST", "sys/auth/userpass/tune", json!({ "user_lockout_config": config })).await;
        rig.must("GET", "sys/auth/userpass/tune", Value::Null).await["data"].clone()
    };
    assert_eq!(tune(json!({})).await.get("user_lockout_threshold"), None, "nothing is set");
    let shown = tune(json!({ "lockout_duration": "1h" })).await;
    assert_eq!((&shown["user_lockout_threshold"], &shown["user_lockout_duration"]), (&json!(0), &json!(3600)));
    fail(&rig, "bob", 5).await;
    rig.advance(901);
    assert_eq!(login(&rig, "bob", "right").await, denied(), "five as configured, an hour as tuned");
    rig.advance(3600);
    assert_eq!(login(&rig, "bob", "right").await.0, 200);
}
