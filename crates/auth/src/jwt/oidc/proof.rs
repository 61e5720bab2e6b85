//! Random texts of a sign-in, and the proof that who ends it began it (PKCE, RFC 7636).

use aws_lc_rs::{digest, rand};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use dewdrop_core::{Fault, Secret};

/// A text of 256 random bits.
///
/// # Errors
/// Only defects.
pub fn random() -> Result<String, Fault> {
    let mut bytes = [0u8; 32];
    rand::fill(&mut bytes).map_err(|_| Fault::internal("the random generator failed"))?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The challenge (S256) of a verifier.
pub fn challenge(verifier: &Secret<String>) -> String {
    URL_SAFE_NO_PAD.encode(digest::digest(&digest::SHA256, verifier.expose().as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_challenge_is_that_of_the_rfc() {
        let verifier = Secret::new("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk".to_owned());
        assert_eq!(challenge(&verifier), "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
        assert_ne!(random().unwrap(), random().unwrap());
    }
}
