//! `sys/mfa`: going on with a login that waits for a second factor, and showing it anew with a token.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Outcome, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::wire::Text;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Sys, namespace_of};
use crate::mfa::{self, Codes};

#[derive(Deserialize, JsonSchema)]
struct MfaFields {
    /// The request that waits.
    #[serde(default)]
    mfa_request_id: Text,
    /// For each method, by id or name, a list of one passcode. A recovery code does as well.
    mfa_payload: Option<Value>,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("mfa/validate", "Goes on with a login that waits for a second factor.", |r| {
            r.public("the login that waits and the code are the credential").write("Validates", Sys::validate_mfa)
        })
        .at("mfa/step-up", "The caller shows the second factor anew: some acts ask for one that is fresh.", |r| {
            r.write("Without a request: opens one; with it and a passcode: the token remembers when", Sys::step_up)
        })
}

impl Sys {
    async fn validate_mfa(self: Arc<Self>, call: Call, fields: MfaFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        if fields.mfa_request_id.0.is_empty() {
            return Err(Fault::bad_request("missing request ID"));
        }
        let codes = fields.codes()?;
        let id = &fields.mfa_request_id.0;
        let (auth, warnings) = mfa::validate(&vault, namespace_of(&call), id, &codes, call.now).await?;
        let mut reply = Reply::from(Outcome::Token(Box::new(auth)));
        reply.warnings = warnings;
        Ok(reply)
    }

    async fn step_up(self: Arc<Self>, call: Call, fields: MfaFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let token = call.caller.token.clone().ok_or_else(|| Fault::denied("a step-up needs a token"))?;
        if fields.mfa_request_id.0.is_empty() {
            return Reply::of(&mfa::begin_step_up(&vault, &token, call.now).await?);
        }
        let codes = fields.codes()?;
        let passed = mfa::step_up(&vault, &token, &fields.mfa_request_id.0, &codes, call.now).await?;
        Reply::of(&json!({ "mfa_at": passed.at.rfc3339(), "method_ids": passed.methods }))
    }
}

impl MfaFields {
    fn codes(&self) -> Result<Codes, Fault> {
        let payload: Option<&Map<String, Value>> = match &self.mfa_payload {
            None | Some(Value::Null) => None,
            Some(Value::Object(payload)) => Some(payload),
            Some(_) => return Err(Fault::bad_request("invalid mfa payload")),
        };
        Codes::of_payload(payload)
    }
}
