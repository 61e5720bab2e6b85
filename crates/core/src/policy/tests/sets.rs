use std::collections::BTreeMap;
use std::sync::Arc;

use super::{NOW, Reason, ask, permit, set, set_for};
use crate::Moment;
use crate::fault::{Fault, Kind};
use crate::op::Operation;
use crate::policy::{AliasValues, Ask, GroupValues, IdentityValues, Permit, Policy, PolicySet};

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn bob() -> IdentityValues {
    let alias = AliasValues {
        id: "al".into(),
        name: "bob".into(),
        metadata: map(&[("ns", "prod"), ("a.b", "dotted")]),
        custom_metadata: map(&[("c", "cm")]),
    };
    IdentityValues {
        entity_id: "e-1".into(),
        entity_name: "Bob B".into(),
        metadata: map(&[
            ("team", "red"),
            ("slash", "a/b"),
            ("star", "*"),
            ("empty", ""),
            ("tmpl", "{{identity.entity.id}}"),
        ]),
        aliases: BTreeMap::from([("acc".to_owned(), alias)]),
        groups: vec![
            GroupValues { id: "g-1".into(), name: "grp".into(), metadata: map(&[("g", "gm")]) },
            GroupValues { id: "g-2".into(), name: "dot.ted".into(), metadata: BTreeMap::new() },
        ],
    }
}

#[test]
fn templates() {
    for (variable, value) in [
        ("identity.entity.id", Some("e-1")),
        (" identity.entity.name ", Some("Bob B")),
        ("identity.entity.metadata.team", Some("red")),
        ("identity.entity.metadata.tmpl", Some("{{identity.entity.id}}")),
        ("identity.entity.aliases.acc.id", Some("al")),
        ("identity.entity.aliases.acc.name", Some("bob")),
        ("identity.entity.aliases.acc.metadata.ns", Some("prod")),
        ("identity.entity.aliases.acc.metadata.a.b", Some("dotted")),
        ("identity.entity.aliases.acc.custom_metadata.c", Some("cm")),
        ("identity.groups.ids.g-1.name", Some("grp")),
        ("identity.groups.names.grp.id", Some("g-1")),
        ("identity.groups.names.dot.ted.id", Some("g-2")),
        ("identity.groups.names.grp.metadata.g", Some("gm")),
        ("identity.groups.ids.g-1.metadata.g", Some("gm")),
        ("identity.entity.metadata.nope", None),
        ("identity.entity.metadata.empty", None),
        ("identity.entity.metadata", None),
        ("identity.entity.aliases.other.name", None),
        ("identity.groups.names.other.id", None),
        ("identity.groups", None),
        ("IDENTITY.ENTITY.ID", None),
        ("time.now", None),
        ("", None),
    ] {
        let text = format!(
            "path \"kv/{{{{{variable}}}}}/v\" {{ capabilities = [\"read\"] }} path \"kv/o\" {{ policy = \"read\" }}"
        );
        let set = set_for(&bob(), &text);
        assert_eq!(set.capabilities("kv/o", NOW), ["list", "read"], "{variable}: the other rule stays");
        for try_value in [value.unwrap_or("+"), "", &format!("{{{{{variable}}}}}")] {
            let expected = if Some(try_value) == value { vec!["read"] } else { vec!["deny"] };
            assert_eq!(set.capabilities(&format!("kv/{try_value}/v"), NOW), expected, "{variable} as {try_value}");
        }
    }
    let nobody = set_for(&IdentityValues::default(), "path \"kv/{{identity.entity.id}}*\" { policy = \"read\" }");
    assert_eq!(nobody.capabilities("kv/x", NOW), ["deny"]);
}

#[test]
fn a_value_that_would_change_the_path_allows_nothing() {
    for variable in ["slash", "star"] {
        let text = format!(
            "path \"kv/{{{{identity.entity.metadata.{variable}}}}}\" {{ policy = \"deny\" }} path \"kv/*\" {{ policy = \"write\" }}"
        );
        let set = set_for(&bob(), &text);
        assert_eq!(set.capabilities("kv/x", NOW), ["deny"]);
        assert!(matches!(permit(&set, &ask(Operation::Read, "kv/x")), Err(Reason::Template(..))));
        assert!(!set.sees_anything_under("kv/", NOW));
    }
}

#[test]
fn namespaces() {
    let child =
        Policy::parse("c", "team-a/", r#"path "kv/*" { policy = "read" } path "+" { policy = "write" }"#).unwrap();
    let root =
        Policy::parse("r", "", r#"path "team-a/kv/x" { capabilities = ["update"] } path "+/z/y" { policy = "read" }"#);
    let set = PolicySet::compile(&[Arc::new(child), Arc::new(root.unwrap())], None);
    for (path, expected) in [
        ("team-a/kv/a", vec!["list", "read"]),
        ("kv/a", vec!["deny"]),
        ("team-a/q", vec!["create", "delete", "list", "read", "update"]),
        ("q", vec!["deny"]),
        ("team-a/kv/x", vec!["update"]),
        ("team-a/z/y", vec!["list", "read"]),
    ] {
        assert_eq!(set.capabilities(path, NOW), expected, "{path}");
    }
}

#[test]
fn verbs_and_their_capabilities() {
    let one = |name: &str| set(&[&format!("path \"p\" {{ capabilities = [{name:?}] }}")]);
    use Operation::{Create, Delete, Help, List, Patch, Read, Renew, Revoke, Rollback, Scan, Update};
    let all = [Create, Read, Update, Delete, List, Scan, Patch, Renew, Revoke, Rollback, Help];
    for name in ["create", "read", "update", "delete", "list", "scan", "patch", "sudo", "deny"] {
        let set = one(name);
        for operation in all {
            let needed = match operation {
                Renew | Revoke | Rollback => "update",
                other => other.name(),
            };
            let expected = operation == Help || needed == name;
            assert_eq!(set.permit(&ask(operation, "p")).is_ok(), expected, "{name} for {operation:?}");
        }
    }
    assert_eq!(permit(&one("read"), &ask(Update, "p")).unwrap_err(), Reason::Capability("update"));
    assert_eq!(permit(&one("deny"), &ask(Update, "p")).unwrap_err(), Reason::DenyRule);
    assert_eq!(permit(&one("read"), &ask(Read, "q")).unwrap_err(), Reason::NoRule);
}

#[test]
fn sudo_comes_beside_the_verb() {
    let ask = Ask { needs_sudo: true, ..ask(Operation::Read, "sys/audit") };
    let may =
        |capabilities: &str| permit(&set(&[&format!("path \"sys/audit\" {{ capabilities = {capabilities} }}")]), &ask);
    assert_eq!(may("[\"read\"]").unwrap_err(), Reason::Sudo);
    assert_eq!(may("[\"sudo\"]").unwrap_err(), Reason::Capability("read"));
    let granted = may("[\"sudo\", \"read\"]").unwrap();
    assert!(granted.has_sudo() && !granted.is_root());
}

#[test]
fn root_and_public() {
    let root = PolicySet::root();
    assert_eq!(root.capabilities("any", NOW), ["root"]);
    let permit = root.permit(&Ask { needs_sudo: true, ..ask(Operation::Delete, "sys/x") }).unwrap();
    assert!(permit.is_root() && permit.has_sudo());
    assert!(root.sees_anything_under("x/", NOW));
    let public = Permit::public("a test");
    assert!(!public.is_root() && !public.has_sudo());
    let none = PolicySet::compile(&[], None);
    assert_eq!(none.capabilities("any", NOW), ["deny"]);
    let fault: Fault = none.permit(&ask(Operation::Read, "any")).unwrap_err().into();
    assert_eq!(
        (fault.kind, &*fault.told, &*fault.known),
        (Kind::Denied, "permission denied", "no rule matches the path")
    );
}

#[test]
fn rules_expire_at_their_time() {
    let set = set(&[r#"
        path "kv/a" { capabilities = ["deny"] expiration = "1970-01-01T00:00:02Z" }
        path "kv/b" { capabilities = ["read"] expiration = 3 }
        path "kv/b" { capabilities = ["update"] expiration = "" }
        path "kv/c" { capabilities = ["read"] expiration = -1 }
        path "kv/*" { capabilities = ["list"] }"#]);
    for (now, a, b) in [
        (0, vec!["deny"], vec!["read", "update"]),
        (1999, vec!["deny"], vec!["read", "update"]),
        (2000, vec!["list"], vec!["read", "update"]),
        (3000, vec!["list"], vec!["update"]),
        (9_000_000, vec!["list"], vec!["update"]),
    ] {
        assert_eq!(set.capabilities("kv/a", Moment(now)), a, "{now}");
        assert_eq!(set.capabilities("kv/b", Moment(now)), b, "{now}");
        assert_eq!(set.capabilities("kv/c", Moment(now)), ["list"], "{now}");
    }
}

#[test]
fn keys_of_lists_are_filtered() {
    let filtered = |template: &str, namespace: &str| {
        let text = format!(
            "path \"kv/p\" {{ capabilities = [\"list\"] list_scan_response_keys_filter_path = {template:?} }}
             path \"kv/p/a\" {{ capabilities = [\"read\"] }} path \"kv/p/b\" {{ capabilities = [\"list\"] }}
             path \"kv/p/d\" {{ capabilities = [\"list\"] }} path \"q/c\" {{ capabilities = [\"read\"] }}"
        );
        let set = PolicySet::compile(&[Arc::new(Policy::parse("p", namespace, &text).unwrap())], None);
        let list = format!("{namespace}kv/p/");
        let permit = set.permit(&ask(Operation::List, &list)).unwrap();
        let filter = permit.key_filter().unwrap().clone();
        let shown = |key: &&str| set.shows_key(&filter, &list, key, NOW);
        ["a", "b", "c", "d/", "e/"].into_iter().filter(shown).collect::<Vec<_>>()
    };
    for namespace in ["", "team-a/"] {
        for same in ["{{.path}}{{.key}}", "{{- .path -}} {{ .key }}", "kv/p/{{ .key }}", "/kv/p/{{.key}}"] {
            assert_eq!(filtered(same, namespace), ["a", "d/"], "{same}");
        }
        assert_eq!(filtered("q/{{.key}}", namespace), ["c"]);
        assert_eq!(filtered("{{ .path | replace \"kv/p\" \"q\" }}{{ .key | lowercase }}", namespace), ["c"]);
        assert_eq!(filtered("{{.key}}", namespace), Vec::<&str>::new());
    }
}

#[test]
fn mounts_are_seen_where_anything_is_granted() {
    let sees = |text: &str, prefix: &str| set(&[text]).sees_anything_under(prefix, NOW);
    for (text, prefix, expected) in [
        (r#"path "kv/a" { policy = "read" }"#, "kv/", true),
        (r#"path "kv" { policy = "read" }"#, "kv/", true),
        (r#"path "kv/a/*" { policy = "read" }"#, "kv/", true),
        (r#"path "*" { policy = "read" }"#, "kv/", true),
        (r#"path "k*" { policy = "read" }"#, "kv/", true),
        (r#"path "+/data/a" { policy = "read" }"#, "kv/", true),
        (r#"path "auth/+/login" { policy = "read" }"#, "auth/up/", true),
        (r#"path "auth/+/login" { policy = "read" }"#, "kv/", false),
        (r#"path "kvx/a" { policy = "read" }"#, "kv/", false),
        (r#"path "kv/a" { policy = "deny" }"#, "kv/", false),
        (r#"path "kv/a" { capabilities = [] }"#, "kv/", false),
        (r#"path "*" { policy = "read" } path "kv/*" { policy = "deny" }"#, "kv/", true),
        (r#"path "kv*" { policy = "deny" } path "k*" { policy = "read" }"#, "kv/", true),
        (r#"path "kv/+/b" { policy = "read" }"#, "kv/", true),
        (r#"path "k+/b" { policy = "read" }"#, "kv/", false),
        (r#"path "+" { policy = "read" }"#, "kv/", true),
        (r#"path "+/" { policy = "read" }"#, "kv/", true),
        (r#"path "k/*" { policy = "read" }"#, "kv/", false),
        (r#"path "kv/a" { policy = "read" } path "kv/*" { policy = "deny" }"#, "kv/", true),
        ("", "kv/", false),
    ] {
        assert_eq!(sees(text, prefix), expected, "{text} for {prefix}");
    }
}
