//! Tokens for our server are asked for by kubelet, for a pod that runs there, and by nobody else.

use serde::Deserialize;

use super::Violation;
use crate::review::User;

const RULE: &str = "token-audience";

/// `TokenRequest` of authentication.k8s.io, as far as it matters.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TokenRequest {
    /// What is asked for.
    #[serde(default)]
    pub spec: TokenSpec,
}

/// `spec`.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct TokenSpec {
    /// Whom the token is for.
    #[serde(default)]
    pub audiences: Option<Vec<String>>,
}

/// Whether somebody else than a node asks for a token for us.
#[must_use]
pub fn token_for_us(request: &TokenRequest, user: &User, audience: &str) -> Option<Violation> {
    let ours =
        |text: &String| text.strip_prefix(audience).is_some_and(|rest| rest.is_empty() || rest.starts_with("://"));
    let asked = request.spec.audiences.iter().flatten().any(ours);
    let is_node = user.username.starts_with("system:node:") && user.groups().any(|group| group == "system:nodes");
    if !asked || is_node {
        return None;
    }
    let what = format!("a token with the audience {audience} is only for kubelet to ask for");
    Some(Violation::new(RULE, what, "give the pod a volume of the driver csi.dewdrop.dev, or use another audience"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn asked(audiences: serde_json::Value, user: serde_json::Value) -> bool {
        let request = serde_json::from_value(json!({"spec": {"audiences": audiences}})).unwrap();
        token_for_us(&request, &serde_json::from_value(user).unwrap(), "dewdrop").is_some()
    }

    #[test]
    fn only_nodes_get_tokens_for_us() {
        let node = json!({"username": "system:node:n1", "groups": ["system:nodes", "system:authenticated"]});
        let alice = json!({"username": "alice", "groups": ["system:masters"]});
        for audience in ["dewdrop", "dewdrop://team/app", "dewdrop://"] {
            assert!(asked(json!([audience]), alice.clone()), "{audience}");
            assert!(asked(json!(["x", audience]), alice.clone()), "{audience}");
            assert!(!asked(json!([audience]), node.clone()), "{audience}");
        }
    }

    #[test]
    fn a_name_or_a_group_alone_makes_no_node() {
        assert!(asked(json!(["dewdrop"]), json!({"username": "system:node:n1"})));
        assert!(asked(json!(["dewdrop"]), json!({"username": "bob", "groups": ["system:nodes"]})));
        assert!(asked(json!(["dewdrop"]), json!({"username": "bob", "groups": null})));
    }

    #[test]
    fn other_audiences_are_nobodys_business() {
        let alice = json!({"username": "alice"});
        for free in
            [json!(["vault"]), json!(["dewdrops"]), json!([]), json!(null), json!(["https://kubernetes.default.svc"])]
        {
            assert!(!asked(free.clone(), alice.clone()), "{free}");
        }
    }
}
