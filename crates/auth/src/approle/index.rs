//! The keyed HMAC under which role ids and secret ids are found. The key is random for each mount and lies behind the
//! barrier; who has the rows alone can neither find a secret id in them nor try guesses. To find a row by its HMAC takes
//! no compare of secrets, so there is no time to measure.

use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::{hmac, rand};
use dewdrop_core::Fault;
use dewdrop_core::store::{Batch, SharedStore, StoreError};

use super::keys;

/// The key, read once.
pub struct Index {
    store: SharedStore,
    cached: RwLock<Option<Arc<Hasher>>>,
}

/// Makes index keys of ids.
pub struct Hasher(hmac::Key);

impl Index {
    /// No key is read yet.
    pub fn new(store: SharedStore) -> Self {
        Self { store, cached: RwLock::new(None) }
    }

    /// Forgets the key: the store may be another one now.
    pub fn forget(&self) {
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The hasher; `None` before the first role.
    pub async fn get(&self) -> Result<Option<Arc<Hasher>>, Fault> {
        if let Some(hasher) = self.cached.read().unwrap_or_else(PoisonError::into_inner).clone() {
            return Ok(Some(hasher));
        }
        let Some(entry) = self.store.get(keys::HMAC_KEY).await? else { return Ok(None) };
        let hasher = Arc::new(Hasher(hmac::Key::new(hmac::HMAC_SHA256, &entry.value)));
        *self.cached.write().unwrap_or_else(PoisonError::into_inner) = Some(hasher.clone());
        Ok(Some(hasher))
    }

    /// The hasher; makes the key when there is none.
    pub async fn get_or_make(&self) -> Result<Arc<Hasher>, Fault> {
        if let Some(hasher) = self.get().await? {
            return Ok(hasher);
        }
        let mut key = [0u8; 32];
        rand::fill(&mut key).map_err(|_| Fault::internal("the random generator failed"))?;
        match self.store.commit(Batch::new().expect(keys::HMAC_KEY, 0).put(keys::HMAC_KEY, key.to_vec())).await {
            Ok(_) | Err(StoreError::Conflict) => {}
            Err(error) => return Err(error.into()),
        }
        self.get().await?.ok_or_else(|| Fault::internal("the HMAC key that was just written is not there"))
    }
}

impl Hasher {
    /// The index key of a role id.
    pub fn role_id(&self, role_id: &str) -> String {
        self.tag(&["role-id", role_id])
    }

    /// The index key of a secret id of the role with this uid.
    pub fn secret_id(&self, uid: &str, secret_id: &str) -> String {
        self.tag(&["secret-id", uid, secret_id])
    }

    /// Only the last part is free text, so a NUL between them is enough to keep them apart.
    fn tag(&self, parts: &[&str]) -> String {
        let mut context = hmac::Context::with_key(&self.0);
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                context.update(&[0]);
            }
            context.update(part.as_bytes());
        }
        hex::encode(context.sign())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_differ_by_use_role_and_key() {
        let hasher = Hasher(hmac::Key::new(hmac::HMAC_SHA256, &[1; 32]));
        let other = Hasher(hmac::Key::new(hmac::HMAC_SHA256, &[2; 32]));
        let tag = hasher.secret_id("a", "x");
        assert_eq!(tag, hasher.secret_id("a", "x"));
        assert_ne!(tag, hasher.secret_id("b", "x"));
        assert_ne!(tag, hasher.role_id("x"));
        assert_ne!(tag, other.secret_id("a", "x"));
    }
}
