//! Second factors: keys of authenticators and recovery codes, used rightly and wrongly.

use serde_json::{Value, json};

use crate::common::kept::Kept;
use crate::search::Search;

/// A person enrols, logs in with a recovery code, and gets it wrong in every way.
pub fn second_factors(server: &Kept, search: &mut Search) {
    let http = server.http();
    let method = server.call("POST", "identity/mfa/method/totp", &json!({ "issuer": "dewdrop" })).ok();
    let method = method.at("/data/method_id");
    server.call("POST", "sys/auth/people", &json!({ "type": "userpass" })).ok();
    let accessor = server.call("GET", "sys/auth", &Value::Null).ok().value()["data"]["people/"]["accessor"].clone();
    let policy = r#"path "identity/mfa/method/*" { capabilities = ["update"] }
        path "sys/mfa/step-up" { capabilities = ["update"] }"#;
    server.call("PUT", "sys/policies/acl/people", &json!({ "policy": policy })).ok();
    let password = search.canary("a password of somebody with a second factor");
    let user = json!({ "password": password, "token_policies": "people" });
    server.call("POST", "auth/people/users/ann", &user).ok();
    let login = || http.json("POST", "auth/people/login/ann", "", &json!({ "password": password })).ok();
    let token = login().at("/auth/client_token");
    search.add("a login's token", &token);
    let ask = json!({ "method_id": method });
    let enrolled = http.json("POST", "identity/mfa/method/totp/generate", &token, &ask).ok();
    let url = enrolled.at("/data/url");
    let (_, key) = url.split_once("secret=").unwrap();
    search.add("the key of an authenticator", key);
    search.add("a QR code of it", &enrolled.at("/data/barcode"));

    let rule = json!({ "mfa_method_ids": [method], "auth_method_accessors": [accessor] });
    server.call("POST", "identity/mfa/login-enforcement/people", &rule).ok();
    let waiting = login().at("/auth/mfa_requirement/mfa_request_id");
    let wrong = search.canary("a passcode that is none");
    let body = |payload: Value| json!({ "mfa_request_id": waiting, "mfa_payload": payload });
    let validate = |body: &Value| http.json("POST", "sys/mfa/validate", "", body);
    search.refused("a wrong passcode", &validate(&body(json!({ method.clone(): [wrong] }))));
    search.refused("a passcode for another method", &validate(&body(json!({ "other": [wrong] }))));
    search.refused("a payload of the wrong type", &validate(&body(json!(wrong))));
    search.refused("a passcode of the wrong type", &validate(&body(json!({ method.clone(): wrong }))));
    search.refused("a passcode for no request", &validate(&json!({ "mfa_request_id": wrong, "mfa_payload": {} })));
    let header = format!("{method}:{}", search.plain_canary("a passcode in a header"));
    let body = json!({ "password": password }).to_string();
    let answer = http.with("POST", "auth/people/login/ann", &[("X-Vault-MFA", &header)], body.as_bytes());
    search.refused("a wrong header", &answer);
    let step = http.json("POST", "sys/mfa/step-up", &token, &json!({})).ok().at("/data/mfa_request_id");
    let body = json!({ "mfa_request_id": step, "mfa_payload": { method: [wrong] } });
    search.refused("a wrong step-up", &http.json("POST", "sys/mfa/step-up", &token, &body));
}
