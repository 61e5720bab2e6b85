//! The envelope around every reply of the API.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde_json::{Map, Value};
use zeroize::Zeroize;

use crate::SecretText;

/// The reply envelope. A field that the server left out, or sent as `null`, is at its default.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Envelope {
    /// The request's id, as it stands in the audit log.
    #[serde(deserialize_with = "nullable")]
    pub request_id: String,
    /// The lease of what was made, or nothing.
    #[serde(deserialize_with = "nullable")]
    pub lease_id: String,
    /// Whether the lease can be renewed.
    #[serde(deserialize_with = "nullable")]
    pub renewable: bool,
    /// Seconds until the lease ends.
    #[serde(deserialize_with = "nullable")]
    pub lease_duration: u64,
    /// What was asked for.
    pub data: Option<Data>,
    /// Where the reply was put, when wrapping was asked for.
    pub wrap_info: Option<WrapInfo>,
    /// What the caller ought to know.
    pub warnings: Option<Vec<String>>,
    /// The token that was made, by a login or a token's creation.
    pub auth: Option<Auth>,
}

/// The `data` of a reply: wiped on drop, and `Debug` shows the names of its fields alone.
#[derive(Default, Deserialize)]
#[serde(transparent)]
pub struct Data(Map<String, Value>);

/// A token and what it may do.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Auth {
    /// The token.
    pub client_token: SecretText,
    /// Its accessor.
    #[serde(deserialize_with = "nullable")]
    pub accessor: String,
    /// All its policies.
    pub policies: Option<Vec<String>>,
    /// Those of the token itself.
    pub token_policies: Option<Vec<String>>,
    /// Those that come with its identity.
    pub identity_policies: Option<Vec<String>>,
    /// What the auth method wrote on it.
    pub metadata: Option<BTreeMap<String, Value>>,
    /// Whether it outlives its maker.
    #[serde(deserialize_with = "nullable")]
    pub orphan: bool,
    /// The identity behind it.
    #[serde(deserialize_with = "nullable")]
    pub entity_id: String,
    /// Seconds until it ends; 0 is never.
    #[serde(deserialize_with = "nullable")]
    pub lease_duration: u64,
    /// Whether it can be renewed.
    #[serde(deserialize_with = "nullable")]
    pub renewable: bool,
    /// The second factors that are asked for before the token is given.
    pub mfa_requirement: Option<Value>,
}

/// Where a wrapped reply waits.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct WrapInfo {
    /// The single-use token that unwraps it.
    pub token: SecretText,
    /// Its accessor.
    #[serde(deserialize_with = "nullable")]
    pub accessor: String,
    /// Seconds until it ends.
    #[serde(deserialize_with = "nullable")]
    pub ttl: u64,
    /// When it was made, RFC 3339.
    #[serde(deserialize_with = "nullable")]
    pub creation_time: String,
    /// The path whose reply is wrapped.
    #[serde(deserialize_with = "nullable")]
    pub creation_path: String,
    /// The accessor of a token inside it.
    #[serde(deserialize_with = "nullable")]
    pub wrapped_accessor: String,
}

fn nullable<'de, T: Default + Deserialize<'de>, D: serde::Deserializer<'de>>(from: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(from)?.unwrap_or_default())
}

// === impl Data ===

impl Data {
    /// The fields. `grep expose(` is the audit of who looks inside.
    #[must_use]
    pub fn expose(&self) -> &Map<String, Value> {
        &self.0
    }

    /// One field that holds text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    /// The texts of a field that holds a list; empty when there is none.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<String> {
        let items = self.0.get(name).and_then(Value::as_array);
        items.into_iter().flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
    }
}

impl From<Map<String, Value>> for Data {
    fn from(fields: Map<String, Value>) -> Self {
        Self(fields)
    }
}

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        self.0.values_mut().for_each(wipe);
    }
}

/// Overwrites every text inside a JSON value.
fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => text.zeroize(),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(fields) => fields.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nulls_and_gaps_are_defaults() {
        let text = r#"{"request_id":"r","lease_id":null,"data":{"a":{"b":[1]}},"auth":null,"warnings":["w"]}"#;
        let envelope: Envelope = serde_json::from_str(text).unwrap();
        assert_eq!(envelope.request_id, "r");
        assert_eq!(envelope.lease_id, "");
        assert!(envelope.auth.is_none());
        assert_eq!(envelope.warnings.as_deref(), Some(&["w".to_owned()][..]));
    }

    #[test]
    fn debug_tells_no_secret() {
        let text =
            r#"{"data":{"password":"hunter2"},"auth":{"client_token":"s.hunter2"},"wrap_info":{"token":"hunter2"}}"#;
        let envelope: Envelope = serde_json::from_str(text).unwrap();
        let shown = format!("{envelope:?}");
        assert!(shown.contains("password") && !shown.contains("hunter2"), "{shown}");
    }
}
