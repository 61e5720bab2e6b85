//! Tuning a mount; and what happens when `options version=2` is tuned onto version 1 of kv: its secrets become first versions.
//!
//! Meanwhile the mount answers 503. That the upgrade began is written down before its first step, so a crash in between is
//! made good when the mounts are loaded.

use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::engine::Engine;
use dewdrop_core::mount::Mount;
use dewdrop_core::route::{AnyFields, Room, Route, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::{Fault, Moment, Operation};
use dewdrop_engines::kv2::Kv2;

use super::{Mounted, Mounts};
use crate::vault::Vault;

/// Replaces what is said of a mount. Answers how many secrets were upgraded, when version 1 of kv became version 2.
///
/// # Errors
/// 400: kv has no such version, or cannot go back to it; the store's.
pub async fn replace(vault: &Vault, old: &Mounted, mount: Mount) -> Result<Option<u64>, Fault> {
    if mount.kind == "kv" {
        match (version(&old.mount), version(&mount)) {
            (before, after) if before == after => {}
            ("1", "2") => return upgrade(vault, old, mount).await.map(Some),
            ("2", "1") => return Err(Fault::bad_request("cannot downgrade mount from version 2")),
            _ => return Err(Fault::bad_request("kv has the versions 1 and 2")),
        }
    }
    vault.mounts.put(mount).await.map(|()| None)
}

/// Finishes an upgrade that a crash cut short.
///
/// # Errors
/// The store's.
pub(super) async fn finish(mounts: &Mounts, mount: &Mount, now: Moment) -> Result<(), Fault> {
    if mounts.store.get(&begun(mount)).await?.is_some() {
        move_secrets(mounts, mount, now).await?;
    }
    Ok(())
}

async fn upgrade(vault: &Vault, old: &Mounted, mount: Mount) -> Result<u64, Fault> {
    let mounts = &vault.mounts;
    let _writing = mounts.writing.lock().await;
    let known = mounts.by_uuid(&mount.uuid).filter(|known| known.mount.options == old.mount.options);
    let known = known.filter(|known| known.mount.path == mount.path);
    known.ok_or_else(|| Fault::bad_request("the mount was changed by somebody else: try again"))?;
    let record = Batch::new().put_json(super::key(&mount.uuid), &mount)?.put(begun(&mount), &b"kv2"[..]);
    mounts.store.commit(record).await?;
    let closed = Mounted { mount: old.mount.clone(), room: Room::new(Arc::new(Closed)), identities: None };
    let at = mount.full_path();
    mounts.change(|table| {
        table.insert(at.clone(), closed.clone());
    });
    // After an error the mount stays closed: some of its secrets are here and some there, until this is asked for again.
    let moved = move_secrets(mounts, &mount, vault.clock.now()).await?;
    let mounted = mounts.open(vault, Arc::new(mount))?;
    mounts.change(|table| {
        table.insert(at.clone(), mounted.clone());
    });
    Ok(moved)
}

/// A write that was under way when the mount closed may come in behind the first pass, so the last one finds nothing.
async fn move_secrets(mounts: &Mounts, mount: &Mount, now: Moment) -> Result<u64, Fault> {
    let slice = mounts.slice(mount);
    let mut moved = 0;
    loop {
        match Kv2::upgrade(&*slice, now).await? {
            0 => break,
            more => moved += more,
        }
    }
    mounts.store.commit(Batch::new().delete(begun(mount))).await?;
    Ok(moved)
}

/// Set while a mount is upgraded.
fn begun(mount: &Mount) -> Vec<u8> {
    format!("kv-upgrade/{}", mount.uuid).into_bytes()
}

fn version(mount: &Mount) -> &str {
    match mount.options.get("version").map(String::as_str) {
        None | Some("") => "1",
        Some(version) => version,
    }
}

/// Stands where a mount is that cannot serve just now.
struct Closed;

#[async_trait]
impl Engine for Closed {
    fn routes() -> Routes<Self> {
        Routes::new("This mount is being upgraded.").at("", "Being upgraded.", Self::refusing).at(
            "{path*}",
            "Being upgraded.",
            Self::refusing,
        )
    }
}

impl Closed {
    fn refusing(route: Route<Self>) -> Route<Self> {
        let verbs =
            [Operation::Read, Operation::Update, Operation::Delete, Operation::List, Operation::Scan, Operation::Patch];
        verbs.into_iter().fold(route, |route, verb| route.on(verb, "Says to try again", Self::wait))
    }

    async fn wait(self: Arc<Self>, _: Call, _: AnyFields) -> Result<Reply, Fault> {
        Err(Fault::unavailable(
            "this mount is being upgraded to version 2 of kv: try again; if it stays so, tune version=2 again",
        ))
    }
}
