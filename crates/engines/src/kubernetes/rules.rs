//! `generated_role_rules`: the rules of a Role or ClusterRole, in JSON or YAML.

use dewdrop_core::wire::parse_yaml;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// `rules:` with a list.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Policy {
    rules: Vec<Rule>,
}

/// A rule as RBAC has it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Rule {
    #[serde(default)]
    api_groups: Vec<String>,
    #[serde(default)]
    resources: Vec<String>,
    #[serde(default)]
    resource_names: Vec<String>,
    #[serde(default, rename = "nonResourceURLs")]
    non_resource_urls: Vec<String>,
    verbs: Vec<String>,
}

/// Reads rules; the API server judges what they say.
pub(super) fn read(text: &str) -> Result<Value, String> {
    let failed = |why: &dyn std::fmt::Display| {
        format!("failed to parse 'generated_role_rules' as k8s.io/api/rbac/v1/Policy object: {why}")
    };
    let value = parse_yaml(text).map_err(|why| failed(&why))?;
    let policy: Policy =
        serde_json::from_value(value).map_err(|_| failed(&"it is a map with `rules`, a list of rules"))?;
    if policy.rules.is_empty() {
        return Err(failed(&"it holds no rule"));
    }
    serde_json::to_value(policy.rules).map_err(|why| failed(&why))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn json_and_yaml_say_the_same() {
        let yaml = "rules:\n- apiGroups: ['']\n  resources: [pods]\n  verbs: [get, list]\n";
        let text = r#"{"rules":[{"apiGroups":[""],"resources":["pods"],"verbs":["get","list"]}]}"#;
        assert_eq!(read(yaml).unwrap(), read(text).unwrap());
        assert_eq!(read(yaml).unwrap()[0]["verbs"], json!(["get", "list"]));
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in
            ["", "rules: []", "rules: x", "verbs: [get]", "rules: [{verb: [get]}]", "rules:\n- resources: [pods]\n"]
        {
            assert!(read(bad).unwrap_err().starts_with("failed to parse 'generated_role_rules'"), "{bad:?}");
        }
    }
}
