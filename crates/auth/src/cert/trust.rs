//! Whom a role trusts, and whether what a caller shows leads there.

use std::collections::HashSet;

use dewdrop_core::call::Caller;
use dewdrop_core::{Fault, Moment};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, VerifiedPath, anchor_from_trusted_cert};

use super::facts::{Facts, stripped};

/// The most certificates of a role.
const MOST: usize = 100;
/// The most certificates that a caller may show.
const LONGEST_CHAIN: usize = 20;

/// Serial numbers that were taken back, without zeros in front.
pub type Revoked = HashSet<Vec<u8>>;

/// What a caller shows.
pub struct Shown<'a> {
    /// Its certificate.
    pub leaf: CertificateDer<'a>,
    /// What it says.
    pub facts: Facts,
    /// The others that came with it, in no order that matters.
    others: Vec<CertificateDer<'a>>,
    /// Subjects of the authorities that it and the others name.
    issuers: HashSet<Vec<u8>>,
}

/// Whom a role trusts.
pub struct Trust {
    /// Certificates that are trusted by themselves, in DER.
    pins: Vec<Vec<u8>>,
    authorities: Vec<Trusted>,
}

struct Trusted {
    facts: Facts,
    anchor: TrustAnchor<'static>,
}

/// Why what a caller shows does not lead to whom a role trusts, in words for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stranger {
    /// No chain leads there.
    Unknown(String),
    /// One does, but a certificate on it was taken back.
    Revoked,
}

// === impl Shown ===

impl<'a> Shown<'a> {
    /// What the caller's connection shows.
    ///
    /// # Errors
    /// 400: nothing, or what is no certificate.
    pub fn of(caller: &'a Caller) -> Result<Self, Fault> {
        let Some((leaf, others)) = caller.certificates.split_first() else {
            return Err(Fault::bad_request(
                "no client certificate found: connect by TLS and show one (-client-cert and -client-key)",
            ));
        };
        if others.len() > LONGEST_CHAIN {
            return Err(Fault::bad_request("the client shows too many certificates"));
        }
        let refuse = |why: String| Fault::bad_request("the client's certificate cannot be read").knowing(why);
        let facts = Facts::read(leaf).map_err(refuse)?;
        // Only authorities can stand between. That the key of one may sign certificates, the library does not ask.
        let read = |der: &'a [u8]| Facts::read(der).ok().map(|facts| (CertificateDer::from(der), facts));
        let signs = |facts: &Facts| facts.authority.is_some_and(|authority| authority.signs);
        let between = others.iter().filter_map(|der| read(der)).filter(|(_, facts)| signs(facts));
        let (others, mut issuers): (_, HashSet<_>) = between.map(|(der, facts)| (der, facts.issuer)).unzip();
        issuers.insert(facts.issuer.clone());
        Ok(Self { leaf: CertificateDer::from(&**leaf), facts, others, issuers })
    }
}

// === impl Trust ===

impl Trust {
    /// Reads the certificates of a role. Where the first one is no authority, it alone is meant, and those behind it are
    /// only its chain: they must not open the door for all whom they have signed.
    ///
    /// # Errors
    /// 400: there is none, or one that cannot be used.
    pub fn read(pem: &str) -> Result<Self, Fault> {
        let none = || Fault::bad_request("failed to parse certificate: give it in PEM, as certificate=@FILE");
        let all: Vec<CertificateDer<'static>> =
            CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().map_err(|_| none())?;
        let first = all.first().ok_or_else(none)?;
        if all.len() > MOST {
            return Err(Fault::bad_request("a role has at most 100 certificates"));
        }
        let facts = Facts::read(first).map_err(|why| none().knowing(why))?;
        if facts.authority.is_none() {
            if !facts.is_for_clients {
                return Err(Fault::bad_request(
                    "nonCA certificates should have TLS client authentication set as an extended key usage",
                ));
            }
            return Ok(Self { pins: vec![first.to_vec()], authorities: Vec::new() });
        }
        let mut authorities = Vec::new();
        for der in &all {
            let facts = Facts::read(der).map_err(|why| none().knowing(why))?;
            if facts.is_for_clients && facts.authority.is_some_and(|authority| authority.signs) {
                let anchor = anchor_from_trusted_cert(der).map_err(|why| none().knowing(format!("{why:?}")))?;
                authorities.push(Trusted { anchor: anchor.to_owned(), facts });
            }
        }
        Ok(Self { pins: all.iter().map(|der| der.to_vec()).collect(), authorities })
    }

    /// Whether what is shown leads here: it is one of these certificates itself, or one of the authorities has signed it.
    ///
    /// # Errors
    /// Why not.
    pub fn admit(&self, shown: &Shown<'_>, now: Moment, revoked: &Revoked) -> Result<(), Stranger> {
        if self.pins.iter().any(|pin| **pin == *shown.leaf) {
            shown.facts.is_valid_at(now.seconds()).map_err(|why| Stranger::Unknown(why.into()))?;
            if !shown.facts.is_for_clients {
                return Err(Stranger::Unknown("is not for clients of TLS".into()));
            }
            return if revoked.contains(&shown.facts.serial) { Err(Stranger::Revoked) } else { Ok(()) };
        }
        let named = self.authorities.iter().filter(|trusted| shown.issuers.contains(&trusted.facts.subject));
        let usable: Vec<&Trusted> = named.filter(|trusted| trusted.facts.is_valid_at(now.seconds()).is_ok()).collect();
        if usable.is_empty() {
            return Err(Stranger::Unknown("comes from no authority of this role that is valid now".into()));
        }
        verify(&usable, shown, now, revoked)
    }
}

fn verify(usable: &[&Trusted], shown: &Shown<'_>, now: Moment, revoked: &Revoked) -> Result<(), Stranger> {
    let anchors: Vec<TrustAnchor<'static>> = usable.iter().map(|trusted| trusted.anchor.clone()).collect();
    let unknown = |why: webpki::Error| match why {
        webpki::Error::CertRevoked => Stranger::Revoked,
        why => Stranger::Unknown(format!("{why:?}")),
    };
    let leaf = EndEntityCert::try_from(&shown.leaf).map_err(unknown)?;
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.seconds()));
    let judge = |path: &VerifiedPath<'_>| judge_path(path, usable, revoked);
    let verified = leaf.verify_for_usage(
        ALL_VERIFICATION_ALGS,
        &anchors,
        &shown.others,
        time,
        KeyUsage::client_auth(),
        None,
        Some(&judge),
    );
    verified.map(|_| ()).map_err(unknown)
}

/// What the library does not ask of a chain: how many authorities may stand below the one that is trusted, and whether
/// any certificate on it was taken back.
fn judge_path(path: &VerifiedPath<'_>, usable: &[&Trusted], revoked: &Revoked) -> Result<(), webpki::Error> {
    let anchor = path.anchor();
    let same = |trusted: &&&Trusted| {
        trusted.anchor.subject == anchor.subject
            && trusted.anchor.subject_public_key_info == anchor.subject_public_key_info
    };
    let between = path.intermediate_certificates().count();
    let fits = |trusted: &&Trusted| {
        let most = trusted.facts.authority.and_then(|authority| authority.below);
        let is_revoked = revoked.contains(&trusted.facts.serial);
        (most.is_none_or(|most| between <= most as usize), is_revoked)
    };
    let mut judged: Vec<(bool, bool)> = usable.iter().filter(same).map(fits).collect();
    judged.retain(|(is_short_enough, _)| *is_short_enough);
    if judged.is_empty() {
        return Err(webpki::Error::PathLenConstraintViolated);
    }
    let serials = path.intermediate_certificates().map(|cert| cert.serial());
    let mut serials = serials.chain([path.end_entity().serial()]);
    let is_revoked = judged.iter().all(|(_, is_revoked)| *is_revoked);
    if is_revoked || serials.any(|serial| revoked.contains(stripped(serial))) {
        return Err(webpki::Error::CertRevoked);
    }
    Ok(())
}
