use std::time::Duration;

use serde_json::{Value, json};

use super::{Reason, ask, permit, set};
use crate::op::Operation;
use crate::policy::Ask;

const ALL: &str = r#"capabilities = ["create", "read", "update", "delete", "list", "patch", "scan"]"#;

fn may(rules: &[&str], operation: Operation, sent: &Value) -> bool {
    let texts: Vec<String> = rules.iter().map(|rule| format!("path \"p\" {{ {ALL} {rule} }}")).collect();
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    set(&texts).permit(&Ask { parameters: sent.as_object(), ..ask(operation, "p") }).is_ok()
}

/// Rules, what is sent, whether it is allowed.
fn check(cases: &[(&[&str], Value, bool)]) {
    for (rules, sent, expected) in cases {
        assert_eq!(may(rules, Operation::Update, sent), *expected, "{rules:?} with {sent}");
    }
}

#[test]
fn allowed() {
    let rule: &[&str] = &[r#"allowed_parameters = { "a" = ["x", "y*", "*z", 1, true] "b" = [] }"#];
    let star: &[&str] = &[r#"allowed_parameters = { "a" = ["x"] "*" = [] }"#];
    check(&[
        (rule, json!({}), true),
        (rule, json!({"a": "x"}), true),
        (rule, json!({"a": "q"}), false),
        (rule, json!({"a": "yes"}), true),
        (rule, json!({"a": "zz"}), true),
        (rule, json!({"a": true}), true),
        (rule, json!({"a": 1}), true),
        (rule, json!({"a": 1.0}), true),
        (rule, json!({"a": "1"}), false),
        (rule, json!({"a": "true"}), false),
        (rule, json!({"a": null}), false),
        (rule, json!({"a": {}}), false),
        (rule, json!({"b": [1, 2]}), true),
        (rule, json!({"B": 1}), true),
        (rule, json!({"A": "x"}), true),
        (rule, json!({"c": 1}), false),
        (star, json!({"a": "x", "c": "q"}), true),
        (star, json!({"a": "q"}), false),
        (&[r#"allowed_parameters = { "a*" = [] }"#], json!({"ab": 1}), false),
        (&[r#"allowed_parameters = { }"#], json!({"ab": 1}), true),
        (&[r#"allowed_parameters = { "a" = [["x", "y"], { "k" = "v" }] }"#], json!({"a": ["x", "y"]}), true),
        (&[r#"allowed_parameters = { "a" = [["x", "y"], { "k" = "v" }] }"#], json!({"a": ["x"]}), false),
        (&[r#"allowed_parameters = { "a" = [["x", "y"], { "k" = "v" }] }"#], json!({"a": {"k": "v"}}), true),
    ]);
}

#[test]
fn every_element_of_a_list_is_checked() {
    let allowed: &[&str] = &[r#"allowed_parameters = { "policies" = ["app", "team-*"] }"#];
    let denied: &[&str] = &[r#"denied_parameters = { "policies" = ["admin", "root*"] }"#];
    check(&[
        (allowed, json!({"policies": ["app"]}), true),
        (allowed, json!({"policies": ["app", "team-a"]}), true),
        (allowed, json!({"policies": ["app", "admin"]}), false),
        (allowed, json!({"policies": ["admin", "app"]}), false),
        (allowed, json!({"policies": [["app"], ["admin"]]}), false),
        (allowed, json!({"policies": []}), false),
        (allowed, json!({"policies": "team-a,admin"}), false),
        (allowed, json!({"policies": "team-a, team-b"}), true),
        (denied, json!({"policies": ["app"]}), true),
        (denied, json!({"policies": ["app", "admin"]}), false),
        (denied, json!({"policies": ["admin"]}), false),
        (denied, json!({"policies": [["x", ["rooted"]]]}), false),
        (denied, json!({"policies": "app,admin"}), false),
        (denied, json!({"policies": "app, rooted ,x"}), false),
        (denied, json!({"policies": "app,administrator"}), true),
        (&[r#"allowed_parameters = { "dn" = ["CN=a,OU=*"] }"#], json!({"dn": "CN=a,OU=x"}), true),
        (&[r#"allowed_parameters = { "dn" = ["CN=a,OU=*"] }"#], json!({"dn": "CN=a,O=y"}), false),
    ]);
}

#[test]
fn denied() {
    let rule: &[&str] = &[r#"denied_parameters = { "a" = ["x", "y*", 1, false] "b" = [] }"#];
    let both: &[&str] = &[r#"denied_parameters = { "a" = ["x"] } allowed_parameters = { "a" = [] }"#];
    check(&[
        (rule, json!({"a": "x"}), false),
        (rule, json!({"A": "x"}), false),
        (rule, json!({"a": "X"}), true),
        (rule, json!({"a": "yes"}), false),
        (rule, json!({"a": 1}), false),
        (rule, json!({"a": "1"}), false),
        (rule, json!({"a": false}), false),
        (rule, json!({"a": "False"}), false),
        (rule, json!({"a": 0}), false),
        (rule, json!({"a": 2}), true),
        (rule, json!({"b": null}), false),
        (rule, json!({"B": 1}), false),
        (rule, json!({"c": 1}), true),
        (&[r#"denied_parameters = { "*" = [] }"#], json!({"a": 1}), false),
        (&[r#"denied_parameters = { "*" = ["x"] }"#], json!({"a": 1}), false),
        (&[r#"denied_parameters = { "*" = [] }"#], json!({}), true),
        (both, json!({"a": "x"}), false),
        (both, json!({"a": "y"}), true),
        (both, json!({"b": "y"}), false),
    ]);
}

#[test]
fn required_and_which_verbs_are_checked() {
    let rule: &[&str] = &[r#"required_parameters = ["a", "B"]"#];
    check(&[
        (rule, json!({"a": 1}), false),
        (rule, json!({"a": 1, "b": 2}), true),
        (rule, json!({"A": null, "B": ""}), true),
    ]);
    let none = json!({});
    for (operation, checked) in [
        (Operation::Create, true),
        (Operation::Read, true),
        (Operation::Patch, true),
        (Operation::Delete, false),
        (Operation::List, false),
        (Operation::Scan, false),
    ] {
        assert_eq!(!may(rule, operation, &none), checked, "{operation:?}");
        assert_eq!(
            !may(&[r#"denied_parameters = { "b" = [] }"#], operation, &json!({"b": 1})),
            checked,
            "{operation:?}"
        );
    }
}

#[test]
fn the_same_path_in_several_policies() {
    let x = r#"allowed_parameters = { "a" = ["x"] }"#;
    let y = r#"allowed_parameters = { "A" = ["y"] }"#;
    let any = r#"allowed_parameters = { "a" = [] }"#;
    let deny_x = r#"denied_parameters = { "a" = ["x"] }"#;
    let deny_any = r#"denied_parameters = { "a" = [] }"#;
    check(&[
        (&[x, y], json!({"a": "y"}), true),
        (&[x, y], json!({"a": "z"}), false),
        (&[x, any], json!({"a": "z"}), true),
        (&[any, x], json!({"a": "z"}), true),
        (&[x, ""], json!({"q": 1}), false),
        (&["", x], json!({"a": "z"}), false),
        (&[deny_x, deny_any], json!({"a": "z"}), false),
        (&[deny_x, ""], json!({"a": "x"}), false),
        (&[r#"required_parameters = ["a"]"#, r#"required_parameters = ["b"]"#], json!({"a": 1}), false),
    ]);
}

#[test]
fn wrapping() {
    let may = |rules: &[&str], ttl: Option<u64>| {
        let texts: Vec<String> = rules.iter().map(|rule| format!("path \"p\" {{ {ALL} {rule} }}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let ask = Ask { wrap_ttl: ttl.map(Duration::from_secs), ..ask(Operation::Read, "p") };
        set(&texts).permit(&ask).is_ok()
    };
    let both = r#"min_wrapping_ttl = "20s" max_wrapping_ttl = 60"#;
    let wide = r#"min_wrapping_ttl = 10 max_wrapping_ttl = "2m""#;
    for (rules, ttl, expected) in [
        (&[both][..], None, false),
        (&[both], Some(0), false),
        (&[both], Some(19), false),
        (&[both], Some(20), true),
        (&[both], Some(60), true),
        (&[both], Some(61), false),
        (&["max_wrapping_ttl = 60"], None, false),
        (&["max_wrapping_ttl = 60"], Some(5), true),
        (&["min_wrapping_ttl = 0"], None, true),
        (&[both, wide], Some(10), true),
        (&[both, wide], Some(61), false),
        (&[both, ""], None, false),
    ] {
        assert_eq!(may(rules, ttl), expected, "{rules:?} {ttl:?}");
    }
}

#[test]
fn lists_are_limited() {
    let rules = |rule: &str| set(&[&format!("path \"p\" {{ {ALL} {rule} }}")]);
    let limit = |rule: &str, asked: Option<i64>| {
        permit(&rules(rule), &Ask { list_limit: asked, ..ask(Operation::List, "p") }).map(|permit| permit.list_limit())
    };
    let two = "pagination_limit = 2";
    let strict = "pagination_limit = 2 required_parameters = [\"LIMIT\"]";
    assert_eq!(limit("", None), Ok(None));
    assert_eq!(limit("", Some(7)), Ok(Some(7)));
    assert_eq!(limit(two, None), Ok(Some(2)));
    assert_eq!(limit(two, Some(0)), Ok(Some(2)));
    assert_eq!(limit(two, Some(1)), Ok(Some(1)));
    assert_eq!(limit(two, Some(3)), Err(Reason::ListLimit(2)));
    assert_eq!(limit(two, Some(-1)), Err(Reason::ListLimit(2)));
    assert_eq!(limit(strict, None), Err(Reason::ListLimit(2)));
    assert_eq!(limit(strict, Some(2)), Ok(Some(2)));
    let merged =
        format!("path \"p\" {{ {ALL} pagination_limit = 5 }} path \"p\" {{ {ALL} {two} }} path \"p\" {{ {ALL} }}");
    assert_eq!(set(&[&merged]).permit(&ask(Operation::Scan, "p")).unwrap().list_limit(), Some(2));
}
