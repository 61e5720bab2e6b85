//! The guards: what a pod may not do that holds our secrets. Pure: a [`Pod`] in, all violations at once out, each with what
//! to do. `deploy/admission/policies.yaml` says the same in CEL, for clusters without the webhook.
//!
//! `hostNetwork` is allowed: it shows neither files nor memory of another container, and ingress controllers, which need our
//! certificates, need it. What it does show, the node's own ports, is for NetworkPolicies and the node to guard.

mod doors;
mod ephemeral;
mod host_paths;
mod literals;
mod sharing;
mod tokens;
mod volumes;
mod wrapped;

use std::fmt;

pub use doors::{DOORS, is_door, through_a_door};
pub use host_paths::SecretFolders;
pub use literals::literal_secrets;
pub use tokens::{TokenRequest, token_for_us};

use crate::agentless;
use crate::pod::Pod;

/// What the rules must know of the cluster.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The audience of our tokens: `dewdrop`.
    pub audience: String,
    /// The node's folders that hold secrets.
    pub folders: SecretFolders,
    /// The image that brings the wrapper where there is no agent.
    pub exec_image: Option<String>,
}

/// One thing that is not allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The rule's name; `docs/guides` and the policies use the same.
    pub rule: &'static str,
    /// What is wrong, with names and never with values.
    pub what: String,
    /// What to do.
    pub todo: String,
}

impl Violation {
    /// A violation.
    pub fn new(rule: &'static str, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { rule, what: what.into(), todo: todo.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}] {}: {}", self.rule, self.what, self.todo)
    }
}

/// All that is wrong with a pod that is to be made. A pod without a volume of ours breaks no rule here.
#[must_use]
pub fn check(pod: &Pod, namespace: &str, ground: &Ground) -> Vec<Violation> {
    let owned = pod.owned(&ground.audience);
    if owned.is_empty() && agentless::asks(pod).is_empty() {
        return Vec::new();
    }
    let mut found = volumes::check(pod, namespace, &owned);
    found.extend(wrapped::check(pod, &owned, ground));
    found.extend(sharing::check(pod));
    found.extend(ephemeral::check(pod, &owned));
    found.extend(host_paths::check(pod, &ground.folders));
    found
}

/// The one rule that also counts for pods without a volume of ours, where that is switched on.
#[must_use]
pub fn check_host_paths(pod: &Pod, ground: &Ground) -> Vec<Violation> {
    host_paths::check(pod, &ground.folders)
}

/// Says all of it in one text.
#[must_use]
pub fn told(violations: &[Violation]) -> String {
    let lines: Vec<String> = violations.iter().map(ToString::to_string).collect();
    match lines.as_slice() {
        [one] => one.clone(),
        many => format!("{} things are to be changed:\n- {}", many.len(), many.join("\n- ")),
    }
}

#[cfg(test)]
mod testing;
