//! Tests of the policy room, by topic.

mod explaining;
mod golden;
mod parameters;
mod reading;
mod same_as_naive;
mod sets;

use std::sync::Arc;

use super::{Ask, IdentityValues, Permit, Policy, PolicySet, Reason};
use crate::Moment;
use crate::op::Operation;

const NOW: Moment = Moment(1_800_000_000_000);

fn policy(text: &str) -> Arc<Policy> {
    Arc::new(Policy::parse("p", "", text).unwrap_or_else(|error| panic!("{error}\n{text}")))
}

fn set(texts: &[&str]) -> PolicySet {
    let policies: Vec<_> = texts.iter().map(|text| policy(text)).collect();
    PolicySet::compile(&policies, None)
}

fn set_for(identity: &IdentityValues, text: &str) -> PolicySet {
    PolicySet::compile(&[policy(text)], Some(identity))
}

fn ask(operation: Operation, path: &str) -> Ask<'_> {
    Ask::new(operation, path, NOW)
}

fn permit(set: &PolicySet, ask: &Ask<'_>) -> Result<Permit, Reason> {
    set.permit(ask).map_err(|denied| denied.reason().clone())
}
