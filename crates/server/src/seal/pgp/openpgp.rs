//! Public keys as OpenPGP has them (RFC 9580 and what came before).

use dewdrop_core::Fault;
use dewdrop_core::clock::Moment;
use pgp::composed::{Deserializable, MessageBuilder, SignedPublicKey, SignedPublicSubKey};
use pgp::crypto::sym::SymmetricKeyAlgorithm;
use pgp::packet::{self, Signature, SignatureType};
use pgp::types::{EncryptionKey, KeyDetails, Tag};

use super::Wrong;
use crate::ids;

/// A public key that was tried out: it can encrypt.
pub struct PgpKey {
    fingerprint: String,
    to: To,
}

/// The part of a key that encrypts.
enum To {
    Primary(Box<packet::PublicKey>),
    Sub(Box<SignedPublicSubKey>),
}

impl PgpKey {
    /// Reads the binary form.
    ///
    /// # Errors
    /// It is no public key, one without a part that encrypts, or one that is revoked or has expired.
    pub fn read(bytes: &[u8], now: Moment) -> Result<Self, Wrong> {
        let wrong = |why: &str| Wrong::Key(why.to_owned());
        // A primary key packet: tag 6 in the old or the new form. Tag 5 is a secret key.
        match bytes.first() {
            Some(0x98..=0x9b | 0xc6) => {}
            Some(0x94..=0x97 | 0xc5) => {
                return Err(wrong("it is a private key; export the public one (gpg --export ID)"));
            }
            _ => return Err(wrong("it is no PGP public key in binary form (gpg --export ID | base64)")),
        }
        let mut keys = SignedPublicKey::from_bytes_many(bytes).map_err(|_| wrong("it is no PGP public key"))?;
        let first = keys.next().ok_or_else(|| wrong("it is no PGP public key"))?;
        let key = first.map_err(|_| wrong("it is no whole PGP public key, or of a kind that is not known here"))?;
        match keys.next() {
            None => {}
            Some(Ok(_)) => return Err(wrong("it holds more than one key; export them one by one")),
            Some(Err(_)) => return Err(wrong("there is something behind the key")),
        }
        let to = part(key.clone(), now)?;
        let key = Self { fingerprint: hex::encode(key.primary_key.fingerprint().as_bytes()), to };
        key.encrypt(b"tried out").map_err(|_| wrong("encrypting with it fails; its algorithm is not known here"))?;
        Ok(key)
    }

    /// The fingerprint of the primary key, in hex.
    pub fn fingerprint(&self) -> &str {
        &self.fingerprint
    }

    /// A message that only the holder of the key can read, in binary form.
    ///
    /// # Errors
    /// The machine gives no random bytes.
    pub fn encrypt(&self, plain: &[u8]) -> Result<Vec<u8>, Fault> {
        match &self.to {
            To::Primary(key) => message(&**key, plain),
            To::Sub(key) => message(&**key, plain),
        }
    }
}

fn message(to: &impl EncryptionKey, plain: &[u8]) -> Result<Vec<u8>, Fault> {
    let failed = |e: pgp::errors::Error| Fault::internal(format!("encrypting with a PGP key: {e}"));
    let mut random = Random::default();
    let message = MessageBuilder::from_bytes("", plain.to_vec());
    // Every program that reads OpenPGP reads this form.
    let mut message = message.seipd_v1(&mut random, SymmetricKeyAlgorithm::AES256);
    message.encrypt_to_key(&mut random, to).map_err(failed)?;
    let bytes = message.to_vec(&mut random).map_err(failed)?;
    if random.broken { Err(Fault::internal("the machine gives no random bytes")) } else { Ok(bytes) }
}

/// The newest part that may encrypt: a subkey, or the primary key where it says so itself.
fn part(key: SignedPublicKey, now: Moment) -> Result<To, Wrong> {
    let primary = &key.primary_key;
    let revoked = |s: &Signature| s.typ() == Some(SignatureType::KeyRevocation) && s.verify_key(primary).is_ok();
    if key.details.revocation_signatures.iter().any(revoked) {
        return Err(Wrong::Key("it is revoked".into()));
    }
    let direct = key.details.direct_signatures.iter().filter(|s| s.verify_key(primary).is_ok());
    let by_user = key.details.users.iter().flat_map(|user| {
        let own =
            |s: &&Signature| s.is_certification() && s.verify_certification(primary, Tag::UserId, &user.id).is_ok();
        user.signatures.iter().filter(own)
    });
    let own = direct.chain(by_user).max_by_key(|s| s.created());
    let own = own.ok_or_else(|| Wrong::Key("nothing in it is signed by itself".into()))?;
    if expired(primary, own, now) {
        return Err(Wrong::Key("it has expired".into()));
    }
    let subs = key.public_subkeys.iter().filter(|sub| may_encrypt(sub, primary, now));
    if let Some(sub) = subs.max_by_key(|sub| sub.key.created_at()) {
        return Ok(To::Sub(Box::new(sub.clone())));
    }
    let flags = own.key_flags();
    if primary.algorithm().can_encrypt() && (flags.encrypt_comms() || flags.encrypt_storage()) {
        return Ok(To::Primary(Box::new(key.primary_key)));
    }
    Err(Wrong::Key("no part of it encrypts (or that part is revoked or has expired); add an encryption subkey".into()))
}

fn may_encrypt(sub: &SignedPublicSubKey, primary: &packet::PublicKey, now: Moment) -> bool {
    let of = |typ: SignatureType| {
        sub.signatures
            .iter()
            .filter(move |s| s.typ() == Some(typ) && s.verify_subkey_binding(primary, &sub.key).is_ok())
    };
    let Some(binding) = of(SignatureType::SubkeyBinding).max_by_key(|s| s.created()) else { return false };
    let flags = binding.key_flags();
    sub.key.algorithm().can_encrypt()
        && (flags.encrypt_comms() || flags.encrypt_storage())
        && of(SignatureType::SubkeyRevocation).next().is_none()
        && !expired(&sub.key, binding, now)
}

fn expired(key: &impl KeyDetails, signature: &Signature, now: Moment) -> bool {
    let life = signature.key_expiration_time().map_or(0, |time| u64::from(time.as_secs()));
    life > 0 && u64::from(key.created_at().as_secs()) + life <= now.seconds()
}

/// The machine's randomness, as the crate asks for it. It cannot fail there, so a failure is remembered.
#[derive(Default)]
struct Random {
    broken: bool,
}

impl rand_core::RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        rand_core::impls::next_u32_via_fill(self)
    }
    fn next_u64(&mut self) -> u64 {
        rand_core::impls::next_u64_via_fill(self)
    }
    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        self.broken |= ids::fill(bytes).is_err();
    }
    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        self.fill_bytes(bytes);
        Ok(())
    }
}

impl rand_core::CryptoRng for Random {}
