//! What a grant left behind, as people read it.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use super::told::text;

/// A line for each thing; nothing when there is none.
pub fn words(case: &Map<String, Value>) -> String {
    let Some(left) = case.get("left_behind").and_then(Value::as_object) else { return String::new() };
    let items = left.get("items").and_then(Value::as_array);
    let title = if text(case, "state") == "active" { "Made, and may outlive it" } else { "Left behind" };
    let mut said = format!("{title}:\n");
    for item in items.into_iter().flatten().filter_map(Value::as_object) {
        let _ = writeln!(said, "  {}: {}", object(&text(item, "path")), fate(item));
    }
    match left.get("more").and_then(Value::as_u64) {
        Some(more) if more > 0 => drop(writeln!(said, "  and {more} more, which the audit log names")),
        _ => {}
    }
    said
}

/// `rolebindings shop/x` of its path.
fn object(path: &str) -> String {
    let mut parts: Vec<&str> = path.split('/').skip(1).collect();
    parts.drain(..parts.len().min(if parts.first() == Some(&"apis") { 3 } else { 2 }));
    match parts.as_slice() {
        ["namespaces", namespace, resource, name] => format!("{resource} {namespace}/{name}"),
        ["namespaces", namespace, resource, name, part] => format!("{resource}/{part} {namespace}/{name}"),
        [resource, name] => format!("{resource} {name}"),
        _ => path.to_owned(),
    }
}

fn fate(item: &Map<String, Value>) -> String {
    let why = text(item, "why");
    match (text(item, "act").as_str(), text(item, "end").as_str()) {
        (_, "swept") => "deleted".into(),
        (_, "gone") => "gone already".into(),
        ("token", _) => format!("a token, good until {}", text(item, "expires_at")),
        ("changed", _) => format!("changed at {}; look at it", text(item, "at")),
        _ if !why.is_empty() => format!("made at {}; {why}", text(item, "at")),
        _ => format!("made at {}", text(item, "at")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_thing_has_its_line() {
        let item = |act: &str, path: &str, end: &str| json!({ "act": act, "path": path, "end": end, "at": "T", "expires_at": "E", "why": "" });
        let case = json!({ "state": "revoked", "left_behind": { "more": 2, "items": [
            item("made", "/apis/rbac.authorization.k8s.io/v1/namespaces/shop/rolebindings/x", "swept"),
            item("token", "/api/v1/namespaces/shop/serviceaccounts/a/token", ""),
            item("changed", "/apis/rbac.authorization.k8s.io/v1/clusterroles/c", ""),
        ] } });
        assert_eq!(
            words(case.as_object().unwrap()),
            "Left behind:\n  rolebindings shop/x: deleted\n  serviceaccounts/token shop/a: a token, good until E\n  \
             clusterroles c: changed at T; look at it\n  and 2 more, which the audit log names\n"
        );
        assert_eq!(words(&Map::new()), "");
    }
}
