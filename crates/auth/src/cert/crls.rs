//! Lists of revoked certificates. A certificate whose serial number stands in any of them is refused, whichever authority it
//! comes from. Who may write here decides; a list's own signature is not asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, Store, get_json};
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use super::Cert;
use super::facts::stripped;
use super::trust::Revoked;
use super::wire::CrlRequest;
use crate::listing::{Page, list};
use crate::names::parse_name;
use crate::rows;

/// What stands before their names.
pub const CRLS: &str = "crl/";
/// The longest list in bytes, in DER.
const LONGEST: usize = 10 << 20;

/// What is kept of a list: the serial numbers, in hex without zeros in front, and in decimal.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Crl {
    serials: BTreeMap<String, String>,
}

/// `crls` and below.
pub fn routes() -> Routes<Cert> {
    Routes::new("")
        .at("crls", "The names of all lists of revoked certificates.", |route| {
            route.list("Lists them.", Cert::list_crls)
        })
        .at("crls/{name}", "A list of revoked certificates.", |route| {
            route
                .read("The serial numbers in it.", Cert::read_crl)
                .write("Takes a list in the place of the one before.", Cert::write_crl)
                .delete("Removes the list: what stands in it is no longer refused.", Cert::delete_crl)
        })
}

/// The serial numbers of a list in DER, each raw and in decimal.
///
/// # Errors
/// It is no list, or something stands behind it.
pub fn serials(der: &[u8]) -> Result<Vec<(Vec<u8>, String)>, &'static str> {
    let (rest, list) = CertificateRevocationList::from_der(der).map_err(|_| "it is none in DER")?;
    if !rest.is_empty() {
        return Err("something stands behind it");
    }
    let serials = list.iter_revoked_certificates();
    Ok(serials.map(|entry| (stripped(entry.raw_serial()).to_vec(), entry.serial().to_string())).collect())
}

/// All serial numbers that were taken back.
pub async fn revoked(store: &dyn Store) -> Result<Revoked, Fault> {
    let mut revoked = Revoked::new();
    for row in rows::all(store, CRLS).await? {
        let broken = |_| Fault::internal("a list of revoked certificates cannot be read");
        let crl: Crl = serde_json::from_slice(&row.entry.value).map_err(broken)?;
        for serial in crl.serials.into_keys() {
            revoked.insert(hex::decode(serial).map_err(|_| broken(serde::de::Error::custom("hex")))?);
        }
    }
    Ok(revoked)
}

fn key(name: &str) -> Vec<u8> {
    format!("{CRLS}{name}").into_bytes()
}

fn no_such(name: &str) -> Fault {
    Fault::bad_request(format!("no such CRL {name}"))
}

impl Cert {
    async fn list_crls(self: Arc<Self>, _: Call, page: Page) -> Result<Reply, Fault> {
        list(&*self.place.store, CRLS, &page).await
    }

    async fn read_crl(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("name"))?;
        let (crl, _) = get_json::<Crl>(&*self.place.store, &key(&name)).await?.ok_or_else(|| no_such(&name))?;
        let mut data = Map::new();
        if !crl.serials.is_empty() {
            let serials: Map<String, Value> =
                crl.serials.into_values().map(|serial| (serial, Value::Object(Map::new()))).collect();
            data.insert("serials".into(), serials.into());
        }
        Ok(Reply::data(data))
    }

    async fn write_crl(self: Arc<Self>, call: Call, ask: CrlRequest) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("name"))?;
        if ask.url.is_some_and(|url| !url.0.is_empty()) {
            return Err(Fault::not_built("lists are not fetched from a url; give the list itself as crl"));
        }
        let pem = ask.crl.map(|text| text.0).filter(|text| !text.is_empty());
        let pem = pem.ok_or_else(|| Fault::bad_request("one of 'crl' or 'url' must be provided"))?;
        let crl = read_pem(&pem)?;
        let _rewriting = self.rewriting().await;
        self.place.store.commit(Batch::new().put_json(key(&name), &crl)?).await?;
        Ok(Reply::nothing())
    }

    async fn delete_crl(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("name"))?;
        let _rewriting = self.rewriting().await;
        if self.place.store.get(&key(&name)).await?.is_none() {
            return Err(no_such(&name));
        }
        self.place.store.commit(Batch::new().delete(key(&name))).await?;
        Ok(Reply::nothing())
    }
}

/// The one list of a PEM text.
fn read_pem(pem: &str) -> Result<Crl, Fault> {
    let refuse = |why: &str| Fault::bad_request(format!("failed to parse CRL: {why}"));
    let lists: Result<Vec<_>, _> = CertificateRevocationListDer::pem_slice_iter(pem.as_bytes()).collect();
    match lists.map_err(|_| refuse("it is no PEM"))?.as_slice() {
        [der] if der.len() > LONGEST => Err(refuse("it is longer than 10 MiB")),
        [der] => {
            let serials = serials(der).map_err(refuse)?;
            Ok(Crl { serials: serials.into_iter().map(|(raw, text)| (hex::encode(raw), text)).collect() })
        }
        [] => Err(refuse("there is no block X509 CRL")),
        _ => Err(refuse("give one list at a time, each under a name of its own")),
    }
}
