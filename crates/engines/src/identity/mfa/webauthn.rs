//! `mfa/method/webauthn`: passkeys and security keys. The protocol is in [`ceremony`]; here is who may register what, and
//! what is kept: all keys of an entity for a method in one record, each with the counter that it last told.

#[cfg(not(feature = "webauthn"))]
#[path = "webauthn/absent.rs"]
mod ceremony;
#[cfg(feature = "webauthn")]
pub(crate) mod ceremony;
mod check;
mod credentials;
mod party;
mod register;

use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::wire::{Flag, Strings, Text};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::MfaKind;
use super::method::Method;
use crate::identity::Identities;
pub use check::{MfaAsked, MfaChallenge};
pub(super) use party::Party;
pub use register::Registrations;

/// Of one entity for one method.
const MOST_KEYS: usize = 20;

/// What a write of a method takes. What is left out is as in a new one; only the name stays.
#[derive(Deserialize, JsonSchema)]
struct MethodAsk {
    /// Its name, unique.
    method_name: Option<Text>,
    /// The domain to which keys are bound, such as `vault.example.com`. Stays for ever: keys are of no use at another.
    rp_id: Option<Text>,
    /// For people; the domain when unset.
    rp_name: Option<Text>,
    /// Where browsers may be when they ask the key, such as `https://vault.example.com:8200`; `https://` and the domain
    /// when unset.
    origins: Option<Strings>,
    /// Whether the key must verify who touches it: `required` (when unset), `preferred` or `discouraged`.
    user_verification: Option<Text>,
    /// Whether the browser must come from the address from which the terminal asked; true when unset.
    same_address: Option<Flag>,
}

/// All keys of an entity for a method; never empty.
#[derive(Serialize, Deserialize)]
struct Passkeys {
    keys: Vec<Passkey>,
}

/// One key.
#[derive(Serialize, Deserialize)]
struct Passkey {
    /// As browsers write it.
    id: String,
    /// For its holder.
    name: String,
    created: Moment,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_used: Option<Moment>,
    /// Public key, counter and so on, as [`ceremony`] keeps them.
    credential: Value,
}

pub(super) fn routes() -> Routes<Identities> {
    let methods = Routes::new("").at("mfa/method/webauthn", "MFA methods of type webauthn", |route| {
        route.list("Lists them", Identities::list_methods).write("Makes one", Identities::write_webauthn)
    });
    let one = Routes::new("").at("mfa/method/webauthn/{method_id}", "One method of type webauthn", |route| {
        route
            .read("Reads it", Identities::read_method)
            .write("Changes it; keys stay registered", Identities::write_webauthn)
            .delete("Deletes it with all keys of all people", Identities::delete_method)
    });
    methods.and(register::routes()).and(credentials::routes()).and(one)
}

impl Identities {
    async fn write_webauthn(self: Arc<Self>, call: Call, ask: MethodAsk) -> Result<Reply, Fault> {
        self.write_method_of(&call, MfaKind::Webauthn, ask.method_name.as_ref(), |method| ask.apply(method)).await
    }
}

impl MethodAsk {
    fn apply(&self, method: &mut Method) -> Result<(), &'static str> {
        let given = party::Given {
            rp_id: self.rp_id.as_ref(),
            rp_name: self.rp_name.as_ref(),
            origins: self.origins.as_ref(),
            verification: self.user_verification.as_ref(),
            same_address: self.same_address.as_ref(),
        };
        let party = Party::of(&given)?;
        if method.party.as_ref().is_some_and(|former| former.rp_id != party.rp_id) {
            return Err("rp_id stays as it is, since keys are bound to it: make another method for another domain");
        }
        method.party = Some(party);
        Ok(())
    }
}

#[cfg(test)]
#[cfg(feature = "webauthn")]
mod tests;
