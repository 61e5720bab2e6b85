use proptest::prelude::*;
use serde_json::json;

use super::*;

fn house() -> House {
    House::new("k8s.", "dewdrop").unwrap()
}

fn access(paths: Value) -> SecretAccess {
    serde_json::from_value(json!({
        "metadata": { "name": "app", "namespace": "shop" },
        "spec": { "serviceAccountNames": ["web"], "containers": ["app"], "paths": paths },
    }))
    .unwrap()
}

fn grant(namespace: &str, path: &str, capabilities: &[&str]) -> Grant {
    let paths = json!([{ "path": path, "capabilities": capabilities }]);
    serde_json::from_value(json!({ "spec": { "namespaces": [namespace], "paths": paths } })).unwrap()
}

#[test]
fn what_is_granted_becomes_a_policy_and_a_role_of_that_namespace_alone() {
    let wanted =
        json!([{ "path": "secret/data/shop/*", "capabilities": ["read", "list"] }, { "path": "database/creds/app" }]);
    let grants =
        [grant("*", "secret/data/{namespace}/*", &["list", "read"]), grant("shop", "database/creds/app", &["read"])];
    let plan = house().plan(&access(wanted), &grants).unwrap();
    assert_eq!(
        plan.policy,
        "path \"secret/data/shop/*\" { capabilities = [\"list\", \"read\"] }\n\
         path \"database/creds/app\" { capabilities = [\"read\"] }\n"
    );
    assert_eq!(plan.role["bound_service_account_namespaces"], json!(["shop"]));
    assert_eq!(plan.role["token_policies"], json!(["k8s.shop.app"]));
    assert_eq!(plan.role["bound_container_names"], json!(["app"]));
}

#[test]
fn what_is_not_granted_is_refused_with_who_where_and_what() {
    let grants = [grant("shop", "secret/data/shop/*", &["read"]), grant("bank", "secret/data/bank/*", &["read"])];
    let refused = |path: &str, capability: &str| {
        let wanted = json!([{ "path": path, "capabilities": [capability] }]);
        house().plan(&access(wanted), &grants).unwrap_err()
    };
    assert_eq!(
        refused("secret/data/bank/key", "read").to_string(),
        "secret/data/bank/key: no SecretAccessGrant lets namespace shop read there; a cluster's administrator can write one"
    );
    for (path, capability) in [
        ("secret/data/shop/a", "update"),
        ("secret/data/shop", "read"),
        ("secret/data/shopping/a", "read"),
        ("secret/data/*", "read"),
        ("secret/*", "read"),
    ] {
        assert_eq!(refused(path, capability).reason(), "PathNotGranted", "{path}");
    }
}

#[test]
fn no_token_lives_longer_than_its_grant_says() {
    let limited = |most: &str| {
        let mut grant = grant("shop", "secret/data/shop/*", &["read"]);
        grant.spec.max_ttl = Some(most.to_owned());
        grant
    };
    let asked = |ttl: &str, grants: &[Grant]| {
        let mut access = access(json!([{ "path": "secret/data/shop/key" }]));
        access.spec.ttl = Some(ttl.to_owned());
        house().plan(&access, grants).map(|plan| plan.role["token_ttl"].clone())
    };
    assert_eq!(asked("30m", &[limited("30m")]).unwrap(), "30m");
    assert_eq!(asked("31m", &[limited("30m")]).unwrap_err().reason(), "TooLong");
    assert_eq!(asked("31m", &[limited("30m"), limited("1h")]).unwrap(), "31m", "one that reaches is enough");
    assert_eq!(asked("1m", &[limited("soon")]).unwrap_err().reason(), "TooLong");
    for server_s_own in ["0", "0s", "", "0h0m", "0.5s", "-1h", "soon"] {
        let refusal = asked(server_s_own, &[limited("30m")]).unwrap_err();
        assert_eq!(refusal.reason(), "Invalid", "{server_s_own:?} would be the server's own, which is longer");
    }
}

/// Without containers a role would be for whoever has a token of the ServiceAccount.
#[test]
fn a_declaration_names_who_may() {
    let grants = [grant("shop", "secret/a", &["read"])];
    let wanted = || access(json!([{ "path": "secret/a" }]));
    let (mut no_container, mut no_account) = (wanted(), wanted());
    no_container.spec.containers.clear();
    no_account.spec.service_account_names.clear();
    for access in [no_container, no_account, access(json!([]))] {
        let refusal = house().plan(&access, &grants).unwrap_err();
        assert_eq!(refusal.reason(), "Invalid", "{refusal}");
    }
}

#[test]
fn a_grant_of_a_text_that_only_begins_so_covers_nothing() {
    let grants = [grant("shop", "secret/data/sh*", &["read"])];
    let wanted = json!([{ "path": "secret/data/shop/a" }]);
    assert!(house().plan(&access(wanted), &grants).is_err());
}

#[test]
fn what_could_mean_more_than_it_says_is_refused_whatever_is_granted() {
    let all = ["create", "delete", "list", "patch", "read", "update", "sudo", "deny"];
    let grants = [grant("*", "secret/*", &all), grant("*", "sys/*", &all), grant("*", "auth/*", &all)];
    for path in [
        "sys/policies/acl/root",
        "auth/kubernetes/role/x",
        "secret/../sys/raw",
        "secret//a",
        "/secret/a",
        "secret/",
        "secret/+/a",
        "secret/a*",
        "secret/*/a",
        "*",
        "secret/a\" { capabilities = [\"sudo\"] } path \"x",
        "secret/{{identity.entity.id}}",
        "",
    ] {
        let refusal = house().plan(&access(json!([{ "path": path }])), &grants).unwrap_err();
        assert_eq!(refusal.reason(), "Invalid", "{path}");
    }
    for capability in ["sudo", "deny", "root", "read\""] {
        let wanted = json!([{ "path": "secret/a", "capabilities": [capability] }]);
        assert_eq!(house().plan(&access(wanted), &grants).unwrap_err().reason(), "Invalid", "{capability}");
    }
    let mut greedy = access(json!([{ "path": "secret/a" }]));
    greedy.spec.service_account_names = vec!["*".into()];
    assert!(house().plan(&greedy, &grants).unwrap_err().to_string().contains("name each"));
}

#[test]
fn no_prefix_begins_another() {
    for wrong in ["", ".", "k8s", "k8s.b.", "k8s/.", "k8s*.", "K8s."] {
        assert!(House::new(wrong, "dewdrop").is_err(), "{wrong}");
    }
    let (one, two) = (House::new("k8s.", "dewdrop").unwrap(), House::new("k8s-b.", "dewdrop").unwrap());
    for house in [&one, &two] {
        let name = house.name(&access(json!([])));
        assert!(house.owns(&name) && one.owns(&name) != two.owns(&name), "{name}");
        assert!(!house.owns("root") && !house.owns("k8s.") && !house.owns("dewdrop-operator"));
    }
}

proptest! {
    /// Whatever is asked for: what is written lies below what was granted, and each rule is one line that we wrote.
    #[test]
    fn no_path_leaves_what_is_granted(path in "(secret|sys|\\*|\\.\\.|a|/|\\+|\"|\n|\\{|data|shop|x){1,8}") {
        let grants = [grant("shop", "secret/data/shop/*", &["read"])];
        if let Ok(plan) = house().plan(&access(json!([{ "path": path }])), &grants) {
            prop_assert!(path.starts_with("secret/data/shop/"));
            prop_assert!(!path.contains("..") && !path.contains('+'));
            prop_assert_eq!(plan.policy.lines().count(), 1);
        }
    }

    /// No two declarations share a role, wherever they are.
    #[test]
    fn names_are_of_one_declaration(a in "[a-c-]{1,3}", b in "[a-c.]{1,4}", c in "[a-c-]{1,3}", d in "[a-c.]{1,4}") {
        let name = |namespace: &str, name: &str| {
            let mut one = access(json!([]));
            (one.metadata.namespace, one.metadata.name) = (namespace.to_owned(), name.to_owned());
            house().name(&one)
        };
        prop_assert_eq!(name(&a, &b) == name(&c, &d), (&a, &b) == (&c, &d));
    }
}
