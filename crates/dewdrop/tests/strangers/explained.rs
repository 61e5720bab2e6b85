//! Every refusal can be explained to an operator, and the rule that the explanation names is the one that helps.

use serde_json::json;

use crate::common::http::Http;
use crate::{new_token, path_of, public, routes, server};

/// Routes that want more than a rule: the token of a node agent, which only a login as one gives. An operator who has the
/// rule is refused all the same.
fn wants_an_agent(route: &str) -> bool {
    matches!(route, "auth/kubernetes/agent/start" | "auth/kubernetes/agent/end" | "auth/kubernetes/agent/beat")
}

/// Routes that end the server or the test itself come last or not at all.
fn is_dangerous(route: &str) -> bool {
    matches!(route, "sys/seal" | "sys/step-down")
}

#[test]
fn every_refusal_is_explained_and_the_smallest_rule_helps() {
    let server = server();
    let http = server.http();
    let mut routes = routes(http);
    routes.retain(|route| public(route).is_none());
    // The end of the server comes last.
    routes.sort_by_key(|route| (is_dangerous(route), route == "sys/seal"));
    let mut wrong = Vec::new();
    for route in &routes {
        let path = path_of(route);
        for verb in ["GET", "LIST", "POST", "DELETE", "PATCH"] {
            if is_dangerous(route) && verb != "POST" {
                continue;
            }
            if let Err(why) = explained(http, verb, &path)
                && !(wants_an_agent(route) && verb == "POST")
            {
                wrong.push(format!("{verb} {route}: {why}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Asks for the reason of a refusal, follows its advice, and tries again.
fn explained(http: Http, verb: &str, path: &str) -> Result<(), String> {
    let made = new_token(http, &json!({ "policies": ["probe"], "no_default_policy": true, "no_parent": true }));
    let (token, accessor) = (made.at("/auth/client_token"), made.at("/auth/accessor"));
    http.json(
        "POST",
        "sys/policies/acl/probe",
        "root",
        &json!({ "policy": "path \"nowhere\" { capabilities = [\"read\"] }" }),
    )
    .ok();
    let refused = http.send(verb, path, &token, b"");
    if refused.status != 403 {
        return Err(format!("not refused: {} {}", refused.status, refused.text()));
    }
    // Whether a write is a `create` or an `update` depends on what is there.
    let operations: &[&str] = match verb {
        "GET" => &["read"],
        "LIST" => &["list"],
        "DELETE" => &["delete"],
        "PATCH" => &["patch"],
        _ => &["update", "create"],
    };
    let mut last = String::new();
    for operation in operations {
        let ask = json!({ "path": path, "operation": operation, "accessor": accessor });
        let explained = http.json("POST", "sys/policies/explain", "root", &ask);
        if explained.status != 200 {
            return Err(format!("no explanation: {} {}", explained.status, explained.text()));
        }
        let data = explained.value()["data"].clone();
        let told = &data["explanation"];
        if data["principal"]["accessor"] != json!(accessor) || told["needs"].as_array().is_none_or(Vec::is_empty) {
            return Err(format!("the explanation lacks the principal or the right: {data}"));
        }
        let reason = told["reason"].as_str().unwrap_or_default();
        let Some(rule) = told["smallest_rule"].as_str() else { return Err(format!("no smallest rule: {data}")) };
        if told["allowed"] != json!(false) || reason.len() < 5 || told["path"].as_str().is_none_or(str::is_empty) {
            return Err(format!("the explanation is not whole: {data}"));
        }
        http.json("POST", "sys/policies/acl/probe", "root", &json!({ "policy": rule })).ok();
        let again = http.send(verb, path, &token, b"");
        if again.status != 403 {
            // 501: whoever may ask is told that it is not built.
            return if again.status < 500 || again.status == 501 {
                Ok(())
            } else {
                Err(format!("{} {}", again.status, again.text()))
            };
        }
        last = format!("still refused with {rule}: {}", again.text());
    }
    Err(last)
}
