//! Keys that sign tokens (RFC 7515, compact form), with the bare primitives: two algorithms, one form, nothing to choose.

use std::collections::BTreeMap;

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{self, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _, RSA_PKCS1_SHA256};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use dewdrop_core::Fault;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use zeroize::{Zeroize, Zeroizing};

/// How a key signs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Algorithm {
    /// ECDSA over P-256.
    #[default]
    #[serde(rename = "ES256")]
    Es256,
    /// RSA of 2048 bits: API servers that are set up by flags take nothing else unless they are told.
    #[serde(rename = "RS256")]
    Rs256,
}

/// The public half of a key, as it is published (RFC 7517).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Jwk {
    /// Its name: a hash of the key.
    pub kid: String,
    /// What it signs by.
    pub alg: Algorithm,
    kty: String,
    #[serde(rename = "use")]
    usage: String,
    /// The numbers of which it is made.
    #[serde(flatten)]
    numbers: BTreeMap<String, String>,
}

/// A key. No `Debug`: it holds its private half.
#[derive(Serialize, Deserialize)]
pub struct Key {
    public: Jwk,
    /// PKCS #8 in base64.
    private: String,
}

enum Pair {
    Ec(Box<EcdsaKeyPair>),
    Rsa(Box<rsa::KeyPair>),
}

// === impl Algorithm ===

impl Algorithm {
    /// By its name in the standards.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "ES256" => Ok(Self::Es256),
            "RS256" => Ok(Self::Rs256),
            _ => Err("algorithm must be ES256 or RS256".into()),
        }
    }
}

// === impl Key ===

impl Key {
    /// A new one. Not made among other requests: an RSA key takes a while.
    pub async fn make(algorithm: Algorithm) -> Result<Self, Fault> {
        let made = tokio::task::spawn_blocking(move || Pair::make(algorithm)?.kept()).await;
        made.map_err(|_| broken(Unspecified))?.map_err(broken)
    }

    /// The public half.
    pub fn public(&self) -> &Jwk {
        &self.public
    }

    /// What it signs by.
    pub fn algorithm(&self) -> Algorithm {
        self.public.alg
    }

    /// A token with these claims.
    pub fn sign(&self, claims: &Value) -> Result<String, Fault> {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let header = json!({ "alg": self.public.alg, "kid": self.public.kid, "typ": "JWT" });
        let message = format!("{}.{}", part(&header), part(claims));
        let signature = self.pair()?.sign(message.as_bytes()).map_err(broken)?;
        Ok(format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
    }

    fn pair(&self) -> Result<Pair, Fault> {
        let unreadable = || Fault::internal("the issuer's key cannot be read");
        let der = Zeroizing::new(STANDARD.decode(&self.private).map_err(|_| unreadable())?);
        match self.public.alg {
            Algorithm::Es256 => EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &der)
                .map(|key| Pair::Ec(Box::new(key)))
                .map_err(|_| unreadable()),
            Algorithm::Rs256 => {
                rsa::KeyPair::from_pkcs8(&der).map(|key| Pair::Rsa(Box::new(key))).map_err(|_| unreadable())
            }
        }
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        self.private.zeroize();
    }
}

// === impl Pair ===

impl Pair {
    fn make(algorithm: Algorithm) -> Result<Self, Unspecified> {
        match algorithm {
            Algorithm::Es256 => {
                EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map(|key| Self::Ec(Box::new(key)))
            }
            Algorithm::Rs256 => rsa::KeyPair::generate(KeySize::Rsa2048).map(|key| Self::Rsa(Box::new(key))),
        }
    }

    fn kept(&self) -> Result<Key, Unspecified> {
        let private = match self {
            Self::Ec(key) => STANDARD.encode(key.to_pkcs8v1()?),
            Self::Rsa(key) => {
                let der: Pkcs8V1Der<'_> = key.as_der()?;
                STANDARD.encode(der.as_ref())
            }
        };
        Ok(Key { public: self.public()?, private })
    }

    fn public(&self) -> Result<Jwk, Unspecified> {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let (alg, kty, bytes, numbers) = match self {
            Self::Ec(key) => {
                let bytes = key.public_key().as_ref();
                // 0x04, then both coordinates.
                let (x, y) = bytes.get(1..).ok_or(Unspecified)?.split_at_checked(32).ok_or(Unspecified)?;
                (Algorithm::Es256, "EC", bytes, vec![("crv", "P-256".to_owned()), ("x", text(x)), ("y", text(y))])
            }
            Self::Rsa(key) => {
                let public = key.public_key();
                let [n, e] = [public.modulus(), public.exponent()].map(|n| text(n.big_endian_without_leading_zero()));
                (Algorithm::Rs256, "RSA", public.as_ref(), vec![("n", n), ("e", e)])
            }
        };
        let numbers = numbers.into_iter().map(|(name, number)| (name.to_owned(), number)).collect();
        let kid = hex::encode(digest(&SHA256, bytes).as_ref().get(..16).ok_or(Unspecified)?);
        Ok(Jwk { kid, alg, kty: kty.to_owned(), usage: "sig".to_owned(), numbers })
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, Unspecified> {
        let random = SystemRandom::new();
        match self {
            Self::Ec(key) => key.sign(&random, message).map(|signature| signature.as_ref().to_vec()),
            Self::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).map(|()| signature)
            }
        }
    }
}

fn broken(_: Unspecified) -> Fault {
    Fault::internal("a key for tokens cannot be made or used")
}
