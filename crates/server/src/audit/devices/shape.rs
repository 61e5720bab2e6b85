//! A line of the chain as a device shows it.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use crate::audit::redact::HashKey;
use crate::config::AuditDevice;

/// Shapes a line (with its newline). The chain shows accessors; a device with `hmac_accessor` does not.
pub fn shape<'l>(line: &'l [u8], device: &AuditDevice, key: Option<&HashKey>) -> Cow<'l, [u8]> {
    let plain = !device.elide_list_responses && !device.hmac_accessor;
    if plain && device.prefix.is_empty() {
        return Cow::Borrowed(line);
    }
    let mut out = device.prefix.as_bytes().to_vec();
    match serde_json::from_slice::<Value>(line) {
        Ok(mut value) if !plain => {
            if device.elide_list_responses {
                elide(&mut value);
            }
            if let Some(key) = key.filter(|_| device.hmac_accessor) {
                hide(&mut value, key);
            }
            out.extend_from_slice(value.to_string().as_bytes());
            out.push(b'\n');
        }
        _ => out.extend_from_slice(line),
    }
    Cow::Owned(out)
}

/// What is left of a line that is too large for a sink which takes no more: a log must not stop because of one record.
pub fn shorten(line: &[u8], device: &AuditDevice) -> Vec<u8> {
    let rest = line.get(device.prefix.len()..).unwrap_or_default();
    let value: Value = serde_json::from_slice(rest).unwrap_or_default();
    let request = value.get("request").cloned().unwrap_or_default();
    let short = json!({
        "seq": value.get("seq"), "prev": value.get("prev"), "time": value.get("time"), "type": value.get("type"),
        "request": { "id": request.get("id"), "operation": request.get("operation"), "namespace": request.get("namespace") },
        "truncated_bytes": line.len(),
    });
    format!("{}{short}\n", device.prefix).into_bytes()
}

fn hide(value: &mut Value, key: &HashKey) {
    const ACCESSORS: [&str; 3] = ["accessor", "client_token_accessor", "wrapped_accessor"];
    match value {
        Value::Object(map) => {
            for (name, value) in map.iter_mut() {
                match value {
                    Value::String(text) if ACCESSORS.contains(&name.as_str()) && !text.starts_with("hmac-sha256:") => {
                        *text = key.hash(text)
                    }
                    value => hide(value, key),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|value| hide(value, key)),
        _ => {}
    }
}

/// Lists can be long: only how long they are is told.
fn elide(value: &mut Value) {
    let is_list = value
        .pointer("/request/operation")
        .and_then(Value::as_str)
        .is_some_and(|operation| operation == "list" || operation == "scan");
    let data = value.pointer_mut("/response/data").and_then(Value::as_object_mut);
    let Some(data) = data.filter(|_| is_list) else { return };
    let count = |data: &Map<String, Value>, name: &str| match data.get(name) {
        Some(Value::Array(list)) => Some(list.len()),
        Some(Value::Object(map)) => Some(map.len()),
        _ => None,
    };
    for name in ["keys", "key_info"] {
        if let Some(count) = count(data, name) {
            data.insert(name.to_owned(), count.into());
        }
    }
}
