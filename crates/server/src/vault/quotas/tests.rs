use serde_json::{Value, json};

use crate::vault::rig::Rig;

async fn limit_of(rig: &Rig, method: &'static str, path: &str, body: Value) -> String {
    rig.ask(method, path, body).from("10.0.0.9").send().await.header("x-ratelimit-limit").to_owned()
}

async fn show_headers(rig: &Rig) {
    rig.must("POST", "sys/quotas/config", json!({ "enable_rate_limit_response_headers": true })).await;
}

#[tokio::test]
async fn a_rate_limit_counts_each_client_and_ends_with_its_interval() {
    let rig = Rig::new().await;
    show_headers(&rig).await;
    rig.must("POST", "sys/quotas/rate-limit/a", json!({ "rate": 2.5, "interval": "3s", "path": "secret" })).await;
    let ask = |address: &'static str, token: &'static str| {
        rig.ask("GET", "secret/data/x", Value::Null).from(address).with(token)
    };
    let first = ask("10.0.0.1", "root-of-the-test").send().await;
    assert_eq!(
        (first.status, first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")),
        (404, "3", "2")
    );
    // Also without a token, and with a bad one.
    assert_eq!(ask("10.0.0.1", "").send().await.status, 403);
    assert_eq!(ask("::ffff:10.0.0.1", "zork").send().await.status, 403);
    let refused = ask("10.0.0.1", "root-of-the-test").send().await;
    assert_eq!((refused.status, refused.error()), (429, "request path \"secret/data/x\": rate limit quota exceeded"));
    assert_eq!((refused.header("retry-after"), refused.header("x-ratelimit-reset")), ("3", "3"));
    assert_eq!(ask("10.0.0.2", "").send().await.status, 403, "another client has its own count");
    assert_eq!(rig.ask("GET", "sys/mounts", Value::Null).from("10.0.0.1").send().await.status, 200, "another path");
    rig.advance(3);
    assert_eq!(ask("10.0.0.1", "root-of-the-test").send().await.status, 404);
}

#[tokio::test]
async fn a_block_refuses_beyond_the_interval() {
    let rig = Rig::new().await;
    show_headers(&rig).await;
    let rule = json!({ "rate": 1, "interval": 1, "block_interval": "10s", "path": "secret/" });
    rig.must("POST", "sys/quotas/rate-limit/a", rule).await;
    let ask = || rig.ask("GET", "secret/data/x", Value::Null).from("10.0.0.1").send();
    assert_eq!(ask().await.status, 404);
    assert_eq!(ask().await.header("x-ratelimit-limit"), "1");
    rig.advance(4);
    let blocked = ask().await;
    assert_eq!((blocked.status, blocked.header("retry-after"), blocked.header("x-ratelimit-limit")), (429, "6", ""));
    rig.advance(6);
    assert_eq!(ask().await.status, 404);
}

#[tokio::test]
async fn the_most_specific_rate_limit_holds() {
    let rig = Rig::new().await;
    show_headers(&rig).await;
    let paths = [
        "",
        "secret/",
        "secret/data/foo*",
        "secret/data/foo",
        "secret/data/foobar*",
        "secret/data/*",
        "secret/data/dir/",
    ];
    for (at, path) in paths.iter().enumerate() {
        rig.must(
            "POST",
            &format!("sys/quotas/rate-limit/q{at}"),
            json!({ "rate": 100 + at, "interval": 60, "path": path }),
        )
        .await;
    }
    for (path, expected) in [
        ("secret/data/foo", "103"),
        ("secret/data/foox", "102"),
        ("secret/data/foobar", "104"),
        ("secret/data/x", "105"),
        ("secret/data/dir", "106"),
        ("secret/data/dir/x", "105"),
        ("secret/metadata/x", "101"),
        ("sys/mounts", "100"),
        ("zork/x", "100"),
    ] {
        assert_eq!(limit_of(&rig, "GET", path, Value::Null).await, expected, "{path}");
    }
    assert_eq!(limit_of(&rig, "LIST", "secret/data/dir", Value::Null).await, "106");
}

#[tokio::test]
async fn namespaces_inherit_what_is_inheritable() {
    let rig = Rig::new().await;
    show_headers(&rig).await;
    rig.must("POST", "sys/namespaces/n1", json!({})).await;
    rig.must("POST", "n1/sys/namespaces/n2", json!({})).await;
    rig.must("POST", "n1/sys/mounts/kv", json!({ "type": "kv" })).await;
    let deep = || limit_of(&rig, "GET", "n1/n2/sys/mounts", Value::Null);
    rig.must("POST", "sys/quotas/rate-limit/g", json!({ "rate": 100, "interval": 60 })).await;
    assert_eq!(deep().await, "100");
    rig.must("POST", "sys/quotas/rate-limit/n", json!({ "rate": 101, "interval": 60, "path": "n1" })).await;
    assert_eq!(deep().await, "100", "not inheritable unless it says so");
    assert_eq!(limit_of(&rig, "GET", "n1/sys/mounts", Value::Null).await, "101");
    rig.must(
        "POST",
        "sys/quotas/rate-limit/n",
        json!({ "rate": 101, "interval": 60, "path": "n1", "inheritable": true }),
    )
    .await;
    assert_eq!(deep().await, "101");
    rig.must("POST", "sys/quotas/rate-limit/k", json!({ "rate": 102, "interval": 60, "path": "n1/kv" })).await;
    assert_eq!(limit_of(&rig, "GET", "n1/kv/x", Value::Null).await, "102");
    rig.must("POST", "sys/quotas/rate-limit/g", json!({ "rate": 100, "interval": 60, "inheritable": false })).await;
    rig.must("DELETE", "sys/quotas/rate-limit/n", Value::Null).await;
    assert_eq!(deep().await, "");
}

#[tokio::test]
async fn a_role_has_its_own_rate_limit() {
    let rig = Rig::new().await;
    show_headers(&rig).await;
    rig.must("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    rig.must("POST", "auth/approle/role/r1", json!({ "bind_secret_id": true })).await;
    rig.must("POST", "auth/approle/role/r1/role-id", json!({ "role_id": "rid" })).await;
    rig.must(
        "POST",
        "sys/quotas/rate-limit/r",
        json!({ "rate": 31, "interval": 60, "path": "auth/approle", "role": "r1" }),
    )
    .await;
    rig.must("POST", "sys/quotas/rate-limit/m", json!({ "rate": 32, "interval": 60, "path": "auth/approle" })).await;
    rig.must("POST", "sys/quotas/rate-limit/l", json!({ "rate": 33, "interval": 60, "path": "auth/approle/login" }))
        .await;
    let login =
        |role: &'static str| limit_of(&rig, "POST", "auth/approle/login", json!({ "role_id": role, "secret_id": "x" }));
    assert_eq!(login("rid").await, "31");
    assert_eq!(login("zork").await, "33");
    assert_eq!(limit_of(&rig, "GET", "auth/approle/role/r1", Value::Null).await, "32");
}

#[tokio::test]
async fn exempt_paths_are_not_counted() {
    let rig = Rig::new().await;
    let config = json!({ "rate_limit_exempt_paths": ["secret/data/free", "sys/quotas/"] });
    rig.must("POST", "sys/quotas/config", config).await;
    rig.must("POST", "sys/quotas/rate-limit/a", json!({ "rate": 1, "interval": 60 })).await;
    for _ in 0..3 {
        assert_eq!(rig.ask("GET", "secret/data/free/x", Value::Null).send().await.status, 404);
    }
    assert_eq!(rig.ask("GET", "sys/health", Value::Null).send().await.status, 200);
    assert_eq!(rig.ask("GET", "sys/health", Value::Null).send().await.status, 429, "exempt no longer");
    let shown = rig.must("GET", "sys/quotas/config", Value::Null).await;
    assert_eq!(shown["data"]["rate_limit_exempt_paths"], json!(["secret/data/free", "sys/quotas/"]));
}

#[tokio::test]
async fn rules_are_refused_as_the_api_has_it() {
    let rig = Rig::new().await;
    rig.must("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    for (name, body, status, error) in [
        ("a", json!({}), 400, "'rate' is invalid"),
        ("a", json!({ "rate": -1 }), 400, "'rate' is invalid"),
        ("a", json!({ "rate": "NaN" }), 400, "'rate' is invalid"),
        ("a", json!({ "rate": 1, "path": "nope/" }), 400, "invalid mount path \"nope/\""),
        ("a", json!({ "rate": 1, "path": "*" }), 400, "invalid mount path \"*/\""),
        (
            "a",
            json!({ "rate": 1, "role": "x" }),
            400,
            "Mount path \"\" is not a valid auth method and therefore unsuitable for use with role-based quotas",
        ),
        (
            "a",
            json!({ "rate": 1, "path": "secret/", "role": "x" }),
            400,
            "Mount path \"secret/\" is not a valid auth method and therefore unsuitable for use with role-based quotas",
        ),
        (
            "a",
            json!({ "rate": 1, "path": "auth/token/", "role": "x" }),
            400,
            "Mount path \"auth/token/\" does not support use with role-based quotas",
        ),
        ("a-", json!({ "rate": 1 }), 404, "1 error occurred:\n\t* unsupported path\n\n"),
    ] {
        let got = rig.ask("POST", &format!("sys/quotas/rate-limit/{name}"), body.clone()).send().await;
        assert_eq!((got.status, got.error()), (status, error), "{body}");
    }
    for body in [json!({ "rate": "x" }), json!({ "rate": 1, "interval": "-5s" }), json!({ "rate": [] })] {
        let got = rig.ask("POST", "sys/quotas/rate-limit/a", body.clone()).send().await;
        assert!(got.status == 400 && got.error().starts_with("Field validation failed"), "{body}: {got:?}");
    }
    let got = rig
        .ask("POST", "sys/quotas/rate-limit/a", json!({ "rate": 1, "path": "auth/approle/login", "role": "r" }))
        .send()
        .await;
    assert!(got.error().starts_with("Quotas cannot contain both a path suffix and a role."), "{got:?}");
    rig.must("POST", "sys/namespaces/n1", json!({})).await;
    let got = rig.ask("LIST", "n1/sys/quotas/rate-limit", Value::Null).send().await;
    assert_eq!((got.status, got.error()), (400, "operation only available in root namespace"));
    assert_eq!(rig.ask("LIST", "sys/quotas/rate-limit", Value::Null).send().await.status, 404, "nothing was written");
}

#[tokio::test]
async fn a_rule_goes_with_its_mount_and_survives_a_restart() {
    let mut rig = Rig::new().await;
    rig.must("POST", "sys/mounts/kv", json!({ "type": "kv" })).await;
    rig.must("POST", "sys/quotas/rate-limit/a", json!({ "rate": 1000.5, "path": "kv" })).await;
    let same = rig.ask("POST", "sys/quotas/rate-limit/b", json!({ "rate": 1, "path": "kv/" })).send().await;
    assert_eq!((same.status, same.error()), (400, "quota rule with similar properties exists under the name \"a\""));
    rig.restart().await;
    let shown = rig.must("GET", "sys/quotas/rate-limit/a", Value::Null).await;
    let expected = json!({
        "type": "rate-limit", "name": "a", "path": "kv/", "role": "", "inheritable": false,
        "rate": 1000.5, "interval": 1, "block_interval": 0,
    });
    assert_eq!(shown["data"], expected);
    rig.must("DELETE", "sys/mounts/kv", Value::Null).await;
    assert_eq!(rig.ask("GET", "sys/quotas/rate-limit/a", Value::Null).send().await.status, 404);
    rig.must("POST", "sys/mounts/kv", json!({ "type": "kv" })).await;
    rig.must("POST", "sys/quotas/rate-limit/b", json!({ "rate": 1, "path": "kv/" })).await;
    assert_eq!(rig.must("LIST", "sys/quotas/rate-limit", Value::Null).await["data"]["keys"], json!(["b"]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_at_the_same_time_exactly_the_limit_gets_in() {
    let rig = std::sync::Arc::new(Rig::new().await);
    rig.must("POST", "sys/quotas/rate-limit/a", json!({ "rate": 50, "interval": 60, "path": "secret/" })).await;
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let rig = rig.clone();
        all.spawn(async move { rig.ask("GET", "secret/data/x", Value::Null).from("10.1.1.1").send().await.status });
    }
    let statuses = all.join_all().await;
    assert_eq!(statuses.iter().filter(|status| **status == 404).count(), 50);
    assert_eq!(statuses.iter().filter(|status| **status == 429).count(), 150);
}

#[tokio::test]
async fn a_stranger_who_hammers_is_refused_and_a_token_from_there_is_not() {
    let rig = Rig::new().await;
    let knock = |token: &'static str| rig.ask("GET", "secret/data/x", Value::Null).from("10.0.0.7").with(token);
    for _ in 0..crate::config::Access::default().failures {
        assert_eq!(knock("zork").send().await.status, 403);
    }
    let refused = knock("zork").send().await;
    assert_eq!((refused.status, refused.header("retry-after")), (429, "60"));
    assert_eq!(knock("").send().await.status, 429);
    assert_eq!(knock("root-of-the-test").send().await.status, 404);
    assert_eq!(rig.ask("GET", "sys/health", Value::Null).from("10.0.0.7").with("").send().await.status, 200);
    rig.advance(60);
    assert_eq!(knock("zork").send().await.status, 403);
}

async fn counter(rig: &Rig, name: &str) -> Value {
    rig.must("GET", &format!("sys/quotas/lease-count/{name}"), Value::Null).await["data"]["counter"].clone()
}

/// A user at `auth/userpass`, and what logs in.
async fn user(rig: &Rig) {
    rig.must("POST", "sys/auth/userpass", json!({ "type": "userpass" })).await;
    rig.must("POST", "auth/userpass/users/bob", json!({ "password": "p" })).await;
}

async fn login(rig: &Rig) -> (u16, String) {
    let got = rig.ask("POST", "auth/userpass/login/bob", json!({ "password": "p" })).with("").send().await;
    (got.status, got.json["auth"]["client_token"].as_str().unwrap_or(got.error()).to_owned())
}

#[tokio::test]
async fn a_lease_count_is_what_lives_and_no_more_are_made() {
    let mut rig = Rig::new().await;
    user(&rig).await;
    let (_, first) = login(&rig).await;
    rig.must("POST", "sys/quotas/lease-count/q", json!({ "max_leases": 2, "path": "auth/userpass" })).await;
    assert_eq!(counter(&rig, "q").await, 1, "made before the quota");
    assert_eq!(login(&rig).await.0, 200);
    let refused = login(&rig).await;
    assert_eq!(refused, (429, "request path \"auth/userpass/login/bob\": lease count quota exceeded".to_owned()));
    assert_eq!(counter(&rig, "q").await, 2);
    rig.must("POST", "auth/token/revoke", json!({ "token": first })).await;
    assert_eq!(counter(&rig, "q").await, 1);
    assert_eq!(login(&rig).await.0, 200);
    rig.restart().await;
    assert_eq!(login(&rig).await.0, 429, "counted anew from the store");
    let shown = rig.must("GET", "sys/quotas/lease-count/q", Value::Null).await;
    let expected = json!({
        "type": "lease-count", "name": "q", "path": "auth/userpass/", "role": "", "inheritable": false, "max_leases": 2, "counter": 2,
    });
    assert_eq!(shown["data"], expected);
    rig.must("DELETE", "sys/quotas/lease-count/q", Value::Null).await;
    assert_eq!(login(&rig).await.0, 200);
}

#[tokio::test]
async fn root_makes_tokens_beyond_the_quota_and_batch_tokens_are_refused_but_not_counted() {
    let rig = Rig::new().await;
    rig.must("POST", "sys/quotas/lease-count/g", json!({ "max_leases": 1 })).await;
    let batch = || rig.ask("POST", "auth/token/create", json!({ "policies": ["default"], "type": "batch" })).send();
    assert_eq!(batch().await.status, 200);
    assert_eq!(counter(&rig, "g").await, 0);
    let make = |policy: &'static str| rig.ask("POST", "auth/token/create", json!({ "policies": [policy] })).send();
    assert_eq!(make("default").await.status, 200);
    assert_eq!(make("default").await.status, 429);
    assert_eq!(batch().await.status, 429);
    assert_eq!(make("root").await.status, 200);
    assert_eq!(counter(&rig, "g").await, 1);
}

#[tokio::test]
async fn a_refused_duplicate_does_not_uncount_the_token_that_is_there() {
    let rig = Rig::new().await;
    rig.must("POST", "sys/quotas/lease-count/g", json!({ "max_leases": 1 })).await;
    let make = || rig.ask("POST", "auth/token/create", json!({ "policies": ["default"], "id": "chosen" })).send();
    assert_eq!(make().await.status, 200);
    assert_eq!(make().await.status, 400);
    assert_eq!(counter(&rig, "g").await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_leases_at_the_same_time_exactly_the_limit_is_made() {
    let rig = std::sync::Arc::new(Rig::new().await);
    user(&rig).await;
    rig.must("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    rig.must("POST", "auth/approle/role/r", json!({ "bind_secret_id": false, "token_bound_cidrs": "0.0.0.0/0" })).await;
    rig.must("POST", "auth/approle/role/r/role-id", json!({ "role_id": "rid" })).await;
    let mut all = tokio::task::JoinSet::new();
    for at in 0..60 {
        let rig = rig.clone();
        all.spawn(async move {
            if at == 20 {
                // In the middle of it, so that some are in flight while the leases are counted.
                rig.must("POST", "sys/quotas/lease-count/q", json!({ "max_leases": 30, "path": "auth/approle" })).await;
            }
            rig.ask("POST", "auth/approle/login", json!({ "role_id": "rid" }))
                .with("")
                .from("10.0.0.1")
                .send()
                .await
                .status
        });
    }
    let statuses = all.join_all().await;
    let made = statuses.iter().filter(|status| **status == 200).count();
    assert!(statuses.iter().all(|status| matches!(status, 200 | 429)), "{statuses:?}");
    let counted = rig.vault().leases.counts.count(&rig.vault(), "q").await.unwrap();
    assert_eq!(counted, made);
    // Anew from the store: the same.
    rig.must("POST", "sys/quotas/lease-count/q", json!({ "max_leases": 31, "path": "auth/approle" })).await;
    assert_eq!(counter(&rig, "q").await, made);
}
