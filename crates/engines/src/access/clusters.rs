//! `clusters/{name}`: how a cluster is reached, by its access proxy or directly, and the certificates that belong to it.

mod entry;

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, get_json};
use dewdrop_core::wire::{Strings, Text, Ttl};
use rustls::RootCertStore;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::issuer::no_issuer;
use super::{Access, authority, keys};
pub(super) use entry::{Credential, Entry};

/// The life of a proxy's certificate; it asks for the next in time.
const CERTIFICATE: Duration = Duration::from_secs(24 * 3600);

/// The life of a certificate or token for a direct cluster: nothing else takes it back.
const DIRECT: Duration = Duration::from_secs(5 * 60);
const DIRECT_SHORTEST: Duration = Duration::from_secs(30);
pub(super) const DIRECT_LONGEST: Duration = Duration::from_secs(10 * 60);
const LONGEST_BUNDLE: usize = 64 * 1024;

/// A cluster.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cluster {
    /// `https://access.prod.example:6443`: of the proxy, or of the API server.
    address: String,
    /// Names and addresses in the proxy's certificate.
    names: Vec<String>,
    /// There is no proxy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    direct: Option<Direct>,
}

/// What is kept of a cluster without a proxy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Direct {
    /// The authorities of the API server's own certificate, in PEM.
    pub certificate_authority: String,
    /// The life of a certificate or token for a person.
    pub ttl: Duration,
    /// By which of both people enter.
    #[serde(default)]
    pub entry: Entry,
}

#[derive(Deserialize, JsonSchema)]
struct ClusterFields {
    /// Where people reach the proxy, or with `mode=direct` the API server: `https://access.prod.example:6443`.
    address: Option<Text>,
    /// Names and addresses in the proxy's certificate; the address's own when unset.
    names: Option<Strings>,
    /// `proxy` (when unset): the access proxy judges each request. `direct`: the API server trusts `clusters/{name}/ca`, and
    /// nobody judges.
    mode: Option<Text>,
    /// With `mode=direct`: the authorities of the API server's certificate, in PEM.
    certificate_authority: Option<Text>,
    /// With `mode=direct`: the life of a person's certificate or token, from 30 s to 10 minutes; 5 minutes when unset.
    certificate_ttl: Option<Ttl>,
    /// With `mode=direct`: `certificate` (when unset): the API server trusts `clusters/{name}/ca`. `token`: it trusts the mount
    /// as an issuer (`issuer`).
    credential: Option<Text>,
    /// With `credential=token`: for whom tokens are. No two clusters have the same; `dewdrop-NAME` when unset.
    audience: Option<Text>,
}

#[derive(Deserialize, JsonSchema)]
struct CsrFields {
    /// A certificate request (PKCS #10) in PEM. Only its key is used.
    csr: Option<Text>,
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("")
        .at("clusters", "The clusters.", |route| route.list("Lists them.", list))
        .at("clusters/{name}", "How a cluster is reached: by its access proxy, or directly.", |route| {
            route
                .read("Its address and the authority of its certificate.", read)
                .write("Makes it known.", write)
                .delete("Forgets it. Grants for it have no way any more.", delete)
        })
        .at("clusters/{name}/ca", "The authority that the API server of a direct cluster must trust.", |route| {
            route.read("Its certificate, in PEM; the first look makes it.", read_authority)
        })
        .at("clusters/{name}/ca/rotate", "A new authority of a direct cluster.", |route| {
            route.write("Signs with a new key from now on; the last one is still among the certificates.", rotate)
        })
        .at("clusters/{name}/certificate", "The certificate of a cluster's access proxy.", |route| {
            route.write("Signs one, for the proxy.", certificate)
        })
}

async fn list(access: Arc<Access>, _: Call, _: NoFields) -> Result<Reply, Fault> {
    Reply::keys(access.names(keys::CLUSTERS).await?)
}

async fn read(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let cluster = access.cluster(call.capture("name")).await?.ok_or_else(Fault::not_found)?;
    Reply::of(&match cluster.direct {
        None => json!({
            "address": cluster.address, "names": cluster.names, "mode": "proxy",
            "certificate_authority": access.authorities(call.now).await?.bundle(),
        }),
        Some(direct) => json!({
            "address": cluster.address, "mode": "direct", "certificate_authority": direct.certificate_authority,
            "certificate_ttl": direct.ttl.as_secs(), "credential": direct.entry.credential(),
            "audience": direct.entry.audience(),
        }),
    })
}

async fn write(access: Arc<Access>, call: Call, fields: ClusterFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    if name.contains('*') {
        return Err(Fault::bad_request("the name of a cluster has no *"));
    }
    // One at a time: two could take the same audience.
    let _turn = access.queues.turn(keys::CLUSTERS).await;
    let old = access.cluster(name).await?.unwrap_or_default();
    let cluster = merged(name, old, fields).map_err(Fault::bad_request)?;
    let entry = cluster.direct.as_ref().map(|direct| &direct.entry);
    if let Some(audience) = entry.and_then(Entry::audience) {
        access.is_free(audience, name).await?;
    }
    let has_authority = entry == Some(&Entry::Certificate);
    let lacks_issuer = entry.is_some() && !has_authority && access.issuer().await?.is_none();
    let batch = Batch::new().put_json(keys::cluster(name), &cluster)?;
    // Who goes back to the proxy, or on to tokens, leaves no key behind that the API server may still trust.
    let batch = if has_authority { batch } else { batch.delete(keys::authority(name)) };
    access.store.commit(batch).await?;
    Ok(if lacks_issuer { Reply::nothing().warn(no_issuer().told) } else { Reply::nothing() })
}

/// A cluster with the fields that were given, checked as a whole.
fn merged(name: &str, mut cluster: Cluster, fields: ClusterFields) -> Result<Cluster, String> {
    if let Some(address) = fields.address {
        cluster.address = address.0;
    }
    let host = host(&cluster.address).ok_or("address: write it as https://access.prod.example:6443")?.to_owned();
    let is_direct = match fields.mode.as_ref().map(|mode| mode.0.as_str()) {
        None => cluster.direct.is_some(),
        Some("proxy") => false,
        Some("direct") => true,
        Some(_) => return Err("mode must be proxy or direct".into()),
    };
    if !is_direct {
        if fields.certificate_authority.is_some() || fields.certificate_ttl.is_some() {
            return Err("certificate_authority and certificate_ttl go with mode=direct: a proxy's are our own".into());
        }
        if fields.credential.is_some() || fields.audience.is_some() {
            return Err("credential and audience go with mode=direct: a proxy is entered by a certificate".into());
        }
        cluster.direct = None;
        cluster.names = fields.names.map_or(cluster.names, |names| names.0);
        if cluster.names.is_empty() {
            cluster.names.push(host);
        }
        return authority::server_names(&cluster.names).map(|_| cluster);
    }
    if fields.names.is_some() {
        return Err("names are those of a proxy's certificate: with mode=direct there is none".into());
    }
    let old = cluster.direct.take();
    let bundle =
        fields.certificate_authority.map(|pem| pem.0).or(old.as_ref().map(|old| old.certificate_authority.clone()));
    let ttl = fields.certificate_ttl.map(|ttl| ttl.0).or(old.as_ref().map(|old| old.ttl)).unwrap_or(DIRECT);
    if !(DIRECT_SHORTEST..=DIRECT_LONGEST).contains(&ttl) {
        return Err(
            "certificate_ttl must lie between 30 seconds and 10 minutes: nothing else takes a certificate or token back"
                .into(),
        );
    }
    let certificate_authority = certificates(&bundle.unwrap_or_default())?;
    let entry = old.map(|old| old.entry).unwrap_or_default().changed(name, fields.credential, fields.audience)?;
    Ok(Cluster { names: Vec::new(), direct: Some(Direct { certificate_authority, ttl, entry }), ..cluster })
}

/// A bundle of certificates, as it goes into people's kubeconfigs.
fn certificates(pem: &str) -> Result<String, String> {
    let bad = || "certificate_authority: send the authorities of the API server's certificate in PEM".to_owned();
    if pem.contains("PRIVATE KEY") {
        return Err(
            "certificate_authority holds a private key: send certificates alone, and count that key as known".into()
        );
    }
    if pem.len() > LONGEST_BUNDLE {
        return Err(format!("certificate_authority has at most {LONGEST_BUNDLE} bytes"));
    }
    let mut roots = RootCertStore::empty();
    for found in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        roots.add(found.map_err(|_| bad())?).map_err(|_| bad())?;
    }
    if roots.is_empty() { Err(bad()) } else { Ok(pem.trim().to_owned() + "\n") }
}

/// The host of `https://HOST[:PORT]`.
fn host(address: &str) -> Option<&str> {
    let rest = address.strip_prefix("https://")?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    let (host, port) = match rest.strip_prefix('[') {
        Some(v6) => v6.split_once(']').map(|(host, port)| (host, port.strip_prefix(':').unwrap_or(port)))?,
        None => rest.split_once(':').unwrap_or((rest, "443")),
    };
    let is_port = port.is_empty() || port.parse::<u16>().is_ok();
    (!host.is_empty() && is_port && !host.contains(['/', '?', '#', '@', ' '])).then_some(host)
}

async fn delete(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    access.store.commit(Batch::new().delete(keys::cluster(name)).delete(keys::authority(name))).await?;
    Ok(Reply::nothing())
}

async fn read_authority(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    access.must_have_authority(name).await?;
    let bundle = access.authorities_of(name, call.now).await?.bundle();
    Ok(Reply::data(Map::from_iter([("certificate".to_owned(), bundle.into())])))
}

async fn rotate(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    access.must_have_authority(name).await?;
    let bundle = access.rotated(&keys::authority(name), &authority::direct_name(name), call.now).await?.bundle();
    Ok(Reply::data(Map::from_iter([("certificate".to_owned(), bundle.into())])))
}

async fn certificate(access: Arc<Access>, call: Call, fields: CsrFields) -> Result<Reply, Fault> {
    let csr = authority::public_key(fields.csr.as_ref().map_or("", |csr| csr.0.as_str()))?;
    let cluster = access.known(call.capture("name")).await?;
    if cluster.direct.is_some() {
        return Err(Fault::bad_request(
            "this cluster is reached directly: it has no access proxy (mode=proxy gives it one)",
        ));
    }
    let authorities = access.authorities(call.now).await?;
    let end = call.now.plus(CERTIFICATE);
    let signed = authorities.sign_server(&cluster.names, &csr, call.now, end)?;
    let data = json!({ "certificate": signed, "issuing_ca": authorities.bundle(), "expires_at": end.rfc3339() });
    Ok(Reply::data(if let Value::Object(map) = data { map } else { Map::new() }))
}

impl Access {
    async fn cluster(&self, name: &str) -> Result<Option<Cluster>, Fault> {
        Ok(get_json::<Cluster>(&*self.store, keys::cluster(name).as_bytes()).await?.map(|(cluster, _)| cluster))
    }

    async fn known(&self, name: &str) -> Result<Cluster, Fault> {
        let missing = || Fault::missing("this cluster is not known here; write its address first");
        self.cluster(name).await?.ok_or_else(missing)
    }

    /// How a cluster without a proxy is reached; `None`: it has one, or is not known.
    pub(super) async fn direct(&self, name: &str) -> Result<Option<Direct>, Fault> {
        Ok(self.cluster(name).await?.and_then(|cluster| cluster.direct))
    }

    /// For whom tokens of a cluster are; `None`: it is entered by a certificate.
    pub(super) async fn audience(&self, name: &str) -> Result<Option<String>, Fault> {
        Ok(self.direct(name).await?.and_then(|direct| direct.entry.audience().map(str::to_owned)))
    }

    /// Whether no other cluster has an audience: a token for one must be nothing at another.
    async fn is_free(&self, audience: &str, name: &str) -> Result<(), Fault> {
        for other in self.names(keys::CLUSTERS).await? {
            if other != name && self.audience(&other).await?.as_deref() == Some(audience) {
                return Err(Fault::bad_request(format!(
                    "audience: the cluster {other} has it; each cluster needs one of its own"
                )));
            }
        }
        Ok(())
    }

    async fn must_have_authority(&self, name: &str) -> Result<(), Fault> {
        let proxied = "this cluster has an access proxy, which trusts the authority of the mount: read `ca` there. Only a \
                       direct cluster (mode=direct) has an authority of its own";
        match self.known(name).await?.direct.map(|direct| direct.entry) {
            Some(Entry::Certificate) => Ok(()),
            Some(Entry::Token { .. }) => Err(Fault::bad_request(
                "this cluster is entered by tokens: its API server trusts the mount's issuer (`issuer`), and no authority",
            )),
            None => Err(Fault::bad_request(proxied)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for (address, expected) in [
            ("https://a.example:6443", Some("a.example")),
            ("https://a.example/", Some("a.example")),
            ("https://[::1]:6443", Some("::1")),
            ("https://10.0.0.1", Some("10.0.0.1")),
            ("http://a.example", None),
            ("https://", None),
            ("https://a b", None),
            ("https://a.example:x", None),
            ("https://a.example/path", None),
        ] {
            assert_eq!(host(address), expected, "{address}");
        }
    }
}
