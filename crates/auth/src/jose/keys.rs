//! Public keys: from a JWKS (RFC 7517) or from PEM.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, PublicKeyUse};
use jsonwebtoken::{AlgorithmFamily, DecodingKey};
use serde_json::Value;

use super::{Alg, Claims, Refused, Signed};

/// The most keys that one set may have.
const MOST: usize = 500;

/// Keys, any of which may have signed a token.
#[derive(Default, Clone)]
pub struct KeySet {
    keys: Vec<Key>,
}

#[derive(Clone)]
struct Key {
    kid: Option<String>,
    algs: Vec<Alg>,
    key: DecodingKey,
}

impl KeySet {
    /// Reads the text of a JWKS. Keys of kinds that we do not know are left out, as RFC 7517 wants it; so are those for
    /// encryption and shared secrets.
    ///
    /// # Errors
    /// What is wrong with it, in words without its content.
    pub fn from_jwks(text: &[u8]) -> Result<Self, String> {
        let value: Value = serde_json::from_slice(text).map_err(|_| "it is no JSON".to_owned())?;
        let keys = value.get("keys").and_then(Value::as_array).ok_or("it is no JWKS: there is no list `keys`")?;
        if keys.len() > MOST {
            return Err(format!("{} keys are too many: at most {MOST}", keys.len()));
        }
        let keys = keys.iter().filter_map(|key| Key::of_jwk(serde_json::from_value(key.clone()).ok()?)).collect();
        Ok(Self { keys })
    }

    /// Reads keys or certificates in PEM, one in each text.
    ///
    /// # Errors
    /// The place of the text that is none, from 1.
    pub fn from_pem(texts: &[String]) -> Result<Self, usize> {
        if texts.len() > MOST {
            return Err(MOST + 1);
        }
        let read = |(at, text): (usize, &String)| Key::of_pem(text).ok_or(at + 1);
        Ok(Self { keys: texts.iter().enumerate().map(read).collect::<Result<_, _>>()? })
    }

    /// These and others.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.keys.extend(other.keys);
        self
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Whether a token names a key that is none of these: they may be old.
    pub fn lacks(&self, token: &Signed<'_>) -> bool {
        self.candidates(token).next().is_none()
    }

    /// Verifies a token's signature and hands out its claims. `taken` are the algorithms that may have made it.
    ///
    /// # Errors
    /// [`Refused::Algorithm`] and [`Refused::Signature`].
    pub fn verify(&self, token: Signed<'_>, taken: &[Alg]) -> Result<Claims, Refused> {
        if !taken.contains(&token.alg) {
            return Err(Refused::Algorithm);
        }
        if self.lacks(&token) {
            let kid = token.kid.as_deref().unwrap_or("");
            return Err(Refused::Signature(format!("no known key {kid:?} for {:?}", token.alg)));
        }
        let made = |key: &Key| {
            let message = token.message.as_bytes();
            jsonwebtoken::crypto::verify(token.signature, message, &key.key, token.alg.theirs())
        };
        if self.candidates(&token).any(|key| made(key).unwrap_or(false)) {
            return Ok(token.unverified());
        }
        Err(Refused::Signature("no known key signed the token".into()))
    }

    /// The keys that may have signed it: of the name that it gives (a key without a name may have any), and for its
    /// algorithm.
    fn candidates<'k>(&'k self, token: &'k Signed<'_>) -> impl Iterator<Item = &'k Key> {
        let named = |key: &Key| key.kid.is_none() || token.kid.is_none() || key.kid == token.kid;
        self.keys.iter().filter(move |key| key.algs.contains(&token.alg) && named(key))
    }
}

impl Key {
    fn of_jwk(jwk: Jwk) -> Option<Self> {
        if jwk.common.public_key_use.as_ref().is_some_and(|used| *used != PublicKeyUse::Signature) {
            return None;
        }
        let possible = match &jwk.algorithm {
            AlgorithmParameters::RSA(_) => family(AlgorithmFamily::Rsa),
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => vec![Alg::ES256],
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P384 => vec![Alg::ES384],
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => vec![Alg::EdDSA],
            _ => return None,
        };
        let algs = match jwk.common.key_algorithm {
            None => possible,
            Some(alg) => possible.into_iter().filter(|one| Alg::named(&alg.to_string()) == Some(*one)).collect(),
        };
        let key = DecodingKey::from_jwk(&jwk).ok()?;
        Some(Self { kid: jwk.common.key_id, algs, key })
    }

    /// A private key is refused: it has no business here, and would be kept.
    fn of_pem(pem: &str) -> Option<Self> {
        if pem.contains("PRIVATE KEY") {
            return None;
        }
        let pem = pem.as_bytes();
        let key = DecodingKey::from_rsa_pem(pem)
            .or_else(|_| DecodingKey::from_ec_pem(pem))
            .or_else(|_| DecodingKey::from_ed_pem(pem))
            .ok()?;
        Some(Self { kid: None, algs: family(key.family()), key })
    }
}

fn family(family: AlgorithmFamily) -> Vec<Alg> {
    super::ALGORITHMS.into_iter().filter(|alg| alg.theirs().family() == family).collect()
}
