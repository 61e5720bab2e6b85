//! Rekeying: enough of the old shares open the root key; then a new root key is made, wrapped anew and shared out anew. Until
//! the last moment the old shares are in force; the new keyring, the new wrapped keys and the new numbers of shares are
//! written in one commit, so that a crash leaves either the old or the new, never a mixture.
//!
//! With an automatic seal the shares are recovery keys, and the same is done to them.

use std::sync::Arc;

use dewdrop_core::secret::same_bytes;
use dewdrop_core::store::Batch;
use dewdrop_core::{Fault, Secret};
use dewdrop_store::{KeySeal, LockedKey, Seal, WrappedKeys};

use super::init::{check, split};
use super::pgp::Holders;
use super::unseal::root_key;
use super::{CONFIG, Ceremonies, Given, InitAsk, SealConfig, Shares, barrier_fault};
use crate::ids;
use crate::server::Server;

/// A rekeying under way.
pub struct Rekey {
    nonce: String,
    wanted: Wanted,
    shares: Shares,
    pending: Option<Pending>,
}

/// The new shares that are to be made.
pub struct Wanted {
    /// How many, and how many of them will be needed.
    pub split: InitAsk,
    /// Whether they must be shown before they are in force.
    pub verify: bool,
    /// Whose they are.
    pub holders: Holders,
    /// Whether the server keeps them too, as their holders get them.
    pub backup: bool,
}

/// New keys that are in force once their holders have shown that they have them.
struct Pending {
    nonce: String,
    root: LockedKey,
    by_people: LockedKey,
    shares: Shares,
}

/// Which shares are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// The unseal keys.
    Unseal,
    /// The recovery keys of a server with an automatic seal.
    Recovery,
}

/// In whose words refusals are told: those of `sys/rekey`, or those of `sys/rotate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Face {
    /// `sys/rekey/...`, `sys/rekey-recovery-key/...`.
    Rekey,
    /// `sys/rotate/root/...`, `sys/rotate/recovery/...`.
    Rotation,
}

/// How a rekeying stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RekeyStatus {
    /// Names it; empty: there is none.
    pub nonce: String,
    /// Shares to make.
    pub shares: u8,
    /// Shares of the new ones that will be needed.
    pub threshold: u8,
    /// Old shares that were given.
    pub progress: usize,
    /// Old shares that are needed.
    pub required: u8,
    /// Whether the new shares must be shown before they are in force.
    pub verify: bool,
    /// Names the showing of new shares; empty before it begins.
    pub verify_nonce: String,
    /// New shares that were shown.
    pub verify_progress: usize,
    /// The fingerprints of the holders' PGP keys.
    pub fingerprints: Option<Vec<String>>,
    /// Whether the server keeps the encrypted shares.
    pub backup: bool,
}

/// What a share has led to.
pub enum Updated {
    /// More are needed.
    Progress(RekeyStatus),
    /// The new shares. Without a nonce of verification they are in force.
    Done {
        /// Names the rekeying that is over.
        nonce: String,
        /// The new shares.
        shares: Vec<Secret<Vec<u8>>>,
        /// Names the verification that must follow; empty: none.
        verify_nonce: String,
        /// The fingerprints of the holders' PGP keys.
        fingerprints: Option<Vec<String>>,
        /// Whether the server keeps the encrypted shares.
        backup: bool,
    },
}

/// What a shown share has led to.
pub enum Verified {
    /// More are needed.
    Progress(RekeyStatus),
    /// The new shares are in force; the nonce of the verification that is over.
    Done(String),
}

impl Face {
    fn none(self) -> Fault {
        Fault::bad_request(match self {
            Self::Rekey => "no barrier rekey in progress",
            Self::Rotation => "no rotation in progress",
        })
    }

    fn no_config(self) -> Fault {
        Fault::bad_request(match self {
            Self::Rekey => "no rekey configuration found",
            Self::Rotation => "no rotation configuration found",
        })
    }

    fn wrong_nonce(self, right: &str) -> Fault {
        Fault::bad_request(match self {
            Self::Rekey => format!("incorrect nonce supplied; nonce for this rekey operation is {right:?}"),
            Self::Rotation => format!("incorrect nonce supplied; nonce for rotation is {right:?}"),
        })
    }

    fn word(self) -> &'static str {
        match self {
            Self::Rekey => "rekey",
            Self::Rotation => "rotation",
        }
    }
}

/// How the rekeying stands, if there is one.
///
/// # Errors
/// 503: sealed. 400: such keys are not what this server has.
pub async fn status(server: &Server, target: Target) -> Result<RekeyStatus, Fault> {
    let config = checked(server, target).await?;
    Ok(told(&*server.ceremonies.lock().await, &config))
}

/// Begins one.
///
/// # Errors
/// 400: one is under way, or numbers that cannot be. 503: sealed.
pub async fn start(server: &Server, target: Target, face: Face, wanted: Wanted) -> Result<RekeyStatus, Fault> {
    let config = checked(server, target).await?;
    let split = wanted.split;
    check(split).map_err(|fault| {
        Fault::bad_request(fault.told.replace("seal configuration", &format!("{} seal configuration", face.word())))
    })?;
    let mut ceremonies = server.ceremonies.lock().await;
    if ceremonies.rekey.is_some() {
        return Err(Fault::bad_request(format!("{} already in progress", face.word())));
    }
    ceremonies.rekey = Some(Rekey { nonce: ids::uuid()?, wanted, shares: Shares::default(), pending: None });
    tracing::info!(shares = split.shares, threshold = split.threshold, "rekeying has begun");
    Ok(told(&ceremonies, &config))
}

/// Gives it up; the old shares stay in force.
///
/// # Errors
/// 503: sealed.
pub async fn cancel(server: &Server, target: Target) -> Result<(), Fault> {
    checked(server, target).await?;
    if server.ceremonies.lock().await.rekey.take().is_some() {
        tracing::info!("rekeying was given up");
    }
    Ok(())
}

/// Takes one of the old shares.
///
/// # Errors
/// 400: nothing under way, a wrong nonce, no share, or shares that do not open the root key (all are asked for anew).
pub async fn update(
    server: &Arc<Server>,
    target: Target,
    face: Face,
    nonce: &str,
    share: Secret<Vec<u8>>,
) -> Result<Updated, Fault> {
    let config = checked(server, target).await?;
    let mut ceremonies = server.ceremonies.lock().await;
    let rekey = ceremonies.rekey.as_mut().ok_or_else(|| face.none())?;
    if rekey.nonce != nonce {
        return Err(face.wrong_nonce(&rekey.nonce));
    }
    if let Some(pending) = &rekey.pending {
        return Err(Fault::bad_request(format!(
            "{} operation already finished; verification must be performed; nonce for the verification operation is {:?}",
            face.word(),
            pending.nonce
        )));
    }
    let key = match rekey.shares.give(share, config.split())? {
        Given::Again if face == Face::Rekey => {
            return Err(Fault::bad_request("given key has already been provided during this generation operation"));
        }
        Given::Again => return Err(Fault::bad_request("given key has already been provided during this rotation")),
        Given::Taken => return Ok(Updated::Progress(told(&ceremonies, &config))),
        Given::Key(key) => key,
    };
    prove(server, key, "failed to read root key").await?;
    let locked = |e: dewdrop_store::LockedError| Fault::internal(e.to_string());
    let (root, by_people) = (LockedKey::random().map_err(locked)?, LockedKey::random().map_err(locked)?);
    let wanted = &rekey.wanted;
    let shares = wanted.holders.seal(split(&by_people, wanted.split)?)?;
    let (nonce, fingerprints, backup) = (rekey.nonce.clone(), wanted.holders.fingerprints(), wanted.backup);
    let keep = match (&fingerprints, backup) {
        (Some(fingerprints), true) => super::backup::batch(target, &nonce, fingerprints, &shares)?,
        _ => Batch::new(),
    };
    if wanted.verify {
        server.store.commit(keep).await?;
        let verify_nonce = ids::uuid()?;
        rekey.pending = Some(Pending { nonce: verify_nonce.clone(), root, by_people, shares: Shares::default() });
        return Ok(Updated::Done { nonce, shares, verify_nonce, fingerprints, backup });
    }
    put_in_force(server, &config, wanted.split, &root, by_people, keep).await?;
    ceremonies.rekey = None;
    Ok(Updated::Done { nonce, shares, verify_nonce: String::new(), fingerprints, backup })
}

/// Takes one of the new shares; puts them in force with the last that is needed.
///
/// # Errors
/// 400: nothing to verify, a wrong nonce, or shares that are not the new ones (all are asked for anew, under a new nonce).
pub async fn verify(
    server: &Arc<Server>,
    target: Target,
    face: Face,
    nonce: &str,
    share: Secret<Vec<u8>>,
) -> Result<Verified, Fault> {
    let config = checked(server, target).await?;
    let mut ceremonies = server.ceremonies.lock().await;
    let rekey =
        ceremonies.rekey.as_mut().ok_or_else(|| Fault::bad_request(format!("no {} in progress", face.word())))?;
    let pending = rekey.pending.as_mut();
    let pending = pending.ok_or_else(|| {
        Fault::bad_request(format!("no {} verification in progress: give the old keys first", face.word()))
    })?;
    if pending.nonce != nonce {
        return Err(Fault::bad_request(format!(
            "incorrect nonce supplied; nonce for this verify operation is {:?}",
            pending.nonce
        )));
    }
    let failed = || Fault::bad_request(format!("{} verification failed; incorrect key shares supplied", face.word()));
    let key = match pending.shares.give(share, rekey.wanted.split) {
        Ok(Given::Again) => {
            return Err(Fault::bad_request("given key has already been provided during this verify operation"));
        }
        Ok(Given::Taken) => return Ok(Verified::Progress(told(&ceremonies, &config))),
        Ok(Given::Key(key)) => Some(key),
        Err(fault) if pending.shares.count() > 0 => return Err(fault),
        Err(_) => None,
    };
    let is_right = key.is_some_and(|key| same_bytes(key.expose(), pending.by_people.expose()));
    if !is_right {
        pending.nonce = ids::uuid()?;
        return Err(failed());
    }
    let by_people = pending.by_people.duplicate().map_err(|e| Fault::internal(e.to_string()))?;
    put_in_force(server, &config, rekey.wanted.split, &pending.root, by_people, Batch::new()).await?;
    ceremonies.rekey = None;
    Ok(Verified::Done(nonce.to_owned()))
}

/// How the verification stands.
///
/// # Errors
/// 400: no rekeying is under way.
pub async fn verify_status(server: &Server, target: Target, face: Face) -> Result<RekeyStatus, Fault> {
    let status = status(server, target)
        .await
        .map_err(|fault| if fault.kind == dewdrop_core::Kind::BadRequest { face.no_config() } else { fault })?;
    if status.nonce.is_empty() { Err(face.no_config()) } else { Ok(status) }
}

/// Forgets the new shares that were shown so far, and asks for them under a new nonce.
///
/// # Errors
/// As [`verify_status`].
pub async fn restart_verify(server: &Server, target: Target, face: Face) -> Result<RekeyStatus, Fault> {
    let config = checked(server, target).await?;
    let mut ceremonies = server.ceremonies.lock().await;
    let rekey = ceremonies.rekey.as_mut().ok_or_else(|| face.no_config())?;
    if let Some(pending) = &mut rekey.pending {
        pending.nonce = ids::uuid()?;
        pending.shares = Shares::default();
    }
    Ok(told(&ceremonies, &config))
}

/// Whether a key that people's shares make opens the root key that is in use.
///
/// # Errors
/// 400 with `what` in front: it does not.
pub(super) async fn prove(server: &Server, by_people: LockedKey, what: &'static str) -> Result<(), Fault> {
    let wrong = |known: String| {
        Fault::bad_request(format!("{what}: invalid key: the shares do not belong together or are not those of now"))
            .knowing(known)
    };
    let root = root_key(server, by_people).await.map_err(|fault| match fault.kind {
        dewdrop_core::Kind::BadRequest => wrong(fault.known.into_owned()),
        _ => fault,
    })?;
    if server.barrier.is_root_key(&root)? {
        Ok(())
    } else {
        Err(wrong("the root key that is stored is not the one in use".into()))
    }
}

async fn put_in_force(
    server: &Server,
    config: &SealConfig,
    split: InitAsk,
    root: &LockedKey,
    by_people: LockedKey,
    keep: Batch,
) -> Result<(), Fault> {
    let by_people = KeySeal::shamir(by_people);
    let mut seals: Vec<&dyn Seal> = vec![&by_people];
    seals.extend(server.auto_seals.iter().map(|seal| &**seal));
    let wrapped = WrappedKeys::wrap(&seals, root).await.map_err(|e| Fault::internal(e.to_string()))?;
    let config = SealConfig { shares: split.shares, threshold: split.threshold, ..config.clone() };
    let mut batch = wrapped.batch()?.put_json(CONFIG, &config)?;
    batch.changes.extend(keep.changes);
    server.barrier.change_root_key(root, batch).await.map_err(barrier_fault)?;
    tracing::info!(
        shares = split.shares,
        threshold = split.threshold,
        "new keys are in force; the old shares open nothing any more"
    );
    Ok(())
}

/// The seal's configuration, where a rekeying of this kind may be.
async fn checked(server: &Server, target: Target) -> Result<SealConfig, Fault> {
    server.vault()?;
    match (target, server.auto_seals.is_empty()) {
        (Target::Recovery, true) => {
            return Err(Fault::bad_request("recovery keys not supported: this server has no automatic seal"));
        }
        (Target::Unseal, false) => {
            return Err(Fault::bad_request(
                "this server unseals by itself, so it has recovery keys: use sys/rotate/recovery or sys/rekey-recovery-key",
            ));
        }
        _ => {}
    }
    SealConfig::load(&*server.store).await?.ok_or_else(|| Fault::bad_request("Vault is not initialized"))
}

fn told(ceremonies: &Ceremonies, config: &SealConfig) -> RekeyStatus {
    let required = config.threshold;
    let Some(rekey) = &ceremonies.rekey else { return RekeyStatus { required, ..RekeyStatus::default() } };
    RekeyStatus {
        nonce: rekey.nonce.clone(),
        shares: rekey.wanted.split.shares,
        threshold: rekey.wanted.split.threshold,
        progress: rekey.shares.count(),
        required,
        verify: rekey.wanted.verify,
        verify_nonce: rekey.pending.as_ref().map(|pending| pending.nonce.clone()).unwrap_or_default(),
        verify_progress: rekey.pending.as_ref().map_or(0, |pending| pending.shares.count()),
        fingerprints: rekey.wanted.holders.fingerprints(),
        backup: rekey.wanted.backup,
    }
}
