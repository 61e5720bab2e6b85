//! What reads others' tokens and keys: the fuzzer and the ordinary tests both call these. They fail by panicking.

use dewdrop_core::fuzzing::Target;

use crate::cert::{Facts, Trust, serials};
use crate::jose::{ALGORITHMS, KeySet, Signed};
use crate::jwt::fuzzing as provider;

/// By the name of its corpus.
pub const TARGETS: &[Target] = &[
    ("jwt", jwt),
    ("jwks", jwks),
    ("oidc-discovery", provider::discovery),
    ("oidc-answer", provider::answer),
    ("oidc-claims", provider::claims),
    ("certificate", certificate),
    ("certificates-pem", certificates_pem),
    ("crl", crl),
];

/// The only keys there are, whose other halves nobody has.
const KEYS: &[u8] = include_bytes!("../../../fuzz/corpus/jwks/public");

fn jwt(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let (Ok(keys), Ok(token)) = (KeySet::from_jwks(KEYS), Signed::read(text)) else { return };
    let _ = keys.lacks(&token);
    assert!(keys.verify(token, &ALGORITHMS).is_err(), "a forged token was taken");
}

fn jwks(bytes: &[u8]) {
    if let Ok(keys) = KeySet::from_jwks(bytes) {
        let _ = keys.is_empty();
    }
}

fn certificate(bytes: &[u8]) {
    let Ok(facts) = Facts::read(bytes) else { return };
    assert_ne!(facts.serial.first(), Some(&0), "a serial number begins with zeros");
    for (oid, value) in &facts.extensions {
        assert_eq!(facts.extension(oid), Some(value.as_slice()), "an extension hides another");
        assert!(facts.extension_text(oid).is_some());
    }
}

fn certificates_pem(bytes: &[u8]) {
    let _ = Trust::read(&String::from_utf8_lossy(bytes));
}

fn crl(bytes: &[u8]) {
    let all = serials(bytes).unwrap_or_default();
    assert!(all.iter().all(|(raw, text)| raw.first() != Some(&0) && !text.is_empty()));
}

#[cfg(test)]
#[test]
fn tokens_and_keys_of_anybody_are_read() {
    assert!(!KeySet::from_jwks(KEYS).expect("keys").is_empty());
    dewdrop_testkit::fuzz::replay(TARGETS);
}
