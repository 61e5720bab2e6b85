//! Client certificates as credentials (`credential_type` `client_certificate`): key and certificate are made here, signed
//! by an authority that the target trusts (`hostssl ... cert` in `pg_hba.conf`). The common name is the username.

use std::time::Duration;

use aws_lc_rs::signature::Ed25519KeyPair;
use dewdrop_core::wire::Pairs;
use dewdrop_core::{Fault, Moment};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    RsaKeySize, SerialNumber, SignatureAlgorithm, date_time_ymd,
};
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Map, Value, json};

use super::username::Template;
use crate::shared::random::random;

/// Clocks differ.
const EARLIER_MILLIS: u64 = 30_000;

/// Whether certificates can be issued by this configuration.
///
/// # Errors
/// A sentence that names the field.
pub(super) fn check(config: &Pairs) -> Result<(), String> {
    kind(config)?;
    issuer(config)?;
    if let Some(template) = config.0.get("common_name_template").filter(|t| !t.is_empty()) {
        Template::parse(template).map_err(|e| format!("common_name_template: {e}"))?;
    }
    Ok(())
}

/// A certificate for a user, from now to `end`: `client_certificate`, `private_key`, `private_key_type`.
pub(super) fn issue(config: &Pairs, username: &str, now: Moment, end: Moment) -> Result<Map<String, Value>, Fault> {
    let bad = |told: String| Fault::bad_request(format!("credential_config: {told}"));
    let made = |e: rcgen::Error| Fault::internal(format!("make a client certificate: {e}"));
    let issuer = issuer(config).map_err(bad)?;
    let key = match kind(config).map_err(bad)? {
        Kind::Ed25519 => ed25519(),
        Kind::Plain(algorithm) => KeyPair::generate_for(algorithm),
        Kind::Rsa(algorithm, size) => KeyPair::generate_rsa_for(algorithm, size),
    };
    let key = key.map_err(made)?;
    let mut params = CertificateParams::default();
    let mut serial = [0u8; 16];
    random(&mut serial);
    // Positive and of full length.
    serial[0] = (serial[0] & 0x7f) | 0x40;
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, username);
    // The year 9999 is the last that a certificate knows.
    let time = |moment: Moment| date_time_ymd(1970, 1, 1) + Duration::from_secs(moment.seconds().min(253_402_300_799));
    params.not_before = time(Moment(now.0.saturating_sub(EARLIER_MILLIS)));
    params.not_after = time(end);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyEncipherment];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    params.use_authority_key_identifier_extension = true;
    let certificate = params.signed_by(&key, &issuer).map_err(made)?;
    let mut data = Map::new();
    data.insert("client_certificate".into(), json!(certificate.pem()));
    data.insert("private_key".into(), json!(key.serialize_pem()));
    data.insert("private_key_type".into(), json!("pkcs8"));
    Ok(data)
}

/// In the first version of PKCS #8: OpenSSL 3.0, and with it libpq, reads no other.
fn ed25519() -> Result<KeyPair, rcgen::Error> {
    let key = Ed25519KeyPair::generate().and_then(|key| key.to_pkcs8v1());
    let key = key.map_err(|_| rcgen::Error::KeyGenerationUnavailable)?;
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(key.as_ref()))
}

enum Kind {
    Ed25519,
    Plain(&'static SignatureAlgorithm),
    Rsa(&'static SignatureAlgorithm, RsaKeySize),
}

fn kind(config: &Pairs) -> Result<Kind, String> {
    let text = |name: &str| config.0.get(name).map_or("", String::as_str);
    let bits = |name: &str| text(name).parse::<u32>().or(if text(name).is_empty() { Ok(0) } else { Err(()) });
    let (Ok(key_bits), Ok(signature_bits)) = (bits("key_bits"), bits("signature_bits")) else {
        return Err("key_bits and signature_bits must be numbers".into());
    };
    match (text("key_type"), key_bits) {
        ("ed25519", _) => Ok(Kind::Ed25519),
        ("ec", 0 | 256) => Ok(Kind::Plain(&rcgen::PKCS_ECDSA_P256_SHA256)),
        ("ec", 384) => Ok(Kind::Plain(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("ec", 521) => Ok(Kind::Plain(&rcgen::PKCS_ECDSA_P521_SHA512)),
        ("ec", _) => Err("invalid key_bits: ec keys have 256, 384 or 521".into()),
        ("rsa", bits) => {
            let algorithm = match signature_bits {
                0 | 256 => &rcgen::PKCS_RSA_SHA256,
                384 => &rcgen::PKCS_RSA_SHA384,
                512 => &rcgen::PKCS_RSA_SHA512,
                _ => return Err("invalid signature_bits: 256, 384 or 512".into()),
            };
            let size = match bits {
                0 | 2048 => RsaKeySize::_2048,
                3072 => RsaKeySize::_3072,
                4096 => RsaKeySize::_4096,
                _ => return Err("invalid key_bits: rsa keys have 2048, 3072 or 4096".into()),
            };
            Ok(Kind::Rsa(algorithm, size))
        }
        _ => Err("invalid key_type: use ec, ed25519 or rsa".into()),
    }
}

fn issuer(config: &Pairs) -> Result<Issuer<'static, KeyPair>, String> {
    let text = |name: &str| config.0.get(name).map_or("", String::as_str);
    let key = KeyPair::from_pem(text("ca_private_key")).map_err(|_| "invalid ca_private_key: not a key in PEM")?;
    Issuer::from_ca_cert_pem(text("ca_cert"), key)
        .map_err(|_| "invalid ca_cert: not the certificate of an authority in PEM".into())
}
