//! From the tree of a text to rules. Whatever is not understood is refused with its line: a limit that is not enforced
//! would be a hole.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Number, Value as Json};

use super::capability::Capabilities;
use super::filter::KeyFilter;
use super::hcl::{self, Item, Node, SyntaxError, Value};
use super::params::Values;
use super::rule::{Grants, Rule};
use super::template;
use crate::Moment;
use crate::wire::parse_ttl;

/// A policy that cannot be used, with the line and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct PolicyError {
    line: u32,
    message: String,
}

impl PolicyError {
    /// The line, from 1.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.line
    }

    /// What is wrong there and what to do.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(super) fn at(line: u32, message: impl Into<String>) -> Self {
        Self { line, message: message.into() }
    }
}

impl From<SyntaxError> for PolicyError {
    fn from(error: SyntaxError) -> Self {
        Self { line: error.line, message: error.message }
    }
}

/// Bounds the depth of the tree that is built of segments.
const MAX_SEGMENTS: usize = 256;
const MAX_PATH: usize = 4096;

const FIELDS: &str = "capabilities, policy, allowed_parameters, denied_parameters, required_parameters, \
    min_wrapping_ttl, max_wrapping_ttl, pagination_limit, expiration, list_scan_response_keys_filter_path, comment";

/// The rules of a text.
pub(super) fn rules(text: &str, namespace: &str) -> Result<Vec<Rule>, PolicyError> {
    let (items, json) = hcl::parse(text)?;
    rules_of(items, json, namespace)
}

/// The rules of a text that is read already.
pub(super) fn rules_of(items: Vec<Item>, json: bool, namespace: &str) -> Result<Vec<Rule>, PolicyError> {
    let mut rules = Vec::new();
    for item in items {
        match (item.keys.first().map(String::as_str), item.keys.len()) {
            (Some("name"), 1) if !matches!(item.value.value, Value::Object(_) | Value::List(_)) => {}
            (Some("path"), 1) if json => {
                for (label, block) in labelled(item.value)? {
                    rules.push(rule(label, block, namespace)?);
                }
            }
            (Some("path"), 2) => {
                let label = item.keys.into_iter().nth(1).unwrap_or_default();
                rules.push(rule(label, Node { line: item.line, value: item.value.value }, namespace)?);
            }
            (Some("path"), _) => {
                let message = "write one path in quotes after the word: path \"secret/data/app\" { ... }";
                return Err(PolicyError::at(item.line, message));
            }
            _ => return Err(PolicyError::at(item.line, "invalid key: a policy holds only `path` blocks")),
        }
    }
    Ok(rules)
}

/// JSON: `{"a": {...}, "b": {...}}`, or a list of such objects.
fn labelled(node: Node) -> Result<Vec<(String, Node)>, PolicyError> {
    match node.value {
        Value::Object(items) => Ok(items
            .into_iter()
            .map(|item| (item.keys.into_iter().next().unwrap_or_default(), Node { line: item.line, ..item.value }))
            .collect()),
        Value::List(nodes) if nodes.is_empty() => Err(PolicyError::at(
            node.line,
            "the list at \"path\" is empty: leave \"path\" out of a policy without rules",
        )),
        Value::List(nodes) => {
            let parts: Result<Vec<_>, _> = nodes.into_iter().map(labelled_object).collect();
            Ok(parts?.into_iter().flatten().collect())
        }
        other => Err(PolicyError::at(node.line, format!("\"path\" must be an object of paths, not {}", other.kind()))),
    }
}

fn labelled_object(node: Node) -> Result<Vec<(String, Node)>, PolicyError> {
    if matches!(node.value, Value::Object(_)) {
        return labelled(node);
    }
    Err(PolicyError::at(node.line, "the list at \"path\" must hold objects"))
}

fn rule(path: String, block: Node, namespace: &str) -> Result<Rule, PolicyError> {
    let line = block.line;
    let in_path = |line: u32, message: &str| PolicyError::at(line, format!("path {path:?}: {message}"));
    let Value::Object(items) = block.value else {
        return Err(in_path(line, &format!("needs a block in braces, not {}", block.value.kind())));
    };
    if path.contains("+*") {
        return Err(in_path(line, "invalid use of wildcards ('+*' is forbidden): end with `/+/*`, or with `*` alone"));
    }
    if path.len() > MAX_PATH || path.split('/').count() > MAX_SEGMENTS {
        return Err(in_path(line, &format!("is too long: at most {MAX_PATH} bytes and {MAX_SEGMENTS} segments")));
    }
    let templated = template::check(&path).map_err(|message| in_path(line, message))?;
    let mut stanza = Stanza { grants: Grants::default(), expires: None, seen: BTreeSet::new(), namespace };
    for item in items {
        let line = item.line;
        stanza.field(item).map_err(|message| in_path(line, &message))?;
    }
    let grants = stanza.grants;
    if grants.min_wrap.zip(grants.max_wrap).is_some_and(|(min, max)| max < min) {
        return Err(in_path(line, "max_wrapping_ttl cannot be less than min_wrapping_ttl"));
    }
    Ok(Rule { line, templated, expires: stanza.expires, grants, path })
}

struct Stanza<'a> {
    grants: Grants,
    expires: Option<Moment>,
    seen: BTreeSet<String>,
    namespace: &'a str,
}

impl Stanza<'_> {
    fn field(&mut self, item: Item) -> Result<(), String> {
        let [key] = item.keys.as_slice() else {
            return Err("invalid key: fields take no label".to_owned());
        };
        let value = item.value.value;
        let adds_up = matches!(key.as_str(), "capabilities" | "comment" | "allowed_parameters" | "denied_parameters");
        if !self.seen.insert(key.clone()) && !adds_up {
            return Err("a field is given twice: keep one".to_owned());
        }
        if value == Value::Null {
            return Ok(());
        }
        let grants = &mut self.grants;
        match key.as_str() {
            "comment" => {}
            "policy" => grants.capabilities = grants.capabilities.and(shorthand(&value)?),
            "capabilities" => grants.capabilities = grants.capabilities.and(capabilities(&value)?),
            "allowed_parameters" => values(&mut grants.parameters.allowed, key, value)?,
            "denied_parameters" => values(&mut grants.parameters.denied, key, value)?,
            "required_parameters" => grants.parameters.required = names(key, &value)?,
            "min_wrapping_ttl" => grants.min_wrap = duration(key, &value)?,
            "max_wrapping_ttl" => grants.max_wrap = duration(key, &value)?,
            "pagination_limit" => grants.list_limit = limit(key, &value)?,
            "expiration" => self.expires = expiration(&value)?,
            "list_scan_response_keys_filter_path" => {
                let Value::Text(text) = &value else { return Err(wrong(key, "a string", &value)) };
                if !text.is_empty() {
                    let filter =
                        KeyFilter::parse(text, self.namespace).map_err(|message| format!("{key}: {message}"))?;
                    grants.filter = Some(Arc::new(filter));
                }
            }
            "control_group" | "mfa_methods" => {
                return Err(format!(
                    "{key} is not built here and would not be enforced: remove it, or do not grant this path"
                ));
            }
            _ => return Err(format!("invalid key: known are {FIELDS}")),
        }
        Ok(())
    }
}

fn wrong(key: &str, wanted: &str, value: &Value) -> String {
    format!("{key} must be {wanted}, not {}", value.kind())
}

fn shorthand(value: &Value) -> Result<Capabilities, String> {
    let Value::Text(name) = value else { return Err(wrong("policy", "a string", value)) };
    Capabilities::shorthand(name)
        .ok_or_else(|| "invalid policy: use deny, read, write or sudo, or better a list of capabilities".to_owned())
}

fn capabilities(value: &Value) -> Result<Capabilities, String> {
    let Value::List(nodes) = value else { return Err(wrong("capabilities", "a list such as [\"read\"]", value)) };
    nodes.iter().try_fold(Capabilities::NONE, |all, node| {
        let name = match &node.value {
            Value::Text(name) | Value::Number(name) => name,
            other => return Err(wrong("each capability", "a string", other)),
        };
        let one = Capabilities::named(name)
            .ok_or_else(|| format!("invalid capability: use {}", Capabilities::all_names()))?;
        Ok(all.and(one))
    })
}

fn values(into: &mut Values, key: &str, value: Value) -> Result<(), String> {
    let Value::Object(items) = value else {
        return Err(wrong(key, "an object such as { \"ttl\" = [\"1h\"] }", &value));
    };
    for item in items {
        let [name] = item.keys.as_slice() else { return Err(format!("{key}: names of parameters take no label")) };
        let Value::List(nodes) = item.value.value else {
            let what = format!("{key}: the values of {name:?}");
            return Err(wrong(&what, "a list ([] means all values)", &item.value.value));
        };
        let list: Vec<Json> = nodes.into_iter().map(json).collect::<Result<_, _>>()?;
        let known = into.entry(name.to_lowercase());
        match known {
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(list);
            }
            std::collections::btree_map::Entry::Occupied(mut slot) if slot.get().is_empty() || list.is_empty() => {
                slot.get_mut().clear();
            }
            std::collections::btree_map::Entry::Occupied(mut slot) => slot.get_mut().extend(list),
        }
    }
    Ok(())
}

fn names(key: &str, value: &Value) -> Result<BTreeSet<String>, String> {
    let Value::List(nodes) = value else { return Err(wrong(key, "a list such as [\"ttl\"]", value)) };
    nodes
        .iter()
        .map(|node| match &node.value {
            Value::Text(name) | Value::Number(name) => Ok(name.to_lowercase()),
            other => Err(wrong(&format!("each name in {key}"), "a string", other)),
        })
        .collect()
}

fn duration(key: &str, value: &Value) -> Result<Option<Duration>, String> {
    let text = match value {
        Value::Text(text) => text.clone(),
        Value::Number(text) => text.parse::<f64>().map_or_else(|_| text.clone(), |seconds| format!("{seconds}s")),
        other => return Err(wrong(key, "a duration such as \"90s\"", other)),
    };
    let duration = parse_ttl(&text).map_err(|message| format!("error parsing {key}: {message}"))?;
    Ok(Some(duration).filter(|duration| !duration.is_zero()))
}

fn limit(key: &str, value: &Value) -> Result<Option<i64>, String> {
    let (Value::Text(text) | Value::Number(text)) = value else { return Err(wrong(key, "a whole number", value)) };
    let limit: i64 = text.parse().map_err(|_| format!("{key} must be a whole number"))?;
    if limit < 0 {
        return Err(format!("{key} must not be negative: use 1 or more, or leave it out"));
    }
    Ok(Some(limit).filter(|limit| *limit > 0))
}

fn expiration(value: &Value) -> Result<Option<Moment>, String> {
    let (Value::Text(text) | Value::Number(text)) = value else {
        return Err(wrong("expiration", "a time such as \"2030-01-01T00:00:00Z\"", value));
    };
    if text.is_empty() {
        return Ok(None);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        // A time before 1970 has passed, like 1970 itself.
        let seconds = u64::try_from(seconds).unwrap_or(0);
        return Ok(Some(Moment(seconds.saturating_mul(1000))));
    }
    Moment::parse_rfc3339(text).map(Some).map_err(|message| format!("invalid expiration time: {message}"))
}

/// A value of a parameter.
fn json(node: Node) -> Result<Json, String> {
    Ok(match node.value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(flag),
        Value::Text(text) => Json::String(text),
        Value::Number(text) => Json::Number(
            number(&text)
                .ok_or_else(|| "a value looks like a number and is none: put strings in double quotes".to_owned())?,
        ),
        Value::List(nodes) => Json::Array(nodes.into_iter().map(json).collect::<Result<_, _>>()?),
        Value::Object(items) => Json::Object(object(items)?),
    })
}

/// An object of values.
pub(super) fn object(items: Vec<Item>) -> Result<Map<String, Json>, String> {
    let mut map = Map::new();
    for item in items {
        let [name] = item.keys.as_slice() else { return Err("values of parameters take no label".into()) };
        map.insert(name.clone(), json(item.value)?);
    }
    Ok(map)
}

fn number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    if let Some(hex) = digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        return i64::from_str_radix(hex, 16).ok().and_then(|n| n.checked_mul(sign)).map(Number::from);
    }
    text.parse::<u64>().map(Number::from).ok().or_else(|| Number::from_f64(text.parse().ok()?))
}
