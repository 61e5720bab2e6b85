//! The key that signs the chain. It lies beside the log (0600), not behind the barrier: lines are written while the server
//! is sealed or sealing, too (`docs/decisions/0009-audit-chain.md`).

use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::{Zeroize as _, Zeroizing};

use super::AuditError;
use super::folder::io;

const PRIVATE: &str = "audit-signing.key";
const PUBLIC: &str = "audit-signing.pub";
/// What stands before the 32 bytes of an Ed25519 key in a public key file (RFC 8410).
const SPKI: [u8; 12] = [0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];

/// The key pair.
pub struct Signer {
    pair: Ed25519KeyPair,
    public: PublicKey,
}

/// The public half: what `dewdrop audit verify` needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKey([u8; 32]);

impl Signer {
    /// Reads the key of a folder; makes one when the folder holds no log yet.
    ///
    /// # Errors
    /// The files cannot be read or written, or the key is gone while there are lines that it signed.
    pub fn open(folder: &Path, has_log: bool) -> Result<Self, AuditError> {
        let file = folder.join(PRIVATE);
        let text = match std::fs::read_to_string(&file) {
            Ok(text) => Zeroizing::new(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !has_log => Zeroizing::new(make(&file)?),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(AuditError::KeyGone(file)),
            Err(error) => return Err(io("read", &file)(error)),
        };
        let pair = Zeroizing::new(unpem(&text, "PRIVATE KEY").ok_or_else(|| AuditError::BadKey(file.clone()))?);
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pair).map_err(|_| AuditError::BadKey(file))?;
        let mut public = [0; 32];
        public.copy_from_slice(pair.public_key().as_ref());
        let signer = Self { pair, public: PublicKey(public) };
        let shown = folder.join(PUBLIC);
        if std::fs::read_to_string(&shown).ok() != Some(signer.public.pem()) {
            std::fs::write(&shown, signer.public.pem()).map_err(io("write", &shown))?;
        }
        Ok(signer)
    }

    /// A signature in base64.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> String {
        STANDARD.encode(self.pair.sign(message).as_ref())
    }

    /// The public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        self.public
    }
}

fn make(file: &Path) -> Result<String, AuditError> {
    let broken = |_| AuditError::BadKey(file.to_owned());
    let pair = Ed25519KeyPair::generate().map_err(broken)?;
    let der = pair.to_pkcs8v1().map_err(broken)?;
    let text = pem("PRIVATE KEY", der.as_ref());
    let options = || std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file);
    options()
        .and_then(|mut open| open.write_all(text.as_bytes()).and_then(|()| open.sync_all()))
        .map_err(io("write", file))?;
    Ok(text)
}

impl PublicKey {
    /// From a PEM file (`PUBLIC KEY`), or from 32 bytes in base64 as they stand in the log.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = match unpem(text, "PUBLIC KEY") {
            Some(der) => der.strip_prefix(&SPKI)?.to_vec(),
            None => STANDARD.decode(text.trim()).ok()?,
        };
        bytes.try_into().ok().map(Self)
    }

    /// As it stands in the log.
    #[must_use]
    pub fn base64(&self) -> String {
        STANDARD.encode(self.0)
    }

    /// As a file that other tools read.
    #[must_use]
    pub fn pem(&self) -> String {
        pem("PUBLIC KEY", &[SPKI.as_slice(), &self.0].concat())
    }

    /// Whether a signature in base64 is this key's.
    #[must_use]
    pub fn verifies(&self, message: &[u8], signature: &str) -> bool {
        let signature = STANDARD.decode(signature).unwrap_or_default();
        UnparsedPublicKey::new(&ED25519, self.0).verify(message, &signature).is_ok()
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let mut body = STANDARD.encode(der);
    let text = format!("-----BEGIN {label}-----\n{body}\n-----END {label}-----\n");
    body.zeroize();
    text
}

fn unpem(text: &str, label: &str) -> Option<Vec<u8>> {
    let body = text
        .trim()
        .strip_prefix(&format!("-----BEGIN {label}-----"))?
        .strip_suffix(&format!("-----END {label}-----"))?;
    let body: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
    STANDARD.decode(body.as_bytes()).ok()
}
