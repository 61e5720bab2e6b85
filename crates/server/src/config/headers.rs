//! `custom_response_headers` of a listener.

use std::collections::BTreeMap;

use http::{HeaderName, HeaderValue};

use super::fields::{Fields, Report};
use super::source::Span;
use super::tree::Value;

/// Headers that are added to answers, by status.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ResponseHeaders {
    /// For every status.
    pub always: Vec<(HeaderName, HeaderValue)>,
    /// For one status (`404`) or a class (`4` stands for `4xx`).
    pub by_status: BTreeMap<u16, Vec<(HeaderName, HeaderValue)>>,
}

/// Reads the block.
pub(super) fn read(fields: &mut Fields<'_>) -> ResponseHeaders {
    let mut headers = ResponseHeaders::default();
    let blocks = fields.blocks("custom_response_headers", 0);
    for item in blocks.iter().flat_map(|block| &block.body.items) {
        let name = item.key.name.as_str();
        let status = match (name, name.parse::<u16>(), name.strip_suffix("xx").map(str::parse::<u16>)) {
            ("default", ..) => None,
            (_, Ok(status @ 100..=599), _) => Some(status),
            (_, _, Some(Ok(class @ 1..=5))) => Some(class),
            _ => {
                let help = "write \"default\", a status (\"404\") or a class (\"4xx\")";
                fields.report.problem(item.key.span, format!("{name:?} is no status"), help);
                continue;
            }
        };
        let set = header_set(fields.report, &item.node.value, item.node.span);
        match status {
            None => headers.always.extend(set),
            Some(status) => headers.by_status.entry(status).or_default().extend(set),
        }
    }
    headers
}

fn header_set(report: &Report<'_>, node: &Value, span: Span) -> Vec<(HeaderName, HeaderValue)> {
    let bodies: Vec<_> = match node {
        Value::Body(body) => vec![body],
        Value::List(nodes) => {
            nodes.iter().filter_map(|n| if let Value::Body(b) = &n.value { Some(b) } else { None }).collect()
        }
        _ => {
            report.problem(span, "headers are a block of lists", "write default { \"Name\" = [\"value\"] }");
            return Vec::new();
        }
    };
    let mut set = Vec::new();
    for item in bodies.iter().flat_map(|body| &body.items) {
        let Ok(name) = item.key.name.parse::<HeaderName>() else {
            report.problem(
                item.key.span,
                format!("{:?} is no header name", item.key.name),
                "use letters, digits and -",
            );
            continue;
        };
        if name.as_str().starts_with("x-vault-") {
            report.problem(item.key.span, format!("{:?} belongs to the server", item.key.name), "choose another name");
            continue;
        }
        let nodes =
            if let Value::List(nodes) = &item.node.value { nodes.as_slice() } else { std::slice::from_ref(&item.node) };
        for node in nodes {
            match &node.value {
                Value::Text(text) if HeaderValue::from_str(text).is_ok() => {
                    set.extend(HeaderValue::from_str(text).ok().map(|value| (name.clone(), value)));
                }
                _ => report.problem(node.span, "this is no header value", "write a string without line breaks"),
            }
        }
    }
    set
}
