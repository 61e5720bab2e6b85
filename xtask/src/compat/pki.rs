//! Authorities and certificates for conversations over TLS. Both sides use the same, so that what they tell of them is equal.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, CustomExtension,
    DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SanType, SerialNumber, date_time_ymd,
};

use crate::parts::TempDir;

type Ca = CertifiedIssuer<'static, KeyPair>;

/// A folder of them, made when a conversation first needs it and removed with the last side.
#[derive(Default)]
pub struct Pki(Mutex<Option<TempDir>>);

impl Pki {
    /// The folder.
    pub fn folder(&self) -> Result<String> {
        let mut made = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if made.is_none() {
            let folder = TempDir::new("compat-pki")?;
            make(folder.path()).context("making certificates")?;
            *made = Some(folder);
        }
        made.as_ref().map(|folder| folder.path().display().to_string()).context("no certificates")
    }

    /// A file of it as the inside of a JSON text.
    pub fn json(&self, file: &str) -> Result<String> {
        let text = std::fs::read_to_string(Path::new(&self.folder()?).join(file))?;
        Ok(serde_json::to_string(&text)?.trim_matches('"').to_owned())
    }
}

fn make(folder: &Path) -> Result<()> {
    let (ca, other) = (authority("one")?, authority("two")?);
    std::fs::write(folder.join("ca.pem"), ca.pem())?;
    std::fs::write(folder.join("other.pem"), other.pem())?;
    std::fs::write(folder.join("crl.pem"), crl(&ca, 4)?)?;
    let issue = |file: &str, ca: &Ca, serial: u64, change: &dyn Fn(&mut CertificateParams)| -> Result<()> {
        let mut params = plain("ada");
        params.serial_number = Some(serial.into());
        params.use_authority_key_identifier_extension = true;
        params.is_ca = IsCa::ExplicitNoCa;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        let key = KeyPair::generate()?;
        std::fs::write(folder.join(format!("{file}.pem")), params.signed_by(&key, ca)?.pem())?;
        Ok(std::fs::write(folder.join(format!("{file}.key")), key.serialize_pem())?)
    };
    issue("server", &ca, 2, &|params| {
        params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    })?;
    issue("ada", &ca, 3, &full)?;
    issue("revoked", &ca, 4, &|_| {})?;
    issue("again", &ca, 5, &|_| {})?;
    issue("stranger", &other, 3, &|_| {})?;
    issue("servers", &ca, 6, &|params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth])?;
    issue("anything", &ca, 7, &|params| params.extended_key_usages = Vec::new())?;
    issue("expired", &ca, 8, &|params| params.not_after = date_time_ymd(2020, 1, 1))?;
    issue("early", &ca, 9, &|params| params.not_before = date_time_ymd(2090, 1, 1))?;
    issue("nameless", &ca, 10, &|params| params.distinguished_name = DistinguishedName::new())
}

/// All that a role may ask for.
fn full(params: &mut CertificateParams) {
    params.distinguished_name.push(DnType::OrganizationalUnitName, "eng");
    let names = [
        "ada.example.com".try_into().map(SanType::DnsName),
        "ada@example.com".try_into().map(SanType::Rfc822Name),
        "spiffe://x/ada".try_into().map(SanType::URI),
    ];
    params.subject_alt_names = names.into_iter().flatten().collect();
    params.custom_extensions = vec![
        CustomExtension::from_oid_content(&[1, 2, 3, 4], b"\x0c\x05hello".to_vec()),
        CustomExtension::from_oid_content(&[1, 2, 3, 5], b"\x02\x01\x07".to_vec()),
    ];
}

fn plain(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    (params.not_before, params.not_after) = (date_time_ymd(2015, 1, 1), date_time_ymd(2095, 1, 1));
    params
}

fn authority(name: &str) -> Result<Ca> {
    let mut params = plain(name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn crl(ca: &Ca, serial: u64) -> Result<String> {
    let revoked = RevokedCertParams {
        serial_number: SerialNumber::from(serial),
        revocation_time: date_time_ymd(2025, 1, 1),
        reason_code: None,
        invalidity_date: None,
    };
    let list = CertificateRevocationListParams {
        this_update: date_time_ymd(2025, 1, 1),
        next_update: date_time_ymd(2095, 1, 1),
        crl_number: SerialNumber::from(1),
        issuing_distribution_point: None,
        revoked_certs: vec![revoked],
        key_identifier_method: KeyIdMethod::Sha256,
    };
    Ok(list.signed_by(ca)?.pem()?)
}
