//! Snapshots of the whole store, while it works, and restoring them. A snapshot holds encrypted values only: it is of use with the
//! keys that were in force when it was taken.
//!
//! `sys/storage/snapshot` speaks the store's own format. `sys/storage/raft/snapshot` wraps it in a tar archive, as clients of
//! that path look into what they save. Both restore either.

mod archive;

use std::io::Cursor;
use std::sync::Arc;

use bytes::Bytes;
use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Outcome, Pieces, Reply};
use dewdrop_core::route::{AnyFields, NoFields, Routes};
use dewdrop_store::{SnapshotError, SnapshotStore, WrappedKeys, snapshot_value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Mutex, mpsc};

use self::archive::{Unpacked, Writer};
use super::Sys;
use crate::seal::{auto_unseal, open_again};
use crate::server::Server;

/// A piece of the answer, and a part of the archive.
const PIECE: usize = 1 << 20;

pub(super) fn routes() -> Routes<Sys> {
    let about = "A copy of the whole store: encrypted, and of use with the keys of its time alone.";
    let force = "Restores a copy that other unseal keys belong to.";
    Routes::new("")
        .at("storage/snapshot", about, |r| {
            r.read("Takes a snapshot", |s: Arc<Sys>, _: Call, _: NoFields| s.snapshot(false))
                .write("Restores a snapshot", |s: Arc<Sys>, c, _: AnyFields| s.restore(c, false))
        })
        .at("storage/snapshot-force", force, |r| {
            r.write("Restores a snapshot", |s: Arc<Sys>, c, _: AnyFields| s.restore(c, true))
        })
        .at("storage/raft/snapshot", about, |r| {
            r.read("Takes a snapshot", |s: Arc<Sys>, _: Call, _: NoFields| s.snapshot(true))
                .write("Restores a snapshot", |s: Arc<Sys>, c, _: AnyFields| s.restore(c, false))
        })
        .at("storage/raft/snapshot-force", force, |r| {
            r.write("Restores a snapshot", |s: Arc<Sys>, c, _: AnyFields| s.restore(c, true))
        })
}

impl Sys {
    async fn snapshot(self: Arc<Self>, packed: bool) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let (to, from) = mpsc::channel(2);
        // A client that goes away ends the task: nobody takes its pieces.
        tokio::spawn(send_snapshot(self.server()?.store.clone(), packed, to));
        let from = Arc::new(Mutex::new(from));
        let next = Box::new(move || -> dewdrop_core::call::BoxFuture<_> {
            let from = from.clone();
            Box::pin(async move { from.lock().await.recv().await })
        });
        let content_type = if packed { "application/gzip" } else { "application/octet-stream" };
        Ok(Outcome::Pieces(Pieces { content_type, next }).into())
    }

    async fn restore(self: Arc<Self>, call: Call, force: bool) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let body = call.raw.filter(|body| !body.is_empty());
        let body = body.ok_or_else(|| Fault::bad_request("send the snapshot as the body of the request"))?;
        let server = self.server()?;
        // Detached: a client that hangs up leaves no half-way server behind.
        let restored = tokio::spawn(async move { restore(&server, body, force).await });
        restored.await.map_err(|_| Fault::internal("the task of a restore broke"))??;
        Ok(Reply::nothing())
    }
}

type To = mpsc::Sender<std::io::Result<Bytes>>;

async fn send_snapshot(store: Arc<dyn SnapshotStore>, packed: bool, to: To) {
    let (mut write, mut read) = tokio::io::duplex(PIECE);
    let take = async move {
        let taken = store.snapshot(&mut write).await;
        // Without its end the reader would wait for ever.
        let _ = write.shutdown().await;
        taken
    };
    let sender = &to;
    // Ends with `read` dropped: whoever writes the snapshot hears that nobody reads it any more.
    let pack = async move {
        let mut archive = packed.then(Writer::new);
        while let Some(part) = part(&mut read).await? {
            let piece = match &mut archive {
                Some(archive) => archive.part(&part)?,
                None => part.into(),
            };
            if sender.send(Ok(piece)).await.is_err() {
                return Ok(None);
            }
        }
        Ok::<_, std::io::Error>(archive)
    };
    let (taken, packed) = tokio::join!(take, pack);
    let last = match (taken, packed) {
        (Ok(info), Ok(Some(archive))) => archive.finish(&info),
        (Ok(_), Ok(None)) => return,
        (_, Err(error)) => Err(error),
        (Err(error), _) => Err(std::io::Error::other(error)),
    };
    if let Err(error) = &last {
        tracing::warn!(%error, "a snapshot could not be taken to its end");
    }
    let _ = to.send(last).await;
}

/// Up to a [`PIECE`], `None` at the end.
async fn part(from: &mut (impl AsyncRead + Unpin)) -> std::io::Result<Option<Vec<u8>>> {
    let mut part = Vec::with_capacity(PIECE);
    from.take(PIECE as u64).read_to_end(&mut part).await?;
    Ok(Some(part).filter(|part| !part.is_empty()))
}

/// Replaces all that is stored. The server stops serving meanwhile: requests hear that it is sealed. With the same keys it serves again by itself; with others
/// (only by force) it is sealed then, and opens with theirs.
async fn restore(server: &Arc<Server>, body: Bytes, force: bool) -> Result<(), Fault> {
    let (info, keys) = snapshot_value(&mut *reader(&body), WrappedKeys::AT).await.map_err(refused)?;
    let keys = keys.ok_or_else(|| Fault::bad_request("the snapshot is not that of an initialized server"))?;
    let ours = server.store.get(WrappedKeys::AT).await?.map(|entry| entry.value);
    if !force && ours.as_deref() != Some(keys.as_slice()) {
        return Err(Fault::bad_request(
            "the unseal keys of the snapshot are not those of this server (it was rekeyed meanwhile, or is another one): \
             use snapshot-force, and unseal with the keys of the snapshot afterwards",
        ));
    }
    let busy = || Fault::bad_request("unsealing, a key ceremony or another restore is under way; try again");
    let mut ceremonies = server.ceremonies.try_lock().map_err(|_| busy())?;
    let serving = server.take_serving().ok_or_else(Fault::sealed)?;
    ceremonies.forget_open();
    let work = async { server.store.restore(&mut *reader(&body)).await.map_err(refused) };
    match server.barrier.while_shut(work).await {
        Ok((_, true)) => {
            // What is under way with the old one hears that the server is sealed, or works on what is restored.
            open_again(server, serving.turn.clone()).await?;
        }
        Ok((_, false)) => {
            server.seal();
            serving.turn.end();
            tracing::warn!("the snapshot belongs to other keys: the server is sealed");
            auto_unseal(server).await?;
        }
        Err(fault) => {
            // Either nothing was replaced, and the barrier is open as before; or it could not be opened again.
            if server.barrier.is_sealed() {
                server.seal()
            } else {
                server.serve(serving)
            }
            return Err(fault);
        }
    }
    tracing::warn!(rows = info.rows, revision = info.revision, "a snapshot was restored");
    Ok(())
}

/// The snapshot within a body: as it is, or out of an archive.
fn reader(body: &Bytes) -> Box<dyn AsyncRead + Send + Unpin> {
    match body.starts_with(&archive::GZIP) {
        true => Box::new(Unpacked::new(body.clone())),
        false => Box::new(Cursor::new(body.clone())),
    }
}

fn refused(error: SnapshotError) -> Fault {
    match error {
        SnapshotError::Damaged(why) => Fault::bad_request(format!("the snapshot is damaged: {why}")),
        SnapshotError::Io(error) => {
            Fault::bad_request("the snapshot cannot be read: it is no archive of this server, or damaged")
                .knowing(error.to_string())
        }
        SnapshotError::Store(error) => error.into(),
    }
}

/// Reads an archive to its end; for the fuzzer.
pub(crate) fn read_archive(bytes: &[u8]) {
    use futures_util::FutureExt as _;
    use std::io::Write as _;
    use tokio::io::AsyncReadExt as _;
    let mut zipped = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::none());
    let zipped = zipped.write_all(bytes).and_then(|()| zipped.finish()).unwrap_or_default();
    for body in [bytes.to_vec(), zipped] {
        // A small archive may hold much: the restore reads it piece by piece, so this does not keep it either.
        let mut piece = vec![0; 1 << 16];
        let mut archive = Unpacked::new(body.into());
        for _ in 0..64 {
            // All of it is in memory, so it never waits.
            match archive.read(&mut piece).now_or_never() {
                Some(Ok(read)) if read > 0 => {}
                _ => break,
            }
        }
    }
}
