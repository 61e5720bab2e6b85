//! The walk as a whole: lists that a policy cuts or filters, `X-Vault-Index`, tokens of logins.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::audit::verify::files;
use crate::vault::rig::Rig;

async fn secrets(rig: &Rig, paths: &[&str]) {
    for path in paths {
        rig.must("POST", &format!("secret/data/{path}"), json!({ "data": { "a": 1 } })).await;
    }
}

#[tokio::test]
async fn a_policy_limits_a_list() {
    let rig = Rig::new().await;
    secrets(&rig, &["f/a", "f/b", "f/c"]).await;
    let token = rig.token("path \"secret/metadata/*\" { capabilities = [\"list\"]\n pagination_limit = 2 }").await;
    let list = |path: &'static str| rig.ask("LIST", path, Value::Null).with(&token).send();
    assert_eq!(list("secret/metadata/f").await.json["data"]["keys"], json!(["a", "b"]));
    assert_eq!(list("secret/metadata/f?limit=1").await.json["data"]["keys"], json!(["a"]));
    assert_eq!(list("secret/metadata/f?limit=3").await.status, 403);
    let all = rig.must("LIST", "secret/metadata/f", Value::Null).await;
    assert_eq!(all["data"]["keys"], json!(["a", "b", "c"]));
}

#[tokio::test]
async fn a_policy_hides_keys_of_a_list() {
    let rig = Rig::new().await;
    secrets(&rig, &["t/f/yes", "t/f/no", "t/g/no"]).await;
    let policy = r#"
        path "secret/metadata/*" { capabilities = ["list"]
          list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}" }
        path "secret/detailed-metadata/*" { capabilities = ["list"]
          list_scan_response_keys_filter_path = "secret/metadata/t/f/{{ .key }}" }
        path "secret/metadata/t/f/yes" { capabilities = ["read"] }
    "#;
    let token = rig.token(policy).await;
    let list = |path: &'static str| rig.ask("LIST", path, Value::Null).with(&token).send();
    assert_eq!(list("secret/metadata/t/f").await.json["data"]["keys"], json!(["yes"]));
    assert_eq!(list("secret/metadata/t/g").await.status, 404, "nothing is left");
    let top = list("secret/metadata/t").await;
    assert_eq!(top.json["data"]["keys"], json!(["f/", "g/"]), "{top:?}");
    let detailed = list("secret/detailed-metadata/t/f").await.json;
    assert_eq!(detailed["data"]["keys"], json!(["yes"]));
    let shown: Vec<&String> = detailed["data"]["key_info"].as_object().unwrap().keys().collect();
    assert_eq!(shown, ["yes"]);
}

#[tokio::test]
async fn a_write_says_how_far_the_store_is_and_a_read_may_demand_it() {
    let rig = Rig::new().await;
    let written = rig.ask("POST", "secret/data/x", json!({ "data": {} })).send().await;
    let index = written.header("x-vault-index").to_owned();
    assert!(!index.is_empty());
    let read = rig.ask("GET", "secret/data/x", Value::Null).header("x-vault-index", &index).send().await;
    assert_eq!((read.status, read.header("x-vault-index")), (200, ""));
    let got = rig.ask("GET", "secret/data/x", Value::Null).header("x-vault-index", "zork").send().await;
    assert_eq!((got.status, got.error()), (400, "failed to decode \"X-Vault-Index\""));
}

#[tokio::test]
async fn a_state_that_does_not_come_is_412_and_one_that_comes_is_waited_for() {
    let rig = Rig::new().await;
    let ahead = |more: u64| {
        let vault = rig.vault();
        async move {
            let revision = vault.store.revision().await.unwrap() + more;
            BASE64_STANDARD.encode(json!({ "revision": revision }).to_string())
        }
    };
    let index = ahead(1).await;
    let read = rig.ask("GET", "secret/data/x", Value::Null).header("x-vault-index", &index).send();
    let write = secrets(&rig, &["x"]);
    assert_eq!(tokio::join!(read, write).0.status, 200);
    let index = ahead(1000).await;
    let read = rig.ask("GET", "secret/data/x", Value::Null).header("x-vault-index", &index).send();
    let time = async {
        loop {
            rig.advance(1);
            tokio::task::yield_now().await;
        }
    };
    let got = tokio::select! { got = read => got, () = time => unreachable!("time does not end") };
    assert_eq!(got.status, 412);
}

#[tokio::test]
async fn a_login_may_bind_its_token_to_the_address() {
    let rig = Rig::new().await;
    rig.must("POST", "sys/auth/userpass", json!({ "type": "userpass" })).await;
    rig.must("POST", "auth/userpass/users/bob", json!({ "password": "p", "token_strictly_bind_ip": true })).await;
    let login = || rig.ask("POST", "auth/userpass/login/bob", json!({ "password": "p" })).with("");
    let made = login().from("10.0.0.5").send().await;
    let token = made.json["auth"]["client_token"].as_str().unwrap();
    let look =
        |address: &'static str| rig.ask("GET", "auth/token/lookup-self", Value::Null).with(token).from(address).send();
    let own = look("10.0.0.5").await;
    assert_eq!((own.status, &own.json["data"]["bound_cidrs"]), (200, &json!(["10.0.0.5"])));
    assert_eq!(look("10.0.0.6").await.status, 403);
    assert_eq!(login().send().await.status, 400, "no address to bind to");
}

#[tokio::test]
async fn a_login_never_gives_root() {
    let rig = Rig::new().await;
    rig.must("POST", "sys/auth/userpass", json!({ "type": "userpass" })).await;
    let written =
        rig.ask("POST", "auth/userpass/users/bob", json!({ "password": "p", "token_policies": ["root"] })).send().await;
    assert!(matches!(written.status, 204 | 400), "{written:?}");
    let login = rig.ask("POST", "auth/userpass/login/bob", json!({ "password": "p" })).with("").send().await;
    assert_eq!(login.status, 400);
    assert!(login.json.get("auth").is_none());
}

#[tokio::test]
async fn work_that_goes_on_answers_202_with_an_envelope() {
    let rig = Rig::new().await;
    rig.must("POST", "sys/auth/approle", json!({ "type": "approle" })).await;
    for path in ["auth/token/tidy", "auth/approle/tidy/secret-id", "sys/leases/tidy"] {
        let got = rig.ask("POST", path, Value::Null).send().await;
        assert_eq!(got.status, 202, "{path}: {got:?}");
        assert!(got.json["request_id"].is_string() && got.json["warnings"].is_array(), "{path}: {got:?}");
    }
}

/// The lines of reads on the audit log in a folder: their paths and kinds.
fn read_lines(folder: &std::path::Path) -> Vec<(String, String)> {
    let text: String = files(folder).unwrap().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let word = |value: &Value| value.as_str().unwrap().to_owned();
    lines
        .filter(|line| line["request"]["operation"] == "read")
        .map(|line| (word(&line["request"]["path"]), word(&line["type"])))
        .collect()
}

/// `GET` makes something, too: a wrapping token here, a credential or a login's token elsewhere.
#[tokio::test]
async fn what_a_get_makes_is_on_the_audit_log_before_it_is_made() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::audited(folder.path()).await;
    secrets(&rig, &["x"]).await;
    let kinds = || read_lines(folder.path()).into_iter().map(|(_, kind)| kind).collect::<Vec<_>>();
    let read = || rig.ask("GET", "secret/data/x", Value::Null);
    assert_eq!(read().send().await.status, 200);
    assert_eq!(kinds(), ["response"]);
    assert_eq!(read().header("x-vault-wrap-ttl", "60").send().await.status, 200);
    assert_eq!(kinds(), ["response", "request", "response"]);

    let (vault, log) = (rig.vault(), rig.vault().audit.standing().unwrap().file);
    std::fs::remove_file(log).unwrap();
    rig.advance(1);
    let before = vault.store.revision().await.unwrap();
    assert_eq!(read().header("x-vault-wrap-ttl", "60").send().await.status, 503);
    assert_eq!(vault.store.revision().await.unwrap(), before, "nothing is made that cannot be written down");
}

/// The engine itself would ask the provider: the line comes before the engine.
#[tokio::test]
async fn a_sign_in_that_comes_back_is_on_the_audit_log_before_the_provider_is_asked() {
    let folder = tempfile::tempdir().unwrap();
    let rig = Rig::audited(folder.path()).await;
    rig.must("POST", "sys/auth/oidc", json!({ "type": "oidc" })).await;
    let back = || rig.ask("GET", "auth/oidc/oidc/callback?state=s&code=c", Value::Null).with("").send();
    assert_eq!(back().await.status, 400, "no such sign-in was begun");
    let path = || "auth/oidc/oidc/callback".to_owned();
    let both = [(path(), "request".to_owned()), (path(), "response".to_owned())];
    assert_eq!(read_lines(folder.path()), both);
    std::fs::remove_file(rig.vault().audit.standing().unwrap().file).unwrap();
    rig.advance(1);
    assert_eq!(back().await.status, 503, "the engine is not asked");
}
