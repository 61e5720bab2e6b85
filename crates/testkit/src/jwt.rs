//! Keys that sign tokens (JWT), made anew for each test. Written with the bare primitives, so that what verifies is not
//! tested against itself.

use aws_lc_rs::encoding::AsDer as _;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair,
};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde_json::{Value, json};

/// A key with a name.
pub struct Signer {
    /// Its name.
    pub kid: String,
    key: Key,
}

enum Key {
    Rsa(Box<RsaKeyPair>),
    Ec(Box<EcdsaKeyPair>),
    Ed(Box<Ed25519KeyPair>),
}

impl Signer {
    /// Signs as `RS256`.
    pub fn rsa(kid: &str) -> Self {
        Self { kid: kid.into(), key: Key::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())) }
    }

    /// Signs as `ES256`.
    pub fn ec(kid: &str) -> Self {
        Self {
            kid: kid.into(),
            key: Key::Ec(Box::new(EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap())),
        }
    }

    /// Signs as `EdDSA`.
    pub fn ed(kid: &str) -> Self {
        Self { kid: kid.into(), key: Key::Ed(Box::new(Ed25519KeyPair::generate().unwrap())) }
    }

    /// Its algorithm.
    pub fn alg(&self) -> &'static str {
        match self.key {
            Key::Rsa(_) => "RS256",
            Key::Ec(_) => "ES256",
            Key::Ed(_) => "EdDSA",
        }
    }

    /// A token with these claims.
    pub fn token(&self, claims: &Value) -> String {
        self.token_with(&json!({ "alg": self.alg(), "kid": self.kid, "typ": "JWT" }), claims)
    }

    /// A token with a header of its own.
    pub fn token_with(&self, header: &Value, claims: &Value) -> String {
        let message = unsigned(header, claims);
        let signature = self.sign(message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &random, message, &mut signature).unwrap();
                signature
            }
            Key::Ec(key) => key.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Ed(key) => key.sign(message).as_ref().to_vec(),
        }
    }

    /// The public key as one entry of a JWKS.
    pub fn jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let mut jwk = match &self.key {
            Key::Rsa(key) => {
                let key = key.public_key();
                let (n, e) = (key.modulus().big_endian_without_leading_zero(), key.exponent());
                json!({ "kty": "RSA", "n": text(n), "e": text(e.big_endian_without_leading_zero()) })
            }
            Key::Ec(key) => {
                let point = &key.public_key().as_ref()[1..];
                json!({ "kty": "EC", "crv": "P-256", "x": text(&point[..32]), "y": text(&point[32..]) })
            }
            Key::Ed(key) => json!({ "kty": "OKP", "crv": "Ed25519", "x": text(key.public_key().as_ref()) }),
        };
        jwk["kid"] = self.kid.clone().into();
        jwk["alg"] = self.alg().into();
        jwk["use"] = "sig".into();
        jwk
    }

    /// The public key in PEM.
    pub fn pem(&self) -> String {
        let der = match &self.key {
            Key::Rsa(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Key::Ec(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
            Key::Ed(key) => key.public_key().as_der().unwrap().as_ref().to_vec(),
        };
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }
}

/// The text of a JWKS of some keys.
pub fn jwks(signers: &[&Signer]) -> String {
    json!({ "keys": signers.iter().map(|signer| signer.jwk()).collect::<Vec<_>>() }).to_string()
}

/// Header and claims, without a signature.
pub fn unsigned(header: &Value, claims: &Value) -> String {
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", part(header), part(claims))
}

/// A token that is signed by a shared secret (`HS256`).
pub fn hmac_token(secret: &[u8], kid: &str, claims: &Value) -> String {
    let message = unsigned(&json!({ "alg": "HS256", "kid": kid }), claims);
    let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, secret);
    let signature = aws_lc_rs::hmac::sign(&key, message.as_bytes());
    format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature.as_ref()))
}

/// Claims of a pod's token as a cluster makes it: in the namespace `dev`, of the account `app`, at a moment in seconds.
pub fn pod_claims(pod_uid: &str, node: &str, now: u64) -> Value {
    json!({
        "iss": "https://kubernetes.default.svc.cluster.local",
        "sub": "system:serviceaccount:dev:app",
        "aud": ["dewdrop"],
        "iat": now, "nbf": now, "exp": now + 3600,
        "kubernetes.io": {
            "namespace": "dev",
            "node": { "name": node, "uid": "9d2c7f3e-0000-4000-8000-00000000000a" },
            "pod": { "name": "app-0", "uid": pod_uid },
            "serviceaccount": { "name": "app", "uid": "5f1e8f3a-0000-4000-8000-0000000000aa" },
        },
    })
}
