//! The question, and its two answers.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use super::filter::KeyFilter;
use crate::Moment;
use crate::fault::Fault;
use crate::op::Operation;

/// What somebody wants to do.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The verb. For a write, `Create` where the thing is known not to exist yet.
    pub operation: Operation,
    /// The full path: namespace, mount, rest; no leading slash.
    pub path: &'a str,
    /// Body fields of a write, query fields of a read; `None` is as good as none.
    pub parameters: Option<&'a Map<String, Value>>,
    /// The answer is to be wrapped for this long.
    pub wrap_ttl: Option<Duration>,
    /// `limit` of a list, as sent.
    pub list_limit: Option<i64>,
    /// The path is marked as dangerous (or the act on it is): `sudo` is needed beside the verb's capability.
    pub needs_sudo: bool,
    /// Now: rules may expire.
    pub now: Moment,
}

impl<'a> Ask<'a> {
    /// A plain one: no parameters, no wrapping.
    #[must_use]
    pub fn new(operation: Operation, path: &'a str, now: Moment) -> Self {
        Self { operation, path, parameters: None, wrap_ttl: None, list_limit: None, needs_sudo: false, now }
    }
}

/// Proof that policy said yes. Only [`PolicySet`](super::PolicySet) makes one, or [`Permit::public`] where a path needs
/// no token.
#[derive(Debug)]
pub struct Permit {
    root: bool,
    sudo: bool,
    list_limit: Option<i64>,
    key_filter: Option<Arc<KeyFilter>>,
}

impl Permit {
    /// For routes that need no token; the reason is for the reader of the code.
    #[must_use]
    pub fn public(_reason: &'static str) -> Self {
        Self { root: false, sudo: false, list_limit: None, key_filter: None }
    }

    pub(super) fn root(list_limit: Option<i64>) -> Self {
        Self { root: true, sudo: true, list_limit, key_filter: None }
    }

    pub(super) fn granted(sudo: bool, list_limit: Option<i64>, key_filter: Option<Arc<KeyFilter>>) -> Self {
        Self { root: false, sudo, list_limit, key_filter }
    }

    /// The caller holds the `root` policy.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.root
    }

    /// The caller has `sudo` on this path.
    #[must_use]
    pub fn has_sudo(&self) -> bool {
        self.sudo
    }

    /// How many keys a list may give at most: what was asked for, or the policy's limit. Put it in place of the
    /// request's `limit`.
    #[must_use]
    pub fn list_limit(&self) -> Option<i64> {
        self.list_limit
    }

    /// The keys of a list must go through [`PolicySet::shows_key`](super::PolicySet::shows_key) with this.
    #[must_use]
    pub fn key_filter(&self) -> Option<&Arc<KeyFilter>> {
        self.key_filter.as_ref()
    }
}

/// A rule, as an operator finds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RuleRef {
    /// The name of its policy.
    pub policy: String,
    /// The path of the policy's namespace; empty for the root namespace.
    pub namespace: String,
    /// The path as written in the policy.
    pub path: String,
    /// The line in the policy.
    pub line: u32,
}

impl fmt::Display for RuleRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "path {:?} (policy {:?}, line {}", self.path, self.policy, self.line)?;
        if !self.namespace.is_empty() {
            write!(f, ", namespace {:?}", self.namespace)?;
        }
        f.write_str(")")
    }
}

/// Policy said no. Shown to a stranger it is just "permission denied"; [`Denied::why`] is for operators.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("permission denied")]
pub struct Denied {
    pub(super) reason: Reason,
    pub(super) rules: Vec<RuleRef>,
}

/// Why.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// No rule matches the path.
    NoRule,
    /// The deciding rule says `deny`.
    DenyRule,
    /// The deciding rule does not grant this capability.
    Capability(&'static str),
    /// The path needs `sudo`, which the deciding rule does not grant.
    Sudo,
    /// This required parameter was not sent.
    ParameterMissing(String),
    /// This parameter is denied, or its value is.
    ParameterDenied(String),
    /// This parameter is not among the allowed ones, or its value is not.
    ParameterNotAllowed(String),
    /// The answer must be wrapped for a time between these; zero: no limit on that side.
    Wrapping(Duration, Duration),
    /// A list may ask for at most so many keys.
    ListLimit(i64),
    /// The identity has a value that would change the meaning of a path: the variable, the character. Then nothing is
    /// allowed, because leaving the rule out might allow more.
    Template(String, char),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRule => f.write_str("no rule matches the path"),
            Self::DenyRule => f.write_str("the rule says deny"),
            Self::Capability(name) => write!(f, "the rule does not grant {name:?}"),
            Self::Sudo => f.write_str("the path needs \"sudo\", which the rule does not grant"),
            Self::ParameterMissing(name) => write!(f, "the rule requires the parameter {name:?}"),
            Self::ParameterDenied(name) => write!(f, "the rule denies the parameter {name:?} or its value"),
            Self::ParameterNotAllowed(name) => write!(f, "the rule does not allow the parameter {name:?} or its value"),
            Self::Wrapping(min, max) if max.is_zero() => {
                write!(f, "the rule requires the answer to be wrapped for {}s or more", min.as_secs())
            }
            Self::Wrapping(min, max) => {
                write!(f, "the rule requires the answer to be wrapped for {}s to {}s", min.as_secs(), max.as_secs())
            }
            Self::ListLimit(max) => write!(f, "the rule requires a list to set limit, between 1 and {max}"),
            Self::Template(name, c) => {
                write!(
                    f,
                    "the value of {{{{{name}}}}} contains {c:?}, which would change the meaning of the path; change the value"
                )
            }
        }
    }
}

impl Denied {
    /// Why, as a type.
    #[must_use]
    pub fn reason(&self) -> &Reason {
        &self.reason
    }

    /// The stanzas that make up the deciding rule; empty when no rule matched.
    #[must_use]
    pub fn rules(&self) -> &[RuleRef] {
        &self.rules
    }

    /// Why, for operators. Holds no value of any parameter.
    #[must_use]
    pub fn why(&self) -> String {
        let rules: Vec<String> = self.rules.iter().map(ToString::to_string).collect();
        if rules.is_empty() { self.reason.to_string() } else { format!("{}: {}", self.reason, rules.join(" + ")) }
    }
}

impl From<Denied> for Fault {
    fn from(denied: Denied) -> Self {
        Self::denied(denied.why())
    }
}
