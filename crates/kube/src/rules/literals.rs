//! Secrets written into a pod spec: they lie in etcd, and whoever may read the pod reads them. Told by name, never by value.

mod names;
mod values;

use crate::pod::Pod;

use super::Violation;

const RULE: &str = "literal-secrets";
/// The most that are told.
const MOST: usize = 20;

/// The variables of a pod that look like secrets.
#[must_use]
pub fn literal_secrets(pod: &Pod) -> Vec<Violation> {
    let mut found = Vec::new();
    for container in pod.all_containers() {
        for variable in &container.env {
            let Some(why) = looks_secret(&variable.name, &variable.value) else { continue };
            let (container, name) = (&container.name, cut(&variable.name));
            let what = format!("variable {name:?} of container {container:?} {why}");
            found.push(Violation::new(RULE, what, "use a credential of Dewdrop, or valueFrom"));
            if found.len() == MOST {
                return found;
            }
        }
    }
    found
}

/// Why a variable looks like a secret.
fn looks_secret(name: &str, value: &str) -> Option<String> {
    if name == crate::agentless::CREDENTIALS_VARIABLE {
        return None; // Paths of the server, put there by ourselves.
    }
    if let Some(kind) = values::known_shape(value) {
        return Some(format!("holds what looks like {kind}"));
    }
    (names::is_secret(name) && values::may_be_secret(value))
        .then(|| "has the name of a secret and a literal value".to_owned())
}

fn cut(text: &str) -> String {
    text.chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{pod, with};
    use super::*;

    fn found(env: serde_json::Value) -> Vec<String> {
        literal_secrets(&pod(&with("/spec/containers/0/env", env))).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_literal_is_told_by_its_name_alone() {
        let told = found(
            json!([{"name": "DB_PASSWORD", "value": "hunter2-canary"}, {"name": "X", "value": "AKIAIOSFODNN7EXAMPLE"}]),
        );
        assert_eq!(told.len(), 2);
        assert!(told[0].contains("\"DB_PASSWORD\" of container \"app\""), "{told:?}");
        assert!(!told.join("").contains("hunter2") && !told.join("").contains("AKIA"), "{told:?}");
        let debug =
            format!("{:?}", pod(&with("/spec/containers/0/env", json!([{"name": "A", "value": "hunter2-canary"}]))));
        assert!(!debug.contains("hunter2"));
    }

    #[test]
    fn references_are_no_literals() {
        let reference = json!({"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "s", "key": "k"}}});
        let same = json!({"name": "API_TOKEN", "value": "$(DB_PASSWORD)"});
        let file = json!({"name": "DB_PASSWORD_FILE", "value": "/db/password"});
        assert_eq!(found(json!([reference, same, file, {"name": "MODE", "value": "fast"}])), Vec::<String>::new());
    }

    #[test]
    fn a_pod_full_of_them_is_told_in_a_few_lines() {
        let many: Vec<_> = (0..500).map(|n| json!({"name": format!("T{n}_TOKEN"), "value": "abcdefgh"})).collect();
        assert_eq!(found(json!(many)).len(), MOST);
    }
}
