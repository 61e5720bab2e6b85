//! Resources as people write them: `po`, `deployments`, `deployments.apps`, `pods/log`, `pods/web`. kubectl asks the API server
//! what there is; here is a table of what everybody has, and the groups that rules name.

use dewdrop_core::access::Scope;

use crate::failure::{Failure, Result};

/// A resource, as rules know it.
#[derive(Debug, PartialEq, Eq)]
pub struct Resource {
    /// `pods`
    pub resource: String,
    /// The API group; empty: the core.
    pub group: String,
    /// `log`; empty: itself.
    pub part: String,
    /// The object that was written behind it; empty: none.
    pub name: String,
    /// It belongs to no namespace.
    pub of_cluster: bool,
}

/// Parts that kubectl knows: what else follows a slash is a name, as in `kubectl auth can-i`.
const PARTS: [&str; 15] = [
    "log",
    "exec",
    "attach",
    "portforward",
    "proxy",
    "status",
    "scale",
    "eviction",
    "binding",
    "token",
    "ephemeralcontainers",
    "approval",
    "finalize",
    "resize",
    "rollback",
];

const RBAC: &str = "rbac.authorization.k8s.io";
const NET: &str = "networking.k8s.io";

/// Name, other names, group, whether it belongs to no namespace.
const KNOWN: &[(&str, &[&str], &str, bool)] = &[
    ("pods", &["po", "pod"], "", false),
    ("services", &["svc", "service"], "", false),
    ("configmaps", &["cm", "configmap"], "", false),
    ("secrets", &["secret"], "", false),
    ("endpoints", &["ep"], "", false),
    ("events", &["ev", "event"], "", false),
    ("serviceaccounts", &["sa", "serviceaccount"], "", false),
    ("persistentvolumeclaims", &["pvc", "persistentvolumeclaim"], "", false),
    ("replicationcontrollers", &["rc", "replicationcontroller"], "", false),
    ("resourcequotas", &["quota", "resourcequota"], "", false),
    ("limitranges", &["limits", "limitrange"], "", false),
    ("nodes", &["no", "node"], "", true),
    ("namespaces", &["ns", "namespace"], "", true),
    ("persistentvolumes", &["pv", "persistentvolume"], "", true),
    ("deployments", &["deploy", "deployment"], "apps", false),
    ("replicasets", &["rs", "replicaset"], "apps", false),
    ("statefulsets", &["sts", "statefulset"], "apps", false),
    ("daemonsets", &["ds", "daemonset"], "apps", false),
    ("jobs", &["job"], "batch", false),
    ("cronjobs", &["cj", "cronjob"], "batch", false),
    ("horizontalpodautoscalers", &["hpa", "horizontalpodautoscaler"], "autoscaling", false),
    ("poddisruptionbudgets", &["pdb", "poddisruptionbudget"], "policy", false),
    ("ingresses", &["ing", "ingress"], NET, false),
    ("networkpolicies", &["netpol", "networkpolicy"], NET, false),
    ("roles", &["role"], RBAC, false),
    ("rolebindings", &["rolebinding"], RBAC, false),
    ("clusterroles", &["clusterrole"], RBAC, true),
    ("clusterrolebindings", &["clusterrolebinding"], RBAC, true),
    ("customresourcedefinitions", &["crd", "crds"], "apiextensions.k8s.io", true),
    ("storageclasses", &["sc", "storageclass"], "storage.k8s.io", true),
    ("certificatesigningrequests", &["csr"], "certificates.k8s.io", true),
];

/// Reads a resource. What the table does not know and names no group has that of a rule which names it.
pub fn read(text: &str, part: Option<&str>, scopes: &[&Scope]) -> Result<Resource> {
    let (head, tail) = text.split_once('/').unwrap_or((text, ""));
    let (word, group) = match head.split_once('.') {
        Some((word, group)) => (word, Some(group)),
        None => (head, None),
    };
    if word.is_empty() {
        return Err(Failure::usage("no resource was named").hint("write it as pods, deployments.apps or pods/log"));
    }
    let word = word.to_lowercase();
    let known = KNOWN.iter().find(|(name, others, own, _)| {
        (*name == word || others.contains(&word.as_str())) && group.is_none_or(|group| group == *own)
    });
    let (behind, name) = if PARTS.contains(&tail) { (tail, "") } else { ("", tail) };
    let resource = known.map_or(word.as_str(), |(name, ..)| name).to_owned();
    let guessed = || known.map_or_else(|| named_group(&resource, scopes), |(_, _, group, _)| (*group).to_owned());
    let group = group.map_or_else(guessed, str::to_owned);
    Ok(Resource {
        group,
        resource,
        part: part.unwrap_or(behind).to_owned(),
        name: name.to_owned(),
        of_cluster: known.is_some_and(|(.., of_cluster)| *of_cluster),
    })
}

fn named_group(resource: &str, scopes: &[&Scope]) -> String {
    let rules = scopes.iter().flat_map(|scope| &scope.rules);
    let named = rules.filter(|rule| rule.resources.iter().any(|own| own.split('/').next() == Some(resource)));
    named.flat_map(|rule| &rule.api_groups).find(|group| *group != "*").cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use dewdrop_core::access::Rule;

    use super::*;

    #[test]
    fn as_people_write_them() {
        let rule = Rule {
            api_groups: vec!["example.dev".into()],
            resources: vec!["widgets/status".into()],
            ..Rule::default()
        };
        let scope = Scope { rules: vec![rule], ..Scope::default() };
        for (text, part, expected) in [
            ("pods", None, ("pods", "", "", "", false)),
            ("po/web", None, ("pods", "", "", "web", false)),
            ("pods/log", None, ("pods", "", "log", "", false)),
            ("pod", Some("exec"), ("pods", "", "exec", "", false)),
            ("Deployments", None, ("deployments", "apps", "", "", false)),
            ("deploy.apps/scale", None, ("deployments", "apps", "scale", "", false)),
            ("deployments.extensions", None, ("deployments", "extensions", "", "", false)),
            ("nodes", None, ("nodes", "", "", "", true)),
            ("ns", None, ("namespaces", "", "", "", true)),
            ("widgets", None, ("widgets", "example.dev", "", "", false)),
            ("gadgets", None, ("gadgets", "", "", "", false)),
        ] {
            let read = read(text, part, &[&scope]).unwrap();
            let got = (&*read.resource, &*read.group, &*read.part, &*read.name, read.of_cluster);
            assert_eq!(got, expected, "{text}");
        }
        assert!(read("/x", None, &[]).is_err());
    }
}
