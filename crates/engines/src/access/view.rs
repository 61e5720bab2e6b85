//! A case as people read it.

use dewdrop_core::Moment;
use dewdrop_core::access::dangers;
use serde_json::{Map, Value, json};

use super::case::{Case, Decision, State};
use super::clusters::Credential;
use super::direct::Terms;
use super::role::Role;
use super::who;

/// Everything that whoever asked and whoever approves must know. `role` is the one of now; `None`: it is gone.
pub fn case(case: &Case, role: Option<&Role>, now: Moment) -> Map<String, Value> {
    let asked = &case.asked;
    let time = |moment: Option<Moment>| moment.map_or_else(String::new, Moment::rfc3339);
    let data = json!({
        "id": case.id,
        "state": case.state(now),
        "role": asked.role,
        "requester": asked.by.name,
        "requester_entity": asked.by.entity,
        "reason": asked.reason,
        "ticket": asked.ticket,
        "cluster": asked.scope.clusters.first(),
        "namespaces": asked.scope.namespaces,
        "rules": asked.scope.rules,
        "ttl": asked.ttl.as_secs(),
        "break_glass": asked.break_glass,
        "extends": asked.extends,
        "summary": asked.scope.in_words(),
        "mode": if asked.direct.is_some() { "direct" } else { "proxy" },
        "credential": credential(case),
        "dangers": beware(case),
        "digest": digest(case),
        "created_at": asked.at.rfc3339(),
        "pending_until": asked.waits_until.rfc3339(),
        "granted_at": time(case.granted.map(|granted| granted.at)),
        "start_by": time(case.granted.map(|granted| granted.start_by)),
        "started_at": time(case.running.map(|running| running.since)),
        "ends_at": time(case.running.map(|running| running.until)),
        "approvals_needed": role.map_or_else(String::new, |role| who::in_words(&role.approvals)),
        "approvals_missing": missing(case, role, now),
        "decisions": case.decisions.iter().map(decision).collect::<Vec<_>>(),
        "review": case.review.as_ref().map(decision),
        "needs_review": case.needs_review(),
        "ended": case.end.as_ref().map(|end| json!({
            "how": end.how, "at": end.at.rfc3339(), "by": end.by.name, "reason": end.why,
        })),
    });
    match data {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// What approvers must know beside what is allowed. What holds of every direct grant comes first: long lists are cut.
fn beware(case: &Case) -> Vec<String> {
    let weaker = case.asked.direct.as_ref().map(Terms::weaker).unwrap_or_default();
    weaker.into_iter().chain(dangers(&case.asked.scope.rules)).collect()
}

/// How many approvals a request waits for still. Of those who approved, one may count no more: then it is one at least.
fn missing(case: &Case, role: Option<&Role>, now: Moment) -> usize {
    if case.state(now) != State::Pending {
        return 0;
    }
    let needed: usize = role.map_or(0, |role| role.approvals.iter().map(|one| usize::from(one.count)).sum());
    needed.saturating_sub(case.approvers().count()).max(1)
}

/// One line of a list.
pub fn line(case: &Case, now: Moment) -> Value {
    json!({
        "state": case.state(now),
        "role": case.asked.role,
        "requester": case.asked.by.name,
        "reason": case.asked.reason,
        "cluster": case.asked.scope.clusters.first(),
        "namespaces": case.asked.scope.namespaces,
        "created_at": case.asked.at.rfc3339(),
        "ends_at": case.running.map_or_else(String::new, |running| running.until.rfc3339()),
        "break_glass": case.asked.break_glass,
        "needs_review": case.needs_review(),
        "credential": credential(case),
    })
}

/// What its owner shows to the cluster, or to its proxy: a certificate, unless a token was asked for.
fn credential(case: &Case) -> Credential {
    case.asked.direct.as_ref().map(|terms| terms.credential).unwrap_or_default()
}

/// A fingerprint of what was asked: an approver who names it approves this and nothing else. SHA-256, in hex.
pub fn digest(case: &Case) -> String {
    let text = serde_json::to_vec(&case.asked).unwrap_or_default();
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &text))
}

fn decision(decision: &Decision) -> Value {
    json!({
        "by": decision.by.name, "entity": decision.by.entity, "at": decision.at.rfc3339(),
        "approves": decision.approves, "comment": decision.comment,
    })
}
