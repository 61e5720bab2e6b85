//! `sys/wrapping`: wrapping any value, and opening what is wrapped.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Outcome, Reply};
use dewdrop_core::route::{AnyFields, Routes};
use dewdrop_core::token::TokenRecord;
use dewdrop_core::wire::Text;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Sys, namespace_of};
use crate::pipeline::{WrapAsk, is_wrapping, unwrap_response, wrap_response};
use crate::tokens::end_token;
use crate::vault::Vault;

#[derive(Deserialize, JsonSchema)]
struct WrapFields {
    /// The wrapping token; the calling one when none is given.
    #[serde(default)]
    token: Text,
}

const WHY: &str = "the wrapping token in the body is the credential";

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("wrapping/wrap", "Wraps the fields of the request.", |r| r.write("Wraps", Sys::wrap))
        .at("wrapping/lookup", "What is known of a wrapping token.", |r| {
            r.public(WHY).write("Looks", Sys::lookup_wrapped).read("Looks", Sys::lookup_wrapped)
        })
        .at("wrapping/unwrap", "Opens what is wrapped, once.", |r| r.public(WHY).write("Opens", Sys::unwrap))
        .at("wrapping/rewrap", "Moves what is wrapped into a new wrapping token.", |r| r.public(WHY).write("Moves", Sys::rewrap))
}

impl Sys {
    async fn wrap(self: Arc<Self>, call: Call, fields: AnyFields) -> Result<Reply, Fault> {
        if call.wrap_ttl.is_none() {
            return Err(Fault::bad_request("endpoint requires response wrapping to be used"));
        }
        Ok(Reply::data(fields.0))
    }

    async fn lookup_wrapped(self: Arc<Self>, call: Call, fields: WrapFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let record = wrapping_token(&vault, &call, &fields).await?;
        Reply::of(&json!({
            "creation_path": creation_path(&record),
            "creation_time": record.created.rfc3339(),
            "creation_ttl": record.ttl.as_secs(),
        }))
    }

    async fn unwrap(self: Arc<Self>, call: Call, fields: WrapFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let record = wrapping_token(&vault, &call, &fields).await?;
        let envelope = take(&vault, &call, &record).await?;
        Ok(Outcome::Unwrapped(with_request_id(&envelope, &call.request_id)).into())
    }

    async fn rewrap(self: Arc<Self>, call: Call, fields: WrapFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let record = wrapping_token(&vault, &call, &fields).await?;
        let ttl = record.ttl;
        let response = take(&vault, &call, &record).await?;
        let wrapped_accessor = inner_accessor(&response);
        let path = creation_path(&record);
        let ask = WrapAsk { namespace: namespace_of(&call), path: &path, ttl, response, wrapped_accessor, now: call.now };
        let view = wrap_response(&vault, ask).await?;
        Ok(Outcome::Wrapped(Box::new(view)).into())
    }
}

/// The wrapping token of a request. Opening it counts as its one use, so it is used up here and nobody else opens it.
async fn wrapping_token(vault: &Vault, call: &Call, fields: &WrapFields) -> Result<Arc<TokenRecord>, Fault> {
    let not_valid = || Fault::bad_request("wrapping token is not valid or does not exist");
    let text = if fields.token.0.is_empty() { call.caller.token_text() } else { &fields.token.0 };
    let live = vault.tokens.find(text, call.now).await?.filter(|live| is_wrapping(&live.record));
    let live = live.ok_or_else(not_valid)?;
    if live.record.namespace != namespace_of(call).id {
        return Err(not_valid());
    }
    Ok(live.record.clone())
}

/// Takes what is wrapped; the token ends with it, and of two that take at the same time one wins.
async fn take(vault: &Vault, call: &Call, record: &Arc<TokenRecord>) -> Result<String, Fault> {
    let not_valid = || Fault::bad_request("wrapping token is not valid or does not exist");
    vault.tokens.use_once(&record.accessor).await?.ok_or_else(not_valid)?;
    let envelope = unwrap_response(vault, namespace_of(call), record).await;
    end_token(vault, &record.accessor, false).await?;
    envelope
}

fn creation_path(record: &TokenRecord) -> String {
    record.internal.get("creation_path").and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn inner_accessor(envelope: &str) -> String {
    let parsed: Value = serde_json::from_str(envelope).unwrap_or_default();
    parsed.pointer("/auth/accessor").and_then(Value::as_str).unwrap_or_default().to_owned()
}

/// The answer is one to this request.
fn with_request_id(envelope: &str, request_id: &str) -> String {
    let Ok(Value::Object(mut fields)) = serde_json::from_str(envelope) else { return envelope.to_owned() };
    fields.insert("request_id".into(), request_id.into());
    Value::Object(fields).to_string()
}

