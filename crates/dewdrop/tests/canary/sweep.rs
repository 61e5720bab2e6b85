//! Every field of every route gets a secret, in every shape that JSON has. What is refused must not hold it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use crate::access;
use crate::common::http::Answer;
use crate::common::kept::Kept;
use crate::search::Search;

/// Fields that hold names of people, policies and places: audit log, lists and storage keys show those. Only an error
/// must not repeat them, unless they are paths.
const NAMES: [&str; 24] = [
    "accessor",
    "secret_id_accessor",
    "name",
    "meta",
    "metadata",
    "display_name",
    "policies",
    "token_policies",
    "custom_metadata",
    "lease_id",
    "prefix",
    "alias_name",
    "entity_alias",
    "allowed_policies",
    "disallowed_policies",
    "path_suffix",
    "role",
    "role_name",
    "db_name",
    "username",
    "mount_accessor",
    "allowed_entity_aliases",
    "member_entity_ids",
    "member_group_ids",
];
/// Fields that are paths: an error may repeat them.
const PATHS: [&str; 4] = ["path", "paths", "from", "to"];
/// Routes that end the server, its token, or its answers.
const ENDS: [&str; 4] = ["/sys/seal", "/sys/step-down", "/auth/token/revoke-self", "/sys/namespaces/api-lock/lock"];

/// What is sent in the wrong place, and where it must not be found again.
struct Words {
    /// In no log, no file and no error.
    secret: [String; 2],
    /// A name: in no error.
    name: [String; 2],
    names: Search,
}

/// Sends them. Returns how many were refused.
pub fn sweep(server: &Kept, search: &mut Search) -> usize {
    let mut names = Search::new();
    let name = [names.canary("a name"), names.plain_canary("a plain name")];
    let secret = [search.canary("a value in the wrong field"), search.plain_canary("a word in the wrong field")];
    let mut words = Words { secret, name, names };
    let document = server.call("GET", "sys/internal/specs/openapi", &Value::Null).ok().value();
    let mut refused = 0;
    for (path, item) in document["paths"].as_object().unwrap().iter().filter(|(path, _)| !ENDS.contains(&path.as_str()))
    {
        for (method, verb) in [("post", "POST"), ("patch", "PATCH"), ("get", "GET"), ("delete", "DELETE")] {
            let fields = fields_of(&document, &item[method]);
            for field in &fields {
                for request in words.requests(path, field, &fields) {
                    let answer = send(server, verb, &path_of(path), &request);
                    assert_ne!(answer.status, 0, "{verb} {path} with {field}: no answer");
                    if answer.status < 400 {
                        // What was accepted may be shown to its owner.
                        continue;
                    }
                    refused += 1;
                    let what = format!("{verb} {path} with a secret as {field}");
                    if !PATHS.contains(&field.as_str()) {
                        words.names.keep(&what, &answer);
                    }
                    search.keep(&what, &answer);
                }
            }
        }
    }
    for (place, bytes) in words.names.refusals() {
        words.names.assert_clean(&place, &bytes);
    }
    server.call("GET", "auth/token/lookup-self", &Value::Null).ok();
    refused
}

impl Words {
    /// One field with each shape: alone, and beside others that are as they should be.
    fn requests(&self, path: &str, field: &str, fields: &BTreeSet<String>) -> Vec<Map<String, Value>> {
        let is_name = if path.starts_with("/access/") {
            access::may_say(path, field)
        } else {
            NAMES.contains(&field) || PATHS.contains(&field)
        };
        let [odd, plain] = if is_name { &self.name } else { &self.secret };
        let shapes = [
            json!(odd),
            json!(plain),
            json!([odd]),
            json!([plain]),
            json!({ "a": odd }),
            json!({ "a": [{ "b": plain }] }),
            json!([{ "a": plain }]),
            json!(format!("a={plain}")),
            json!(format!("{{\"a\": {plain}")),
            json!(format!("-{plain}h")),
        ];
        let good: Map<String, Value> =
            fields.iter().filter_map(|name| Some((name.clone(), good(path, name)?))).collect();
        let with = |others: &Map<String, Value>, shape: &Value| {
            let mut all = others.clone();
            all.insert(field.to_owned(), shape.clone());
            all
        };
        let alone = shapes.iter().map(|shape| with(&Map::new(), shape));
        let beside = shapes.iter().filter(|_| !good.is_empty()).map(|shape| with(&good, shape));
        alone.chain(beside).collect()
    }
}

/// A value with which a request comes further.
fn good(path: &str, field: &str) -> Option<Value> {
    Some(match field {
        "type" if path.starts_with("/sys/mounts") => json!("kv"),
        "type" if path.starts_with("/sys/auth") => json!("approle"),
        "type" if path.starts_with("/sys/audit") => json!("socket"),
        "type" if path.starts_with("/identity/group") => json!("internal"),
        "type" if path.starts_with("/access/notices") => json!("webhook"),
        "url" if path.starts_with("/access/notices") => json!("https://127.0.0.1:1/x"),
        "secret" if path.starts_with("/access/notices") => json!("0123456789abcdef"),
        "plugin_name" if path.starts_with("/database") => json!("postgresql-database-plugin"),
        "connection_url" => json!("postgresql://{{username}}:{{password}}@127.0.0.1:1/postgres"),
        "verify_connection" | "preflight" => json!(false),
        "db_name" => json!("pg"),
        "policy" if path.contains("policies/password") => json!("length=20\nrule \"charset\" { charset = \"abcdef\" }"),
        "policy" => json!("path \"x\" { capabilities = [\"read\"] }"),
        "rate" => json!(1_000_000),
        "username" if path.contains("static-roles") => json!("static"),
        "rotation_period" => json!("24h"),
        "operation" => json!("read"),
        _ => return None,
    })
}

fn path_of(path: &str) -> String {
    let segments = path.trim_start_matches('/').split('/');
    segments.map(|segment| if segment.starts_with('{') { "probe" } else { segment }).collect::<Vec<_>>().join("/")
}

fn send(server: &Kept, verb: &str, path: &str, fields: &Map<String, Value>) -> Answer {
    if verb == "POST" || verb == "PATCH" {
        return server.call(verb, path, &Value::Object(fields.clone()));
    }
    let pairs = fields.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        format!("{name}={}", text.bytes().map(|b| format!("%{b:02X}")).collect::<String>())
    });
    server.call(verb, &format!("{path}?{}", pairs.collect::<Vec<_>>().join("&")), &Value::Null)
}

/// The names of the fields of a verb.
fn fields_of(document: &Value, act: &Value) -> BTreeSet<String> {
    let mut schema = &act["requestBody"]["content"]["application/json"]["schema"];
    if let Some(named) = schema["$ref"].as_str() {
        schema = document.pointer(named.trim_start_matches('#')).unwrap();
    }
    let body = schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone());
    let query = act["parameters"].as_array().into_iter().flatten().filter(|p| p["in"] == "query");
    body.chain(query.map(|p| p["name"].as_str().unwrap().to_owned())).collect()
}
