use std::sync::Arc;

use super::{NOW, ask, policy, set};
use crate::op::Operation;
use crate::policy::{Policy, PolicySet};

const GOOD: &str = r#"
path "a" { policy = "read" }
"path" "b" { "capabilities" = ["read"] }
path c { capabilities = ["read",] }
path "d" { capabilities = ["read"] min_wrapping_ttl = 10, comment = "x" },
path "e" { capabilities = ["read"] allowed_parameters { "x" = [] } denied_parameters = { y = [1, "a", true, [1], {k = "v"}] } }
path "f" { capabilities = ["list"] pagination_limit = "5" list_scan_response_keys_filter_path = "{{ .path }}{{ .key }}" }
path "g" { capabilities = [] }
path "h" {}
name = "not used"
"#;

#[test]
fn what_the_oracle_takes_is_taken() {
    let set = set(&[GOOD]);
    for (path, expected) in [("a", vec!["list", "read"]), ("b", vec!["read"]), ("c", vec!["read"]), ("g", vec!["deny"])]
    {
        assert_eq!(set.capabilities(path, NOW), expected, "{path}");
    }
    for (short, expected) in [
        ("write", vec!["create", "delete", "list", "read", "update"]),
        ("sudo", vec!["create", "delete", "list", "read", "sudo", "update"]),
        ("deny", vec!["deny"]),
    ] {
        let text = format!("path \"a\" {{ policy = {short:?} }}");
        assert_eq!(super::set(&[&text]).capabilities("a", NOW), expected);
    }
    for empty in ["", "   ", "# only", "{}"] {
        assert_eq!(super::set(&[empty]).capabilities("a", NOW), ["deny"]);
    }
}

#[test]
fn json_too() {
    for text in [
        r#"{"path":{"a":{"capabilities":["read"]},"b":{"policy":"write"}}}"#,
        r#"{"path":[{"a":{"capabilities":["read"]}},{"b":{"policy":"write"}}]}"#,
        r#" {"name":"x","path":{"a":{"capabilities":["read"],"max_wrapping_ttl":null},"b":{"policy":"write"}}}"#,
    ] {
        assert_eq!(set(&[text]).capabilities("a", NOW), ["read"], "{text}");
    }
    let twice = r#"{"path":{"a":{"capabilities":["read"]},"a":{"capabilities":["deny"]}}}"#;
    assert_eq!(set(&[twice]).capabilities("a", NOW), ["deny"], "no duplicate is lost");
}

#[test]
fn errors_say_where_and_what() {
    for (text, line, part) in [
        ("path \"a\" { policy = \"bogus\" }", 1, "invalid policy: use deny"),
        ("\npath \"a\" {\n capabilities = [\"root\"] }", 3, "invalid capability: use create, delete, deny"),
        ("path \"a\" { capabilities = [\"Read\"] }", 1, "invalid capability"),
        ("path \"a\" { capabilities = \"read\" }", 1, "must be a list"),
        ("path \"a/+*\" { capabilities = [\"read\"] }", 1, "'+*' is forbidden"),
        ("path \"a+*\" { capabilities = [\"read\"] }", 1, "'+*' is forbidden"),
        ("path \"a\" = { }", 1, "no `=`"),
        ("path = { \"a\" = { capabilities = [\"read\"] } }", 1, "write one path in quotes"),
        ("path { capabilities = [\"read\"] }", 1, "write one path in quotes"),
        ("path \"a\" \"b\" { }", 1, "write one path in quotes"),
        ("names = \"x\"", 1, "invalid key: a policy holds"),
        ("path \"a\" {\n foo = 1 }", 2, "invalid key: known are capabilities"),
        ("PATH \"a\" { }", 1, "invalid key: a policy holds"),
        ("path \"a\" { allowed_parameters = { x = \"y\" } }", 1, "must be a list ([] means all values)"),
        ("path \"a\" { allowed_parameters = [] }", 1, "must be an object"),
        ("path \"a\" { required_parameters = \"x\" }", 1, "must be a list"),
        ("path \"a\" { min_wrapping_ttl = \"10s\" max_wrapping_ttl = \"5s\" }", 1, "cannot be less than"),
        ("path \"a\" { min_wrapping_ttl = \"x\" }", 1, "error parsing min_wrapping_ttl"),
        ("path \"a\" { min_wrapping_ttl = -1 }", 1, "negative"),
        ("path \"a\" { pagination_limit = \"x\" }", 1, "must be a whole number"),
        ("path \"a\" { pagination_limit = -1 }", 1, "must not be negative"),
        ("path \"a\" { expiration = \"tomorrow\" }", 1, "invalid expiration time"),
        ("path \"a\" { expiration = true }", 1, "expiration must be"),
        ("path \"a\" { list_scan_response_keys_filter_path = \"x\" }", 1, "same path for different keys"),
        ("path \"a\" { list_scan_response_keys_filter_path = \"{{.key\" }", 1, "not closed"),
        ("path \"a\" { list_scan_response_keys_filter_path = \"{{.key | sha256}}\" }", 1, "in the braces may stand"),
        ("path \"a\" { control_group = { ttl = \"1h\" } }", 1, "not built"),
        ("path \"a\" { mfa_methods = [\"x\"] }", 1, "not built"),
        ("path \"a\" { policy = \"read\" policy = \"write\" }", 1, "given twice"),
        ("path \"a{{x\" { }", 1, "not in pairs"),
        ("path \"a}}\" { }", 1, "not in pairs"),
        ("path \"{{{{x}}}}\" { }", 1, "not in pairs"),
        ("[]", 1, "expected a key"),
        ("{\"paths\":{}}", 1, "invalid key: a policy holds"),
        ("{\"path\":\n{\"a\":[{}]}}", 2, "needs a block"),
        ("{\"path\":{\"a\":{\"x\":1}}}", 1, "invalid key: known are"),
        ("{\"path\":{}} x", 1, "not JSON"),
        ("\u{feff}path \"a\" { }", 1, "unexpected character"),
    ] {
        let error = Policy::parse("p", "", text).expect_err(text);
        assert_eq!(error.line(), line, "{text:?}: {error}");
        assert!(error.to_string().contains(part), "{text:?}: {error}");
    }
    let long = format!("path {:?} {{ }}", "a/".repeat(3000));
    assert!(Policy::parse("p", "", &long).unwrap_err().to_string().contains("too long"));
    let deep = format!("path {:?} {{ }}", "+/".repeat(300));
    assert!(Policy::parse("p", "", &deep).unwrap_err().to_string().contains("too long"));
    assert!(Policy::parse("p", "", &" ".repeat(2 << 20)).is_err());
}

#[test]
fn lines_namespaces_and_names_are_kept() {
    let read = Policy::parse("ops", "/team-a", "\n\npath \"{{identity.entity.id}}\" { }").unwrap();
    assert_eq!((read.name(), read.namespace(), read.is_templated()), ("ops", "team-a/", true));
    assert!(read.text().starts_with("\n\npath"));
    assert!(!policy("path \"a\" { }").is_templated());
    let found = Policy::parse("ops", "team-a/", "\n\npath \"/x\" { capabilities = [\"deny\"] }").unwrap();
    let set = PolicySet::compile(&[Arc::new(found)], None);
    let denied = set.permit(&ask(Operation::Read, "team-a/x")).unwrap_err();
    assert_eq!(denied.to_string(), "permission denied");
    assert_eq!(denied.why(), "the rule says deny: path \"/x\" (policy \"ops\", line 3, namespace \"team-a/\")");
    assert!(set.permit(&ask(Operation::Read, "x")).unwrap_err().rules().is_empty(), "another namespace");
}
