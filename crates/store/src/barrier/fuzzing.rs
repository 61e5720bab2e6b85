//! The forms that this module alone knows.

use bytes::Bytes;

use super::keyring::Keyring;
use super::record::{open, open_key, ready, term_of};
use crate::LockedKey;

/// A record under a key that did not seal it.
pub fn record(bytes: Bytes) {
    let Some(key) = LockedKey::copy_of(&[7; 32]).ok().and_then(|key| ready(&key).ok()) else { return };
    let term = term_of(&bytes).unwrap_or(1);
    assert!(open_key(&key, term, b"at", &bytes).is_err(), "a forged record was opened");
    assert!(open(&key, term, b"at", bytes).is_err(), "a forged record was opened");
}

/// A keyring as it lies below the root key's encryption.
pub fn keyring(bytes: &[u8]) {
    if let Ok(keyring) = Keyring::decode(bytes) {
        assert!(Keyring::decode(&keyring.encode()).is_ok(), "what is written can be read");
    }
}
