//! Recovery codes: ten codes that stand in for a lost authenticator, each once. They are shown when they are made and never
//! again; only their hashes are kept. They go with the last authenticator of their holder: whoever enrols anew begins with none.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::fill;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::secret::same_bytes;
use dewdrop_core::store::{Batch, Revision};
use dewdrop_core::{Fault, Moment};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::enroll::{AdminAsk, needs_fresh_factor};
use crate::identity::{Identities, keys};
use crate::shared::cas::{TRIES, gave_up};

const CODES: usize = 10;
/// 80 bits each, so a plain hash is enough.
const LETTERS: usize = 16;
/// Without letters and digits that look alike.
const ALPHABET: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// What is kept of the codes of an entity.
#[derive(Serialize, Deserialize)]
struct Recovery {
    made: Moment,
    /// Hashes of those that are left, in hex.
    left: Vec<String>,
}

pub(super) fn routes() -> Routes<Identities> {
    Routes::new("")
        .at("mfa/method/recovery", "The caller's recovery codes", |route| {
            route.read("Says how many are left", Identities::count_recovery_codes)
        })
        .at("mfa/method/recovery/generate", "New recovery codes for the caller", |route| {
            route.write("Makes ten, shown once; older ones are void", Identities::make_recovery_codes)
        })
        .at("mfa/method/recovery/admin-destroy", "The recovery codes of an entity", |route| {
            route.write("Makes them void", Identities::destroy_recovery_codes)
        })
}

impl Identities {
    async fn count_recovery_codes(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let found = self.get::<Recovery>(&keys::mfa_recovery(&self.own_entity(&call).await?)).await?;
        let (codes, _) = found.ok_or_else(Fault::not_found)?;
        Reply::of(&json!({ "left": codes.left.len(), "creation_time": codes.made.rfc3339() }))
    }

    async fn make_recovery_codes(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let entity = self.own_entity(&call).await?;
        let mut codes = Vec::with_capacity(CODES);
        for _ in 0..CODES {
            codes.push(new_code()?);
        }
        let left = codes.iter().map(|code| hash(&entity, code)).collect();
        let record = Recovery { made: call.now, left };
        for _ in 0..TRIES {
            let Some((authenticator, revision)) = self.authenticator_beside(&entity, "").await? else {
                return Err(Fault::bad_request("enrol an authenticator first: recovery codes stand in for one"));
            };
            needs_fresh_factor(&call)?;
            let batch = Batch::new().expect(authenticator, revision);
            if self.commit(batch.put_json(keys::mfa_recovery(&entity), &record)?, &[]).await? {
                return Ok(Reply::of(&json!({ "recovery_codes": codes }))?
                    .warn("Write these down and keep them apart from your authenticator. They are not shown again."));
            }
        }
        Err(gave_up())
    }

    async fn destroy_recovery_codes(self: Arc<Self>, _: Call, ask: AdminAsk) -> Result<Reply, Fault> {
        let entity = self.asked_entity(&ask).await?;
        self.store.commit(Batch::new().delete(keys::mfa_recovery(&entity))).await?;
        Ok(Reply::nothing())
    }

    /// Adds to the coming or going of a method's authenticator that recovery codes go where the entity has no other one. What
    /// was read must still be so at the commit: of two last ones that go at once, the later sees that it is the last.
    pub(super) async fn codes_go_with(&self, batch: Batch, entity: &str, method: &str) -> Result<Batch, Fault> {
        let codes = keys::mfa_recovery(entity);
        let revision = self.revision(&codes).await?;
        Ok(match self.authenticator_beside(entity, method).await? {
            Some((other, revision)) => batch.expect(other, revision),
            None => batch.expect(codes.clone(), revision).delete(codes),
        })
    }

    /// An authenticator of an entity that is not of this method: its key and revision.
    async fn authenticator_beside(&self, entity: &str, method: &str) -> Result<Option<(String, Revision)>, Fault> {
        for one in self.mfa_enrolled(entity).await?.into_iter().filter(|one| one.id != method) {
            let at = keys::mfa_secret(entity, &one.id);
            match self.revision(&at).await? {
                0 => {}
                revision => return Ok(Some((at, revision))),
            }
        }
        Ok(None)
    }

    /// What must be committed to use a recovery code up; `None`: it is none.
    pub(super) async fn without_recovery_code(&self, entity: &str, code: &str) -> Result<Option<Batch>, Fault> {
        let code = plain(code);
        if code.len() != LETTERS {
            return Ok(None);
        }
        let key = keys::mfa_recovery(entity);
        let Some((mut record, revision)) = self.get::<Recovery>(&key).await? else { return Ok(None) };
        let hash = hash(entity, &code);
        let before = record.left.len();
        record.left.retain(|left| !same_bytes(left.as_bytes(), hash.as_bytes()));
        if record.left.len() == before {
            return Ok(None);
        }
        Ok(Some(Batch::new().expect(key.clone(), revision).put_json(key, &record)?))
    }
}

fn new_code() -> Result<String, Fault> {
    let mut bytes = [0u8; LETTERS];
    fill(&mut bytes).map_err(|_| Fault::internal("the machine gives no random bytes"))?;
    let letter = |byte: &u8| char::from(ALPHABET.get(usize::from(byte & 31)).copied().unwrap_or_default());
    let groups: Vec<String> = bytes.chunks(4).map(|four| four.iter().map(letter).collect()).collect();
    Ok(groups.join("-"))
}

/// As people type it.
fn plain(code: &str) -> String {
    code.chars().filter(|letter| !matches!(letter, '-' | ' ')).collect::<String>().to_lowercase()
}

fn hash(entity: &str, code: &str) -> String {
    hex::encode(digest(&SHA256, format!("{entity}\0{}", plain(code)).as_bytes()))
}
