//! Whether a passcode is right. Every answer is on disk before it is told: the step that was used, or one more wrong guess.

use std::time::Duration;

use dewdrop_core::store::Batch;
use dewdrop_core::{Fault, Moment, Secret};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize;

use super::MfaMethod;
use super::method::Method;
use super::totp::Shape;
use crate::identity::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

/// The first lock; each that follows without a right code between is twice as long.
const LOCK: Duration = Duration::from_secs(60);
const LONGEST_LOCK: Duration = Duration::from_secs(3600);

/// The secret of an entity for one method. Made by the method as it was then, and read so: a method that is changed later
/// does not shut its people out.
#[derive(Serialize, Deserialize)]
pub(super) struct Enrolled {
    key: Vec<u8>,
    shape: Shape,
    /// The newest step that was used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_step: Option<u64>,
    /// Wrong codes in a row since the last lock.
    #[serde(default)]
    wrong: u32,
    /// Locks since the last right code.
    #[serde(default)]
    locks: u32,
    #[serde(default)]
    locked_until: Moment,
}

/// Why a second factor was not passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MfaRefusal {
    /// The code is wrong, old or was used.
    Wrong,
    /// Too many wrong ones: not even looked at.
    Locked(Duration),
    /// The entity has no secret of this method.
    NotEnrolled,
    /// What a key signed is not taken, and why.
    Key(&'static str),
}

impl Drop for Enrolled {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

impl Enrolled {
    pub(super) fn new(key: &Secret<Vec<u8>>, shape: Shape) -> Self {
        let key = key.expose().clone();
        Self { key, shape, last_step: None, wrong: 0, locks: 0, locked_until: Moment::default() }
    }

    fn passed(&mut self, step: Option<u64>) {
        self.last_step = step.or(self.last_step);
        (self.wrong, self.locks) = (0, 0);
    }

    fn failed(&mut self, most: u32, now: Moment) {
        self.wrong += 1;
        if self.wrong < most {
            return;
        }
        self.wrong = 0;
        let lock = LOCK.saturating_mul(1 << self.locks.min(6)).min(LONGEST_LOCK);
        self.locks = self.locks.saturating_add(1);
        self.locked_until = now.plus(lock);
    }
}

impl Identities {
    /// Takes a passcode of an entity for a method: one of the authenticator, or a recovery code. It is used up when it is
    /// right; when it is wrong, that counts.
    ///
    /// # Errors
    /// The store's. Whether the code is right is the answer within.
    pub async fn mfa_check(
        &self,
        entity: &str,
        method: &str,
        passcode: &str,
        now: Moment,
    ) -> Result<Result<(), MfaRefusal>, Fault> {
        let key = keys::mfa_secret(entity, method);
        let _turn = self.logins.turn(&key).await;
        let Some(settings) = self.method(method).await? else { return Ok(Err(MfaRefusal::NotEnrolled)) };
        for _ in 0..TRIES {
            if let Some(answer) = self.try_check(entity, &settings, passcode, now).await? {
                return Ok(answer);
            }
        }
        Err(gave_up())
    }

    async fn try_check(
        &self,
        entity: &str,
        method: &Method,
        passcode: &str,
        now: Moment,
    ) -> Result<Option<Result<(), MfaRefusal>>, Fault> {
        let key = keys::mfa_secret(entity, &method.id);
        let Some((mut secret, revision)) = self.get::<Enrolled>(&key).await? else {
            return Ok(Some(Err(MfaRefusal::NotEnrolled)));
        };
        if secret.locked_until > now {
            return Ok(Some(Err(MfaRefusal::Locked(secret.locked_until.since(now)))));
        }
        let mut batch = Batch::new().expect(key.clone(), revision);
        let step = secret.shape.step_of(&secret.key, passcode, now.seconds(), secret.last_step);
        let mut right = step.is_some();
        if !right && let Some(without) = self.without_recovery_code(entity, passcode).await? {
            right = true;
            batch.expect.extend(without.expect);
            batch.changes.extend(without.changes);
        }
        if right {
            secret.passed(step)
        } else {
            secret.failed(method.max_attempts, now)
        }
        if !self.commit(batch.put_json(key, &secret)?, &[]).await? {
            return Ok(None);
        }
        Ok(Some(if right { Ok(()) } else { Err(MfaRefusal::Wrong) }))
    }

    /// The methods that an entity has enrolled in.
    ///
    /// # Errors
    /// The store's.
    pub async fn mfa_enrolled(&self, entity: &str) -> Result<Vec<MfaMethod>, Fault> {
        let mut methods = Vec::new();
        for id in self.ends_below(&keys::mfa_secret(entity, "")).await? {
            let method = self.method(&id).await?;
            methods.extend(method.map(Method::told));
        }
        Ok(methods)
    }
}
