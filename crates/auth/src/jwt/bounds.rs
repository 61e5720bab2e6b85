//! Claims of a verified token, and what a role wants of them.

use std::collections::BTreeMap;

use serde_json::{Number, Value};

use super::role::{Bounds, Role};
use crate::glob::matches;
use crate::jose::Claims;

/// Each is looked up at every login; a provider that names more would keep the server busy.
const MOST_GROUPS: usize = 2000;

/// A claim by its name, or by a JSON pointer when it begins with a slash.
fn claim<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    let mut parts = name.strip_prefix('/')?.split('/').map(|part| part.replace("~1", "/").replace("~0", "~"));
    let first = claims.0.get(&parts.next()?)?;
    parts.try_fold(first, |value, part| match value {
        Value::Object(map) => map.get(&part),
        Value::Array(list) => list.get(part.parse::<usize>().ok()?),
        _ => None,
    })
}

fn find<'c>(claims: &'c Claims, name: &str) -> Option<&'c Value> {
    let found = if name.starts_with('/') { claim(claims, name) } else { claims.0.get(name) };
    found.filter(|value| !value.is_null())
}

impl Role {
    /// The name of the alias.
    ///
    /// # Errors
    /// What the caller hears.
    pub fn user(&self, claims: &Claims) -> Result<String, String> {
        let name = &self.user_claim;
        let found = if self.user_is_pointer { find(claims, name) } else { claims.0.get(name) };
        let value =
            found.filter(|value| !value.is_null()).ok_or_else(|| format!("claim {name:?} not found in token"))?;
        let text = value.as_str().ok_or_else(|| format!("claim {name:?} could not be converted to string"))?;
        if text.is_empty() { Err(format!("claim {name:?} is empty")) } else { Ok(text.to_owned()) }
    }

    /// Names of groups.
    ///
    /// # Errors
    /// What the caller hears.
    pub fn groups(&self, claims: &Claims) -> Result<Vec<String>, String> {
        let name = &self.groups_claim;
        if name.is_empty() {
            return Ok(Vec::new());
        }
        let not_found = || format!("failed to fetch groups: {name:?} claim not found in token");
        let values = match find(claims, name).ok_or_else(not_found)? {
            Value::Array(all) => all.clone(),
            one @ (Value::String(_) | Value::Bool(_) | Value::Number(_)) => vec![one.clone()],
            _ => return Err(format!("{name:?} claim could not be converted to string list")),
        };
        if values.len() > MOST_GROUPS {
            return Err(format!("{name:?} claim names {} groups: at most {MOST_GROUPS} are looked up", values.len()));
        }
        let odd = || "value in groups claim could not be parsed as string".to_owned();
        let texts = values.iter().map(|value| value.as_str().map(str::to_owned).ok_or_else(odd));
        texts.filter(|text| text.as_ref().map_or(true, |text| !text.is_empty())).collect()
    }

    /// Metadata of the token.
    ///
    /// # Errors
    /// What the caller hears.
    pub fn metadata(&self, claims: &Claims) -> Result<BTreeMap<String, String>, String> {
        let mut metadata = BTreeMap::new();
        for (from, to) in &self.mappings {
            let Some(value) = find(claims, from) else { continue };
            let text = value.as_str().ok_or_else(|| format!("error converting claim '{from}' to string"))?;
            metadata.insert(to.clone(), text.to_owned());
        }
        metadata.insert("role".into(), self.name.clone());
        Ok(metadata)
    }
}

impl Bounds {
    /// Whether claims are within the bounds.
    ///
    /// # Errors
    /// What the caller hears.
    pub fn admit(&self, claims: &Claims) -> Result<(), String> {
        for (name, wanted) in &self.claims {
            let given = find(claims, name).ok_or_else(|| format!("claim {name:?} is missing"))?;
            let given = list(given).ok_or("received claim is not a string, bool, int or list")?;
            let wanted = list(wanted).ok_or("bound claim is not a string, bool, int or list")?;
            if !wanted.iter().any(|want| given.iter().any(|one| self.is_same(want, one))) {
                return Err(format!("claim {name:?} does not match any associated bound claim values"));
            }
        }
        Ok(())
    }

    fn is_same(&self, wanted: &Value, given: &Value) -> bool {
        match (wanted, given) {
            (Value::String(pattern), Value::String(text)) if self.with_globs => matches(pattern, text),
            (Value::Number(wanted), Value::Number(given)) => is_same_number(wanted, given),
            _ => wanted == given,
        }
    }
}

/// `7` and `7.0` are the same. Whole numbers are compared as such: beyond 2^53, as ids of some providers are, several of them
/// are one and the same float.
fn is_same_number(wanted: &Number, given: &Number) -> bool {
    let are_whole = [wanted, given].iter().all(|number| number.is_u64() || number.is_i64());
    wanted == given || (!are_whole && wanted.as_f64() == given.as_f64())
}

fn list(value: &Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(all) => Some(all.clone()),
        Value::String(_) | Value::Bool(_) | Value::Number(_) => Some(vec![value.clone()]),
        _ => None,
    }
}
