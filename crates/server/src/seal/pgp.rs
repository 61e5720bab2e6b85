//! What is handed to one person leaves the server under that person's PGP key: shares, and a root token.
//!
//! A key is tried out when it is read, so that one that cannot be used is refused before anything is made.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::clock::Moment;
use dewdrop_core::{Fault, Secret};

use super::InitAsk;

#[cfg_attr(feature = "pgp", path = "pgp/openpgp.rs")]
#[cfg_attr(not(feature = "pgp"), path = "pgp/without.rs")]
mod openpgp;

pub use openpgp::PgpKey;

/// Larger than any key with its signatures and portraits.
const LARGEST: usize = 1 << 20;

/// The keys of those who are to hold the shares, in the order of the shares. None: shares are handed out as they are.
#[derive(Default)]
pub struct Holders(Vec<PgpKey>);

/// Reads one key as the API takes it: base64 of its binary form.
///
/// # Errors
/// 400 with what is wrong; `name` says which key it is. 501: this build knows no PGP.
pub fn key(name: &str, text: &str, now: Moment) -> Result<PgpKey, Fault> {
    let told = |why: &str| Fault::bad_request(format!("{name} cannot be used: {why}"));
    if text.len() > LARGEST {
        return Err(told(
            "it is larger than a megabyte; export it with fewer signatures (gpg --export-options export-minimal)",
        ));
    }
    let text: String = text.split_ascii_whitespace().collect();
    if text.starts_with("-----BEGIN") {
        return Err(told("it is armoured; send base64 of the binary key (gpg --export ID | base64)"));
    }
    let bytes = STANDARD.decode(text).map_err(|_| told("it is not base64"))?;
    PgpKey::read(&bytes, now).map_err(|wrong| match wrong {
        Wrong::NotBuilt(why) => Fault::not_built(why),
        Wrong::Key(why) => told(&why),
    })
}

/// Why a key is not taken.
pub enum Wrong {
    /// This build has no PGP at all.
    #[cfg_attr(feature = "pgp", expect(dead_code, reason = "only a build without PGP says it"))]
    NotBuilt(&'static str),
    /// The key is at fault.
    #[cfg_attr(not(feature = "pgp"), expect(dead_code, reason = "only a build with PGP says it"))]
    Key(String),
}

impl Holders {
    /// Reads the field `field`: a key for each share, or none at all.
    ///
    /// # Errors
    /// 400: another number of keys than of shares, or a key that cannot be used, with its place in the list.
    pub fn read(field: &str, keys: &[String], ask: InitAsk, now: Moment) -> Result<Self, Fault> {
        // A list may come as one text; base64 has no commas.
        let keys: Vec<&str> = keys.iter().flat_map(|text| text.split(',')).collect();
        if keys.is_empty() {
            return Ok(Self::default());
        }
        if keys.len() != usize::from(ask.shares) {
            return Err(Fault::bad_request(format!(
                "{} PGP keys in {field} for {} shares: give one key for each share",
                keys.len(),
                ask.shares
            )));
        }
        let read = keys
            .iter()
            .enumerate()
            .map(|(at, text)| key(&format!("key {} of {} in {field}", at + 1, keys.len()), text, now));
        read.collect::<Result<_, _>>().map(Self)
    }

    /// Shares as they are handed out: each for its holder's eyes, as the hex text that unsealing takes.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub fn seal(&self, shares: Vec<Secret<Vec<u8>>>) -> Result<Vec<Secret<Vec<u8>>>, Fault> {
        if self.0.is_empty() {
            return Ok(shares);
        }
        let sealed = shares.iter().zip(&self.0).map(|(share, key)| {
            let text = Secret::new(hex::encode(share.expose()));
            key.encrypt(text.expose().as_bytes()).map(Secret::new)
        });
        sealed.collect()
    }

    /// The fingerprints of the keys; `None` without any.
    #[must_use]
    pub fn fingerprints(&self) -> Option<Vec<String>> {
        (!self.0.is_empty()).then(|| self.0.iter().map(|key| key.fingerprint().to_owned()).collect())
    }
}
