//! Minting: the lease is on disk before the credential is made, and live before the caller hears of it. A crash anywhere
//! leaves either nothing or a lease that will be revoked.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::Mint;
use dewdrop_core::lease::{Lease, LeaseState, LifeAsk, Owner, life};
use dewdrop_core::mount::Mount;
use dewdrop_core::store::{Batch, StoreError};
use dewdrop_core::token::{TokenKind, TokenRecord};
use dewdrop_core::{Fault, Moment};
use serde_json::{Map, Value};

use super::{insert, replace};
use crate::ids;
use crate::telemetry::traces::within;
use crate::vault::Vault;
use crate::vault::quotas::Where;

/// For whom and where a credential is made.
pub struct MintAsk {
    /// The mount that makes it.
    pub mount: Arc<Mount>,
    /// The path below the mount.
    pub path: String,
    /// The token that asks.
    pub token: Arc<TokenRecord>,
    /// When.
    pub now: Moment,
}

/// A credential that was made.
pub struct Minted {
    /// Its lease, live.
    pub lease: Lease,
    /// The life from now.
    pub ttl: Duration,
    /// What the caller reads.
    pub data: Map<String, Value>,
    /// What the caller should know.
    pub warnings: Vec<String>,
}

/// Writes the lease, makes the credential, marks the lease live. Must run detached from the connection: the caller may
/// hang up at any moment.
///
/// # Errors
/// The engine's; 503 when the store fails; 403 when the token ended meanwhile. In each case whatever was made is revoked.
pub async fn mint(vault: Arc<Vault>, ask: MintAsk, mint: Mint) -> Result<Minted, Fault> {
    let (lease, ttl, warnings) = draft(&ask, &mint)?;
    let at = Where {
        namespace: lease.namespace.clone(),
        mount: lease.mount.clone(),
        below: ask.path.clone(),
        role: String::new(),
    };
    let admission = vault.leases.counts.admit(&vault, at, &lease.id).await?;
    let written = vault.leases.store.commit(insert(Batch::new(), &lease)?).await?;
    admission.keep();
    if !owner_lives(&vault, &ask.token).await? {
        // When that fails, the lease stays an intent and is revoked.
        drop(vault.leases.forget(&lease, written).await);
        return Err(Fault::denied("the token ended while its credential was about to be made"));
    }
    let made = match within("mint", mint.create).await {
        Ok(made) => enliven(&vault, &lease, made.internal).await.map(|live| (live, made.data)),
        Err(fault) => Err(fault),
    };
    match made {
        Ok((lease, data)) => Ok(Minted { lease, ttl, data, warnings }),
        Err(fault) => {
            vault.leases.expire_now(&vault, &[(lease.namespace.clone(), lease.id.clone())], None).await?;
            Err(fault)
        }
    }
}

fn draft(ask: &MintAsk, mint: &Mint) -> Result<(Lease, Duration, Vec<String>), Fault> {
    let mount = &ask.mount;
    let asked = LifeAsk {
        issued: ask.now,
        now: ask.now,
        role_ttl: mint.ttl,
        role_max: mint.max_ttl,
        mount_default: mount.default_lease_ttl(),
        mount_max: mount.max_lease_ttl(),
        ..LifeAsk::default()
    };
    let mut given = life(&asked);
    // A batch token cannot be revoked, so nothing of it may outlive it.
    if let (TokenKind::Batch, Some(end)) = (ask.token.kind, ask.token.expires) {
        given.ttl = given.ttl.min(end.since(ask.now));
        given.latest = given.latest.min(end);
    }
    let random = ids::base62(24)?;
    let end = if mount.namespace.is_root() { String::new() } else { format!(".{}", mount.namespace.id) };
    let lease = Lease {
        id: format!("{}{}/{random}{end}", mount.path, ask.path),
        namespace: mount.namespace.id.clone(),
        mount: mount.uuid.clone(),
        state: LeaseState::Intent,
        owner: Owner::Token(owner_accessor(&ask.token).to_owned()),
        issued: ask.now,
        expires: ask.now.plus(given.ttl),
        renewed: None,
        latest: given.latest,
        renewable: mint.renewable,
        internal: mint.internal.clone(),
    };
    Ok((lease, given.ttl, given.warnings))
}

/// A batch token has no accessor: its parent owns what it asks for.
fn owner_accessor(token: &TokenRecord) -> &str {
    match token.kind {
        TokenKind::Service => &token.accessor,
        TokenKind::Batch => token.parent.as_deref().unwrap_or_default(),
    }
}

/// Looks in the store itself: from now on whoever ends the token finds the lease.
async fn owner_lives(vault: &Vault, token: &TokenRecord) -> Result<bool, Fault> {
    match owner_accessor(token) {
        "" => Ok(true),
        accessor => Ok(vault.tokens.read(accessor).await?.is_some()),
    }
}

/// `learned`: what the engine knows of the credential since it was made.
async fn enliven(vault: &Vault, intent: &Lease, learned: Option<Value>) -> Result<Lease, Fault> {
    let mut live = intent.clone();
    live.state = LeaseState::Live;
    live.internal = learned.unwrap_or(live.internal);
    let found = vault.leases.read(&intent.namespace, &intent.id).await?;
    let Some((_, revision)) = found.filter(|(lease, _)| lease.state == LeaseState::Intent) else {
        return Err(Fault::denied("the token ended while its credential was made"));
    };
    match replace(&vault.leases.store, intent, &live, revision).await {
        Ok(()) => Ok(live),
        Err(StoreError::Conflict) => Err(Fault::denied("the token ended while its credential was made")),
        Err(error) => Err(error.into()),
    }
}
