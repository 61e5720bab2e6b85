//! An envelope as it is shown to the one who asked for it: this is where its secrets leave the program, on purpose.

use dewdrop_api::{Auth, Envelope, WrapInfo};
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::value;
use crate::duration::human;

/// The envelope for JSON and YAML, its fields in the order that `bao` prints.
#[derive(Serialize)]
pub struct Ordered<'a> {
    request_id: &'a str,
    lease_id: &'a str,
    lease_duration: u64,
    renewable: bool,
    data: Option<&'a Map<String, Value>>,
    warnings: Option<&'a Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<OrderedAuth<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    wrap_info: Option<OrderedWrap<'a>>,
}

#[derive(Serialize)]
struct OrderedAuth<'a> {
    client_token: &'a str,
    accessor: &'a str,
    policies: Option<&'a Vec<String>>,
    token_policies: Option<&'a Vec<String>>,
    identity_policies: Option<&'a Vec<String>>,
    metadata: Option<&'a std::collections::BTreeMap<String, Value>>,
    orphan: bool,
    entity_id: &'a str,
    lease_duration: u64,
    renewable: bool,
    mfa_requirement: Option<&'a Value>,
}

#[derive(Serialize)]
struct OrderedWrap<'a> {
    token: &'a str,
    accessor: &'a str,
    ttl: u64,
    creation_time: &'a str,
    creation_path: &'a str,
    wrapped_accessor: &'a str,
}

/// For JSON and YAML.
#[must_use]
pub fn ordered(envelope: &Envelope) -> Ordered<'_> {
    Ordered {
        request_id: &envelope.request_id,
        lease_id: &envelope.lease_id,
        lease_duration: envelope.lease_duration,
        renewable: envelope.renewable,
        data: envelope.data.as_ref().map(|d| d.expose()),
        warnings: envelope.warnings.as_ref(),
        auth: envelope.auth.as_ref().map(ordered_auth),
        wrap_info: envelope.wrap_info.as_ref().map(ordered_wrap),
    }
}

fn ordered_auth(auth: &Auth) -> OrderedAuth<'_> {
    OrderedAuth {
        client_token: auth.client_token.expose(),
        accessor: &auth.accessor,
        policies: auth.policies.as_ref(),
        token_policies: auth.token_policies.as_ref(),
        identity_policies: auth.identity_policies.as_ref(),
        metadata: auth.metadata.as_ref(),
        orphan: auth.orphan,
        entity_id: &auth.entity_id,
        lease_duration: auth.lease_duration,
        renewable: auth.renewable,
        mfa_requirement: auth.mfa_requirement.as_ref(),
    }
}

fn ordered_wrap(wrap: &WrapInfo) -> OrderedWrap<'_> {
    OrderedWrap {
        token: wrap.token.expose(),
        accessor: &wrap.accessor,
        ttl: wrap.ttl,
        creation_time: &wrap.creation_time,
        creation_path: &wrap.creation_path,
        wrapped_accessor: &wrap.wrapped_accessor,
    }
}

/// For tables: the lease, then the token, or where the reply is wrapped, then the data.
#[must_use]
pub fn rows(envelope: &Envelope) -> Vec<(String, String)> {
    if let Some(wrap) = &envelope.wrap_info {
        return wrap_rows(wrap);
    }
    let mut rows = Vec::new();
    if !envelope.lease_id.is_empty() {
        rows.push(("lease_id".into(), envelope.lease_id.clone()));
        rows.push(("lease_duration".into(), forever_or(envelope.lease_duration)));
        rows.push(("lease_renewable".into(), envelope.renewable.to_string()));
    }
    if let Some(auth) = &envelope.auth {
        rows.extend(auth_rows(auth));
    }
    if let Some(data) = &envelope.data {
        let mut fields: Vec<_> = data.expose().iter().collect();
        fields.sort_by_key(|(k, _)| *k);
        rows.extend(fields.into_iter().map(|(k, v)| (k.clone(), value::cell(k, v))));
    }
    rows
}

fn auth_rows(auth: &Auth) -> Vec<(String, String)> {
    let quoted = |list: &Option<Vec<String>>| {
        let items: Vec<String> = list.iter().flatten().map(|p| format!("{p:?}")).collect();
        format!("[{}]", items.join(" "))
    };
    let known = |text: &str| if text.is_empty() { "n/a".to_owned() } else { text.to_owned() };
    let mut rows = vec![
        ("token".into(), known(auth.client_token.expose())),
        ("token_accessor".into(), known(&auth.accessor)),
        ("token_duration".into(), forever_or(auth.lease_duration)),
        ("token_renewable".into(), auth.renewable.to_string()),
        ("token_policies".into(), quoted(&auth.token_policies)),
        ("identity_policies".into(), quoted(&auth.identity_policies)),
        ("policies".into(), quoted(&auth.policies)),
    ];
    for (name, meta) in auth.metadata.iter().flatten() {
        rows.push((format!("token_meta_{name}"), value::plain(meta)));
    }
    rows
}

fn wrap_rows(wrap: &WrapInfo) -> Vec<(String, String)> {
    let mut rows = vec![
        ("wrapping_token:".into(), wrap.token.expose().to_owned()),
        ("wrapping_accessor:".into(), wrap.accessor.clone()),
        ("wrapping_token_ttl:".into(), human(i64::try_from(wrap.ttl).unwrap_or(i64::MAX))),
        ("wrapping_token_creation_time:".into(), wrap.creation_time.clone()),
        ("wrapping_token_creation_path:".into(), wrap.creation_path.clone()),
    ];
    if !wrap.wrapped_accessor.is_empty() {
        rows.push(("wrapped_accessor:".into(), wrap.wrapped_accessor.clone()));
    }
    rows
}

/// Every field that `-field` can name.
#[must_use]
pub fn fields(envelope: &Envelope) -> Map<String, Value> {
    let mut all = Map::new();
    if let Some(data) = &envelope.data {
        all.insert("data".into(), Value::Object(data.expose().clone()));
        all.extend(data.expose().clone());
    }
    if let Some(auth) = &envelope.auth {
        all.insert("token".into(), json!(auth.client_token.expose()));
        all.insert("token_accessor".into(), json!(auth.accessor));
        all.insert("token_duration".into(), json!(auth.lease_duration));
        all.insert("token_renewable".into(), json!(auth.renewable));
        all.insert("token_policies".into(), json!(auth.token_policies));
        all.insert("identity_policies".into(), json!(auth.identity_policies));
        all.insert("policies".into(), json!(auth.policies));
        for (name, meta) in auth.metadata.iter().flatten() {
            all.insert(format!("token_meta_{name}"), meta.clone());
        }
    }
    if let Some(wrap) = &envelope.wrap_info {
        all.insert("wrapping_token".into(), json!(wrap.token.expose()));
        all.insert("wrapping_accessor".into(), json!(wrap.accessor));
        all.insert("wrapping_token_ttl".into(), json!(wrap.ttl));
        all.insert("wrapping_token_creation_time".into(), json!(wrap.creation_time));
        all.insert("wrapping_token_creation_path".into(), json!(wrap.creation_path));
        all.insert("wrapped_accessor".into(), json!(wrap.wrapped_accessor));
    }
    for (name, value) in [
        ("request_id", json!(envelope.request_id)),
        ("lease_id", json!(envelope.lease_id)),
        ("lease_duration", json!(envelope.lease_duration)),
        ("lease_renewable", json!(envelope.renewable)),
        ("warnings", json!(envelope.warnings)),
    ] {
        all.entry(name).or_insert(value);
    }
    all
}

fn forever_or(seconds: u64) -> String {
    if seconds == 0 { "∞".to_owned() } else { human(i64::try_from(seconds).unwrap_or(i64::MAX)) }
}
