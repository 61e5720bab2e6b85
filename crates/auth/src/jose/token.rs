//! A token in its compact form: three parts of base64url with dots between.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::Algorithm;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Claims, Refused};

/// The longest token in bytes. Kubernetes and the large providers stay far below.
const LONGEST: usize = 64 * 1024;
/// The longest name of a key in bytes.
const LONGEST_KID: usize = 1024;

/// The algorithms that there are, as a header names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Alg {
    /// RSA PKCS#1 1.5 with SHA-256.
    RS256,
    /// RSA PKCS#1 1.5 with SHA-384.
    RS384,
    /// RSA PKCS#1 1.5 with SHA-512.
    RS512,
    /// RSA PSS with SHA-256.
    PS256,
    /// RSA PSS with SHA-384.
    PS384,
    /// RSA PSS with SHA-512.
    PS512,
    /// ECDSA on P-256.
    ES256,
    /// ECDSA on P-384.
    ES384,
    /// Ed25519.
    EdDSA,
}

/// All of [`Alg`].
pub const ALGORITHMS: [Alg; 9] =
    [Alg::RS256, Alg::RS384, Alg::RS512, Alg::PS256, Alg::PS384, Alg::PS512, Alg::ES256, Alg::ES384, Alg::EdDSA];

impl Alg {
    /// The algorithm of a name.
    pub fn named(name: &str) -> Option<Self> {
        serde_json::from_value(name.into()).ok()
    }

    pub(super) fn theirs(self) -> Algorithm {
        match self {
            Self::RS256 => Algorithm::RS256,
            Self::RS384 => Algorithm::RS384,
            Self::RS512 => Algorithm::RS512,
            Self::PS256 => Algorithm::PS256,
            Self::PS384 => Algorithm::PS384,
            Self::PS512 => Algorithm::PS512,
            Self::ES256 => Algorithm::ES256,
            Self::ES384 => Algorithm::ES384,
            Self::EdDSA => Algorithm::EdDSA,
        }
    }
}

/// A token that was read and not yet verified: its claims may be anybody's.
pub struct Signed<'t> {
    /// What it is signed with, as it says itself.
    pub alg: Alg,
    /// The name of the key, as it says itself.
    pub kid: Option<String>,
    pub(super) message: &'t str,
    pub(super) signature: &'t str,
    claims: Claims,
}

/// What is looked at in a header. Keys that it brings along (`jwk`, `jku`, `x5c`...) are not.
#[derive(Deserialize)]
struct Header {
    alg: String,
    kid: Option<String>,
    crit: Option<Value>,
}

impl<'t> Signed<'t> {
    /// Reads a token.
    ///
    /// # Errors
    /// [`Refused::Malformed`], or [`Refused::Algorithm`] for one that we do not know.
    pub fn read(text: &'t str) -> Result<Self, Refused> {
        let malformed = |why| Err(Refused::Malformed(why));
        if text.len() > LONGEST {
            return malformed("it is longer than 64 KiB");
        }
        let Some((message, signature)) = text.rsplit_once('.') else { return malformed("it has not three parts") };
        let Some((header, payload)) = message.split_once('.') else { return malformed("it has not three parts") };
        if payload.contains('.') {
            return malformed("it has not three parts");
        }
        let Some(header) = part::<Header>(header) else { return malformed("its header cannot be read") };
        if header.crit.is_some() {
            return malformed("its header demands an extension (crit) that is not known");
        }
        if header.kid.as_ref().is_some_and(|kid| kid.len() > LONGEST_KID) {
            return malformed("the name of its key is too long");
        }
        let alg = Alg::named(&header.alg).ok_or(Refused::Algorithm)?;
        let Some(claims) = part::<Map<String, Value>>(payload) else { return malformed("its claims cannot be read") };
        Ok(Self { alg, kid: header.kid, message, signature, claims: Claims(claims) })
    }

    /// The claims, whoever made them.
    pub fn unverified(self) -> Claims {
        self.claims
    }
}

fn part<T: for<'de> Deserialize<'de>>(text: &str) -> Option<T> {
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok()
}
