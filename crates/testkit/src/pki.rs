//! Authorities and certificates, good from 2015 to 2095 unless a test says otherwise: the clocks of some tests stand still, and
//! those of others are real.

use std::path::Path;

use bytes::Bytes;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SanType, SerialNumber, date_time_ymd,
};

/// An authority.
pub struct Ca {
    certificate: Certificate,
    params: CertificateParams,
    key: KeyPair,
}

/// A certificate with its key.
pub struct Issued {
    /// The certificate.
    pub certificate: Certificate,
    /// Its key.
    pub key: KeyPair,
}

// === impl Ca ===

impl Ca {
    /// One that signed itself.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// The same with other parameters.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Self { certificate: params.self_signed(&key).expect("an authority"), params, key }
    }

    /// An authority below this one.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Self { certificate: params.signed_by(&key, &self.issuer()).expect("an authority"), params, key }
    }

    /// A certificate; for a client when nothing else is said.
    ///
    /// # Panics
    /// It cannot be made.
    pub fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = plain(name);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        Issued { certificate: params.signed_by(&key, &self.issuer()).expect("a certificate"), key }
    }

    /// A certificate for a server on this machine: `localhost` and 127.0.0.1.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn server(&self) -> Issued {
        self.issue("server", |params| {
            let localhost = "localhost".try_into().expect("a name");
            params.subject_alt_names = vec![SanType::DnsName(localhost), SanType::IpAddress([127, 0, 0, 1].into())];
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        })
    }

    /// The same as [`issue`](Self::issue), as a client shows it: in DER, without its key.
    pub fn leaf(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Bytes {
        Bytes::copy_from_slice(self.issue(name, change).certificate.der())
    }

    /// A list of certificates that are taken back, in PEM.
    ///
    /// # Panics
    /// It cannot be made.
    #[must_use]
    pub fn crl(&self, serials: &[u64]) -> String {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2025, 12, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 12, 1),
            next_update: date_time_ymd(2095, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer()).and_then(|list| list.pem()).expect("a list")
    }

    /// Its certificate in PEM.
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Its certificate in DER.
    #[must_use]
    pub fn der(&self) -> Bytes {
        Bytes::copy_from_slice(self.certificate.der())
    }

    /// Its key in PEM.
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The id of its key, as metadata shows it: bytes in hex with colons between.
    #[must_use]
    pub fn key_id(&self) -> String {
        let bytes: Vec<String> = self.params.key_identifier(&self.key).iter().map(|b| format!("{b:02x}")).collect();
        bytes.join(":")
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

// === impl Issued ===

impl Issued {
    /// Writes `NAME.pem` and `NAME.key` into a folder.
    ///
    /// # Panics
    /// They cannot be written.
    pub fn write(&self, folder: &Path, name: &str) {
        std::fs::write(folder.join(format!("{name}.pem")), self.certificate.pem()).expect("a certificate's file");
        std::fs::write(folder.join(format!("{name}.key")), self.key.serialize_pem()).expect("a key's file");
    }
}

/// An extension whose value is a text of at most 127 bytes.
///
/// # Panics
/// It is longer.
#[must_use]
pub fn text(oid: &[u64], text: &str) -> CustomExtension {
    let head = [0x0c, u8::try_from(text.len()).ok().filter(|len| *len < 128).expect("a short text")];
    CustomExtension::from_oid_content(oid, [head.as_slice(), text.as_bytes()].concat())
}

/// An extension whose value is a number of at most 127.
#[must_use]
pub fn number(oid: &[u64], number: u8) -> CustomExtension {
    CustomExtension::from_oid_content(oid, vec![0x02, 0x01, number])
}

/// A certificate in PEM.
#[must_use]
pub fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}

fn plain(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2015, 1, 1), date_time_ymd(2095, 1, 1));
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = plain(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}
