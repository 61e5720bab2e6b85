//! One `path` stanza, and how stanzas for the same path add up.

use std::sync::Arc;
use std::time::Duration;

use super::capability::Capabilities;
use super::filter::KeyFilter;
use super::params::Parameters;
use crate::Moment;

/// One `path` stanza of a policy.
#[derive(Debug, Clone)]
pub(super) struct Rule {
    /// As written.
    pub(super) path: String,
    /// The line of the word `path`.
    pub(super) line: u32,
    /// Holds `{{...}}`.
    pub(super) templated: bool,
    /// From then on the rule does not exist.
    pub(super) expires: Option<Moment>,
    pub(super) grants: Grants,
}

/// What one or more stanzas give.
#[derive(Debug, Clone, Default)]
pub(super) struct Grants {
    pub(super) capabilities: Capabilities,
    pub(super) parameters: Parameters,
    pub(super) min_wrap: Option<Duration>,
    pub(super) max_wrap: Option<Duration>,
    pub(super) list_limit: Option<i64>,
    pub(super) filter: Option<Arc<KeyFilter>>,
}

impl Grants {
    /// Adds another stanza for the same path: all capabilities of both, the tighter of each limit. A limit that only
    /// one of them has stays.
    pub(super) fn merge(&mut self, other: &Self) {
        self.capabilities = self.capabilities.and(other.capabilities);
        self.parameters.merge(&other.parameters);
        self.min_wrap = least(self.min_wrap, other.min_wrap);
        self.max_wrap = least(self.max_wrap, other.max_wrap);
        self.list_limit = least(self.list_limit, other.list_limit);
        if self.filter.is_none() {
            self.filter.clone_from(&other.filter);
        }
    }

    /// Whether something other than capabilities decides.
    pub(super) fn has_limits(&self) -> bool {
        !self.parameters.is_empty()
            || self.min_wrap.is_some()
            || self.max_wrap.is_some()
            || self.list_limit.is_some()
            || self.filter.is_some()
    }
}

fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
