//! Compares two answers to the same step, already normalised.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::normal::EPOCH_NUMBER;
use super::script::{Compare, Options};

/// One answer, as far as it is compared.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// HTTP status; for `SQL` and `BAO` the exit code; 0 when there was no answer at all.
    pub status: u16,
    /// Headers that matter: small letters.
    pub headers: Vec<(String, String)>,
    /// The normalised body.
    pub body: Body,
}

/// A body by what it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// No byte.
    Empty,
    /// Parsed and normalised.
    Json(Value),
    /// Normalised text.
    Text(String),
    /// Something else, with its first bytes.
    Binary(Vec<u8>),
}

/// A thing in which two answers differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `status 500 -> 400`, `header cache-control`, `body data.keys`, `wording errors`.
    pub place: String,
    /// What the oracle said.
    pub theirs: String,
    /// What we said.
    pub ours: String,
}

impl Difference {
    /// The wording of errors and warnings is ours to choose, so it is counted but fails nothing.
    pub fn only_wording(&self) -> bool {
        self.place.starts_with("wording")
    }
}

/// Headers whose value is compared.
const BY_VALUE: &[&str] = &["content-type", "cache-control"];
/// Headers that must be there or not; their value depends on the moment or the host.
const BY_PRESENCE: &[&str] = &["retry-after", "location", "x-vault-index"];

/// Seconds that a remaining time may differ: the two servers are not asked at the same instant.
const TTL_SLACK: f64 = 3.0;

/// All differences of two answers to a step with these options.
pub fn compare(theirs: &Answer, ours: &Answer, options: &Options) -> Vec<Difference> {
    let mut found = Differences::default();
    if options.compare == Compare::Nothing {
        return found.0;
    }
    if theirs.status != ours.status {
        let place = format!("status {} -> {}", theirs.status, ours.status);
        found.add(&place, &theirs.status.to_string(), &ours.status.to_string());
    }
    headers(theirs, ours, &mut found);
    // A success and a refusal have nothing in common that is worth listing key by key.
    let same_kind = theirs.status / 100 == ours.status / 100 && (theirs.status == 0) == (ours.status == 0);
    if options.compare != Compare::Status && same_kind {
        bodies(theirs, ours, options, &mut found);
    }
    found.0
}

#[derive(Default)]
struct Differences(Vec<Difference>);

impl Differences {
    fn add(&mut self, place: &str, theirs: &str, ours: &str) {
        self.0.push(Difference { place: place.to_owned(), theirs: theirs.to_owned(), ours: ours.to_owned() });
    }
}

fn headers(theirs: &Answer, ours: &Answer, found: &mut Differences) {
    let get = |answer: &Answer, name: &str| answer.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.clone());
    for name in BY_VALUE {
        let (a, b) = (get(theirs, name), get(ours, name));
        if a != b {
            found.add(&format!("header {name}"), &a.unwrap_or("absent".into()), &b.unwrap_or("absent".into()));
        }
    }
    for name in BY_PRESENCE {
        let (a, b) = (get(theirs, name), get(ours, name));
        if a.is_some() != b.is_some() {
            found.add(&format!("header {name}"), &a.unwrap_or("absent".into()), &b.unwrap_or("absent".into()));
        }
    }
}

fn bodies(theirs: &Answer, ours: &Answer, options: &Options, found: &mut Differences) {
    match (&theirs.body, &ours.body) {
        (Body::Empty, Body::Empty) => {}
        (Body::Json(a), Body::Json(b)) => match options.compare {
            Compare::Top => top(a, b, found),
            Compare::Shape => shape("", a, b, found),
            _ => whole(a, b, options, found),
        },
        (Body::Text(a), Body::Text(b)) => {
            if a != b {
                // 1 to 99: the exit code of a command that failed.
                let complaint = theirs.status >= 400 || (1..100).contains(&theirs.status);
                let place = if complaint { "wording text" } else { "body" };
                found.add(place, &short(a), &short(b));
            }
        }
        (Body::Binary(_), Body::Binary(_)) => {}
        (a, b) => found.add("body", &kind(a), &kind(b)),
    }
}

fn kind(body: &Body) -> String {
    match body {
        Body::Empty => "no body".into(),
        Body::Json(value) => format!("JSON {}", short(&value.to_string())),
        Body::Text(text) => format!("text {}", short(text)),
        Body::Binary(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// Keys and types of the first level.
fn top(theirs: &Value, ours: &Value, found: &mut Differences) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, x, y) in common(a, b, "", found) {
                if type_of(x) != type_of(y) {
                    found.add(&format!("body {key}"), type_of(x), type_of(y));
                }
            }
        }
        _ if type_of(theirs) != type_of(ours) => found.add("body", type_of(theirs), type_of(ours)),
        _ => {}
    }
}

/// Keys and types on all levels; an array is the union of its elements.
fn shape(path: &str, theirs: &Value, ours: &Value, found: &mut Differences) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, x, y) in common(a, b, path, found) {
                shape(&key, x, y, found);
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            if a.is_empty() != b.is_empty() {
                found.add(&format!("body {path}"), &format!("{} elements", a.len()), &format!("{} elements", b.len()));
            } else if let (Some(x), Some(y)) = (union(a), union(b)) {
                shape(&format!("{path}[]"), &x, &y, found);
            }
        }
        _ if type_of(theirs) != type_of(ours) => found.add(&format!("body {path}"), type_of(theirs), type_of(ours)),
        _ => {}
    }
}

/// One element that has the keys of all.
fn union(items: &[Value]) -> Option<Value> {
    let mut items = items.iter();
    let mut all = items.next()?.clone();
    for item in items {
        match (&mut all, item) {
            (Value::Object(into), Value::Object(from)) => {
                for (key, value) in from {
                    into.entry(key.clone()).or_insert_with(|| value.clone());
                }
            }
            _ => break,
        }
    }
    Some(all)
}

/// The usual comparison: an envelope with `errors` or `warnings`, or any JSON.
fn whole(theirs: &Value, ours: &Value, options: &Options, found: &mut Differences) {
    for field in ["errors", "warnings"] {
        // Only the envelope's own lists: an array of strings (or null) on the top level.
        let (a, b) = (texts(theirs, field), texts(ours, field));
        if let (Some(a), Some(b)) = (a, b) {
            if a.is_empty() != b.is_empty() {
                found.add(&format!("body {field}"), &short(&a.join("; ")), &short(&b.join("; ")));
            } else if a != b {
                let place = if options.exact_errors { "body" } else { "wording" };
                found.add(&format!("{place} {field}"), &short(&a.join("; ")), &short(&b.join("; ")));
            }
        }
    }
    values("", theirs, ours, options, found);
}

/// The strings of `errors` or `warnings`; `None` when there is no such list of strings.
fn texts(answer: &Value, field: &str) -> Option<Vec<String>> {
    answer.get(field)?.as_array()?.iter().map(|item| item.as_str().map(str::to_owned)).collect()
}

fn values(path: &str, theirs: &Value, ours: &Value, options: &Options, found: &mut Differences) {
    let envelope_texts = |path: &str| matches!(path, "errors" | "warnings");
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for (key, x, y) in common(a, b, path, found) {
                values(&key, x, y, options, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if envelope_texts(path) && texts_only(a) && texts_only(b) => {}
        (Value::Array(a), Value::Array(b)) => {
            if a.len() != b.len() {
                found.add(&format!("body {path}"), &short(&theirs.to_string()), &short(&ours.to_string()));
                return;
            }
            let (a, b) = if options.unordered { (sorted(a), sorted(b)) } else { (a.clone(), b.clone()) };
            for (index, (x, y)) in a.iter().zip(&b).enumerate() {
                values(&join(path, &index.to_string()), x, y, options, found);
            }
        }
        _ if type_of(theirs) != type_of(ours) => {
            let say = |value: &Value| format!("{} {}", type_of(value), short(&value.to_string()));
            found.add(&format!("body {path}"), &say(theirs), &say(ours));
        }
        _ => {
            let loose = options.loose.iter().any(|loose| loose == path || loose == "*");
            if theirs != ours && !loose && !nearly(path, theirs, ours) {
                found.add(&format!("body {path}"), &short(&theirs.to_string()), &short(&ours.to_string()));
            }
        }
    }
}

fn sorted(items: &[Value]) -> Vec<Value> {
    let mut items = items.to_vec();
    if texts_only(&items) {
        items.sort_by(|a, b| a.as_str().cmp(&b.as_str()));
    }
    items
}

fn texts_only(items: &[Value]) -> bool {
    items.iter().all(Value::is_string)
}

/// Remaining times may differ by a moment.
fn nearly(path: &str, theirs: &Value, ours: &Value) -> bool {
    let key = path.rsplit('.').next().unwrap_or(path);
    let remaining = key == "ttl" || key == "lease_duration" || key.ends_with("_ttl") || key.ends_with("remaining");
    match (theirs.as_f64(), ours.as_f64()) {
        (Some(a), Some(b)) => {
            a.to_bits() == b.to_bits() || (remaining && a > TTL_SLACK && b > TTL_SLACK && (a - b).abs() <= TTL_SLACK)
        }
        _ => false,
    }
}

/// Pairs the common keys; a key that only one side has is a difference.
fn common<'a>(
    theirs: &'a Map<String, Value>,
    ours: &'a Map<String, Value>,
    path: &str,
    found: &mut Differences,
) -> Vec<(String, &'a Value, &'a Value)> {
    let keys: BTreeSet<&String> = theirs.keys().chain(ours.keys()).collect();
    let mut pairs = Vec::new();
    for key in keys {
        let place = join(path, key);
        match (theirs.get(key), ours.get(key)) {
            (Some(a), Some(b)) => pairs.push((place, a, b)),
            (Some(a), None) => found.add(&format!("body {place}"), &short(&a.to_string()), "absent"),
            (None, Some(b)) => found.add(&format!("body {place}"), "absent", &short(&b.to_string())),
            (None, None) => {}
        }
    }
    pairs
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(text) if text == EPOCH_NUMBER => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A line is enough to see what is meant.
fn short(text: &str) -> String {
    const LIMIT: usize = 160;
    let line = text.trim().replace('\n', "\\n");
    match line.char_indices().nth(LIMIT) {
        Some((at, _)) => format!("{}...", &line[..at]),
        None => line,
    }
}

#[cfg(test)]
mod tests;
