//! Certificates that we make ourselves: an authority that lives as long as this process, and short leaves.

use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

use dewdrop_core::Moment;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls_pki_types::PrivateKeyDer;

use super::{CertError, Pair, Source};

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The clocks of nodes are not alike.
const SKEW: Duration = Duration::from_secs(3600);
const LEAF: Duration = DAY.saturating_mul(30);
/// A new leaf is made when this much of the old one's life is over.
const RENEW: Duration = DAY.saturating_mul(20);
/// So a process that runs for years is still trusted.
const AUTHORITY: Duration = DAY.saturating_mul(3650);

/// An authority of our own.
pub struct Own {
    names: Vec<String>,
    authority: CertifiedIssuer<'static, KeyPair>,
    made: Option<Moment>,
}

impl Own {
    /// Makes an authority for a server of these names.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn new(names: Vec<String>, now: Moment) -> Result<Self, CertError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, "dewdrop webhook authority");
        valid(&mut params, now, AUTHORITY);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
        Ok(Self { names, authority, made: None })
    }

    /// What the API server must trust (`caBundle`).
    #[must_use]
    pub fn ca_pem(&self) -> String {
        self.authority.pem()
    }

    /// Writes it to a file, whole or not at all.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_ca(&self, path: &std::path::Path) -> Result<(), CertError> {
        let file = |cause| CertError::File {
            what: "write the CA to",
            path: path.display().to_string(),
            cause: Box::new(cause),
        };
        let mut beside = PathBuf::from(path).into_os_string();
        beside.push(".new");
        std::fs::write(&beside, self.ca_pem()).map_err(file)?;
        std::fs::rename(&beside, path).map_err(file)
    }
}

impl Source for Own {
    fn renewed(&mut self, now: Moment) -> Result<Option<Pair>, CertError> {
        if self.made.is_some_and(|made| now.since(made) < RENEW && made <= now.plus(SKEW)) {
            return Ok(None);
        }
        let mut params = CertificateParams::new(self.names.clone())?;
        params.distinguished_name.push(DnType::CommonName, "dewdrop webhook");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, now, LEAF);
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.authority)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(CertError::Key)?;
        self.made = Some(now);
        Ok(Some(Pair { chain: vec![leaf.der().clone()], key }))
    }
}

fn valid(params: &mut CertificateParams, now: Moment, life: Duration) {
    let at = |moment: Moment| (UNIX_EPOCH + Duration::from_secs(moment.seconds())).into();
    params.not_before = at(now.minus(SKEW));
    params.not_after = at(now.plus(life));
}
