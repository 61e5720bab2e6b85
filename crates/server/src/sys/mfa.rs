//! `sys/mfa`: going on with a login that waits for a second factor, and showing it anew with a token. `sys/mfa/browser`: the
//! page at which a key answers.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Outcome, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::wire::{Flag, Text};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::{Sys, namespace_of};
use crate::mfa::{self, Answer, Codes, End, Seen, Went};

#[derive(Deserialize, JsonSchema)]
struct MfaFields {
    /// The request that waits.
    #[serde(default)]
    mfa_request_id: Text,
    /// For each method, by id or name, a list of one passcode. A recovery code does as well. For a method of type webauthn an
    /// empty list asks for its challenge, and what the key signed answers it.
    mfa_payload: Option<Value>,
    /// A browser shall answer the challenge: the answer holds an address and a code for it.
    #[serde(default)]
    browser: Flag,
}

#[derive(Deserialize, JsonSchema)]
struct TakeFields {
    /// What the address of the page holds.
    #[serde(default)]
    code: Text,
}

#[derive(Deserialize, JsonSchema)]
struct AnswerFields {
    /// What `take` answered.
    #[serde(default)]
    page: Text,
    /// What the key answered.
    answer: Option<Value>,
    /// Why it did not.
    failed: Option<Text>,
}

#[derive(Deserialize, JsonSchema)]
struct PollFields {
    /// What was answered to whoever asked.
    #[serde(default)]
    ticket: Text,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("mfa/validate", "Goes on with a login that waits for a second factor.", |r| {
            r.public("the login that waits and the code are the credential").write("Validates", Sys::validate_mfa)
        })
        .at("mfa/step-up", "The caller shows the second factor anew: some acts ask for one that is fresh.", |r| {
            r.write("Without a request: opens one; with it and a passcode: the token remembers when", Sys::step_up)
        })
        .at("mfa/browser/take", "The page learns what a key is asked.", |r| {
            r.public("the code, which serves once, is the right").write("Takes it", Sys::take_for_browser)
        })
        .at("mfa/browser/answer", "The page brings what the key answered.", |r| {
            r.public("what `take` answered is the right").write("Puts it down", Sys::answer_of_browser)
        })
        .at("mfa/browser/poll", "The terminal asks for the key's answer.", |r| {
            r.public("the ticket is the right").write("Tells how far it is; the answer once", Sys::poll_browser)
        })
}

impl Sys {
    async fn validate_mfa(self: Arc<Self>, call: Call, fields: MfaFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        if fields.mfa_request_id.0.is_empty() {
            return Err(Fault::bad_request("missing request ID"));
        }
        let codes = fields.codes()?;
        let answer = fields.answer(&codes, &call);
        let (auth, warnings) = match mfa::validate(&vault, namespace_of(&call), &answer).await? {
            Went::Through(through) => through,
            Went::Asked(told) => return Reply::of(&told),
        };
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
        let passed = match mfa::step_up(&vault, &token, &fields.answer(&codes, &call)).await? {
            Went::Through(passed) => passed,
            Went::Asked(told) => return Reply::of(&told),
        };
        Reply::of(&json!({ "mfa_at": passed.at.rfc3339(), "method_ids": passed.methods }))
    }

    async fn take_for_browser(self: Arc<Self>, call: Call, fields: TakeFields) -> Result<Reply, Fault> {
        Reply::of(&self.vault()?.mfa.desk.take(&fields.code.0, seen(&call))?)
    }

    async fn answer_of_browser(self: Arc<Self>, call: Call, fields: AnswerFields) -> Result<Reply, Fault> {
        let end = match (fields.answer, fields.failed) {
            (Some(answer), None) => End::Answer(answer),
            (None, Some(why)) => End::Failed(why.0),
            _ => return Err(Fault::bad_request("give either answer or failed")),
        };
        self.vault()?.mfa.desk.answer(&fields.page.0, end, seen(&call))?;
        Ok(Reply::nothing())
    }

    async fn poll_browser(self: Arc<Self>, call: Call, fields: PollFields) -> Result<Reply, Fault> {
        Reply::of(&self.vault()?.mfa.desk.poll(&fields.ticket.0, call.now)?)
    }
}

fn seen(call: &Call) -> Seen {
    Seen { address: call.caller.address, now: call.now }
}

impl MfaFields {
    fn answer<'a>(&'a self, codes: &'a Codes, call: &Call) -> Answer<'a> {
        let (address, now) = (call.caller.address, call.now);
        Answer { id: &self.mfa_request_id.0, codes, browser: self.browser.0, address, now }
    }

    fn codes(&self) -> Result<Codes, Fault> {
        let payload: Option<&Map<String, Value>> = match &self.mfa_payload {
            None | Some(Value::Null) => None,
            Some(Value::Object(payload)) => Some(payload),
            Some(_) => return Err(Fault::bad_request("invalid mfa payload")),
        };
        Codes::of_payload(payload)
    }
}
