//! One rule: these verbs on these resources.

use serde::{Deserialize, Serialize};

use super::ResourceAsk;

const ALL: &str = "*";

/// As a rule of RBAC. A request matches when each list has it; empty `resource_names` have every name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rule {
    /// `""` is the core; `*`: all.
    #[serde(alias = "apiGroups")]
    pub api_groups: Vec<String>,
    /// `pods`, `pods/log`, `*/scale`; `*`: all, their parts as well.
    pub resources: Vec<String>,
    /// Names of objects; empty: all.
    #[serde(alias = "resourceNames")]
    pub resource_names: Vec<String>,
    /// `get`, `list`...; `*`: all.
    pub verbs: Vec<String>,
}

// === impl Rule ===

impl Rule {
    /// Whether a request lies within it, the namespace aside.
    #[must_use]
    pub fn allows(&self, ask: &ResourceAsk<'_>) -> bool {
        has(&self.verbs, ask.verb)
            && has(&self.api_groups, ask.group)
            && self.resources.iter().any(|of| is_resource(of, ask.resource, ask.subresource))
            && (self.resource_names.is_empty() || self.resource_names.iter().any(|name| name == ask.name))
    }

    /// Whether all that is written is fit to be a rule.
    ///
    /// # Errors
    /// A sentence that names the list.
    pub fn check(&self) -> Result<(), String> {
        for (list, called, example) in
            [(&self.verbs, "verbs", "get, list, watch"), (&self.resources, "resources", "pods, pods/log")]
        {
            if list.is_empty() {
                return Err(format!("a rule needs {called}, such as {example}"));
            }
        }
        if self.api_groups.is_empty() {
            return Err("a rule needs api_groups; \"\" is the core group".to_owned());
        }
        let words = [&self.verbs, &self.resources, &self.resource_names, &self.api_groups];
        if words.iter().any(|list| list.len() > 64) {
            return Err("a rule has at most 64 entries in each list".to_owned());
        }
        let bad = |word: &String| word.len() > 253 || word.chars().any(|c| c.is_control() || c.is_whitespace());
        if words.iter().flat_map(|list| list.iter()).any(bad) {
            return Err("the words of a rule are at most 253 characters, without blanks".to_owned());
        }
        Ok(())
    }

    /// Whether one of `wider` covers each of its combinations. A `*` is covered by a `*` only.
    pub(super) fn uncovered(&self, wider: &[Rule]) -> Option<String> {
        let names: Vec<&str> = match self.resource_names.as_slice() {
            [] => vec![""],
            names => names.iter().map(String::as_str).collect(),
        };
        for verb in &self.verbs {
            for group in &self.api_groups {
                for resource in &self.resources {
                    for name in &names {
                        if !wider.iter().any(|rule| rule.covers(verb, group, resource, name)) {
                            return Some(words(verb, group, resource, name));
                        }
                    }
                }
            }
        }
        None
    }

    fn covers(&self, verb: &str, group: &str, resource: &str, name: &str) -> bool {
        let (of, part) = resource.split_once('/').unwrap_or((resource, ""));
        let named = self.resource_names.is_empty() || self.resource_names.iter().any(|own| own == name);
        let all = || self.resources.iter().any(|own| own == ALL || own == resource || is_resource(own, of, part));
        has(&self.verbs, verb) && has(&self.api_groups, group) && named && all()
    }
}

/// What was asked, in words: `get pods/log of apps "web"`.
pub(super) fn words(verb: &str, group: &str, resource: &str, name: &str) -> String {
    let mut text = format!("{verb} {resource}");
    if !group.is_empty() {
        text.push_str(&format!(".{group}"));
    }
    if !name.is_empty() {
        text.push_str(&format!(" {name:?}"));
    }
    text
}

fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|own| own == ALL || own == word)
}

/// `*` is all; `*/PART` is that part of all.
fn is_resource(own: &str, resource: &str, subresource: &str) -> bool {
    match own.split_once('/') {
        None => own == ALL || (own == resource && subresource.is_empty()),
        Some((of, part)) => !subresource.is_empty() && (of == ALL || of == resource) && part == subresource,
    }
}
