//! A key is asked to sign, and what it signed is checked. The counter that it told is on disk before the answer is.

use std::time::Duration;

use dewdrop_core::engine::BrowserBounds;
use dewdrop_core::store::Batch;
use dewdrop_core::{Fault, Moment};
use serde_json::Value;

use super::super::MfaRefusal;
use super::ceremony::{self, Asked};
use super::party::Party;
use crate::identity::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

/// How long a key may take.
const LIFE: Duration = Duration::from_secs(120);

/// What a key was asked to sign. For one entity and one method, and for one answer: checking uses it up.
pub struct MfaChallenge {
    entity: String,
    method: String,
    until: Moment,
    asked: Asked,
}

/// A key that is to be asked.
pub struct MfaAsked {
    /// What the browser needs.
    pub options: Value,
    /// What must be kept until it answers.
    pub challenge: MfaChallenge,
    /// Where a browser may ask it.
    pub bounds: BrowserBounds,
}

impl Identities {
    /// Asks the keys of an entity for a signature. `None`: it has none for this method, or this is none for keys.
    ///
    /// # Errors
    /// The store's.
    pub async fn mfa_challenge(&self, entity: &str, method: &str, now: Moment) -> Result<Option<MfaAsked>, Fault> {
        let Some(party) = self.method(method).await?.and_then(|method| method.party) else { return Ok(None) };
        let Some((known, _)) = self.passkeys(entity, method).await? else { return Ok(None) };
        let known: Vec<&Value> = known.keys.iter().map(|key| &key.credential).collect();
        let (options, asked) = ceremony::begin_authentication(&party, &known, LIFE)?;
        let (entity, method) = (entity.to_owned(), method.to_owned());
        let challenge = MfaChallenge { entity, method, until: now.plus(LIFE), asked };
        Ok(Some(MfaAsked { options, challenge, bounds: party.bounds() }))
    }

    /// Takes an answer of an entity for a method of any type: a passcode, a recovery code, or what a key signed.
    ///
    /// # Errors
    /// The store's. Whether the answer is right is the answer within.
    pub async fn mfa_answer(
        &self,
        entity: &str,
        method: &str,
        answer: &str,
        challenge: Option<MfaChallenge>,
        now: Moment,
    ) -> Result<Result<(), MfaRefusal>, Fault> {
        let Some(party) = self.method(method).await?.and_then(|method| method.party) else {
            return self.mfa_check(entity, method, answer, now).await;
        };
        let signed: Value = match serde_json::from_str(answer) {
            Ok(signed @ Value::Object(_)) => signed,
            _ => return self.recover(entity, method, answer).await,
        };
        let none = Err(MfaRefusal::Key(
            "no challenge is open for it, or it waited too long: ask for one, then answer it once",
        ));
        match challenge {
            Some(one) if one.entity == entity && one.method == method && one.until > now => {
                self.check_signed(&party, &one, &signed, now).await
            }
            _ => Ok(none),
        }
    }

    async fn check_signed(
        &self,
        party: &Party,
        challenge: &MfaChallenge,
        signed: &Value,
        now: Moment,
    ) -> Result<Result<(), MfaRefusal>, Fault> {
        let (entity, method) = (&challenge.entity, &challenge.method);
        let at = keys::mfa_secret(entity, method);
        let _turn = self.logins.turn(&at).await;
        for _ in 0..TRIES {
            let Some((mut known, revision)) = self.passkeys(entity, method).await? else {
                return Ok(Err(MfaRefusal::NotEnrolled));
            };
            let named = ceremony::named_by(signed);
            let Some(key) = known.keys.iter_mut().find(|key| named.as_ref() == Some(&key.id)) else {
                return Ok(Err(MfaRefusal::Key("this key is not registered for this person and method")));
            };
            match ceremony::finish_authentication(party, &challenge.asked, &key.credential, signed) {
                Ok(used) => (key.credential, key.last_used) = (used, Some(now)),
                Err(why) => {
                    tracing::warn!(entity, method, key = key.name, "a passkey was refused: {why}");
                    return Ok(Err(MfaRefusal::Key(why)));
                }
            }
            let batch = Batch::new().expect(at.clone(), revision).put_json(at.clone(), &known)?;
            if self.commit(batch, &[]).await? {
                return Ok(Ok(()));
            }
        }
        Err(gave_up())
    }

    /// A recovery code in the place of a key.
    async fn recover(&self, entity: &str, method: &str, code: &str) -> Result<Result<(), MfaRefusal>, Fault> {
        let at = keys::mfa_secret(entity, method);
        let _turn = self.logins.turn(&at).await;
        for _ in 0..TRIES {
            if self.passkeys(entity, method).await?.is_none() {
                return Ok(Err(MfaRefusal::NotEnrolled));
            }
            let Some(without) = self.without_recovery_code(entity, code).await? else {
                return Ok(Err(MfaRefusal::Wrong));
            };
            if self.commit(without, &[]).await? {
                return Ok(Ok(()));
            }
        }
        Err(gave_up())
    }
}
