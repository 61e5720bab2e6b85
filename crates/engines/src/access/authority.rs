//! The authority of a mount, those of direct clusters, and the certificates that they sign: `ca`, `ca/rotate`,
//! `requests/{id}/certificate`. An authority is for one audience: what one signs is nothing to whoever trusts another.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, get_json};
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Moment};
use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use zeroize::Zeroize;

use super::{Access, keys};

/// The longest life of a certificate; kubectl's plug-in asks for the next in time.
const CERTIFICATE: Duration = Duration::from_secs(10 * 60);
/// What the authority of the mount is called.
const NAME: &str = "Dewdrop access";
/// The life of an authority.
const AUTHORITY: Duration = Duration::from_secs(10 * 365 * 24 * 3600);
/// Clocks differ.
const EARLIER: Duration = Duration::from_secs(30);
/// Proxies find the grant of a certificate by this name: `dewdrop://access/ID`.
const GRANT: &str = "dewdrop://access/";
/// The last second that a certificate can name: the end of 9999.
const LAST_SECOND: u64 = 253_402_300_799;
const LONGEST_CSR: usize = 16 * 1024;

/// Authorities; the first signs, the others are trusted until they are removed. No `Debug`: it holds keys.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Authorities(Vec<Authority>);

#[derive(Serialize, Deserialize)]
pub(super) struct Authority {
    certificate: String,
    key: String,
}

#[derive(Deserialize, JsonSchema)]
struct CertificateFields {
    /// A certificate request (PKCS #10) in PEM. Only its key is used: names come from the grant.
    csr: Option<Text>,
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("")
        .at("ca", "The authorities whose certificates name grants.", |route| {
            route.read("Their certificates, in PEM.", read)
        })
        .at("ca/rotate", "A new authority.", |route| {
            route.write("Signs with a new key from now on; the last one is still trusted.", rotate)
        })
        .at("requests/{id}/certificate", "A client certificate for a grant.", |route| {
            route.write("Starts the grant when it has not started; for whoever asked.", certificate)
        })
}

async fn read(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let authorities = access.authorities(call.now).await?;
    Ok(Reply::data(Map::from_iter([("certificate".to_owned(), authorities.bundle().into())])))
}

async fn rotate(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let all = access.rotated(keys::AUTHORITY, NAME, call.now).await?;
    Ok(Reply::data(Map::from_iter([("certificate".to_owned(), all.bundle().into())])))
}

async fn certificate(access: Arc<Access>, call: Call, fields: CertificateFields) -> Result<Reply, Fault> {
    let key = public_key(fields.csr.as_ref().map_or("", |csr| csr.0.as_str()))?;
    let started = access.started(&call).await?;
    if started.terms.as_ref().is_some_and(|terms| !terms.credential.is_certificate()) {
        return Err(Fault::bad_request(format!(
            "the cluster {} is entered by a token: ask for that (requests/ID/token)",
            started.cluster()
        )));
    }
    let end = started.end(call.now, started.terms.as_ref().map_or(CERTIFICATE, |terms| terms.ttl));
    let authorities = match started.terms {
        None => access.authorities(call.now).await?,
        Some(_) => access.authorities_of(started.cluster(), call.now).await?,
    };
    let id = &started.case.id;
    let group = started.terms.as_ref().map(|terms| terms.group.as_str());
    let signed = authorities.sign(id, &started.person.name, group, &key, call.now..end)?;
    access.keep_started(&call, &started).await?;
    let mut data = json!({
        "certificate": signed.pem(), "issuing_ca": authorities.bundle(), "expires_at": end.rfc3339(),
        "grant_ends_at": started.running.until.rfc3339(), "id": id,
    });
    if started.terms.is_some() {
        data["fingerprint"] = fingerprint(&signed).into();
    }
    Ok(Reply::data(if let Value::Object(map) = data { map } else { Map::new() }))
}

/// SHA-256 of a certificate, in hex: the API server's audit log names whoever shows it so, after `X509SHA256=`
/// (`authentication.kubernetes.io/credential-id`, KEP-4193).
fn fingerprint(signed: &Certificate) -> String {
    hex::encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, signed.der()))
}

/// The key of a request whose signature is right: whoever sends it has the private half.
pub(super) fn public_key(csr: &str) -> Result<CertificateSigningRequestParams, Fault> {
    let bad = || Fault::bad_request("csr: send a certificate request (PKCS #10) in PEM, signed by its own key");
    if csr.is_empty() || csr.len() > LONGEST_CSR {
        return Err(bad());
    }
    CertificateSigningRequestParams::from_pem(csr).map_err(|_| bad())
}

impl Access {
    /// The authorities of the mount, which proxies trust; the first call makes one.
    pub(super) async fn authorities(&self, now: Moment) -> Result<Authorities, Fault> {
        self.authorities_at(keys::AUTHORITY, NAME, now).await
    }

    /// The authorities of a direct cluster, which its API server trusts and nobody else.
    pub(super) async fn authorities_of(&self, cluster: &str, now: Moment) -> Result<Authorities, Fault> {
        self.authorities_at(&keys::authority(cluster), &direct_name(cluster), now).await
    }

    async fn authorities_at(&self, key: &str, name: &str, now: Moment) -> Result<Authorities, Fault> {
        if let Some((found, _)) = get_json::<Authorities>(&*self.store, key.as_bytes()).await? {
            return Ok(found);
        }
        let _turn = self.queues.turn(key).await;
        if let Some((found, _)) = get_json::<Authorities>(&*self.store, key.as_bytes()).await? {
            return Ok(found);
        }
        let made = Authorities(vec![Authority::make(name, now)?]);
        self.store.commit(Batch::new().put_json(key, &made)?.expect(key, 0)).await?;
        Ok(made)
    }

    /// Puts a new authority before the last one.
    pub(super) async fn rotated(&self, key: &str, name: &str, now: Moment) -> Result<Authorities, Fault> {
        let _turn = self.queues.turn(key).await;
        let (old, revision) = get_json::<Authorities>(&*self.store, key.as_bytes()).await?.unwrap_or_default();
        let mut all = vec![Authority::make(name, now)?];
        all.extend(old.0.into_iter().next());
        let all = Authorities(all);
        self.store.commit(Batch::new().put_json(key, &all)?.expect(key, revision)).await?;
        Ok(all)
    }
}

/// What the authority of a direct cluster is called.
pub(super) fn direct_name(cluster: &str) -> String {
    format!("{NAME} to {cluster}")
}

// === impl Authorities ===

impl Authorities {
    /// All certificates, in PEM.
    pub(super) fn bundle(&self) -> String {
        self.0.iter().map(|authority| authority.certificate.as_str()).collect()
    }

    /// A client certificate for a grant. Its names are the grant's, whatever the request said. An API server reads the
    /// organization as the person's group; a proxy needs none.
    fn sign(
        &self,
        grant: &str,
        person: &str,
        group: Option<&str>,
        csr: &CertificateSigningRequestParams,
        life: Range<Moment>,
    ) -> Result<Certificate, Fault> {
        let mut params = leaf(person, ExtendedKeyUsagePurpose::ClientAuth)?;
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        let name = format!("{GRANT}{grant}").try_into();
        let name = name.map_err(|_| Fault::internal("the name of a grant is no URI"))?;
        params.subject_alt_names = vec![SanType::URI(name)];
        self.sign_leaf(params, csr, life)
    }

    /// A server certificate for an access proxy.
    pub(super) fn sign_server(
        &self,
        names: &[String],
        csr: &CertificateSigningRequestParams,
        now: Moment,
        end: Moment,
    ) -> Result<String, Fault> {
        let mut params = leaf("Dewdrop access proxy", ExtendedKeyUsagePurpose::ServerAuth)?;
        params.subject_alt_names = server_names(names).map_err(Fault::bad_request)?;
        Ok(self.sign_leaf(params, csr, now..end)?.pem())
    }

    fn sign_leaf(
        &self,
        mut params: CertificateParams,
        csr: &CertificateSigningRequestParams,
        life: Range<Moment>,
    ) -> Result<Certificate, Fault> {
        let authority = self.0.first().ok_or_else(|| Fault::internal("no authority"))?;
        valid(&mut params, life.start, life.end);
        params.signed_by(&csr.public_key, &authority.issuer()?).map_err(made)
    }
}

/// What every certificate that is no authority's says.
fn leaf(name: &str, usage: ExtendedKeyUsagePurpose) -> Result<CertificateParams, Fault> {
    let mut params = CertificateParams::default();
    params.serial_number = Some(serial()?);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![usage];
    params.use_authority_key_identifier_extension = true;
    Ok(params)
}

/// Names of hosts, and addresses, as they stand in a certificate.
pub(super) fn server_names(names: &[String]) -> Result<Vec<SanType>, String> {
    let name = |name: &String| match name.parse() {
        Ok(address) => Ok(SanType::IpAddress(address)),
        Err(_) => {
            let dns = name.clone().try_into().map(SanType::DnsName);
            dns.map_err(|_| "names: names of hosts and addresses, such as access.prod.example".to_owned())
        }
    };
    names.iter().map(name).collect()
}

impl Drop for Authority {
    fn drop(&mut self) {
        self.key.zeroize();
    }
}

// === impl Authority ===

impl Authority {
    fn make(name: &str, now: Moment) -> Result<Self, Fault> {
        let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).map_err(made)?;
        let mut params = CertificateParams::default();
        params.serial_number = Some(serial()?);
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        valid(&mut params, now, now.plus(AUTHORITY));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).map_err(made)?.pem();
        Ok(Self { certificate, key: key.serialize_pem() })
    }

    fn issuer(&self) -> Result<Issuer<'static, KeyPair>, Fault> {
        let key = KeyPair::from_pem(&self.key).map_err(made)?;
        Issuer::from_ca_cert_pem(&self.certificate, key).map_err(made)
    }
}

fn made(error: rcgen::Error) -> Fault {
    Fault::internal(format!("make a certificate: {error}"))
}

/// Positive and of full length.
fn serial() -> Result<SerialNumber, Fault> {
    let mut serial = [0u8; 16];
    fill(&mut serial).map_err(|_| Fault::internal("no randomness"))?;
    serial[0] = (serial[0] & 0x7f) | 0x40;
    Ok(SerialNumber::from_slice(&serial))
}

fn valid(params: &mut CertificateParams, from: Moment, to: Moment) {
    let time = |moment: Moment| date_time_ymd(1970, 1, 1) + Duration::from_secs(moment.seconds().min(LAST_SECOND));
    params.not_before = time(from.minus(EARLIER));
    params.not_after = time(to);
}
