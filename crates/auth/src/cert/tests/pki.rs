//! Authorities and certificates of the tests. The clock of the harness stands at 2026-01-01.

use bytes::Bytes;
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, CustomExtension, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SerialNumber,
    date_time_ymd,
};

/// An authority.
pub struct Ca {
    certificate: Certificate,
    params: CertificateParams,
    key: KeyPair,
}

impl Ca {
    /// One that signed itself.
    pub fn new(name: &str) -> Self {
        Self::with(name, |_| {})
    }

    /// The same with other parameters.
    pub fn with(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.self_signed(&key).unwrap(), params, key }
    }

    /// An authority below this one.
    pub fn below(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = authority(name);
        params.use_authority_key_identifier_extension = true;
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Self { certificate: params.signed_by(&key, &self.issuer()).unwrap(), params, key }
    }

    /// A certificate for a client.
    pub fn leaf(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Bytes {
        let mut params = plain(name);
        params.use_authority_key_identifier_extension = true;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        Bytes::copy_from_slice(params.signed_by(&key, &self.issuer()).unwrap().der())
    }

    /// A list of certificates that are taken back.
    pub fn crl(&self, serials: &[u64]) -> String {
        let entry = |serial: &u64| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date_time_ymd(2025, 12, 1),
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2025, 12, 1),
            next_update: date_time_ymd(2027, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: serials.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer()).unwrap().pem().unwrap()
    }

    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub fn der(&self) -> Bytes {
        Bytes::copy_from_slice(self.certificate.der())
    }

    /// The id of its key, as metadata shows it.
    pub fn key_id(&self) -> String {
        let bytes: Vec<String> = self.params.key_identifier(&self.key).iter().map(|b| format!("{b:02x}")).collect();
        bytes.join(":")
    }

    fn issuer(&self) -> Issuer<'_, &KeyPair> {
        Issuer::from_params(&self.params, &self.key)
    }
}

fn plain(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2025, 6, 1), date_time_ymd(2026, 6, 1));
    params.is_ca = IsCa::ExplicitNoCa;
    params
}

fn authority(name: &str) -> CertificateParams {
    let mut params = plain(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    params
}

/// An extension whose value is a text.
pub fn text(oid: &[u64], text: &str) -> CustomExtension {
    let head = [0x0c, u8::try_from(text.len()).unwrap()];
    CustomExtension::from_oid_content(oid, [head.as_slice(), text.as_bytes()].concat())
}

/// An extension whose value is a number.
pub fn number(oid: &[u64], number: u8) -> CustomExtension {
    CustomExtension::from_oid_content(oid, vec![0x02, 0x01, number])
}

pub fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
