//! One letter: what happened to which request. It is whole: what is told is what was so when it was written.

use dewdrop_core::Moment;
use dewdrop_core::mount::Mount;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Event, words};
use crate::access::case::{Case, Decision};
use crate::access::role::Role;
use crate::access::{keys, view};

/// What is told of a request.
const TOLD: [&str; 20] = [
    "id",
    "state",
    "role",
    "requester",
    "requester_entity",
    "reason",
    "ticket",
    "cluster",
    "namespaces",
    "ttl",
    "break_glass",
    "extends",
    "summary",
    "dangers",
    "digest",
    "approvals_needed",
    "approvals_missing",
    "created_at",
    "pending_until",
    "ends_at",
];

/// A letter.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Letter {
    /// The same however often it is sent.
    pub id: String,
    /// What happened.
    pub event: Event,
    /// When.
    pub at: Moment,
    /// Who did it; empty when nobody did.
    pub by: String,
    /// What was said to it.
    pub comment: String,
    /// The mount, with its namespace.
    pub mount: String,
    /// What to type.
    pub commands: Vec<String>,
    /// The request; empty for a test.
    pub request: Map<String, Value>,
}

impl Letter {
    /// A letter about a request.
    pub fn about(id: String, event: Event, at: Moment, mount: &Mount, case: &Case, role: Option<&Role>) -> Self {
        let mut request = view::case(case, role, at);
        request.retain(|key, _| TOLD.contains(&key.as_str()));
        let (by, comment) = actor(event, case);
        Self {
            id,
            event,
            at,
            by: words::line(&by),
            comment: words::text(&comment),
            mount: path(mount),
            commands: commands(event, mount, case),
            request,
        }
    }

    /// A letter that says nothing.
    pub fn test(id: String, at: Moment, mount: &Mount) -> Self {
        let (by, comment, commands) = (String::new(), String::new(), Vec::new());
        Self { id, event: Event::Test, at, by, comment, mount: path(mount), commands, request: Map::new() }
    }

    /// Where it waits: alarms before all others, then in the order of time.
    pub fn key(&self, notice: &str, number: u64) -> String {
        let class = u8::from(!self.event.is_alarm());
        format!("{}{class}-{:013}-{number:012}-{}", keys::outbox(notice), self.at.0, self.id)
    }

    /// A text of the request, in one line.
    pub fn of_request(&self, name: &str) -> String {
        words::line(self.request.get(name).and_then(Value::as_str).unwrap_or_default())
    }

    /// As webhooks get it.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id, "event": self.event, "at": self.at.rfc3339(), "mount": self.mount, "by": self.by,
            "comment": self.comment, "commands": self.commands, "text": words::whole(self), "request": self.request,
        })
    }
}

fn path(mount: &Mount) -> String {
    format!("{}{}", mount.namespace.path, mount.path)
}

/// Who did it, and what he said.
fn actor(event: Event, case: &Case) -> (String, String) {
    let of = |decision: Option<&Decision>| decision.map(|one| (one.by.name.clone(), one.comment.clone()));
    let said = match event {
        Event::Requested | Event::BreakGlass | Event::Started => Some((case.asked.by.name.clone(), String::new())),
        Event::Approval => of(case.decisions.last()),
        Event::Approved | Event::Extended => {
            let names: Vec<&str> = case.approvers().map(|who| who.name.as_str()).collect();
            of(case.decisions.last()).map(|(_, comment)| (names.join(", "), comment))
        }
        Event::Denied | Event::Withdrawn | Event::Revoked => {
            case.end.as_ref().map(|end| (end.by.name.clone(), end.why.clone()))
        }
        Event::Reviewed => of(case.review.as_ref()),
        Event::Expired | Event::Lapsed | Event::ReviewDue | Event::Test => None,
    };
    said.unwrap_or_default()
}

/// What to type, at this mount.
fn commands(event: Event, mount: &Mount, case: &Case) -> Vec<String> {
    let verbs: &[&str] = match event {
        Event::Requested | Event::Approval => &["approve", "deny"],
        Event::BreakGlass => &["show", "revoke", "review"],
        Event::ReviewDue => &["show", "review"],
        _ => &["show"],
    };
    let mut place = String::new();
    if !mount.namespace.path.is_empty() {
        place.push_str(&format!(" -namespace={}", mount.namespace.path.trim_end_matches('/')));
    }
    if mount.path != "access/" {
        place.push_str(&format!(" -mount={}", mount.path.trim_end_matches('/')));
    }
    verbs.iter().map(|verb| format!("dewdrop access {verb}{place} {}", case.id)).collect()
}
