//! Bodies that are JSON, and are not what their path takes.

use serde_json::{Value, json};

use crate::common::state::state;
use crate::{Refusals, assert_unharmed, server};

const TABLE: &str = include_str!("fields.txt");

#[test]
fn fields() {
    let mut server = server("");
    let before = state(server.http(), &server.root);
    let mut refusals = Refusals::default();
    for (path, body) in table() {
        let what = format!("{path} {}", body.to_string().chars().take(90).collect::<String>());
        refusals.check(&what, &server.call("POST", path, &body));
    }
    refusals.check("GET database/creds/none", &server.call("GET", "database/creds/none", &Value::Null));
    refusals.check("100,000 strings", &server.call("POST", "kv/many", &json!({ "a": long("MANY") })));
    refusals
        .check("2,000,000 empty lists", &server.call("POST", "kv/many", &json!({ "a": vec![json!([]); 2_000_000] })));
    refusals.assert_all();
    assert_unharmed(&mut server, &before);
}

fn table() -> impl Iterator<Item = (&'static str, Value)> {
    let lines = TABLE.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| {
        let (path, body) = line.split_once(' ').unwrap();
        let mut body: Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{line}: {e}"));
        for value in body.as_object_mut().unwrap().values_mut() {
            if let Some(long) = value.as_str().map(long).filter(|long| !long.is_null()) {
                *value = long;
            }
        }
        (path, body)
    })
}

/// What a word of the table stands for; else `null`.
fn long(word: &str) -> Value {
    let head = "-----BEGIN CERTIFICATE-----\n";
    match word {
        "MANY" => vec!["x"; 100_000].into(),
        "PEM" => format!("{head}AAAA\n-----END CERTIFICATE-----\n").into(),
        "HEADS" => head.repeat(1000).into(),
        "DEEP" => format!("path \"x\" {}", "{".repeat(50_000)).into(),
        "ADDRESS" => format!("https://a.test/{}", "a".repeat(100_000)).into(),
        "RULES" => "- ".repeat(100_000).into(),
        _ => Value::Null,
    }
}
