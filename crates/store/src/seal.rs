//! Seals: whatever keeps the root key while the server is down. Several seals each wrap the same root key; any one of
//! them opens it, so that the loss of one (a cloud account, a share holder) is not the loss of everything.
//!
//! The wrapped keys lie below the barrier at [`WrappedKeys::AT`] as JSON. A Shamir seal is a [`KeySeal`] whose key is split into
//! shares; a static seal is one whose key lies in a file.

use async_trait::async_trait;
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use dewdrop_core::store::{self, Batch, Revision, Store, StoreError};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::locked::{KEY_BYTES, LockedError, LockedKey};

/// Something that wraps the root key.
#[async_trait]
pub trait Seal: Send + Sync {
    /// What it is: `shamir`, `static`, …
    fn kind(&self) -> &str;

    /// Which one of its kind, stable over restarts.
    fn id(&self) -> &str;

    /// Wraps a root key. The answer says with which key of its own, if it has several.
    async fn wrap(&self, root: &LockedKey) -> Result<WrappedKey, SealError>;

    /// Unwraps what [`Seal::wrap`] of the same seal gave.
    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<LockedKey, SealError>;
}

/// The root key, as one seal keeps it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKey {
    /// [`Seal::kind`].
    pub kind: String,
    /// [`Seal::id`].
    pub id: String,
    /// Which key of the seal wrapped it.
    pub key_id: String,
    /// Base64 of what the seal gave.
    pub blob: String,
}

/// The root key, as all seals keep it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WrappedKeys {
    /// One for each seal.
    pub keys: Vec<WrappedKey>,
}

/// Why a seal did not open.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The seal's key is not the one that wrapped it.
    #[error("seal {0}: wrong key")]
    WrongKey(String),
    /// The seal has no key of that name.
    #[error("seal {seal} has no key named {key:?}; give the old key as the previous one")]
    UnknownKey {
        /// The seal.
        seal: String,
        /// The key that is missing.
        key: String,
    },
    /// None of the seals at hand has wrapped the root key, or each of them failed.
    #[error("no seal opens the root key: {0}")]
    NoneOpens(String),
    /// A seal's service does not answer now.
    #[error("seal {0} does not answer: {1}")]
    Unavailable(String, String),
    /// A key is not 32 bytes, or not in a form that is known.
    #[error("a seal key must be 32 bytes, raw, in hex or in base64")]
    BadKey,
    /// Locked memory or randomness failed.
    #[error("no key could be made")]
    Key(#[from] LockedError),
}

/// A seal that is a key of ours, and perhaps the one before it: the root key is encrypted with AES-256-GCM.
pub struct KeySeal {
    kind: String,
    id: String,
    keys: Vec<(String, LockedKey)>,
}

// === impl WrappedKeys ===

impl WrappedKeys {
    /// Where they lie, below the barrier.
    pub const AT: &[u8] = b"seal/keys";

    /// Wraps a root key with every seal.
    ///
    /// # Errors
    /// Any seal that fails: a root key that only some seals hold is not what was asked for.
    pub async fn wrap(seals: &[&dyn Seal], root: &LockedKey) -> Result<Self, SealError> {
        let mut keys = Vec::with_capacity(seals.len());
        for seal in seals {
            keys.push(seal.wrap(root).await?);
        }
        Ok(Self { keys })
    }

    /// Opens the root key with the first seal that can. Gives the id of that seal too.
    ///
    /// # Errors
    /// [`SealError::NoneOpens`], with the reason of each.
    pub async fn unwrap(&self, seals: &[&dyn Seal]) -> Result<(LockedKey, String), SealError> {
        let mut reasons = Vec::new();
        for seal in seals {
            let Some(wrapped) = self.keys.iter().find(|key| key.kind == seal.kind() && key.id == seal.id()) else {
                reasons.push(format!("{} {:?} never wrapped it", seal.kind(), seal.id()));
                continue;
            };
            match seal.unwrap(wrapped).await {
                Ok(root) => return Ok((root, seal.id().to_owned())),
                Err(error) => reasons.push(error.to_string()),
            }
        }
        Err(SealError::NoneOpens(if reasons.is_empty() { "there is none".into() } else { reasons.join("; ") }))
    }

    /// Reads them, with their revision; `None` before initialization.
    ///
    /// # Errors
    /// The store's own.
    pub async fn load(below: &dyn Store) -> Result<Option<(Self, Revision)>, StoreError> {
        store::get_json(below, Self::AT).await
    }

    /// A batch that writes them: for [`Barrier::initialize`](crate::Barrier::initialize) and
    /// [`Barrier::change_root_key`](crate::Barrier::change_root_key).
    ///
    /// # Errors
    /// They cannot be written as JSON (a defect).
    pub fn batch(&self) -> Result<Batch, StoreError> {
        let json =
            serde_json::to_vec(self).map_err(|e| StoreError::Refused(format!("encode the wrapped keys: {e}")))?;
        Ok(Batch::new().put(Self::AT, json))
    }
}

// === impl KeySeal ===

impl KeySeal {
    /// The seal whose key is split into shares.
    #[must_use]
    pub fn shamir(key: LockedKey) -> Self {
        Self { kind: "shamir".into(), id: "shamir".into(), keys: vec![("1".into(), key)] }
    }

    /// The seal whose key lies in the configuration or a file, with the key before it during a change.
    #[must_use]
    pub fn fixed(id: impl Into<String>, current: (String, LockedKey), previous: Option<(String, LockedKey)>) -> Self {
        Self { kind: "static".into(), id: id.into(), keys: std::iter::once(current).chain(previous).collect() }
    }

    fn bound_to(&self, key_id: &str) -> Vec<u8> {
        // Ids from a configuration hold no NUL, so no two (kind, id, key) share associated data.
        [b"dewdrop root key".as_slice(), &[0], self.kind.as_bytes(), &[0], self.id.as_bytes(), &[0], key_id.as_bytes()]
            .concat()
    }
}

#[async_trait]
impl Seal for KeySeal {
    fn kind(&self) -> &str {
        &self.kind
    }

    fn id(&self) -> &str {
        &self.id
    }

    async fn wrap(&self, root: &LockedKey) -> Result<WrappedKey, SealError> {
        let (key_id, key) = self.keys.first().ok_or(SealError::BadKey)?;
        let mut nonce = [0; NONCE_LEN];
        SystemRandom::new().fill(&mut nonce).map_err(|_| LockedError::Random)?;
        let mut sealed = Zeroizing::new(root.expose().to_vec());
        let tag = ready(key)?
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(self.bound_to(key_id)),
                &mut sealed,
            )
            .map_err(|_| SealError::BadKey)?;
        let blob = STANDARD.encode([nonce.as_slice(), &sealed, tag.as_ref()].concat());
        Ok(WrappedKey { kind: self.kind.clone(), id: self.id.clone(), key_id: key_id.clone(), blob })
    }

    async fn unwrap(&self, wrapped: &WrappedKey) -> Result<LockedKey, SealError> {
        let (_, key) = self
            .keys
            .iter()
            .find(|(key_id, _)| *key_id == wrapped.key_id)
            .ok_or_else(|| SealError::UnknownKey { seal: self.id.clone(), key: wrapped.key_id.clone() })?;
        let wrong = || SealError::WrongKey(self.id.clone());
        let blob = STANDARD.decode(&wrapped.blob).map_err(|_| wrong())?;
        let (nonce, sealed) = blob.split_first_chunk::<NONCE_LEN>().ok_or_else(wrong)?;
        let mut buffer = Zeroizing::new(sealed.to_vec());
        let root = ready(key)?
            .open_in_place(Nonce::assume_unique_for_key(*nonce), Aad::from(self.bound_to(&wrapped.key_id)), &mut buffer)
            .map_err(|_| wrong())?;
        Ok(LockedKey::copy_of(root)?)
    }
}

/// Reads a key as people write it into files: 32 raw bytes, 64 hex digits, or base64 (either alphabet, padded or not);
/// white space around the latter two is ignored.
///
/// # Errors
/// [`SealError::BadKey`], or no locked memory.
pub fn parse_static_key(text: &[u8]) -> Result<LockedKey, SealError> {
    if text.len() == KEY_BYTES {
        return Ok(LockedKey::copy_of(text)?);
    }
    let text = text.trim_ascii();
    let mut hex = Zeroizing::new([0u8; KEY_BYTES]);
    if decode_hex(text, &mut hex).is_some() {
        return Ok(LockedKey::copy_of(hex.as_slice())?);
    }
    for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
        if let Ok(bytes) = engine.decode(text) {
            let bytes = Zeroizing::new(bytes);
            if bytes.len() == KEY_BYTES {
                return Ok(LockedKey::copy_of(&bytes)?);
            }
        }
    }
    Err(SealError::BadKey)
}

fn decode_hex(text: &[u8], into: &mut [u8; KEY_BYTES]) -> Option<()> {
    if text.len() != KEY_BYTES * 2 {
        return None;
    }
    for (byte, pair) in into.iter_mut().zip(text.chunks_exact(2)) {
        *byte = pair
            .iter()
            .try_fold(0, |sum, digit| Some(sum << 4 | u8::try_from(char::from(*digit).to_digit(16)?).ok()?))?;
    }
    Some(())
}

fn ready(key: &LockedKey) -> Result<LessSafeKey, SealError> {
    UnboundKey::new(&AES_256_GCM, key.expose()).map(LessSafeKey::new).map_err(|_| SealError::BadKey)
}

#[cfg(test)]
mod tests;
