//! operator snapshot: save, restore, verify. Files are replaced in one step and are readable by their owner alone.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use http::Method;

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::progress;

/// Where OpenBao and Vault serve snapshots; Dewdrop serves its own in the same place.
const PATH: &str = "sys/storage/raft/snapshot";
/// Dewdrop's own: restores into memory, says what is in it, changes nothing.
const VERIFY: &str = "sys/storage/snapshot/verify";
/// Large stores take long.
const PATIENCE: Duration = Duration::from_secs(6 * 3600);

/// `dewdrop operator snapshot`.
#[derive(Debug, Subcommand)]
pub enum Snapshot {
    /// Save a consistent snapshot of the running server
    Save(File),
    /// Put a snapshot in place of all that the server holds
    Restore(Restore),
    /// Prove that a snapshot can be restored, by restoring it into memory
    Verify(File),
}

/// Which file.
#[derive(Debug, Args)]
pub struct File {
    /// The snapshot's file
    file: String,
}

/// `dewdrop operator snapshot restore`.
#[derive(Debug, Args)]
pub struct Restore {
    /// The snapshot's file
    file: String,
    /// Restore it even though it was made under other unseal keys
    #[arg(long, short)]
    force: bool,
}

impl Snapshot {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Save(File { file }) => save(ctx, &file).await,
            Self::Restore(Restore { file, force }) => {
                let path = if force { format!("{PATH}-force") } else { PATH.to_owned() };
                send(ctx, &path, &file, "Restoring", "Error installing the snapshot").await?;
                ctx.out.done(&format!(
                    "Success! Restored {file}. A server that was sealed in between must be unsealed again"
                ))
            }
            Self::Verify(File { file }) => {
                let told = send(ctx, VERIFY, &file, "Verifying", "Error verifying the snapshot").await?;
                ctx.out.done(&format!("Success! {file} can be restored"))?;
                told.envelope()?.map_or(Ok(0), |e| ctx.out.envelope(&e))
            }
        }
    }
}

async fn save(ctx: &Ctx, file: &str) -> Result<u8> {
    let spinner = progress::spinner("Taking the snapshot");
    let reply = ctx.raw(Call::read(PATH)?.patient(PATIENCE)).await;
    spinner.finish_and_clear();
    let reply = reply.map_err(|e| e.doing("Error taking the snapshot"))?;
    if reply.expose().is_empty() {
        return Err(Failure::server("Error taking the snapshot: the server sent nothing; no file was written"));
    }
    let temporary = format!("{file}.new-{}", std::process::id());
    let written =
        std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary).and_then(|mut new| {
            new.write_all(reply.expose())?;
            new.sync_all()
        });
    if let Err(e) = written.and_then(|()| std::fs::rename(&temporary, file)) {
        // The first error is told.
        let _ = std::fs::remove_file(&temporary);
        return Err(Failure::usage(format!("Error writing the snapshot to {file}: {e}")).coded(2));
    }
    ctx.out.done(&format!("Success! Saved {} bytes to {file}", reply.expose().len()))
}

async fn send(ctx: &Ctx, path: &str, file: &str, what: &str, doing: &str) -> Result<dewdrop_api::Reply> {
    let bytes = std::fs::read(file).map_err(|e| Failure::usage(format!("read the snapshot {file}: {e}")))?;
    let spinner = progress::spinner(&format!("{what} {file}"));
    let reply = ctx.raw(Call::new(Method::POST, path)?.with_bytes(bytes).patient(PATIENCE)).await;
    spinner.finish_and_clear();
    let reply = reply.map_err(|e| e.doing(doing))?;
    if reply.status == 404 {
        return Err(Failure::server(format!("{doing}: the server does not know {path}"))
            .hint("only Dewdrop servers verify snapshots"));
    }
    Ok(reply)
}
