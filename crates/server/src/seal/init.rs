//! Initializing: makes the root key, wraps it with every seal, and makes the first root token.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::shamir;
use dewdrop_core::{Fault, Secret};
use dewdrop_store::{KeySeal, LockedKey, Seal, WrappedKeys};

use super::pgp::{Holders, PgpKey};
use super::{CONFIG, SealConfig, barrier_fault, open_vault};
use crate::ids;
use crate::server::Server;

/// How to share the key out.
#[derive(Debug, Clone, Copy)]
pub struct InitAsk {
    /// Shares to make: unseal keys, or recovery keys with an automatic seal.
    pub shares: u8,
    /// Shares that are needed.
    pub threshold: u8,
}

/// For whose eyes it is; by default for everybody's.
#[derive(Default)]
pub struct Eyes {
    /// The shares'.
    pub shares: Holders,
    /// The root token's.
    pub root: Option<PgpKey>,
}

/// What is handed out once and never again.
pub struct Initialized {
    /// The shares, encrypted where their holders gave keys.
    pub shares: Vec<Secret<Vec<u8>>>,
    /// The first root token; under a PGP key, base64 of the message that holds it.
    pub root_token: Secret<String>,
    /// The shares are recovery keys: an automatic seal opens the server.
    pub are_recovery_keys: bool,
}

/// Makes the keys. The server ends sealed, but for its automatic seals.
///
/// # Errors
/// 400: already initialized, or numbers that cannot be; the store's.
pub async fn initialize(
    server: &Arc<Server>,
    ask: InitAsk,
    eyes: &Eyes,
    root_token: Option<&str>,
) -> Result<Initialized, Fault> {
    check(ask)?;
    let locked = |e: dewdrop_store::LockedError| Fault::internal(e.to_string());
    let root = LockedKey::random().map_err(locked)?;
    let shared = LockedKey::random().map_err(locked)?;
    let shares = eyes.shares.seal(split(&shared, ask)?)?;
    let by_people = KeySeal::shamir(shared);
    let mut seals: Vec<&dyn Seal> = vec![&by_people];
    seals.extend(server.auto_seals.iter().map(|seal| &**seal));
    let wrapped = WrappedKeys::wrap(&seals, &root).await.map_err(|e| Fault::internal(e.to_string()))?;
    let config = SealConfig {
        kind: server.auto_seals.first().map_or("shamir", |seal| seal.kind()).to_owned(),
        shares: ask.shares,
        threshold: ask.threshold,
        cluster_name: match &server.settings.cluster_name {
            Some(name) => name.clone(),
            None => format!("dewdrop-cluster-{}", ids::base62(8)?.to_lowercase()),
        },
        cluster_id: ids::uuid()?,
    };
    let batch = wrapped.batch()?.put_json(CONFIG, &config)?;
    server.barrier.initialize(&root, batch).await.map_err(barrier_fault)?;
    server.barrier.unseal(&root).await.map_err(barrier_fault)?;
    let vault = open_vault(server).await?.ok_or_else(|| Fault::unavailable("another server is active already"))?;
    let root_token = crate::tokens::make_root(&vault, root_token).await?;
    let root_token = match &eyes.root {
        None => root_token,
        Some(key) => Secret::new(STANDARD.encode(key.encrypt(root_token.expose().as_bytes())?)),
    };
    if server.auto_seals.is_empty() {
        server.seal();
    }
    Ok(Initialized { shares, root_token, are_recovery_keys: !server.auto_seals.is_empty() })
}

/// Numbers that can be.
///
/// # Errors
/// 400 with what is wrong.
pub fn check(ask: InitAsk) -> Result<(), Fault> {
    let wrong = match (ask.shares, ask.threshold) {
        (0, _) => "invalid seal configuration: shares must be at least one",
        (_, 0) => "invalid seal configuration: threshold must be at least one",
        (shares, 1) if shares > 1 => {
            "invalid seal configuration: threshold must be greater than one for multiple shares"
        }
        (shares, threshold) if threshold > shares => {
            "invalid seal configuration: threshold cannot be larger than shares"
        }
        _ => return Ok(()),
    };
    Err(Fault::bad_request(wrong))
}

/// Splits a key; a single share is the key itself, as clients know it.
///
/// # Errors
/// The machine gives no random bytes.
pub fn split(key: &LockedKey, ask: InitAsk) -> Result<Vec<Secret<Vec<u8>>>, Fault> {
    if ask.shares == 1 {
        return Ok(vec![Secret::new(key.expose().to_vec())]);
    }
    let mut broken = false;
    let mut random = |bytes: &mut [u8]| broken |= ids::fill(bytes).is_err();
    let shares = shamir::split(key.expose(), ask.shares, ask.threshold, &mut random);
    let shares = shares.map_err(|e| Fault::internal(e.to_string()))?;
    if broken { Err(Fault::internal("the machine gives no random bytes")) } else { Ok(shares) }
}
