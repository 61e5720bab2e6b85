//! `dewdrop kube rbac ROLE`: the objects that bind what a role says to its group. A cluster without the access proxy knows
//! nothing else of the role; at one with the proxy they are what people may do at most.

use std::fmt::Write as _;

use clap::Args;
use dewdrop_api::Call;
use dewdrop_core::access::{Rule, Scope};
use serde_json::{Value, json};

use super::grants;
use crate::cmd::access::told::texts;
use crate::cmd::access::{Mount, data_of};
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::say;

const API: &str = "rbac.authorization.k8s.io";
/// All namespaces, and what belongs to none.
const ALL: &str = "*";

/// `dewdrop kube rbac`.
#[derive(Debug, Args)]
pub struct Rbac {
    #[command(flatten)]
    mount: Mount,
    /// Name of the role
    role: String,
}

impl Rbac {
    /// Prints YAML for `kubectl apply -f -`; with `-format=json` a list of the same.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let call = Call::read(&self.mount.path(&format!("roles/{}", self.role))?)?;
        let role =
            data_of(ctx.ask(call).await.map_err(|e| e.doing(&format!("Error reading the role {}", self.role)))?)?;
        let objects =
            objects(&self.role, &grants::scope(&role)?, &texts(&role, "kubernetes_groups")).map_err(Failure::usage)?;
        if !ctx.out.is_table() {
            return ctx.out.structured(&json!({ "apiVersion": "v1", "kind": "List", "items": objects }));
        }
        say(&yaml(&objects));
        Ok(0)
    }
}

/// A ClusterRole with the rules, bound in each namespace of the role, or in the whole cluster when the role has `*`.
fn objects(role: &str, scope: &Scope, groups: &[String]) -> std::result::Result<Vec<Value>, String> {
    if groups.is_empty() {
        return Err(format!(
            "the role {role} has no kubernetes_groups, and rights are bound to a group; give it one of its own"
        ));
    }
    let is_pattern = |name: &&String| name.len() > 1 && name.ends_with('*');
    if let Some(pattern) = scope.namespaces.iter().find(is_pattern) {
        return Err(format!("RBAC has no patterns of namespaces: name those of {pattern} in the role, one by one"));
    }
    let name = format!("dewdrop:{role}");
    let mut objects = vec![json!({
        "apiVersion": format!("{API}/v1"), "kind": "ClusterRole", "metadata": metadata(&name, None),
        "rules": scope.rules.iter().map(rule).collect::<Vec<_>>(),
    })];
    let bound = |kind: &str, namespace: Option<&str>| {
        let subject = |group: &String| json!({ "apiGroup": API, "kind": "Group", "name": group });
        json!({
            "apiVersion": format!("{API}/v1"), "kind": kind, "metadata": metadata(&name, namespace),
            "roleRef": { "apiGroup": API, "kind": "ClusterRole", "name": name },
            "subjects": groups.iter().map(subject).collect::<Vec<_>>(),
        })
    };
    if scope.namespaces.iter().any(|own| own == ALL) {
        objects.push(bound("ClusterRoleBinding", None));
    } else {
        objects.extend(scope.namespaces.iter().map(|namespace| bound("RoleBinding", Some(namespace.as_str()))));
    }
    Ok(objects)
}

fn metadata(name: &str, namespace: Option<&str>) -> Value {
    let mut metadata = json!({ "name": name, "labels": { "app.kubernetes.io/managed-by": "dewdrop" } });
    if let Some(namespace) = namespace {
        metadata["namespace"] = namespace.into();
    }
    metadata
}

fn rule(rule: &Rule) -> Value {
    let mut told = json!({ "apiGroups": rule.api_groups, "resources": rule.resources, "verbs": rule.verbs });
    if !rule.resource_names.is_empty() {
        told["resourceNames"] = json!(rule.resource_names);
    }
    told
}

/// One document for each object. What is within is JSON, which is YAML: nothing in a name can break out.
fn yaml(objects: &[Value]) -> String {
    let mut text = String::new();
    for (at, object) in objects.iter().enumerate() {
        text.push_str(if at == 0 { "" } else { "---\n" });
        for key in ["apiVersion", "kind", "metadata", "rules", "roleRef", "subjects"] {
            let _ = match &object[key] {
                Value::Null => Ok(()),
                Value::Array(items) => {
                    let lines: String = items.iter().map(|item| format!("  - {item}\n")).collect();
                    write!(text, "{key}:\n{lines}")
                }
                one => writeln!(text, "{key}: {one}"),
            };
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(namespaces: &[&str]) -> Scope {
        let list = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        let rule = Rule {
            api_groups: list(&[""]),
            resources: list(&["pods/log"]),
            resource_names: list(&["web"]),
            verbs: list(&["get"]),
        };
        Scope { clusters: list(&["edge"]), namespaces: list(namespaces), rules: vec![rule] }
    }

    #[test]
    fn bound_in_each_namespace_and_nowhere_else() {
        let objects = objects("look", &role(&["shop", "web"]), &["g".to_owned()]).unwrap();
        let kinds: Vec<_> =
            objects.iter().map(|one| (one["kind"].as_str(), one["metadata"]["namespace"].as_str())).collect();
        let bound = |namespace| (Some("RoleBinding"), Some(namespace));
        assert_eq!(kinds, [(Some("ClusterRole"), None), bound("shop"), bound("web")]);
        let rules =
            json!([{ "apiGroups": [""], "resources": ["pods/log"], "resourceNames": ["web"], "verbs": ["get"] }]);
        assert_eq!(objects[0]["rules"], rules);
        assert_eq!(objects[1]["subjects"], json!([{ "apiGroup": API, "kind": "Group", "name": "g" }]));
        assert_eq!(objects[1]["roleRef"]["name"], objects[0]["metadata"]["name"]);
    }

    #[test]
    fn all_namespaces_are_the_cluster() {
        let objects = objects("look", &role(&["*"]), &["g".to_owned()]).unwrap();
        let kinds: Vec<_> = objects.iter().filter_map(|one| one["kind"].as_str()).collect();
        assert_eq!(kinds, ["ClusterRole", "ClusterRoleBinding"]);
    }

    #[test]
    fn what_rbac_cannot_say_is_refused() {
        assert!(objects("look", &role(&["web-*"]), &["g".to_owned()]).unwrap_err().contains("no patterns"));
        assert!(objects("look", &role(&["shop"]), &[]).unwrap_err().contains("kubernetes_groups"));
    }

    #[test]
    fn no_name_breaks_out_of_the_text() {
        let objects = objects("look", &role(&["shop\n---\nkind: X"]), &["g".to_owned()]).unwrap();
        assert_eq!(yaml(&objects).lines().filter(|line| *line == "---").count(), 1);
    }
}
