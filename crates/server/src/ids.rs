//! Random names: tokens, accessors, lease ids, UUIDs.

use aws_lc_rs::rand::{SecureRandom, SystemRandom};
use dewdrop_core::Fault;

const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";

/// `count` random characters of A-Z, a-z and 0-9, each equally likely (5.95 bits a character).
///
/// # Errors
/// The machine gives no random bytes.
pub fn base62(count: usize) -> Result<String, Fault> {
    let mut text = String::with_capacity(count);
    let mut block = [0u8; 64];
    while text.len() < count {
        fill(&mut block)?;
        // 248 is the largest multiple of 62 in a byte: what lies above would favour the first letters.
        let fair = block.iter().filter(|byte| **byte < 248).filter_map(|byte| ALPHABET.get(usize::from(*byte % 62)));
        text.extend(fair.take(count - text.len()).map(|byte| char::from(*byte)));
    }
    Ok(text)
}

/// The same letters from bytes that are already random (a MAC): no bias worth the name, since each character draws on 16 bits.
#[must_use]
pub fn base62_of(bytes: &[u8]) -> String {
    let pairs = bytes.chunks_exact(2).map(|pair| u16::from_be_bytes([pair[0], pair[1]]));
    pairs.filter_map(|number| ALPHABET.get(usize::from(number % 62))).map(|byte| char::from(*byte)).collect()
}

/// A random UUID (version 4).
///
/// # Errors
/// The machine gives no random bytes.
pub fn uuid() -> Result<String, Fault> {
    let mut bytes = [0u8; 16];
    fill(&mut bytes)?;
    Ok(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

/// Fills a buffer with random bytes.
///
/// # Errors
/// The machine gives no random bytes.
pub fn fill(bytes: &mut [u8]) -> Result<(), Fault> {
    SystemRandom::new().fill(bytes).map_err(|_| Fault::internal("the machine gives no random bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_length_and_the_letters() {
        let name = base62(24).unwrap();
        assert_eq!(name.len(), 24);
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric()));
        assert_ne!(name, base62(24).unwrap());
        assert_eq!(base62_of(&[0; 48]), "A".repeat(24));
    }
}
