//! What is said of a declaration, in the form that `kubectl wait --for=condition=Ready` knows.

use dewdrop_core::Moment;

use super::kinds::{Condition, SecretAccess, Status};

const READY: &str = "Ready";

/// What came of a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// Whether pods can use it now.
    pub ready: bool,
    /// One word.
    pub reason: &'static str,
    /// What it means, and what to do.
    pub message: String,
}

/// The status with that verdict; `None`: it says so already.
pub fn next(access: &SecretAccess, role: &str, verdict: &Verdict, now: Moment) -> Option<Status> {
    let generation = access.metadata.generation;
    let status = if verdict.ready { "True" } else { "False" };
    let former = access.status.conditions.iter().find(|condition| condition.kind == READY);
    // The time is that of a change of `status`, not of a new reason.
    let since = former.filter(|former| former.status == status && !former.last_transition_time.is_empty());
    let condition = Condition {
        kind: READY.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.to_owned(),
        message: verdict.message.clone(),
        observed_generation: generation,
        last_transition_time: since.map_or_else(|| now.rfc3339(), |former| former.last_transition_time.clone()),
    };
    let role = if verdict.ready { role } else { "" };
    let next = Status { observed_generation: generation, role: role.to_owned(), conditions: vec![condition] };
    (next != access.status).then_some(next)
}
