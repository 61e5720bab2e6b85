//! Recovery codes: ten codes that stand in for a lost authenticator, each once. They are shown when they are made and never
//! again; only their hashes are kept.

use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::fill;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::secret::same_bytes;
use dewdrop_core::store::Batch;
use dewdrop_core::{Fault, Moment};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::enroll::{AdminAsk, needs_fresh_factor};
use crate::identity::{Identities, keys};

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
        if self.mfa_enrolled(&entity).await?.is_empty() {
            return Err(Fault::bad_request("enrol an authenticator first: recovery codes stand in for one"));
        }
        needs_fresh_factor(&call)?;
        let mut codes = Vec::with_capacity(CODES);
        for _ in 0..CODES {
            codes.push(new_code()?);
        }
        let left = codes.iter().map(|code| hash(&entity, code)).collect();
        let record = Recovery { made: call.now, left };
        self.store.commit(Batch::new().put_json(keys::mfa_recovery(&entity), &record)?).await?;
        Ok(Reply::of(&json!({ "recovery_codes": codes }))?
            .warn("Write these down and keep them apart from your authenticator. They are not shown again."))
    }

    async fn destroy_recovery_codes(self: Arc<Self>, _: Call, ask: AdminAsk) -> Result<Reply, Fault> {
        let entity = self.asked_entity(&ask).await?;
        self.store.commit(Batch::new().delete(keys::mfa_recovery(&entity))).await?;
        Ok(Reply::nothing())
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
