//! Rules by which somebody could keep access beyond the end of a grant, or take more than it says.

use super::{ResourceAsk, Rule};

/// A right that reaches beyond its words, and how.
struct Danger {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    subresource: &'static str,
    how: &'static str,
}

const fn danger(
    verb: &'static str,
    group: &'static str,
    (resource, subresource): (&'static str, &'static str),
    how: &'static str,
) -> Danger {
    Danger { verb, group, resource, subresource, how }
}

const RBAC: &str = "rbac.authorization.k8s.io";
const CERTIFICATES: &str = "certificates.k8s.io";

const ALL: &[Danger] = &[
    danger("create", "", ("serviceaccounts", "token"), "can make tokens that outlive the grant"),
    danger(
        "create",
        CERTIFICATES,
        ("certificatesigningrequests", ""),
        "can ask for certificates that outlive the grant",
    ),
    danger("update", CERTIFICATES, ("certificatesigningrequests", "approval"), "can approve certificates"),
    danger("create", RBAC, ("rolebindings", ""), "can give rights to others, and keep them"),
    danger("create", RBAC, ("clusterrolebindings", ""), "can give rights to others, and keep them"),
    danger("escalate", RBAC, ("roles", ""), "can widen roles beyond its own rights"),
    danger("escalate", RBAC, ("clusterroles", ""), "can widen roles beyond its own rights"),
    danger("impersonate", "", ("users", ""), "can act as others"),
    danger("impersonate", "", ("serviceaccounts", ""), "can act as others"),
    danger("get", "", ("nodes", "proxy"), "reaches kubelet, and with it every pod of the node"),
    danger("create", "", ("nodes", "proxy"), "reaches kubelet, and with it every pod of the node"),
    danger("get", "", ("secrets", ""), "reads secrets of the namespace"),
    danger("list", "", ("secrets", ""), "reads secrets of the namespace"),
    danger("create", "", ("pods", ""), "can start pods that use any ServiceAccount of the namespace"),
    danger("create", "apps", ("deployments", ""), "can start pods that use any ServiceAccount of the namespace"),
    danger("create", "batch", ("cronjobs", ""), "can leave pods behind that start after the grant"),
];

/// What an approver must know of rules, each sentence once.
#[must_use]
pub fn dangers(rules: &[Rule]) -> Vec<String> {
    let mut said: Vec<String> = Vec::new();
    for danger in ALL {
        let ask = ResourceAsk {
            verb: danger.verb,
            group: danger.group,
            resource: danger.resource,
            subresource: danger.subresource,
            namespace: "",
            name: "",
        };
        // Names do not make it harmless.
        let hit = rules.iter().any(|rule| Rule { resource_names: Vec::new(), ..rule.clone() }.allows(&ask));
        let what = match danger.subresource {
            "" => danger.resource.to_owned(),
            part => format!("{}/{part}", danger.resource),
        };
        let sentence = format!("{} {what}: {}", danger.verb, danger.how);
        if hit && !said.contains(&sentence) {
            said.push(sentence);
        }
    }
    said
}
