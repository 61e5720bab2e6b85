//! Signed tokens of others (JWT), for the methods that take them: `kubernetes` and `jwt`. Read within limits, verified by
//! keys that are given or fetched, their times looked at by our own clock.
//!
//! The signature is checked with `jsonwebtoken`, and only with algorithms of public keys: `none` and the HMAC family do
//! not exist here, so no public key can be taken for a shared secret.

mod claims;
mod keys;
mod remote;
mod token;

pub use claims::{Claims, Expected, Gaps};
pub use dewdrop_api::outside::Http;
pub use keys::KeySet;
pub use remote::{Fetch, RemoteKeys};
pub use token::{ALGORITHMS, Alg, Signed};

/// Why a token is not taken. The words hold nothing of the token but names of keys and algorithms.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It is no such token.
    #[error("malformed token: {0}")]
    Malformed(&'static str),
    /// It is signed with what is not taken.
    #[error("the token's algorithm is not one that is taken here")]
    Algorithm,
    /// None of the keys made the signature.
    #[error("error verifying token signature: {0}")]
    Signature(String),
    /// A claim is not as it must be.
    #[error("{0}")]
    Claim(String),
    /// The keys could not be had.
    #[error("the keys cannot be had: {0}")]
    Keys(String),
}

#[cfg(test)]
pub use dewdrop_testkit::fake_api as testing;
#[cfg(test)]
mod tests;
