//! Unsealing: shares are gathered until they open the root key; then the vault is opened.

use std::sync::Arc;

use dewdrop_core::store::SharedStore;
use dewdrop_core::{Fault, Secret, shamir};
use dewdrop_store::{KEY_BYTES, KeySeal, LockedKey, Seal, WrappedKeys};

use super::generate_root::RootGeneration;
use super::rekey::Rekey;
use super::{InitAsk, SealConfig, barrier_fault};
use crate::ids;
use crate::server::{Server, Serving};
use crate::turn::{self, Turn};
use crate::vault::{Opening, Vault};

/// What is under way and needs more than one share.
#[derive(Default)]
pub struct Ceremonies {
    /// Unsealing.
    pub unsealing: Unsealing,
    /// Making new shares.
    pub rekey: Option<Rekey>,
    /// Making a root token.
    pub root: Option<RootGeneration>,
}

impl Ceremonies {
    /// Forgets what only an open server does.
    pub fn forget_open(&mut self) {
        self.rekey = None;
        self.root = None;
    }
}

/// Shares of one key that were given so far.
#[derive(Default)]
pub struct Shares(Vec<Secret<Vec<u8>>>);

/// What became of a share.
pub enum Given {
    /// It had been given before.
    Again,
    /// It was taken; more are needed.
    Taken,
    /// It was the last that was needed: the key. The shares are forgotten.
    Key(LockedKey),
}

impl Shares {
    /// How many were given.
    #[must_use]
    pub fn count(&self) -> usize {
        self.0.len()
    }

    /// Takes one share of a key that was split into `shares`, of which `threshold` are needed. A single share is the key
    /// itself.
    ///
    /// # Errors
    /// 400: no share of such a key (what was given before stays), or shares that cannot be put together (all are forgotten).
    pub fn give(&mut self, share: Secret<Vec<u8>>, split: InitAsk) -> Result<Given, Fault> {
        let length = share.expose().len();
        let right = if split.shares == 1 { KEY_BYTES } else { KEY_BYTES + 1 };
        if length != right {
            return Err(Fault::bad_request(format!(
                "'key' must be a valid share of {right} bytes in hex or base64, not {length}"
            )));
        }
        if self.0.contains(&share) {
            return Ok(Given::Again);
        }
        self.0.push(share);
        if self.0.len() < usize::from(split.threshold) {
            return Ok(Given::Taken);
        }
        let given = std::mem::take(&mut self.0);
        let [single] = given.as_slice() else { return combine(&given).map(Given::Key) };
        LockedKey::copy_of(single.expose()).map(Given::Key).map_err(|e| Fault::internal(e.to_string()))
    }
}

/// Shares for unsealing.
#[derive(Default)]
pub struct Unsealing {
    /// Names this round of giving.
    pub nonce: String,
    shares: Shares,
}

impl Unsealing {
    /// How many were given.
    #[must_use]
    pub fn progress(&self) -> usize {
        self.shares.count()
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
        let given = self.shares.give(share, config.split());
        if self.shares.count() == 0 {
            self.nonce.clear();
        } else if self.nonce.is_empty() {
            self.nonce = ids::uuid()?;
        }
        Ok(match given? {
            Given::Key(key) => Some(key),
            Given::Again | Given::Taken => None,
        })
    }
}

fn combine(shares: &[Secret<Vec<u8>>]) -> Result<LockedKey, Fault> {
    let parts: Vec<&[u8]> = shares.iter().map(|share| share.expose().as_slice()).collect();
    let key = shamir::combine(&parts);
    let key = key.map_err(|e| Fault::bad_request(format!("invalid key: failed to compute combined key: {e}")))?;
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
    let config =
        SealConfig::load(&*server.store).await?.ok_or_else(|| Fault::bad_request("Vault is not initialized"))?;
    let mut ceremonies = server.ceremonies.lock().await;
    if !server.is_sealed() {
        return Ok(true);
    }
    let Some(key) = ceremonies.unsealing.give(share, &config)? else { return Ok(false) };
    ceremonies.forget_open();
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

/// The barrier is open: opens the vault and starts serving, or stands by where another server is active (`None`).
///
/// # Errors
/// What is stored does not load; the barrier is closed again, unless this server stands by.
pub async fn open_vault(server: &Arc<Server>) -> Result<Option<Arc<Vault>>, Fault> {
    open_in(server, None).await
}

/// As [`open_vault`], within a turn that has begun.
///
/// # Errors
/// What is stored does not load; the barrier is closed again.
pub async fn open_again(server: &Arc<Server>, turn: Arc<Turn>) -> Result<Option<Arc<Vault>>, Fault> {
    open_in(server, Some(turn)).await
}

async fn open_in(server: &Arc<Server>, kept: Option<Arc<Turn>>) -> Result<Option<Arc<Vault>>, Fault> {
    let opened = async {
        match turn::take(server, kept).await? {
            Some((turn, store)) => load(server, turn, store).await.map(Some),
            None => Ok(None),
        }
    };
    match opened.await {
        Ok(Some(vault)) => Ok(Some(vault)),
        Ok(None) => {
            turn::stand_by(server).await;
            Ok(None)
        }
        Err(fault) => {
            if server.turns.leader().is_none() {
                server.seal();
            }
            Err(fault)
        }
    }
}

/// Loads what is stored, and serves it.
async fn load(server: &Arc<Server>, turn: Arc<Turn>, store: SharedStore) -> Result<Arc<Vault>, Fault> {
    let opening = Opening {
        store,
        clock: server.shared_clock(),
        limits: server.settings.limits,
        audit: server.audit.clone(),
        server: Arc::downgrade(server),
        dev: server.settings.dev,
    };
    let vault = opening.open().await?;
    crate::sys::on_open(server, &vault).await?;
    let serving = Arc::new(Serving { vault: vault.clone(), turn });
    if server.settings.is_shared() {
        tokio::spawn(turn::guard(Arc::downgrade(server), Arc::downgrade(&serving)));
    }
    server.serve(serving);
    Ok(vault)
}
