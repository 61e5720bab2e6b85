use std::sync::Arc;

use serde_json::json;

use super::{NOW, ask, policy, set};
use crate::op::Operation;
use crate::policy::{Ask, Policy, PolicySet, check_file};

#[test]
fn an_allowed_ask_names_its_rule_and_the_losers() {
    let set = set(&["path \"kv/*\" { policy = \"deny\" }\npath \"kv/+/b\" { capabilities = [\"read\"] }\n\
                     path \"kv/a/b\" { capabilities = [\"read\"] expiration = 5 }\npath \"{{x}}\" { }\npath \"q\" { }"]);
    let explained = set.explain(&ask(Operation::Read, "kv/a/b"));
    assert!(explained.allowed);
    assert_eq!(explained.decided_by.iter().map(|rule| rule.line).collect::<Vec<_>>(), [2]);
    let others: Vec<_> = explained.others.iter().map(|loser| (loser.rule.line, loser.why.as_str())).collect();
    let missing = "the caller has no value for {{x}}, so the rule is left out";
    assert_eq!(others, [(1, "it ends in `*`, the deciding rule does not"), (3, "it has expired"), (4, missing)]);
    assert_eq!((explained.smallest_rule, explained.hint), (None, None));
    assert_eq!(explained.holds, ["read"]);
}

#[test]
fn a_refused_ask_gets_the_smallest_rule() {
    let texts = ["path \"kv/*\" { capabilities = [\"read\"] }"];
    let explained = set(&texts).explain(&ask(Operation::Update, "kv/a\"b"));
    assert_eq!(explained.reason, "the rule does not grant \"update\"");
    let wanted = "path \"kv/a\\\"b\" {\n  capabilities = [\"read\", \"update\"]\n}\n";
    assert_eq!(explained.smallest_rule.as_deref(), Some(wanted));
    let list = set(&texts).explain(&Ask { needs_sudo: true, ..ask(Operation::List, "x") });
    assert_eq!(list.path, "x/");
    assert_eq!(list.smallest_rule.as_deref(), Some("path \"x/\" {\n  capabilities = [\"list\", \"sudo\"]\n}\n"));
    let child = Policy::parse("c", "team-a/", texts[0]).unwrap();
    let explained = PolicySet::compile(&[Arc::new(child)], None).explain(&ask(Operation::Read, "team-a/x"));
    assert_eq!(explained.namespace, "team-a/");
    assert_eq!(explained.smallest_rule.as_deref(), Some("path \"x\" {\n  capabilities = [\"read\"]\n}\n"));
}

#[test]
fn where_no_rule_helps_the_hint_does() {
    let exact = set(&["path \"kv/a\" { policy = \"deny\" }"]).explain(&ask(Operation::Read, "kv/a"));
    assert_eq!(exact.smallest_rule, None);
    assert!(exact.hint.unwrap().contains("take the deny away"));
    let wide = set(&["path \"kv/*\" { policy = \"deny\" }"]).explain(&ask(Operation::Read, "kv/a"));
    assert!(wide.smallest_rule.is_some(), "an exact path is stronger than a deny on a wider one");
    let wrapped =
        set(&["path \"kv/*\" { policy = \"read\" min_wrapping_ttl = \"90s\" }"]).explain(&ask(Operation::Read, "kv/a"));
    assert_eq!(wrapped.hint.as_deref(), Some("ask for a wrapped answer: -wrap-ttl=90s"));
    let sent = json!({"secret": "hunter2"});
    let ask = Ask { parameters: sent.as_object(), ..ask(Operation::Update, "p") };
    let explained = set(&["path \"p\" { policy = \"write\" allowed_parameters = { \"a\" = [] } }"]).explain(&ask);
    assert_eq!(
        explained.smallest_rule.as_deref(),
        Some("path \"p\" {\n  capabilities = [\"update\"]\n  allowed_parameters = { \"secret\" = [] }\n}\n")
    );
    assert!(!serde_json::to_string(&explained).unwrap().contains("hunter2"), "values are not told");
}

#[test]
fn kv_version_2_confusion_is_named() {
    for (rule, asked, operation, other) in [
        ("secret/data/app/*", "secret/app/db", Operation::Read, "secret/data/app/db"),
        ("secret/metadata/app/*", "secret/app/", Operation::List, "secret/metadata/app/"),
        ("secret/app/*", "secret/data/app/db", Operation::Read, "secret/app/db"),
        ("secret/data/app/*", "secret/metadata/app/", Operation::List, "secret/data/app/"),
        ("team/secret/data/app", "team/secret/app", Operation::Read, "team/secret/data/app"),
    ] {
        let explained = set(&[&format!("path {rule:?} {{ policy = \"read\" }}")]).explain(&ask(operation, asked));
        let hint = explained.hint.unwrap_or_default();
        assert!(hint.contains(&format!("{other:?}")) && hint.contains("KV version 2"), "{rule} {asked}: {hint}");
    }
    let nothing = set(&["path \"x\" { policy = \"read\" }"]).explain(&ask(Operation::Read, "secret/app"));
    assert_eq!(nothing.hint, None);
}

#[test]
fn root_and_help_are_explained_too() {
    assert_eq!(PolicySet::root().explain(&ask(Operation::Delete, "x")).reason, "the root policy allows everything");
    assert!(set(&[""]).explain(&ask(Operation::Help, "x")).allowed);
}

const FILE: &str = r#"
policy "app" {
  path "secret/data/app/*" { capabilities = ["read"] }
  path "secret/data/{{identity.entity.metadata.team}}/x" { capabilities = ["update"] allowed_parameters = { "a" = ["1"] } }
}
case "reads" {
  policies = ["app", "stored"]
  path = "secret/data/app/db"
  capabilities = ["read"]
  allow = true
}
case "does not delete" { policies = ["app"], path = "secret/data/app/db", capabilities = ["delete", "update"], allow = false }
case "team" {
  policies = ["app"] path = "secret/data/red/x" capabilities = ["update"] allow = true
  identity = { name = "n", metadata = { team = "red" } } parameters = { a = "1" } wrap_ttl = "60s" limit = 5
}
case "is wrong" { policies = ["app"], path = "secret/data/app/db", capabilities = ["read", "update", "sudo"], allow = true }
"#;

#[test]
fn policy_test_files() {
    let stored = |name: &str| (name == "stored").then(|| policy("path \"z\" { policy = \"read\" }"));
    let outcomes = check_file(FILE, NOW, &stored).unwrap();
    let passed: Vec<_> = outcomes.iter().map(|case| (case.name.as_str(), case.line, case.passed)).collect();
    assert_eq!(
        passed,
        [("reads", 6, true), ("does not delete", 12, true), ("team", 13, true), ("is wrong", 17, false)]
    );
    assert_eq!(outcomes[3].surprises.len(), 2);
    assert_eq!(outcomes[3].surprises[1].operation, "update");
    for (text, line, part) in [
        ("case \"a\" { }", 1, "needs policies"),
        (
            "\ncase \"a\" { policies = [\"p\"] path = \"x\" capabilities = [\"read\"] allow = true }",
            2,
            "there is no policy \"p\"",
        ),
        ("case \"a\" { policies = \"p\" }", 1, "list of strings"),
        ("case \"a\" {\n colour = 1 }", 2, "colour"),
        ("case \"a\" { capabilities = [\"fly\"] }", 1, "cannot be asked for"),
        ("case \"a\" { policies = [] path = \"x\" capabilities = [] allow = true }", 1, "asks for nothing"),
        ("policy \"a\" {\n path \"x\" { policy = \"y\" } }", 2, "invalid policy"),
        ("path \"a\" { }", 1, "use case or policy"),
        ("x = 1", 1, "a test file holds blocks"),
    ] {
        let error = check_file(text, NOW, &|_| None).expect_err(text);
        assert_eq!(error.line(), line, "{text}: {error}");
        assert!(error.to_string().contains(part), "{text}: {error}");
    }
    let wrapped = FILE.replace("limit = 5", "limit = \"five\"");
    assert!(check_file(&wrapped, NOW, &stored).is_err());
}
