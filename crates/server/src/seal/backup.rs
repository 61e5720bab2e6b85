//! The shares of the last rekeying, kept as their holders got them: each under its holder's PGP key. Whoever lost what was
//! sent to him gets it again here; only he can read it.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::call::Reply;
use dewdrop_core::store::{Batch, get_json};
use dewdrop_core::{Fault, Secret};
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::rekey::Target;
use crate::server::Server;

/// What is kept, as the API shows it: by fingerprint, since one person may hold several shares.
#[derive(Default, Serialize, Deserialize)]
pub struct Backup {
    /// Names the rekeying that made the shares.
    nonce: String,
    /// In hex.
    keys: BTreeMap<String, Vec<String>>,
    /// The same in base64.
    keys_base64: BTreeMap<String, Vec<String>>,
}

impl Backup {
    /// As clients of all ages read it: below `data`, and once more beside it.
    #[must_use]
    pub fn shown(&self, request_id: &str) -> Reply {
        super::gate::plain(&json!({
            "request_id": request_id,
            "lease_id": "",
            "renewable": false,
            "lease_duration": 0,
            "data": self,
            "wrap_info": null,
            "warnings": null,
            "auth": null,
            "nonce": self.nonce,
            "keys": self.keys,
            "keys_base64": self.keys_base64,
        }))
    }
}

/// Keeps encrypted shares.
///
/// # Errors
/// Never in practice: what cannot be written as JSON.
pub(super) fn batch(
    target: Target,
    nonce: &str,
    fingerprints: &[String],
    shares: &[Secret<Vec<u8>>],
) -> Result<Batch, Fault> {
    let mut kept = Backup { nonce: nonce.to_owned(), ..Backup::default() };
    for (print, share) in fingerprints.iter().zip(shares) {
        kept.keys.entry(print.clone()).or_default().push(hex::encode(share.expose()));
        kept.keys_base64.entry(print.clone()).or_default().push(STANDARD.encode(share.expose()));
    }
    Batch::new().put_json(at(target), &kept)
}

/// What is kept.
///
/// # Errors
/// 400: nothing; the store's.
pub async fn read(server: &Server, target: Target) -> Result<Backup, Fault> {
    let kept = get_json(&*server.store, at(target)).await?;
    kept.map(|(kept, _)| kept).ok_or_else(|| Fault::bad_request("no backed-up keys found"))
}

/// Forgets it.
///
/// # Errors
/// The store's.
pub async fn remove(server: &Server, target: Target) -> Result<(), Fault> {
    server.store.commit(Batch::new().delete(at(target))).await?;
    Ok(())
}

fn at(target: Target) -> &'static [u8] {
    match target {
        Target::Unseal => b"seal/backup/unseal",
        Target::Recovery => b"seal/backup/recovery",
    }
}
