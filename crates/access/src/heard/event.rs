//! Audit events of the API server (`audit.k8s.io/v1`), and what of them goes on the record: who, what and how it ended. Neither
//! bodies nor queries: a query of exec holds the command, with whatever secrets stand in it.

use std::collections::HashMap;

use aws_lc_rs::digest::{SHA256, digest};
use dewdrop_core::access::{Attributes, ResourceAsk};
use serde::Deserialize;

use crate::record::{self, Api, Line, What};

/// How a grant is named in what the proxy says of a person.
const GRANT: &str = "dewdrop.dev/grant";

/// What the API server sends.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EventList {
    kind: String,
    api_version: String,
    #[serde(default)]
    items: Vec<Event>,
}

/// An event.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Event {
    #[serde(rename = "auditID")]
    audit_id: String,
    stage: String,
    #[serde(rename = "requestURI")]
    request_uri: String,
    verb: String,
    user: User,
    impersonated_user: Option<User>,
    #[serde(rename = "sourceIPs")]
    source_ips: Vec<String>,
    object_ref: Option<Object>,
    response_status: Option<Status>,
    request_received_timestamp: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    extra: HashMap<String, Vec<String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    resource: String,
    namespace: String,
    name: String,
    api_group: String,
    subresource: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    code: u16,
}

/// How events are read.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The cluster's name.
    pub cluster: String,
    /// The proxies themselves, as the API server calls them.
    pub proxy: String,
    /// Starts of names whose events are left out.
    pub skip: Vec<String>,
}

// === impl EventList ===

impl EventList {
    /// From a body; `None`: it is none.
    #[must_use]
    pub fn read(body: &[u8]) -> Option<Vec<Event>> {
        let list: Self = serde_json::from_slice(body).ok()?;
        (list.kind == "EventList" && list.api_version == "audit.k8s.io/v1").then_some(list.items)
    }
}

// === impl Reader ===

impl Reader {
    /// The line of an event; `None`: it is none for the record.
    #[must_use]
    pub fn line(&self, event: &Event) -> Option<Line> {
        if !matches!(event.stage.as_str(), "ResponseComplete" | "Panic") {
            return None;
        }
        let grant = self.grant(event);
        let mut line = Line {
            kind: "api",
            time: short(&event.request_received_timestamp),
            cluster: self.cluster.clone(),
            what: what(event),
            // The others are the client's own word.
            source: event.source_ips.last().map_or_else(String::new, |source| short(source)),
            api: Api { audit_id: name(&event.audit_id), ..Api::default() },
            ..Line::default()
        };
        line.end.code = event.response_status.as_ref().map_or(0, |status| status.code);
        let acting = event.impersonated_user.as_ref().map_or_else(String::new, |user| short(&user.username));
        if let Some(grant) = grant {
            (line.grant, line.user) = (grant, acting);
            return Some(line);
        }
        if self.skip.iter().any(|start| event.user.username.starts_with(start.as_str())) {
            return None;
        }
        (line.user, line.api.acting_as, line.api.around) = (short(&event.user.username), acting, true);
        Some(line)
    }

    /// The grant by which a proxy acted. Nobody else's word counts.
    fn grant(&self, event: &Event) -> Option<String> {
        let person = event.impersonated_user.as_ref().filter(|_| event.user.username == self.proxy)?;
        let [grant] = person.extra.get(GRANT)?.as_slice() else { return None };
        Some(short(grant))
    }
}

/// The event's name. Whoever asks the API server may choose it (`Audit-ID`): one that is none for us gets another, and is told.
fn name(text: &str) -> String {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    if (1..=64).contains(&text.len()) && is_plain {
        return text.to_owned();
    }
    let digest = digest(&SHA256, text.as_bytes());
    let hex = hex::encode(digest.as_ref().get(..16).unwrap_or_default());
    format!("renamed-{hex}")
}

fn what(event: &Event) -> What {
    let verb = short(&event.verb);
    match &event.object_ref {
        Some(of) if !of.resource.is_empty() => {
            let ask = ResourceAsk {
                verb: "",
                group: &of.api_group,
                resource: &of.resource,
                subresource: &of.subresource,
                namespace: "",
                name: "",
            };
            let target = short(Attributes::Resource(ask).to_string().trim());
            What { verb, target, namespace: short(&of.namespace), name: short(&of.name) }
        }
        _ => {
            let path = event.request_uri.split('?').next().unwrap_or_default();
            What { verb, target: short(path), ..What::default() }
        }
    }
}

fn short(text: &str) -> String {
    record::short(text).to_owned()
}
