//! Password hashes: argon2id (RFC 9106, with the parameters that OWASP names: 19 MiB, two passes, one lane), and bcrypt
//! as it may be brought along.

use argon2::{Algorithm, Argon2, Params, Version};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use dewdrop_core::secret::same_bytes;
use dewdrop_core::{Fault, Secret};
use serde::{Deserialize, Serialize};

/// The longest password in bytes.
pub const LONGEST: usize = 1024;
/// bcrypt does not look further.
const BCRYPT_LONGEST: usize = 72;
/// The dearest bcrypt hash that is taken.
const BCRYPT_MOST_COST: u32 = 12;

const MEMORY_KIB: u32 = 19 * 1024;
const PASSES: u32 = 2;
const LANES: u32 = 1;

/// What is kept of a password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PasswordHash {
    /// Ours.
    Argon2id {
        /// Memory in KiB.
        memory: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
        /// Base64 without padding.
        salt: String,
        /// Base64 without padding.
        hash: String,
    },
    /// Brought along.
    Bcrypt {
        /// `$2b$12$...`.
        text: String,
    },
}

impl std::fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

impl PasswordHash {
    /// Hashes a password. Slow: for the [`Pool`](super::pool::Pool).
    ///
    /// # Errors
    /// Only defects.
    pub fn of(password: &Secret<String>) -> Result<Self, Fault> {
        let mut salt = [0u8; 16];
        rand::fill(&mut salt).map_err(|_| Fault::internal("the random generator failed"))?;
        let hash = argon2id(password.expose().as_bytes(), &salt, [MEMORY_KIB, PASSES, LANES])?;
        let (salt, hash) = (BASE64.encode(salt), BASE64.encode(hash));
        Ok(Self::Argon2id { memory: MEMORY_KIB, passes: PASSES, lanes: LANES, salt, hash })
    }

    /// The hash of no password: checking against it takes the time of a real one and always fails.
    pub fn of_nobody() -> Self {
        let (salt, hash) = (BASE64.encode([0; 16]), String::new());
        Self::Argon2id { memory: MEMORY_KIB, passes: PASSES, lanes: LANES, salt, hash }
    }

    /// Takes a bcrypt hash.
    ///
    /// # Errors
    /// 400 when it is none, or one that takes too long to check.
    pub fn bcrypt(text: &str) -> Result<Self, Fault> {
        let refuse = || Fault::bad_request("password_hash is not a valid bcrypt hash");
        let parts: bcrypt::HashParts = text.parse().map_err(|_| refuse())?;
        let cost = parts.get_cost();
        if !(4..=31).contains(&cost) {
            return Err(refuse());
        }
        if cost > BCRYPT_MOST_COST {
            let told = format!("bcrypt cost of {cost} exceeds maximum cost of {BCRYPT_MOST_COST}");
            return Err(Fault::bad_request(told));
        }
        Ok(Self::Bcrypt { text: text.to_owned() })
    }

    /// Whether a password is the one. Slow: for the [`Pool`](super::pool::Pool).
    ///
    /// # Errors
    /// Only a damaged record.
    pub fn verify(&self, password: &Secret<String>) -> Result<bool, Fault> {
        let damaged = |_| Fault::internal("a password hash is damaged");
        match self {
            Self::Argon2id { memory, passes, lanes, salt, hash } => {
                let salt = BASE64.decode(salt).map_err(damaged)?;
                let kept = BASE64.decode(hash).map_err(damaged)?;
                let given = argon2id(password.expose().as_bytes(), &salt, [*memory, *passes, *lanes])?;
                Ok(same_bytes(&given, &kept))
            }
            Self::Bcrypt { text } => {
                bcrypt::verify(password.expose(), text).map_err(|_| Fault::internal("a password hash is damaged"))
            }
        }
    }

    /// Whether a good login with this password should replace the hash by one of today. A longer password than bcrypt
    /// looks at stays as it is: another end of it must go on to work.
    pub fn is_old(&self, password: &Secret<String>) -> bool {
        match self {
            Self::Argon2id { memory, passes, lanes, .. } => (*memory, *passes, *lanes) != (MEMORY_KIB, PASSES, LANES),
            Self::Bcrypt { .. } => password.expose().len() <= BCRYPT_LONGEST,
        }
    }
}

fn argon2id(password: &[u8], salt: &[u8], [memory, passes, lanes]: [u32; 3]) -> Result<[u8; 32], Fault> {
    let defect = |e| Fault::internal(format!("argon2id: {e}"));
    let params = Params::new(memory, passes, lanes, Some(32)).map_err(defect)?;
    let mut hash = [0u8; 32];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password, salt, &mut hash)
        .map_err(defect)?;
    Ok(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_hash_knows_its_password_and_no_other() {
        let hash = PasswordHash::of(&secret("pw")).unwrap();
        assert!(hash.verify(&secret("pw")).unwrap());
        assert!(!hash.verify(&secret("Pw")).unwrap());
        assert!(!hash.verify(&secret("")).unwrap());
        assert!(hash != PasswordHash::of(&secret("pw")).unwrap(), "each has a salt of its own");
        assert!(!PasswordHash::of_nobody().verify(&secret("")).unwrap());
    }

    /// Version 0x13, from section 5.3 of RFC 9106, has a secret and associated data, which we do not use; this one is
    /// from the reference implementation's own tests: `password`, `somesalt`, 256 KiB, two passes, one lane.
    #[test]
    fn the_reference_implementation_agrees() {
        let hash = argon2id(b"password", b"somesalt", [256, 2, 1]).unwrap();
        assert_eq!(hex::encode(hash), "9dfeb910e80bad0311fee20f9c0e2b12c17987b4cac90c2ef54d5b3021c68bfe");
    }

    /// Made by another implementation (`crypt` of the C library).
    #[test]
    fn bcrypt_hashes_of_others_work() {
        let rest = "$12$KRf15hvA2PWKiKs23otew.5deQr4r2SEuUhac30ekFUFJHHl9ffAi";
        for prefix in ["$2b", "$2a", "$2y"] {
            let hash = PasswordHash::bcrypt(&format!("{prefix}{rest}")).unwrap();
            assert!(hash.verify(&secret("hashed")).unwrap(), "{prefix}");
            assert!(hash.is_old(&secret("hashed")));
        }
        assert!(!PasswordHash::bcrypt(&format!("$2b{rest}")).unwrap().verify(&secret("other")).unwrap());
        for bad in ["y", "", "$2b$12$short", &format!("$2b{rest}a"), &format!("$2b{}", rest.replace("$12", "$99"))] {
            assert!(PasswordHash::bcrypt(bad).unwrap_err().told.contains("not a valid bcrypt hash"), "{bad}");
        }
        let dear = format!("$2b{}", rest.replace("$12", "$31"));
        assert_eq!(PasswordHash::bcrypt(&dear).unwrap_err().told, "bcrypt cost of 31 exceeds maximum cost of 12");
    }
}
