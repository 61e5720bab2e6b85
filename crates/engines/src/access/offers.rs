//! `offers`: the roles that the caller may ask for, with what each gives, so that a person need not know them by heart.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::access::dangers;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use serde_json::{Value, json};

use super::role::Role;
use super::{Access, keys, who};

pub(super) fn routes() -> Routes<Access> {
    Routes::new("").at("offers", "The roles that the caller may ask for.", |route| route.list("Lists them.", list))
}

async fn list(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let person = access.caller(&call).await?;
    let mut offers = Vec::new();
    for name in access.names(keys::ROLES).await? {
        if let Some(role) = access.role(&name).await?.filter(|role| role.requesters.has(&person)) {
            let offer = offer(&role, role.break_glass.has(&person));
            offers.push((name, offer));
        }
    }
    Reply::listed(offers)
}

/// What whoever may ask for a role must know; who else may is not among it.
fn offer(role: &Role, break_glass: bool) -> Value {
    json!({
        "clusters": role.scope.clusters,
        "namespaces": role.scope.namespaces,
        "rules": role.scope.rules,
        "summary": role.scope.in_words(),
        "dangers": dangers(&role.scope.rules),
        "approvals": if role.auto_approve { String::new() } else { who::in_words(&role.approvals) },
        "default_ttl": role.times.default_ttl.as_secs(),
        "max_ttl": role.times.max_ttl.as_secs(),
        "reason_pattern": role.demands.reason,
        "ticket_pattern": role.demands.ticket,
        "hours": role.demands.hours,
        "break_glass": break_glass,
    })
}
