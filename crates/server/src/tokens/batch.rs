//! Batch tokens: the whole record, encrypted, is the token. Nothing of them is stored.

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dewdrop_core::mount::Namespace;
use dewdrop_core::token::TokenRecord;
use dewdrop_core::{Fault, Secret};

use crate::ids;

/// What a batch token begins with.
pub const PREFIX: &str = "b.";
const NONCE: usize = 12;

/// The key that batch tokens are sealed with.
pub struct BatchKey(LessSafeKey);

impl BatchKey {
    /// Takes 32 bytes.
    ///
    /// # Errors
    /// Another length.
    pub fn new(key: &Secret<Vec<u8>>) -> Result<Self, Fault> {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).map_err(|_| Fault::internal("batch key length"))?;
        Ok(Self(LessSafeKey::new(key)))
    }

    /// Makes a token's text.
    ///
    /// # Errors
    /// A defect, or the machine gives no random bytes.
    pub fn seal(&self, record: &TokenRecord, namespace: &Namespace) -> Result<String, Fault> {
        let mut nonce = [0u8; NONCE];
        ids::fill(&mut nonce)?;
        let mut text = serde_json::to_vec(record).map_err(|e| Fault::internal(format!("encode a batch token: {e}")))?;
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::empty(), &mut text)
            .map_err(|_| Fault::internal("seal a batch token"))?;
        let body = URL_SAFE_NO_PAD.encode([nonce.as_slice(), &text].concat());
        Ok(if namespace.is_root() { format!("{PREFIX}{body}") } else { format!("{PREFIX}{body}.{}", namespace.id) })
    }

    /// Reads a token's text; `None` for anything that this key did not seal.
    #[must_use]
    pub fn open(&self, token: &str) -> Option<TokenRecord> {
        let body = token.strip_prefix(PREFIX)?.split('.').next()?;
        let mut bytes = URL_SAFE_NO_PAD.decode(body).ok()?;
        let (nonce, text) = bytes.split_at_mut_checked(NONCE)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
        let text = self.0.open_in_place(nonce, Aad::empty(), text).ok()?;
        serde_json::from_slice(text).ok()
    }
}
