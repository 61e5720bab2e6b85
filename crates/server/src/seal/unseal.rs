//! Unsealing: shares are gathered until they open the root key; then the vault is opened.

use std::sync::Arc;

use dewdrop_core::{Fault, Secret, shamir};
use dewdrop_store::{KEY_BYTES, KeySeal, LockedKey, Seal, WrappedKeys};

use super::{SealConfig, barrier_fault};
use crate::ids;
use crate::server::Server;
use crate::vault::{Opening, Vault};

/// What is under way and needs more than one share.
#[derive(Default)]
pub struct Ceremonies {
    /// Unsealing.
    pub unsealing: Unsealing,
}

/// Shares that were given so far.
#[derive(Default)]
pub struct Unsealing {
    /// Names this round of giving.
    pub nonce: String,
    shares: Vec<Secret<Vec<u8>>>,
}

impl Unsealing {
    /// How many were given.
    #[must_use]
    pub fn progress(&self) -> usize {
        self.shares.len()
    }

    /// Forgets what was given.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Takes one share. With enough of them, the key that they make; the round is over then.
    ///
    /// # Errors
    /// 400: no share of this kind.
    pub fn give(&mut self, share: Secret<Vec<u8>>, config: &SealConfig) -> Result<Option<LockedKey>, Fault> {
        let length = share.expose().len();
        let right = if config.shares == 1 { KEY_BYTES } else { KEY_BYTES + 1 };
        if length != right {
            return Err(Fault::bad_request(format!("'key' must be a valid share of {right} bytes in hex or base64, not {length}")));
        }
        if self.shares.is_empty() {
            self.nonce = ids::uuid()?;
        }
        if !self.shares.contains(&share) {
            self.shares.push(share);
        }
        if self.shares.len() < usize::from(config.threshold) {
            return Ok(None);
        }
        let given = std::mem::take(&mut self.shares);
        self.nonce.clear();
        let [single] = given.as_slice() else { return combine(&given).map(Some) };
        LockedKey::copy_of(single.expose()).map(Some).map_err(|e| Fault::internal(e.to_string()))
    }
}

fn combine(shares: &[Secret<Vec<u8>>]) -> Result<LockedKey, Fault> {
    let parts: Vec<&[u8]> = shares.iter().map(|share| share.expose().as_slice()).collect();
    let key = shamir::combine(&parts).map_err(|e| Fault::bad_request(format!("unseal failed: {e}")))?;
    LockedKey::copy_of(key.expose()).map_err(|e| Fault::internal(e.to_string()))
}

/// The root key, opened with the key that people's shares make.
///
/// # Errors
/// 400: the key is not the right one; the store's.
pub async fn root_key(server: &Server, by_people: LockedKey) -> Result<LockedKey, Fault> {
    open_root(server, &[&KeySeal::shamir(by_people)]).await
}

/// Gives one share; opens the vault when it was the last that was needed. Answers whether it is open.
///
/// # Errors
/// 400: not initialized, no share, or shares that do not belong together; the store's.
pub async fn unseal_with(server: &Arc<Server>, share: Secret<Vec<u8>>) -> Result<bool, Fault> {
    let config = SealConfig::load(&*server.store).await?.ok_or_else(|| Fault::bad_request("Vault is not initialized"))?;
    let mut ceremonies = server.ceremonies.lock().await;
    if !server.is_sealed() {
        return Ok(true);
    }
    let Some(key) = ceremonies.unsealing.give(share, &config)? else { return Ok(false) };
    let root = root_key(server, key).await?;
    server.barrier.unseal(&root).await.map_err(barrier_fault)?;
    open_vault(server).await?;
    Ok(true)
}

/// Opens with the automatic seals, when there are any and the server is initialized.
///
/// # Errors
/// None of them opens; the store's.
pub async fn auto_unseal(server: &Arc<Server>) -> Result<bool, Fault> {
    if server.auto_seals.is_empty() || SealConfig::load(&*server.store).await?.is_none() {
        return Ok(false);
    }
    let seals: Vec<&dyn Seal> = server.auto_seals.iter().map(|seal| &**seal).collect();
    let root = open_root(server, &seals).await?;
    server.barrier.unseal(&root).await.map_err(barrier_fault)?;
    open_vault(server).await?;
    Ok(true)
}

async fn open_root(server: &Server, seals: &[&dyn Seal]) -> Result<LockedKey, Fault> {
    let (wrapped, _) =
        WrappedKeys::load(&*server.store).await?.ok_or_else(|| Fault::bad_request("Vault is not initialized"))?;
    let opened = wrapped.unwrap(seals).await;
    opened.map(|(root, _)| root).map_err(|e| Fault::bad_request("unseal failed, invalid key").knowing(e.to_string()))
}

/// The barrier is open: opens the vault and starts serving.
///
/// # Errors
/// What is stored does not load; the barrier is closed again.
pub async fn open_vault(server: &Arc<Server>) -> Result<Arc<Vault>, Fault> {
    let opening = Opening {
        store: server.behind_barrier(),
        clock: server.shared_clock(),
        limits: server.settings.limits,
        audit: server.audit.clone(),
        server: Arc::downgrade(server),
        dev: server.settings.dev,
    };
    match opening.open().await {
        Ok(vault) => {
            server.set_vault(vault.clone());
            Ok(vault)
        }
        Err(fault) => {
            server.seal();
            Err(fault)
        }
    }
}
