//! Policies: who may do what, where. A policy is HCL or JSON text with `path` stanzas; the policies of a token are
//! compiled into one [`PolicySet`], which alone makes a [`Permit`], which every engine demands.
//!
//! The language is the one of Vault and OpenBao 2.7, after their public documentation and the observed behaviour of
//! `bao` 2.7.2. Where it differs it is stricter: see `params` (elements of lists), `parse` (what would not be enforced is
//! refused) and `template` (empty values).

mod capability;
mod check;
mod explain;
mod filter;
pub mod hcl;
mod index;
mod params;
mod parse;
mod pattern;
mod permit;
mod rule;
mod set;
mod template;
#[cfg(test)]
mod tests;

pub use capability::Capabilities;
pub use check::{CaseOutcome, check_file};
pub use explain::{Explanation, Loser};
pub use filter::KeyFilter;
pub use parse::PolicyError;
pub use permit::{Ask, Denied, Permit, Reason, RuleRef};
pub use set::PolicySet;
pub use template::{AliasValues, GroupValues, IdentityValues};

use rule::Rule;

/// One policy, read.
#[derive(Debug, Clone)]
pub struct Policy {
    name: String,
    namespace: String,
    text: String,
    rules: Vec<Rule>,
}

impl Policy {
    /// Reads a policy of a namespace: its path with a slash at the end (`team-a/sub/`), or nothing for the root one.
    ///
    /// # Errors
    /// The line that cannot be used, and what to do about it. Texts above 1 MiB are refused unread.
    pub fn parse(name: &str, namespace: &str, text: &str) -> Result<Self, PolicyError> {
        let namespace = namespace_path(namespace);
        let rules = parse::rules(text, &namespace)?;
        Ok(Self { name: name.to_owned(), namespace, text: text.to_owned(), rules })
    }

    /// The policy with an end: from then on none of its rules exists. Rules that end sooner by themselves still do.
    #[must_use]
    pub fn ending(mut self, end: crate::Moment) -> Self {
        for rule in &mut self.rules {
            rule.expires = Some(rule.expires.map_or(end, |own| own.min(end)));
        }
        self
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The path of its namespace, with a slash at the end; empty for the root one.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The text as written.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether a path in it depends on the caller's identity.
    #[must_use]
    pub fn is_templated(&self) -> bool {
        self.rules.iter().any(|rule| rule.templated)
    }

    fn rules(&self) -> &[Rule] {
        &self.rules
    }
}

fn namespace_path(path: &str) -> String {
    let path = path.trim_matches('/');
    if path.is_empty() { String::new() } else { format!("{path}/") }
}
