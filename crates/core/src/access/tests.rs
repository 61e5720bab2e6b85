use proptest::prelude::*;

use super::*;

fn list(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn rule(verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]) -> Rule {
    Rule { api_groups: list(groups), resources: list(resources), resource_names: list(names), verbs: list(verbs) }
}

fn scope(namespaces: &[&str], rules: Vec<Rule>) -> Scope {
    Scope { clusters: list(&["prod"]), namespaces: list(namespaces), rules }
}

fn ask<'a>(verb: &'a str, namespace: &'a str, resource: &'a str, name: &'a str) -> Attributes<'a> {
    let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
    Attributes::Resource(ResourceAsk { verb, group: "", resource, subresource, namespace, name })
}

#[test]
fn a_request_needs_cluster_namespace_verb_resource_and_name() {
    let scope = scope(&["shop"], vec![rule(&["get", "list"], &[""], &["pods"], &[])]);
    assert!(scope.allows("prod", &ask("get", "shop", "pods", "a")));
    for (cluster, asked) in [
        ("test", ask("get", "shop", "pods", "a")),
        ("prod", ask("get", "shops", "pods", "a")),
        ("prod", ask("get", "", "pods", "")),
        ("prod", ask("delete", "shop", "pods", "a")),
        ("prod", ask("get", "shop", "pods/log", "a")),
        ("prod", ask("get", "shop", "secrets", "a")),
        ("prod", ask("GET", "shop", "pods", "a")),
    ] {
        assert!(!scope.allows(cluster, &asked), "{cluster}: {asked}");
    }
}

#[test]
fn a_part_of_a_resource_is_named_or_every_one_is() {
    let by = |resource: &str| scope(&["shop"], vec![rule(&["create"], &[""], &[resource], &[])]);
    let exec = ask("create", "shop", "pods/exec", "a");
    assert!(
        by("pods/exec").allows("prod", &exec) && by("*").allows("prod", &exec) && by("*/exec").allows("prod", &exec)
    );
    assert!(
        !by("pods").allows("prod", &exec)
            && !by("pods/log").allows("prod", &exec)
            && !by("*/log").allows("prod", &exec)
    );
    assert!(!by("*/exec").allows("prod", &ask("create", "shop", "pods", "")));
}

#[test]
fn named_objects_are_no_lists() {
    let scope = scope(&["shop"], vec![rule(&["get", "list"], &[""], &["configmaps"], &["one"])]);
    assert!(scope.allows("prod", &ask("get", "shop", "configmaps", "one")));
    assert!(!scope.allows("prod", &ask("get", "shop", "configmaps", "two")));
    assert!(!scope.allows("prod", &ask("list", "shop", "configmaps", "")));
}

#[test]
fn another_group_is_another_resource() {
    let scope = scope(&["shop"], vec![rule(&["get"], &["apps"], &["deployments"], &[])]);
    assert!(!scope.allows("prod", &ask("get", "shop", "deployments", "a")));
}

#[test]
fn which_resources_there_are_may_be_read_and_no_more() {
    let scope = scope(&["shop"], vec![rule(&["get"], &[""], &["pods"], &[])]);
    let path = |verb, path| scope.allows("prod", &Attributes::Path { verb, path });
    assert!(
        path("get", "/api") && path("get", "/apis/apps/v1") && path("get", "/version") && path("get", "/openapi/v3")
    );
    assert!(!path("post", "/api") && !path("get", "/metrics") && !path("get", "/logs/x") && !path("get", "/apix"));
    assert!(!path("get", "/api/../metrics"));
}

#[test]
fn what_is_asked_must_lie_within_the_role() {
    let role = Scope {
        clusters: list(&["prod-*"]),
        namespaces: list(&["team-*"]),
        rules: vec![
            rule(&["get", "list"], &[""], &["pods", "pods/log"], &[]),
            rule(&["get"], &[""], &["configmaps"], &["one"]),
            rule(&["*"], &["apps"], &["*"], &[]),
        ],
    };
    let asked = |namespaces: &[&str], rules: Vec<Rule>| Scope {
        clusters: list(&["prod-1"]),
        namespaces: list(namespaces),
        rules,
    };
    let of = |verbs: &[&str], groups: &[&str], resources: &[&str], names: &[&str]| {
        asked(&["team-a"], vec![rule(verbs, groups, resources, names)]).within(&role)
    };
    assert_eq!(of(&["get", "list"], &[""], &["pods", "pods/log"], &["x"]), Ok(()));
    assert_eq!(of(&["patch"], &["apps"], &["deployments/scale"], &[]), Ok(()));
    assert_eq!(of(&["get"], &[""], &["configmaps"], &["one"]), Ok(()));
    let too_wide = |what: &str| Err(TooWide::Rule(what.into()));
    assert_eq!(of(&["get"], &[""], &["configmaps"], &[]), too_wide("get configmaps"));
    assert_eq!(of(&["get"], &[""], &["pods", "secrets"], &[]), too_wide("get secrets"));
    assert_eq!(of(&["*"], &[""], &["pods"], &[]), too_wide("* pods"));
    assert_eq!(of(&["get"], &["*"], &["pods"], &[]), too_wide("get pods.*"));
    assert_eq!(of(&["get"], &[""], &["pods/*"], &[]), too_wide("get pods/*"));
    let place = |clusters: &[&str], namespaces: &[&str]| {
        Scope { clusters: list(clusters), namespaces: list(namespaces), rules: Vec::new() }.within(&role)
    };
    assert_eq!(place(&["prod-1"], &["team-a*"]), Ok(()));
    assert_eq!(place(&["prod-1"], &["*"]), Err(TooWide::Namespace("*".into())));
    assert_eq!(place(&["test"], &["team-a"]), Err(TooWide::Cluster("test".into())));
}

#[test]
fn a_scope_in_words() {
    let one = scope(&["shop"], vec![rule(&["get", "list"], &[""], &["pods", "pods/log"], &[])]);
    assert_eq!(one.in_words(), ["get, list pods, pods/log in namespace shop of cluster prod"]);
    let all = scope(&["*"], vec![rule(&["*"], &["*"], &["*"], &[])]);
    assert_eq!(
        all.in_words(),
        ["do anything with everything of any API group in all namespaces, and of the cluster prod itself"]
    );
}

#[test]
fn what_outlives_a_grant_is_told() {
    let of = |verbs: &[&str], groups: &[&str], resources: &[&str]| dangers(&[rule(verbs, groups, resources, &["x"])]);
    assert_eq!(of(&["get"], &[""], &["pods"]), Vec::<String>::new());
    assert_eq!(of(&["create"], &[""], &["serviceaccounts/token"]).len(), 1);
    assert_eq!(of(&["*"], &["*"], &["*"]).len(), 16);
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let some = |words: &'static [&'static str]| proptest::sample::subsequence(words, 1..=words.len());
    (
        some(&["get", "list", "create", "*"]),
        some(&["", "apps", "*"]),
        some(&["pods", "pods/log", "*/log", "deployments", "*"]),
        proptest::sample::subsequence(&["a", "b"][..], 0..=2),
    )
        .prop_map(|(verbs, groups, resources, names)| rule(&verbs, &groups, &resources, &names))
}

proptest! {
    /// What lies within a role allows nothing that the role does not.
    #[test]
    fn within_is_never_more(narrow in any_rule(), wide in proptest::collection::vec(any_rule(), 1..3)) {
        let (narrow, wide) = (scope(&["shop"], vec![narrow]), scope(&["sh*"], wide));
        if narrow.within(&wide).is_ok() {
            for verb in ["get", "list", "create", "delete"] {
                for group in ["", "apps", "x"] {
                    for (resource, subresource) in [("pods", ""), ("pods", "log"), ("deployments", ""), ("x", "log"), ("x", "y")] {
                        for name in ["", "a", "b", "c"] {
                            let asked = Attributes::Resource(ResourceAsk { verb, group, resource, subresource, namespace: "shop", name });
                            prop_assert!(!narrow.allows("prod", &asked) || wide.allows("prod", &asked), "{asked}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn a_name_is_ten_letters() {
    assert_eq!(name_of([0, 9, 10, 17, 18, 31, 32, 255, 254, 20]), "09ahjz0zym");
}
