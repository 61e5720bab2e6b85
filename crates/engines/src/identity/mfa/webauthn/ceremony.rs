//! The protocol itself, by webauthn-rs-core: nothing else here names that crate. All that is kept goes as JSON values, so
//! that a program without the feature still reads, lists and deletes what is there.

pub(crate) mod fuzzing;

use std::time::Duration;

use dewdrop_core::Fault;
use serde::de::DeserializeOwned;
use serde_json::Value;
use url::Url;
use webauthn_rs_core::WebauthnCore;
use webauthn_rs_core::error::WebauthnError;
use webauthn_rs_core::proto::{
    AuthenticationState, Credential, PublicKeyCredential, RegisterPublicKeyCredential, RegistrationState,
    UserVerificationPolicy,
};

use super::party::{Party, Verification};

/// A registration that was begun.
pub struct Pending(RegistrationState);

/// A key that was asked to sign.
pub struct Asked(AuthenticationState);

/// Who registers.
pub struct Person<'a> {
    pub id: &'a str,
    pub name: &'a str,
}

/// Asks a browser to make a key; what the browser is told, and what must be kept until it answers.
///
/// # Errors
/// A defect.
pub fn begin_registration(
    party: &Party,
    who: &Person<'_>,
    known: &[&Value],
    life: Duration,
) -> Result<(Value, Pending), Fault> {
    let core = core(party, life)?;
    let known: Vec<Credential> = known.iter().map(|one| read(one)).collect::<Result<_, _>>()?;
    let builder = core.new_challenge_register_builder(who.id.as_bytes(), who.name, who.name).map_err(|e| broken(&e))?;
    let builder = builder
        .user_verification_policy(policy(party.verification))
        .exclude_credentials(Some(known.into_iter().map(|one| one.cred_id).collect()));
    let (options, state) = core.generate_challenge_register(builder).map_err(|e| broken(&e))?;
    Ok((told(&options)?, Pending(state)))
}

/// The key that a browser made.
///
/// # Errors
/// 400: why it is not taken.
pub fn finish_registration(party: &Party, pending: &Pending, answer: &Value) -> Result<Value, Fault> {
    let core = core(party, Duration::from_secs(60))?;
    let answer: RegisterPublicKeyCredential = answered(answer).ok_or_else(|| Fault::bad_request(NO_ANSWER))?;
    let made = core.register_credential(&answer, &pending.0, None).map_err(|error| Fault::bad_request(why(&error)))?;
    told(&made)
}

/// Asks for a signature by one of these keys.
///
/// # Errors
/// A defect.
pub fn begin_authentication(party: &Party, keys: &[&Value], life: Duration) -> Result<(Value, Asked), Fault> {
    let core = core(party, life)?;
    let keys: Vec<Credential> = keys.iter().map(|one| read(one)).collect::<Result<_, _>>()?;
    let builder =
        core.new_challenge_authenticate_builder(keys, Some(policy(party.verification))).map_err(|e| broken(&e))?;
    let (options, mut state) = core.generate_challenge_authenticate(builder).map_err(|e| broken(&e))?;
    // They are read anew when the answer comes: one that was deleted meanwhile is none, and counters move.
    state.set_allowed_credentials(Vec::new());
    Ok((told(&options)?, Asked(state)))
}

/// The id of the key that an answer names, as [`id_of`] writes it.
#[must_use]
pub fn named_by(answer: &Value) -> Option<String> {
    answer.get("rawId").and_then(Value::as_str).map(str::to_owned)
}

/// Whether the key signed as it was asked. Answers the key as it must be kept from now on.
///
/// # Errors
/// Why not, for the person.
pub fn finish_authentication(party: &Party, asked: &Asked, key: &Value, answer: &Value) -> Result<Value, &'static str> {
    let core = core(party, Duration::from_secs(60)).map_err(|_| NOT_READABLE)?;
    let mut key: Credential = read(key).map_err(|_| NOT_READABLE)?;
    let answer: PublicKeyCredential = answered(answer).ok_or(NO_ANSWER)?;
    if crosses_origins(&answer.response.client_data_json) {
        return Err("the key was asked from within a page of another origin");
    }
    let used = core.authenticate_single_credential(&answer, &asked.0, &key).map_err(|error| why(&error))?;
    // The method may have become stricter since it asked.
    if party.verification == Verification::Required && !used.user_verified() {
        return Err(why(&WebauthnError::UserNotVerified));
    }
    key.counter = used.counter();
    key.backup_state = used.backup_state();
    serde_json::to_value(&key).map_err(|_| NOT_READABLE)
}

/// The id of a key, as browsers write it.
///
/// # Errors
/// The record is broken.
pub fn id_of(key: &Value) -> Result<String, Fault> {
    let id = key.get("cred_id").and_then(Value::as_str);
    id.map(str::to_owned).ok_or_else(|| Fault::internal("a passkey without an id"))
}

const NO_ANSWER: &str = "the browser's answer cannot be read";
const NOT_READABLE: &str = "the key's record cannot be read";

fn core(party: &Party, life: Duration) -> Result<WebauthnCore, Fault> {
    let origins = party.origins.iter().map(|origin| Url::parse(origin));
    let origins = origins.collect::<Result<Vec<_>, _>>().map_err(|e| Fault::internal(format!("an origin: {e}")))?;
    Ok(WebauthnCore::new_unsafe_experts_only(&party.rp_name, &party.rp_id, origins, life, Some(false), Some(false)))
}

fn policy(verification: Verification) -> UserVerificationPolicy {
    match verification {
        Verification::Required => UserVerificationPolicy::Required,
        Verification::Preferred => UserVerificationPolicy::Preferred,
        Verification::Discouraged => UserVerificationPolicy::Discouraged_DO_NOT_USE,
    }
}

/// A page in a frame of somebody else's says so itself; the crate looks at that in registrations alone.
fn crosses_origins(client_data: &[u8]) -> bool {
    let data: Option<Value> = serde_json::from_slice(client_data).ok();
    data.is_some_and(|data| data.get("crossOrigin") == Some(&Value::Bool(true)))
}

fn answered<T: DeserializeOwned>(answer: &Value) -> Option<T> {
    T::deserialize(answer).ok()
}

fn read(key: &Value) -> Result<Credential, Fault> {
    serde::Deserialize::deserialize(key)
        .map_err(|e: serde_json::Error| Fault::internal(format!("a passkey's record: {e}")))
}

fn told<T: serde::Serialize>(value: &T) -> Result<Value, Fault> {
    serde_json::to_value(value).map_err(|e| Fault::internal(format!("encode for a browser: {e}")))
}

fn broken(error: &WebauthnError) -> Fault {
    Fault::internal(format!("webauthn: {error}"))
}

/// For the person who holds the key.
fn why(error: &WebauthnError) -> &'static str {
    match error {
        WebauthnError::MismatchedChallenge => "the key signed another challenge: each is for one answer",
        WebauthnError::InvalidRPOrigin => {
            "the browser was at an address that is not among the method's origins; open the server by one of them"
        }
        WebauthnError::InvalidRPIDHash => "the key signed for another rp_id",
        WebauthnError::UserNotPresent => "nobody touched the key",
        WebauthnError::UserNotVerified => {
            "the key did not verify who touches it (PIN, finger, face), and the method asks for that"
        }
        WebauthnError::CredentialPossibleCompromise => {
            "the key's counter went back: there may be a copy of the key; tell an administrator"
        }
        WebauthnError::CredentialBackupEligibilityInconsistent => {
            "the key says otherwise than before whether it can be copied"
        }
        WebauthnError::CredentialCrossOrigin => "the key was asked from within a page of another origin",
        WebauthnError::InvalidClientDataType => "the answer is for another kind of request",
        _ => "the key's answer is not valid",
    }
}
