//! Passcodes by time (RFC 6238). Pure: time comes as seconds, the last used step as an argument.

use aws_lc_rs::hmac;
use data_encoding::BASE32_NOPAD;
use dewdrop_core::secret::same_bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

/// The hash of the HMAC.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Algorithm {
    /// What every authenticator knows.
    #[default]
    Sha1,
    /// SHA-256.
    Sha256,
    /// SHA-512.
    Sha512,
}

/// How codes are made of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// The hash.
    pub algorithm: Algorithm,
    /// 6 or 8.
    pub digits: u8,
    /// Seconds of a step; not zero.
    pub period: u64,
    /// How many steps before and after now are taken as well: 0 or 1.
    pub skew: u8,
}

impl Default for Shape {
    fn default() -> Self {
        Self { algorithm: Algorithm::Sha1, digits: 6, period: 30, skew: 1 }
    }
}

/// What stays as it is in an `otpauth` URL.
const KEPT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

impl Algorithm {
    /// As the API names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA1",
            Self::Sha256 => "SHA256",
            Self::Sha512 => "SHA512",
        }
    }

    /// By the API's name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Sha1, Self::Sha256, Self::Sha512].into_iter().find(|algorithm| algorithm.name() == name)
    }

    fn hmac(self) -> hmac::Algorithm {
        match self {
            Self::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Self::Sha256 => hmac::HMAC_SHA256,
            Self::Sha512 => hmac::HMAC_SHA512,
        }
    }
}

impl Shape {
    /// The code of one step.
    #[must_use]
    pub fn code(&self, key: &[u8], step: u64) -> String {
        let key = hmac::Key::new(self.algorithm.hmac(), key);
        let tag = hmac::sign(&key, &step.to_be_bytes());
        let tag = tag.as_ref();
        let at = usize::from(tag.last().copied().unwrap_or_default() & 0x0f);
        let four = tag.get(at..at + 4).and_then(|four| four.try_into().ok()).map_or(0, u32::from_be_bytes);
        let number = u64::from(four & 0x7fff_ffff) % 10u64.pow(u32::from(self.digits));
        format!("{number:0width$}", width = usize::from(self.digits))
    }

    /// The step that a code belongs to, when it is one of those that are taken now and lies after the last used one. Every
    /// step is compared in constant time, whatever was found before.
    #[must_use]
    pub fn step_of(&self, key: &[u8], code: &str, now: u64, last: Option<u64>) -> Option<u64> {
        let here = now / self.period.max(1);
        let skew = u64::from(self.skew);
        let mut found = None;
        for step in here.saturating_sub(skew)..=here.saturating_add(skew) {
            let fits = same_bytes(self.code(key, step).as_bytes(), code.as_bytes());
            if fits && last.is_none_or(|last| step > last) {
                found = Some(step);
            }
        }
        found
    }

    /// The URL that authenticators read.
    #[must_use]
    pub fn url(&self, issuer: &str, account: &str, key: &[u8]) -> String {
        let encoded = |text: &str| utf8_percent_encode(text, KEPT).to_string();
        format!(
            "otpauth://totp/{issuer}:{}?algorithm={}&digits={}&issuer={issuer}&period={}&secret={}",
            encoded(account),
            self.algorithm.name(),
            self.digits,
            self.period,
            BASE32_NOPAD.encode(key),
            issuer = encoded(issuer),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &[u8] = b"1234567890123456789012345678901234567890123456789012345678901234";

    fn shape(algorithm: Algorithm) -> Shape {
        Shape { algorithm, digits: 8, period: 30, skew: 1 }
    }

    /// The table of RFC 6238, appendix B.
    #[test]
    fn the_codes_are_those_of_the_rfc() {
        let rows = [
            (59, "94287082", "46119246", "90693936"),
            (1_111_111_109, "07081804", "68084774", "25091201"),
            (1_111_111_111, "14050471", "67062674", "99943326"),
            (1_234_567_890, "89005924", "91819424", "93441116"),
            (2_000_000_000, "69279037", "90698825", "38618901"),
            (20_000_000_000, "65353130", "77737706", "47863826"),
        ];
        for (time, sha1, sha256, sha512) in rows {
            let step = time / 30;
            assert_eq!(shape(Algorithm::Sha1).code(&KEY[..20], step), sha1);
            assert_eq!(shape(Algorithm::Sha256).code(&KEY[..32], step), sha256);
            assert_eq!(shape(Algorithm::Sha512).code(KEY, step), sha512);
        }
        assert_eq!(Shape::default().code(&KEY[..20], 1), "287082", "six digits are the last of the eight");
    }

    #[test]
    fn only_the_neighbours_are_taken() {
        let (shape, now) = (Shape::default(), 3000);
        let taken = |shape: Shape, step| shape.step_of(KEY, &shape.code(KEY, step), now, None);
        assert_eq!(
            [98, 99, 100, 101, 102].map(|step| taken(shape, step)),
            [None, Some(99), Some(100), Some(101), None]
        );
        let strict = Shape { skew: 0, ..shape };
        assert_eq!([99, 100, 101].map(|step| taken(strict, step)), [None, Some(100), None]);
        for wrong in ["", "1", "0000000", "\u{664}\u{664}\u{664}"] {
            assert_eq!(shape.step_of(KEY, wrong, now, None), None);
        }
    }

    #[test]
    fn a_step_is_taken_once_and_none_before_it() {
        let (shape, now) = (Shape::default(), 3000);
        let taken = |step, last| shape.step_of(KEY, &shape.code(KEY, step), now, Some(last));
        assert_eq!(
            [taken(100, 99), taken(100, 100), taken(99, 100), taken(101, 100)],
            [Some(100), None, None, Some(101)]
        );
    }

    #[test]
    fn the_url_names_all_that_an_authenticator_needs() {
        let url = Shape::default().url("dew co", "ann&x", b"12345678901234567890");
        assert_eq!(
            url,
            "otpauth://totp/dew%20co:ann%26x?algorithm=SHA1&digits=6&issuer=dew%20co&period=30&secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
        );
    }
}
