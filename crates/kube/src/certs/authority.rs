//! An authority that signs the webhook's certificates, and nothing else.

use std::time::{Duration, UNIX_EPOCH};

use dewdrop_core::{Moment, Secret};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use rustls_pki_types::PrivateKeyDer;

use super::{CertError, Pair};

/// A day.
pub const DAY: Duration = Duration::from_secs(24 * 3600);
/// The clocks of nodes are not alike.
pub const SKEW: Duration = Duration::from_secs(3600);
const LEAF: Duration = DAY.saturating_mul(30);
/// A new leaf is made when this much of the old one's life is over.
const RENEW: Duration = DAY.saturating_mul(20);

/// An authority.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    key_pem: Secret<String>,
}

/// When a leaf was made.
#[derive(Debug, Clone, Copy, Default)]
pub struct LeafTime(Option<Moment>);

// === impl Authority ===

impl Authority {
    /// Makes one.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn make(now: Moment, life: Duration) -> Result<Self, CertError> {
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // A name of its own, so that one who trusts two of them finds the right one.
        params.distinguished_name.push(DnType::CommonName, format!("dewdrop webhook authority {}", now.seconds()));
        valid(&mut params, now, life);
        let key = KeyPair::generate()?;
        let key_pem = Secret::new(key.serialize_pem());
        let pem = params.self_signed(&key)?.pem();
        Ok(Self { issuer: Issuer::from_ca_cert_pem(&pem, key)?, pem, key_pem })
    }

    /// Reads one that was kept.
    ///
    /// # Errors
    /// It is none.
    pub fn read(pem: String, key_pem: Secret<String>) -> Result<Self, CertError> {
        let key = KeyPair::from_pem(key_pem.expose())?;
        Ok(Self { issuer: Issuer::from_ca_cert_pem(&pem, key)?, pem, key_pem })
    }

    /// What others must trust.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its key, to be kept.
    #[must_use]
    pub fn key_pem(&self) -> &Secret<String> {
        &self.key_pem
    }

    /// A certificate for a server of these names.
    ///
    /// # Errors
    /// It cannot be made.
    pub fn leaf(&self, names: &[String], now: Moment) -> Result<Pair, CertError> {
        let mut params = CertificateParams::new(names.to_vec())?;
        params.distinguished_name.push(DnType::CommonName, "dewdrop webhook");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        valid(&mut params, now, LEAF);
        let key = KeyPair::generate()?;
        let leaf = params.signed_by(&key, &self.issuer)?;
        let key = PrivateKeyDer::try_from(key.serialize_der()).map_err(CertError::Key)?;
        Ok(Pair { chain: vec![leaf.der().clone()], key })
    }
}

// === impl LeafTime ===

impl LeafTime {
    /// Whether it is time for a new leaf: there is none, it is old, or the clock jumped back before it.
    #[must_use]
    pub fn is_due(self, now: Moment) -> bool {
        self.0.is_none_or(|made| now.since(made) >= RENEW || made > now.plus(SKEW))
    }

    /// One was made.
    pub fn made(&mut self, now: Moment) {
        self.0 = Some(now);
    }
}

fn valid(params: &mut CertificateParams, now: Moment, life: Duration) {
    let at = |moment: Moment| (UNIX_EPOCH + Duration::from_secs(moment.seconds())).into();
    params.not_before = at(now.minus(SKEW));
    params.not_after = at(now.plus(life));
}
