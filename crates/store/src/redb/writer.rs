//! The one thread that writes. It takes what waits in its queue as a group, applies each batch in the order of the queue
//! inside one transaction, and answers all of them after one fsync. It never waits for company: a lone batch is
//! committed at once, and a group forms while the commit before it is under way.
//!
//! A batch whose preconditions fail is left out and answered [`StoreError::Conflict`]; the rest of the group is untouched.
//! When the disk fails, the whole group is answered [`StoreError::Unavailable`] (whether it was written is then not known,
//! as with any lost answer) and the file is opened anew.

use std::sync::Arc;

use dewdrop_core::store::{Batch, Revision, StoreError};
use redb::{Database, WriteTransaction};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};

use super::apply::{Failed, Terms, Touched, put};
use super::disk::Opener;
use super::view::{META, REVISION, ROWS, View, told};
use super::{OpenError, RedbOptions, Shared};
use crate::check;

/// A group is closed at so many batches or bytes, so that the first of it does not wait long and memory stays bounded.
const GROUP_BATCHES: usize = 1024;
const GROUP_BYTES: usize = 8 << 20;

/// Where an answer goes.
pub(super) type Reply = oneshot::Sender<Result<Revision, StoreError>>;

/// What the writer is asked.
pub(super) enum Job {
    /// Commit a batch.
    Commit(Commit),
    /// Replace everything by what comes, as a commit after this revision too.
    Restore(Revision, mpsc::Receiver<Restoring>, Reply),
    /// A read failed: see whether the file must be opened anew.
    Check,
}

/// A batch that waits, with the room in the queue that it takes.
pub(super) struct Commit {
    pub(super) batch: Batch,
    pub(super) reply: Reply,
    pub(super) room: OwnedSemaphorePermit,
}

/// A part of a restore. A sender that is dropped before `Finish` aborts it.
pub(super) enum Restoring {
    /// Rows of the new content.
    Rows(Vec<(Vec<u8>, Vec<u8>)>),
    /// All rows came and the snapshot was whole.
    Finish,
}

/// The thread's own state.
pub(super) struct Writer {
    opener: Opener,
    options: RedbOptions,
    shared: Arc<Shared>,
    db: Option<Database>,
    revision: Revision,
}

/// What the batches of a group came to, before the commit.
#[derive(Default)]
struct Outcome {
    answers: Vec<Result<Revision, StoreError>>,
    /// What each revision touched.
    touched: Vec<(Revision, Touched)>,
}

// === impl Writer ===

impl Writer {
    /// Opens the file and publishes its first view.
    pub(super) fn open(opener: Opener, options: RedbOptions, shared: Arc<Shared>) -> Result<Self, OpenError> {
        let mut writer = Self { opener, options, shared, db: None, revision: 0 };
        writer.reopen()?;
        Ok(writer)
    }

    /// Works until all senders are gone.
    pub(super) fn run(mut self, mut jobs: mpsc::Receiver<Job>) {
        let mut next = jobs.blocking_recv();
        while let Some(job) = next.take() {
            match job {
                Job::Commit(first) => {
                    let (group, rest) = gather(&mut jobs, first);
                    self.commit_group(group);
                    next = rest;
                }
                Job::Restore(after, rows, reply) => self.restore(after, rows, reply),
                Job::Check => self.check_file(),
            }
            next = next.or_else(|| jobs.blocking_recv());
        }
        self.shared.view.store(None);
        self.shared.hub.close();
    }

    fn commit_group(&mut self, group: Vec<Commit>) {
        let answers = match self.try_group(&group) {
            Ok(outcome) => {
                self.publish(&outcome.touched);
                outcome.answers
            }
            Err(error) => {
                tracing::error!(%error, batches = group.len(), "the storage file could not be written");
                let why = error.to_string();
                self.reopen_after_failure();
                group.iter().map(|_| Err(StoreError::Unavailable(why.clone()))).collect()
            }
        };
        for (commit, answer) in group.into_iter().zip(answers) {
            drop(commit.room);
            // A caller that went away does not undo its commit.
            let _ = commit.reply.send(answer);
        }
    }

    /// One transaction for all. An error concerns every batch of the group.
    fn try_group(&mut self, group: &[Commit]) -> Result<Outcome, StoreError> {
        self.writable()?;
        let terms = Terms {
            cramped: self.opener.free_bytes().is_some_and(|free| free < self.options.min_free_bytes),
            watched: self.shared.hub.is_watched(),
        };
        let transaction = self.begin()?;
        let mut outcome = Outcome::default();
        let mut revision = self.revision;
        {
            let mut rows = transaction.open_table(ROWS).map_err(|e| told(e.into()))?;
            for commit in group {
                let answer = terms.apply(&mut rows, &commit.batch, revision, &mut outcome.touched);
                let answer = match answer {
                    Err(Failed::Disk(error)) => return Err(told(error.into())),
                    Err(Failed::Batch(error)) => Err(error),
                    Ok(at) => Ok(at),
                };
                if let Ok(at) = answer {
                    revision = at;
                }
                outcome.answers.push(answer);
            }
        }
        if revision == self.revision {
            transaction.abort().map_err(|e| told(e.into()))?;
            return Ok(outcome);
        }
        self.finish(transaction, revision)?;
        Ok(outcome)
    }

    /// Whether there is a file to write to.
    fn writable(&mut self) -> Result<(), StoreError> {
        if self.opener.sync_failed() {
            return Err(StoreError::Unavailable(
                "the disk failed to sync, so nothing more is written; check the disk, then restart the server".into(),
            ));
        }
        if self.db.is_none() {
            self.reopen().map_err(|e| StoreError::Unavailable(e.to_string()))?;
        }
        Ok(())
    }

    fn begin(&self) -> Result<WriteTransaction, StoreError> {
        let Some(db) = &self.db else { return Err(super::reopening()) };
        let mut transaction = db.begin_write().map_err(|e| told(e.into()))?;
        transaction.set_quick_repair(self.opener.file_bytes() > self.options.quick_repair_above);
        Ok(transaction)
    }

    /// Writes the revision, syncs, and lets readers see it.
    fn finish(&mut self, transaction: WriteTransaction, revision: Revision) -> Result<(), StoreError> {
        {
            let mut meta = transaction.open_table(META).map_err(|e| told(e.into()))?;
            meta.insert(REVISION, revision.to_be_bytes().as_slice()).map_err(|e| told(e.into()))?;
        }
        transaction.commit().map_err(|e| told(e.into()))?;
        self.show()
    }

    /// Publishes the newest committed state.
    fn show(&mut self) -> Result<(), StoreError> {
        let Some(db) = &self.db else { return Err(super::reopening()) };
        let view = View::newest(db).map_err(told)?;
        self.revision = self.revision.max(view.revision());
        self.shared.view.store(Some(Arc::new(view)));
        Ok(())
    }

    fn publish(&self, touched: &[(Revision, Touched)]) {
        let hub = &self.shared.hub;
        for (revision, touched) in touched {
            match touched {
                Touched::Names(names) => {
                    hub.publish(&names.keys, *revision);
                    names.prefixes.iter().for_each(|prefix| hub.lost_below(prefix, *revision));
                }
                // Whoever began to watch meanwhile may already hold the state before this commit.
                Touched::Unwatched => hub.lost_below(b"", *revision),
            }
        }
    }

    /// Replaces all rows in one transaction, or leaves all as it was.
    fn restore(&mut self, after: Revision, mut parts: mpsc::Receiver<Restoring>, reply: Reply) {
        let result = self.writable().and_then(|()| self.try_restore(after, &mut parts));
        match &result {
            Ok(revision) => self.shared.hub.lost_below(b"", *revision),
            // The sender gave up: nothing is wrong with the file.
            Err(StoreError::Conflict) => {}
            Err(error) => {
                tracing::error!(%error, "the snapshot could not be restored");
                self.reopen_after_failure();
            }
        }
        let _ = reply.send(result);
    }

    fn try_restore(&mut self, after: Revision, parts: &mut mpsc::Receiver<Restoring>) -> Result<Revision, StoreError> {
        let revision = self.revision.max(after) + 1;
        let transaction = self.begin()?;
        transaction.delete_table(ROWS).map_err(|e| told(e.into()))?;
        let mut rows = transaction.open_table(ROWS).map_err(|e| told(e.into()))?;
        loop {
            match parts.blocking_recv() {
                Some(Restoring::Rows(some)) => {
                    for (key, value) in some {
                        put(&mut rows, &key, revision, &value).map_err(|e| told(e.into()))?;
                    }
                }
                Some(Restoring::Finish) => break,
                None => {
                    drop(rows);
                    transaction.abort().map_err(|e| told(e.into()))?;
                    return Err(StoreError::Conflict);
                }
            }
        }
        drop(rows);
        self.finish(transaction, revision)?;
        Ok(revision)
    }

    /// After a read error: opens the file anew if it is really broken.
    fn check_file(&mut self) {
        let broken = self.db.as_ref().is_none_or(|db| View::newest(db).is_err());
        if broken {
            self.reopen_after_failure();
        }
    }

    fn reopen_after_failure(&mut self) {
        if let Err(error) = self.reopen() {
            tracing::error!(%error, "the storage file could not be opened anew; the next write tries again");
        }
    }

    fn reopen(&mut self) -> Result<(), OpenError> {
        self.shared.view.store(None);
        // Closed before it is opened: the old handle holds the file's lock.
        drop(self.db.take());
        let db = self.opener.open(self.options.cache_bytes)?;
        let damaged = |why: redb::Error| OpenError::Damaged { path: "the storage file".into(), why: why.to_string() };
        ensure_tables(&db).map_err(damaged)?;
        self.db = Some(db);
        self.show().map_err(|e| OpenError::Damaged { path: "the storage file".into(), why: e.to_string() })
    }
}

/// Takes what waits, without waiting.
fn gather(jobs: &mut mpsc::Receiver<Job>, first: Commit) -> (Vec<Commit>, Option<Job>) {
    let mut bytes = check::bytes(&first.batch);
    let mut group = vec![first];
    while group.len() < GROUP_BATCHES && bytes < GROUP_BYTES {
        match jobs.try_recv() {
            Ok(Job::Commit(next)) => {
                bytes += check::bytes(&next.batch);
                group.push(next);
            }
            Ok(other) => return (group, Some(other)),
            Err(_) => break,
        }
    }
    (group, None)
}

/// Makes the tables of a new file, so that readers always find them.
fn ensure_tables(db: &Database) -> Result<(), redb::Error> {
    use redb::ReadableDatabase;
    let read = db.begin_read()?;
    if read.open_table(ROWS).is_ok() && read.open_table(META).is_ok() {
        return Ok(());
    }
    drop(read);
    let transaction = db.begin_write()?;
    transaction.open_table(ROWS)?;
    transaction.open_table(META)?;
    Ok(transaction.commit()?)
}
