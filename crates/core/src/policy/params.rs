//! Limits on what may be sent: `allowed_parameters`, `denied_parameters`, `required_parameters`.
//!
//! Stricter than the servers that the language comes from, in what they let through by mistake: every element of a list is
//! checked, and every part of a text with commas (many fields take lists so); a denied number or boolean is also
//! denied when it is sent as text. Values never get into messages: they may be secrets.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Number, Value};

/// Allowed or denied values by parameter, in lower case. No values: all values.
pub(super) type Values = BTreeMap<String, Vec<Value>>;

/// The limits of one rule. Empty: none.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Parameters {
    pub(super) allowed: Values,
    pub(super) denied: Values,
    pub(super) required: BTreeSet<String>,
}

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    Missing(String),
    Denied(String),
    NotAllowed(String),
}

impl Parameters {
    pub(super) fn is_empty(&self) -> bool {
        self.allowed.is_empty() && self.denied.is_empty() && self.required.is_empty()
    }

    /// The limits of both: all that either requires or denies; values that either allows.
    pub(super) fn merge(&mut self, other: &Self) {
        merge_values(&mut self.allowed, &other.allowed);
        merge_values(&mut self.denied, &other.denied);
        self.required.extend(other.required.iter().cloned());
    }

    pub(super) fn check(&self, sent: Option<&Map<String, Value>>) -> Result<(), Refusal> {
        if self.is_empty() {
            return Ok(());
        }
        let none = Map::new();
        let sent = sent.unwrap_or(&none);
        for name in &self.required {
            if !sends(sent, name) {
                return Err(Refusal::Missing(name.clone()));
            }
        }
        for (name, value) in sent {
            let key = lower(name);
            if self.denied.contains_key("*") || self.denied.get(&*key).is_some_and(|denied| hits(denied, value)) {
                return Err(Refusal::Denied(name.clone()));
            }
            if self.allowed.is_empty() {
                continue;
            }
            let allowed = self.allowed.get(&*key).or_else(|| self.allowed.get("*"));
            if !allowed.is_some_and(|allowed| allowed.is_empty() || permits(allowed, value)) {
                return Err(Refusal::NotAllowed(name.clone()));
            }
        }
        Ok(())
    }
}

/// Whether a parameter of that name (in lower case) is sent.
pub(super) fn sends(sent: &Map<String, Value>, name: &str) -> bool {
    sent.keys().any(|key| lower(key) == name)
}

fn merge_values(ours: &mut Values, theirs: &Values) {
    for (name, values) in theirs {
        match ours.get_mut(name) {
            None => {
                ours.insert(name.clone(), values.clone());
            }
            Some(known) if known.is_empty() || values.is_empty() => known.clear(),
            Some(known) => known.extend_from_slice(values),
        }
    }
}

fn lower(name: &str) -> Cow<'_, str> {
    if name.chars().any(char::is_uppercase) { name.to_lowercase().into() } else { name.into() }
}

fn permits(allowed: &[Value], sent: &Value) -> bool {
    if allowed.iter().any(|pattern| same(pattern, sent)) {
        return true;
    }
    match sent {
        Value::Array(elements) => !elements.is_empty() && elements.iter().all(|element| permits(allowed, element)),
        Value::String(text) => permits_text(allowed, text),
        Value::Bool(_) | Value::Number(_) => allowed.iter().any(|pattern| pattern == "*"),
        Value::Null | Value::Object(_) => false,
    }
}

fn permits_text(allowed: &[Value], text: &str) -> bool {
    let globs = || allowed.iter().filter_map(Value::as_str);
    if globs().any(|pattern| pattern.contains(',') && glob(pattern, text)) {
        return true;
    }
    let part = |part: &str| globs().any(|pattern| glob(pattern, part));
    part(text) && text.split(',').all(|text| part(text.trim()))
}

fn hits(denied: &[Value], sent: &Value) -> bool {
    if denied.is_empty() || denied.iter().any(|pattern| resembles(pattern, sent)) {
        return true;
    }
    match sent {
        Value::Array(elements) => elements.iter().any(|element| hits(denied, element)),
        Value::String(text) if text.contains(',') => text
            .split(',')
            .any(|part| denied.iter().any(|pattern| resembles(pattern, &Value::String(part.trim().into())))),
        _ => false,
    }
}

/// Equal, numbers by value.
fn same(pattern: &Value, sent: &Value) -> bool {
    match (pattern, sent) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same(a, b)))
        }
        _ => pattern == sent,
    }
}

fn same_number(a: &Number, b: &Number) -> bool {
    a == b || a.as_f64().zip(b.as_f64()).is_some_and(|(a, b)| a.total_cmp(&b).is_eq())
}

/// Means the same to an engine, which reads `"1"` as 1 and `"true"` as true.
fn resembles(pattern: &Value, sent: &Value) -> bool {
    if same(pattern, sent) {
        return true;
    }
    let (Some(pattern_text), Some(sent_text)) = (scalar_text(pattern), scalar_text(sent)) else { return false };
    let number = |text: &str| text.trim().parse::<f64>().ok();
    let numbers = number(&pattern_text).zip(number(&sent_text)).is_some_and(|(a, b)| a.total_cmp(&b).is_eq());
    let flags = flag(&pattern_text).is_some() && flag(&pattern_text) == flag(&sent_text);
    numbers || flags || glob(&pattern_text, &sent_text)
}

fn scalar_text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(text.as_str().into()),
        Value::Bool(_) | Value::Number(_) => Some(value.to_string().into()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

fn flag(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// A `*` at the start, the end or both stands for anything; elsewhere for itself.
fn glob(pattern: &str, text: &str) -> bool {
    match (pattern.strip_prefix('*'), pattern.strip_suffix('*')) {
        (Some(""), _) => true,
        (Some(tail), Some(_)) => text.contains(&tail[..tail.len() - 1]),
        (Some(tail), None) => text.ends_with(tail),
        (None, Some(head)) => text.starts_with(head),
        (None, None) => pattern == text,
    }
}
