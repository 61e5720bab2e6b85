//! `sys/wrapping`: wrapping any value, and opening what is wrapped.

use std::sync::Arc;

use dewdrop_core::call::{Call, Outcome, Reply};
use dewdrop_core::policy::Ask;
use dewdrop_core::route::{AnyFields, Routes};
use dewdrop_core::token::TokenRecord;
use dewdrop_core::{Fault, Operation};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Sys, namespace_of};
use crate::pipeline::{WrapAsk, is_wrapping, rights_of, unwrap_response, wrap_response};
use crate::tokens::end_token;
use crate::vault::Vault;

#[derive(Deserialize, JsonSchema)]
struct WrapFields {
    /// The wrapping token; the calling one when none is given.
    token: Option<Value>,
}

const WHY: &str = "the wrapping token in the body is the credential";

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("wrapping/wrap", "Wraps the fields of the request.", |r| r.write("Wraps", Sys::wrap))
        .at("wrapping/lookup", "What is known of a wrapping token.", |r| {
            r.public(WHY).write("Looks", Sys::lookup_wrapped).read("Looks", Sys::lookup_wrapped)
        })
        .at("wrapping/unwrap", "Opens what is wrapped, once.", |r| r.public(WHY).write("Opens", Sys::unwrap))
        .at("wrapping/rewrap", "Moves what is wrapped into a new wrapping token.", |r| {
            r.public(WHY).write("Moves", Sys::rewrap)
        })
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
        may_open(&vault, &call, &record).await?;
        let envelope = take(&vault, &call, &record).await?;
        Ok(Outcome::Unwrapped(with_request_id(&envelope, &call.request_id)).into())
    }

    async fn rewrap(self: Arc<Self>, call: Call, fields: WrapFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let record = wrapping_token(&vault, &call, &fields).await?;
        may_open(&vault, &call, &record).await?;
        let ttl = record.ttl;
        let response = take(&vault, &call, &record).await?;
        let wrapped_accessor = inner_accessor(&response);
        let path = creation_path(&record);
        let ask =
            WrapAsk { namespace: namespace_of(&call), path: &path, ttl, response, wrapped_accessor, now: call.now };
        let view = wrap_response(&vault, ask).await?;
        Ok(Outcome::Wrapped(Box::new(view)).into())
    }
}

/// The wrapping token of a request: the one in the body, or the calling one.
async fn wrapping_token(vault: &Vault, call: &Call, fields: &WrapFields) -> Result<Arc<TokenRecord>, Fault> {
    let not_valid = || Fault::bad_request(NOT_VALID);
    let record = match &fields.token {
        None => call.caller.token.clone(),
        Some(Value::String(text)) if !text.is_empty() => {
            vault.tokens.find(text, call.now).await?.map(|live| live.record.clone())
        }
        Some(_) => return Err(Fault::denied("the wrapping token must be a text that is not empty")),
    };
    let Some(record) = record else {
        let nothing_came = fields.token.is_none() && call.caller.token_text().is_empty();
        return Err(if nothing_came { Fault::denied("no wrapping token came") } else { not_valid() });
    };
    if !is_wrapping(&record) || record.namespace != namespace_of(call).id {
        return Err(not_valid());
    }
    Ok(record)
}

const NOT_VALID: &str = "wrapping token is not valid or does not exist";

/// A wrapping token opens itself; for whoever names one in the body, the policies of the calling token decide.
async fn may_open(vault: &Vault, call: &Call, record: &TokenRecord) -> Result<(), Fault> {
    let caller = call
        .caller
        .token
        .as_deref()
        .ok_or_else(|| Fault::denied("a wrapping token in the body needs a token beside it"))?;
    if caller.accessor == record.accessor {
        return Ok(());
    }
    let path = format!("{}sys/{}", namespace_of(call).path, call.path);
    let rights = rights_of(vault, caller).await?;
    rights.set.permit(&Ask::new(Operation::Update, &path, call.now))?;
    Ok(())
}

/// Takes what is wrapped; the token ends with it, and of two that take at the same time one wins.
async fn take(vault: &Vault, call: &Call, record: &Arc<TokenRecord>) -> Result<String, Fault> {
    vault.tokens.use_once(&record.accessor).await?.ok_or_else(|| Fault::bad_request(NOT_VALID))?;
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
