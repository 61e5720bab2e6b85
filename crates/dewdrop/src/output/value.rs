//! One JSON value as people read it: `map[a:1 b:[x y]]`, `<nil>`, `1h30m`.

use serde_json::Value;

use crate::duration::human;

/// A value in a table. Empty text is `n/a`, and whole seconds read as a duration where the name says that they are one.
#[must_use]
pub fn cell(key: &str, value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "n/a".to_owned(),
        Value::Number(number) if is_duration(key) => number.as_i64().map_or_else(|| number.to_string(), human),
        other => plain(other),
    }
}

/// A value by itself.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::Bool(yes) => yes.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(fields) => {
            let mut parts: Vec<String> = fields.iter().map(|(k, v)| format!("{k}:{}", plain(v))).collect();
            parts.sort();
            format!("map[{}]", parts.join(" "))
        }
    }
}

/// Names whose numbers are seconds (observed: `ttl`, `duration`, `period`, alone or as the last word).
fn is_duration(key: &str) -> bool {
    let last = key.rsplit('_').next().unwrap_or(key);
    matches!(last, "ttl" | "duration" | "period")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_read_as_in_bao() {
        assert_eq!(plain(&json!({"b": [1, 2.5, null, true], "a": {"e": ""}})), "map[a:map[e:] b:[1 2.5 <nil> true]]");
        assert_eq!(cell("x", &json!("")), "n/a");
        assert_eq!(cell("token_ttl", &json!(3600)), "1h");
        assert_eq!(cell("ttl", &json!(90061)), "25h1m1s");
        assert_eq!(cell("token_period", &json!(10)), "10s");
        assert_eq!(cell("ttl_x", &json!(6)), "6");
        assert_eq!(cell("zttl", &json!(6)), "6");
        assert_eq!(cell("ttl", &json!(1.5)), "1.5");
    }
}
