//! How one value is encrypted: version (1 byte), key term (4, big-endian), nonce (12), AES-256-GCM ciphertext and tag.
//! Associated data is storage key ‖ term ‖ version, so a value is bound to its place; the last two have fixed lengths,
//! so no two places share associated data.
//!
//! Nonces are random, 96 bits, and not a counter: several servers share one key without talking to each other, and a
//! counter that a restored snapshot or a cloned machine winds back would repeat nonces, which random ones do not.
//! The price is the bound of NIST SP 800-38D 8.3: at most 2^32 encryptions per key, after which the probability of a
//! repeated nonce is n²/2^97 = 2^-33. The keyring rotates before that (see `Rotation`). They are drawn in
//! blocks, since one call of the generator costs more than one encryption. A forked child would repeat the block, but
//! this program never runs on in a fork (it only executes other programs).

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use bytes::{Bytes, BytesMut};
use dewdrop_core::store::StoreError;
use parking_lot::Mutex;
use zeroize::Zeroizing;

use crate::locked::LockedKey;

const VERSION: u8 = 1;
const HEAD: usize = 1 + 4 + NONCE_LEN;
const TAG: usize = 16;
/// Term of what is encrypted under the root key itself.
pub(super) const ROOT_TERM: u32 = 0;

/// Why a value was not opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unopened {
    /// Its key is not in the keyring; the value is given back.
    #[error("encrypted with key {0}, which is not in the keyring")]
    UnknownTerm(u32, Bytes),
    /// It is not what was written here.
    #[error("it was changed or moved after it was written")]
    Forged,
}

/// Random nonces in stock.
pub(super) struct Nonces(Mutex<Stock>);

struct Stock {
    bytes: [u8; NONCE_LEN * 256],
    used: usize,
}

/// A key made ready for use. aws-lc holds the key schedule on its own heap and wipes it when it frees it.
pub(super) fn ready(key: &LockedKey) -> Result<LessSafeKey, StoreError> {
    let unbound = UnboundKey::new(&AES_256_GCM, key.expose())
        .map_err(|_| StoreError::Damaged("a key was refused by AES-256-GCM".into()))?;
    Ok(LessSafeKey::new(unbound))
}

/// Encrypts a value for its place.
pub(super) fn close(
    key: &LessSafeKey,
    term: u32,
    at: &[u8],
    value: &[u8],
    nonces: &Nonces,
) -> Result<Vec<u8>, StoreError> {
    let nonce = nonces.draw()?;
    let mut record = Vec::with_capacity(HEAD + value.len() + TAG);
    record.push(VERSION);
    record.extend_from_slice(&term.to_be_bytes());
    record.extend_from_slice(&nonce);
    record.extend_from_slice(value);
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(bound_to(at, term)),
            &mut record[HEAD..],
        )
        .map_err(|_| StoreError::Damaged("AES-256-GCM refused to encrypt".into()))?;
    record.extend_from_slice(tag.as_ref());
    Ok(record)
}

/// The key term of a record.
pub(super) fn term_of(record: &[u8]) -> Result<u32, Unopened> {
    match record {
        [VERSION, a, b, c, d, rest @ ..] if rest.len() >= NONCE_LEN + TAG => Ok(u32::from_be_bytes([*a, *b, *c, *d])),
        _ => Err(Unopened::Forged),
    }
}

/// Decrypts a value of this place, in its own buffer where nobody else holds it.
pub(super) fn open(key: &LessSafeKey, term: u32, at: &[u8], record: Bytes) -> Result<Bytes, Unopened> {
    let mut record = record.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    let (head, sealed) = record.split_at_mut_checked(HEAD).ok_or(Unopened::Forged)?;
    let nonce = head.last_chunk::<NONCE_LEN>().copied().ok_or(Unopened::Forged)?;
    let value = key
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(bound_to(at, term)), sealed)
        .map_err(|_| Unopened::Forged)?;
    let length = value.len();
    Ok(record.freeze().slice(HEAD..HEAD + length))
}

/// Like [`open`], for what is itself a key: the buffer is wiped.
pub(super) fn open_key(key: &LessSafeKey, term: u32, at: &[u8], record: &[u8]) -> Result<Zeroizing<Vec<u8>>, Unopened> {
    let (head, sealed) = record.split_at_checked(HEAD).ok_or(Unopened::Forged)?;
    let nonce = head.last_chunk::<NONCE_LEN>().copied().ok_or(Unopened::Forged)?;
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let length = key
        .open_in_place(Nonce::assume_unique_for_key(nonce), Aad::from(bound_to(at, term)), &mut buffer)
        .map_err(|_| Unopened::Forged)?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

fn bound_to(at: &[u8], term: u32) -> Vec<u8> {
    let mut bound = Vec::with_capacity(at.len() + 5);
    bound.extend_from_slice(at);
    bound.extend_from_slice(&term.to_be_bytes());
    bound.push(VERSION);
    bound
}

// === impl Nonces ===

impl Default for Nonces {
    fn default() -> Self {
        let bytes = [0; NONCE_LEN * 256];
        Self(Mutex::new(Stock { used: bytes.len(), bytes }))
    }
}

impl Nonces {
    fn draw(&self) -> Result<[u8; NONCE_LEN], StoreError> {
        let mut stock = self.0.lock();
        if stock.used == stock.bytes.len() {
            SystemRandom::new()
                .fill(&mut stock.bytes)
                .map_err(|_| StoreError::Unavailable("the random number generator failed".into()))?;
            stock.used = 0;
        }
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&stock.bytes[stock.used..stock.used + NONCE_LEN]);
        stock.used += NONCE_LEN;
        Ok(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_opens_only_where_and_as_it_was_written() {
        let key = ready(&LockedKey::random().unwrap()).unwrap();
        let nonces = Nonces::default();
        let record = close(&key, 7, b"d/a", b"value", &nonces).unwrap();
        assert_eq!(term_of(&record).unwrap(), 7);
        assert_eq!(open(&key, 7, b"d/a", Bytes::from(record.clone())).unwrap(), "value");
        assert!(open(&key, 7, b"d/b", Bytes::from(record.clone())).is_err(), "moved");
        assert!(open(&key, 8, b"d/a", Bytes::from(record.clone())).is_err(), "another term");
        for at in 5..record.len() {
            let mut changed = record.clone();
            changed[at] ^= 1;
            assert!(open(&key, 7, b"d/a", Bytes::from(changed)).is_err(), "byte {at}");
        }
        for length in 0..record.len() {
            assert!(
                term_of(&record[..length]).is_err()
                    || open(&key, 7, b"d/a", Bytes::copy_from_slice(&record[..length])).is_err()
            );
        }
    }

    #[test]
    fn nonces_do_not_repeat_across_blocks() {
        let nonces = Nonces::default();
        let drawn: std::collections::HashSet<_> = (0..2000).map(|_| nonces.draw().unwrap()).collect();
        assert_eq!(drawn.len(), 2000);
    }
}
