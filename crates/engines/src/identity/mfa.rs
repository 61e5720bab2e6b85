//! The second factor: methods (TOTP, WebAuthn), whom a login asks for them (enforcements), and the secrets of those who enrolled.
//!
//! A method says how codes are made. A secret belongs to an entity and a method; its record also holds the last step that
//! was used and how often somebody guessed, so neither a restart nor another server forgets it. Recovery codes stand in
//! for the authenticator of any method.

mod check;
mod enforce;
mod enroll;
mod method;
mod qr;
mod recovery;
mod totp;
pub(crate) mod webauthn;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{AnyFields, Routes};
use dewdrop_core::store::Batch;

use super::{Identities, keys};
pub use check::MfaRefusal;
pub(super) use enforce::Rules;
pub use enforce::{MfaDemand, MfaKind, MfaMethod, MfaNeed};
pub(super) use webauthn::Registrations;
pub use webauthn::{MfaAsked, MfaChallenge};

pub(super) fn routes() -> Routes<Identities> {
    let own = enroll::routes().and(recovery::routes()).and(webauthn::routes());
    own.and(unbuilt()).and(method::routes()).and(method::any_routes()).and(enforce::routes())
}

/// Methods of others, by name: who configures one is told outright that nothing would ask for it.
fn unbuilt() -> Routes<Identities> {
    let each = |routes: Routes<Identities>, whole: &'static str, one: &'static str| {
        routes.at(whole, "Not built.", |route| route.write("Refused", not_built).list("Refused", not_built)).at(
            one,
            "Not built.",
            |route| route.read("Refused", not_built).write("Refused", not_built).delete("Refused", not_built),
        )
    };
    let routes = each(Routes::new(""), "mfa/method/duo", "mfa/method/duo/{method_id}");
    let routes = each(routes, "mfa/method/okta", "mfa/method/okta/{method_id}");
    each(routes, "mfa/method/pingid", "mfa/method/pingid/{method_id}")
}

async fn not_built(_: std::sync::Arc<Identities>, call: Call, _: AnyFields) -> Result<Reply, Fault> {
    let kind = call.path.split('/').nth(2).unwrap_or_default();
    Err(Fault::not_built(format!("unsupported: MFA methods of type {kind} are not built; use totp or webauthn")))
}

/// Takes away all second factors of an entity: it is deleted, or went up in another.
pub(super) fn forget(batch: Batch, entity: &str) -> Batch {
    batch.delete_prefix(keys::mfa_secret(entity, "")).delete(keys::mfa_recovery(entity))
}

#[cfg(test)]
mod tests;
