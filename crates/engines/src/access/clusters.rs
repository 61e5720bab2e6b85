//! `clusters/{name}`: where the access proxy of a cluster is reached, and the certificate by which it is known.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, get_json};
use dewdrop_core::wire::{Strings, Text};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::{Access, authority, keys};

/// The life of a proxy's certificate; it asks for the next in time.
const CERTIFICATE: Duration = Duration::from_secs(24 * 3600);

/// A cluster with an access proxy.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cluster {
    /// `https://access.prod.example:6443`
    address: String,
    /// Names and addresses in the proxy's certificate.
    names: Vec<String>,
}

#[derive(Deserialize, JsonSchema)]
struct ClusterFields {
    /// Where people reach the proxy: `https://access.prod.example:6443`.
    address: Option<Text>,
    /// Names and addresses in the proxy's certificate; the address's own when unset.
    names: Option<Strings>,
}

#[derive(Deserialize, JsonSchema)]
struct CsrFields {
    /// A certificate request (PKCS #10) in PEM. Only its key is used.
    csr: Option<Text>,
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("")
        .at("clusters", "The clusters with an access proxy.", |route| route.list("Lists them.", list))
        .at("clusters/{name}", "Where the access proxy of a cluster is reached.", |route| {
            route
                .read("Its address and the authority of its certificate.", read)
                .write("Makes it known.", write)
                .delete("Forgets it. Grants for it have no way any more.", delete)
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
    let authorities = access.authorities(call.now).await?;
    let data =
        json!({ "address": cluster.address, "names": cluster.names, "certificate_authority": authorities.bundle() });
    Reply::of(&data)
}

async fn write(access: Arc<Access>, call: Call, fields: ClusterFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    if name.contains('*') {
        return Err(Fault::bad_request("the name of a cluster has no *"));
    }
    let mut cluster = access.cluster(name).await?.unwrap_or_default();
    if let Some(address) = fields.address {
        cluster.address = address.0;
    }
    let host = host(&cluster.address)
        .ok_or_else(|| Fault::bad_request("address: write it as https://access.prod.example:6443"))?;
    if let Some(names) = fields.names {
        cluster.names = names.0;
    }
    if cluster.names.is_empty() {
        cluster.names.push(host.to_owned());
    }
    authority::server_names(&cluster.names).map_err(Fault::bad_request)?;
    access.store.commit(Batch::new().put_json(keys::cluster(name), &cluster)?).await?;
    Ok(Reply::nothing())
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
    access.store.commit(Batch::new().delete(keys::cluster(call.capture("name")))).await?;
    Ok(Reply::nothing())
}

async fn certificate(access: Arc<Access>, call: Call, fields: CsrFields) -> Result<Reply, Fault> {
    let csr = authority::public_key(fields.csr.as_ref().map_or("", |csr| csr.0.as_str()))?;
    let missing = || Fault::missing("this cluster is not known here; write its address first");
    let cluster = access.cluster(call.capture("name")).await?.ok_or_else(missing)?;
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
