//! "What may I" (`kubectl auth can-i --list`): the rules of the grant. What the API server would say is what the groups of the
//! grant may do at most, which is not what the person may do now.

use bytes::Bytes;
use dewdrop_core::access::{DISCOVERY, Rule};
use serde::Deserialize;
use serde_json::{Value, json};

use super::wire;
use crate::grants::Grant;
use crate::refuse::Refusal;

#[derive(Deserialize)]
struct Review {
    spec: Spec,
}

#[derive(Deserialize)]
struct Spec {
    #[serde(default)]
    namespace: String,
}

/// The whole answer.
///
/// # Errors
/// The question is not readable.
pub fn answer(grant: &Grant, cluster: &str, body: &Bytes) -> Result<Bytes, Refusal> {
    let namespace = namespace(body).ok_or_else(|| {
        Refusal::bad_request("the review must be JSON or protobuf, with the namespace that it is about")
    })?;
    let own = grant.scope.rules_in(cluster, &namespace).iter().map(rule);
    let about_oneself = [
        ("authentication.k8s.io", &["selfsubjectreviews"][..]),
        ("authorization.k8s.io", &["selfsubjectaccessreviews", "selfsubjectrulesreviews"]),
    ];
    let about_oneself = about_oneself
        .into_iter()
        .map(|(group, resources)| json!({ "verbs": ["create"], "apiGroups": [group], "resources": resources }));
    let paths: Vec<String> = DISCOVERY.iter().flat_map(|path| [(*path).to_owned(), format!("{path}/*")]).collect();
    let answer = json!({
        "kind": "SelfSubjectRulesReview", "apiVersion": "authorization.k8s.io/v1", "metadata": {}, "spec": {},
        "status": {
            "resourceRules": own.chain(about_oneself).collect::<Vec<Value>>(),
            "nonResourceRules": [{ "verbs": ["get"], "nonResourceURLs": paths }],
            "incomplete": true,
            "evaluationError":
                format!("dewdrop: these are the rules of your grant {}; the API server may allow less", grant.id),
        },
    });
    Ok(answer.to_string().into())
}

fn rule(of: &Rule) -> Value {
    json!({ "verbs": of.verbs, "apiGroups": of.api_groups, "resources": of.resources, "resourceNames": of.resource_names })
}

fn namespace(body: &Bytes) -> Option<String> {
    match wire::rules(body) {
        Some(review) => Some(review.spec.unwrap_or_default().namespace),
        None => serde_json::from_slice::<Review>(body).ok().map(|review| review.spec.namespace),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(body: Vec<u8>) -> Value {
        let grant = serde_json::from_value(json!({
            "id": "g1", "user": "ann", "role": "look", "ends_at": "2026-01-01T00:00:00Z",
            "scope": { "clusters": ["prod"], "namespaces": ["shop-*"], "rules": [
                { "api_groups": [""], "resources": ["pods"], "resource_names": ["web"], "verbs": ["get"] },
            ] },
        }));
        let answer = answer(&grant.unwrap(), "prod", &body.into()).unwrap();
        serde_json::from_slice(&answer).unwrap()
    }

    fn asked(namespace: &str) -> Vec<u8> {
        json!({ "kind": "SelfSubjectRulesReview", "spec": { "namespace": namespace } }).to_string().into()
    }

    #[test]
    fn the_rules_of_the_grant_where_it_reaches() {
        let own = json!({ "verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "resourceNames": ["web"] });
        let rules = |told: Value| told["status"]["resourceRules"].as_array().unwrap().clone();
        let shop = told(asked("shop-1"));
        assert_eq!((&shop["kind"], &shop["status"]["incomplete"]), (&json!("SelfSubjectRulesReview"), &json!(true)));
        assert_eq!(rules(shop)[0], own);
        assert!(!rules(told(asked("bank"))).contains(&own));
        assert!(!rules(told(asked(""))).contains(&own), "of all namespaces");
    }

    #[test]
    fn kubectls_protobuf_is_read_as_well() {
        let of = |namespace: &str| told(wire::written(&wire::RulesReview::of(namespace)));
        assert_eq!(of("shop-1"), told(asked("shop-1")));
        assert_eq!(of("bank"), told(asked("bank")));
    }

    #[test]
    fn what_is_no_question_is_refused() {
        let grant = serde_json::from_value(json!({
            "id": "g1", "user": "ann", "role": "look", "ends_at": "2026-01-01T00:00:00Z",
            "scope": { "clusters": [], "namespaces": [], "rules": [] },
        }));
        assert!(answer(&grant.unwrap(), "prod", &Bytes::from_static(b"k8s\0protobuf")).is_err());
    }
}
