//! What a grant reaches: one cluster, some namespaces, some rules.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::rule::{self, Rule};
use super::{Attributes, ResourceAsk, is_discovery};

/// Every namespace, and what belongs to none.
const ALL: &str = "*";

/// Clusters, namespaces and rules. A role's may hold patterns (`team-*`); a grant's cluster is one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Scope {
    /// Names of clusters, or patterns that end in `*`.
    pub clusters: Vec<String>,
    /// Names of namespaces, or patterns that end in `*`. The pattern `*` alone has the resources of the cluster as well.
    pub namespaces: Vec<String>,
    /// What may be done there.
    pub rules: Vec<Rule>,
}

/// Why a scope does not lie within another one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooWide {
    /// A cluster.
    #[error("cluster {0:?}")]
    Cluster(String),
    /// A namespace.
    #[error("namespace {0:?}")]
    Namespace(String),
    /// A verb on a resource.
    #[error("{0}")]
    Rule(String),
}

// === impl Scope ===

impl Scope {
    /// Whether a request to a cluster lies within it. Reading which resources there are always does.
    #[must_use]
    pub fn allows(&self, cluster: &str, asked: &Attributes<'_>) -> bool {
        if !any(&self.clusters, cluster) {
            return false;
        }
        match asked {
            Attributes::Path { verb, path } => is_discovery(verb, path),
            Attributes::Resource(ask) => self.has_namespace(ask) && self.rules.iter().any(|rule| rule.allows(ask)),
        }
    }

    fn has_namespace(&self, ask: &ResourceAsk<'_>) -> bool {
        match ask.namespace {
            "" => self.namespaces.iter().any(|own| own == ALL),
            namespace => any(&self.namespaces, namespace),
        }
    }

    /// The rules that hold in a namespace; `""`: in all of them, and for what belongs to none.
    #[must_use]
    pub fn rules_in(&self, cluster: &str, namespace: &str) -> &[Rule] {
        let place = ResourceAsk { verb: "", group: "", resource: "", subresource: "", namespace, name: "" };
        if any(&self.clusters, cluster) && self.has_namespace(&place) { &self.rules } else { &[] }
    }

    /// Whether it lies wholly within a wider one.
    ///
    /// # Errors
    /// The first thing that does not.
    pub fn within(&self, wider: &Scope) -> Result<(), TooWide> {
        if let Some(cluster) = self.clusters.iter().find(|name| !any(&wider.clusters, name)) {
            return Err(TooWide::Cluster(cluster.clone()));
        }
        if let Some(namespace) = self.namespaces.iter().find(|name| !any(&wider.namespaces, name)) {
            return Err(TooWide::Namespace(namespace.clone()));
        }
        match self.rules.iter().find_map(|rule| rule.uncovered(&wider.rules)) {
            Some(what) => Err(TooWide::Rule(what)),
            None => Ok(()),
        }
    }

    /// What it allows, a sentence for each rule.
    #[must_use]
    pub fn in_words(&self) -> Vec<String> {
        let place = self.place();
        self.rules.iter().map(|rule| format!("{} {place}", rule_in_words(rule))).collect()
    }

    fn place(&self) -> String {
        let clusters = format!("cluster {}", self.clusters.join(", "));
        match self.namespaces.as_slice() {
            all if all.iter().any(|own| own == ALL) => format!("in all namespaces, and of the {clusters} itself"),
            [one] => format!("in namespace {one} of {clusters}"),
            more => format!("in the namespaces {} of {clusters}", more.join(", ")),
        }
    }
}

fn rule_in_words(rule: &Rule) -> String {
    let list = |words: &[String], all: &str| match words {
        words if words.iter().any(|word| word == ALL) => all.to_owned(),
        words => words.join(", "),
    };
    let mut text = format!("{} {}", list(&rule.verbs, "do anything with"), list(&rule.resources, "everything"));
    let groups: Vec<&str> = rule.api_groups.iter().map(String::as_str).filter(|group| !group.is_empty()).collect();
    if groups == [ALL] {
        text.push_str(" of any API group");
    } else if !groups.is_empty() {
        let _ = write!(text, " of {}", groups.join(", "));
    }
    if !rule.resource_names.is_empty() {
        let _ = write!(text, " named {}", rule.resource_names.join(", "));
    }
    text
}

/// A name against names and patterns that end in `*`. A pattern lies within a pattern that is no longer.
fn any(own: &[String], name: &str) -> bool {
    own.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => pattern == name,
    })
}

/// What was asked, in words.
impl std::fmt::Display for Attributes<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path { verb, path } => write!(f, "{verb} {path}"),
            Self::Resource(ask) => {
                let resource = match ask.subresource {
                    "" => ask.resource.to_owned(),
                    part => format!("{}/{part}", ask.resource),
                };
                f.write_str(&rule::words(ask.verb, ask.group, &resource, ask.name))?;
                match ask.namespace {
                    "" => Ok(()),
                    namespace => write!(f, " in namespace {namespace}"),
                }
            }
        }
    }
}
