//! The writer of the chain. A line is rendered outside of the lock; within it only the number and the hash are put before
//! it, and one `writev` appends it (`tip`).

mod tip;

use std::os::unix::fs::MetadataExt as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use dewdrop_core::{Clock, Moment};
use parking_lot::{Condvar, Mutex};

use super::AuditError;
use super::folder::{self, Folder};
use super::json::Obj;
use super::keys::{PublicKey, Signer};
use super::line::{self, Head};
use super::reserve::Reserve;
use super::tail;
use crate::config::AuditLog;
pub use tip::Standing;
use tip::{State, Tip, Trouble, restore};

/// How old the last look at the file may be when a line is written.
const LOOK: Duration = Duration::from_millis(100);

/// Whose line it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Refused when the disk is full.
    Ordinary,
    /// May use the reserve: operators' acts that end things, and answers to acts that were taken down.
    Rescue,
}

/// The log.
pub struct Log {
    tip: Mutex<Tip>,
    folder: Folder,
    signer: Signer,
    clock: Arc<dyn Clock>,
    config: AuditLog,
    /// The last line's number, for those who follow.
    written: AtomicU64,
    followers: AtomicUsize,
    news: (Mutex<()>, Condvar),
    /// Lines up to here are on the disk itself.
    synced: AtomicU64,
}

impl Log {
    /// Opens the log of a folder and goes on with its chain.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub fn open(config: &AuditLog, at: &std::path::Path, clock: Arc<dyn Clock>) -> Result<Self, AuditError> {
        let folder = Folder::hold(at)?;
        let files = folder::files(at)?;
        let signer = Signer::open(at, !files.is_empty())?;
        let tail = tail::find(at, &files, signer.public())?;
        let (file, first, offset) = match tail.last {
            Some(last) => last,
            None => (folder.begin(tail.next)?, tail.next, 0),
        };
        let look = file.metadata().map_err(folder::io("look at", &folder.file(first)))?;
        let steady = clock.steady();
        let tip = Tip {
            file: Arc::new(file),
            first,
            dev_ino: (look.dev(), look.ino()),
            offset,
            rotate_at: config.file_bytes,
            next: tail.next,
            head: tail.head,
            unsigned: 0,
            signed_at: steady,
            looked_at: steady,
            state: State::Sound,
            refused: 0,
            reserve: Reserve::open(at, config.reserve)?,
            head_bytes: Vec::with_capacity(128),
        };
        let log = Self {
            written: AtomicU64::new(tail.next - 1),
            tip: Mutex::new(tip),
            folder,
            signer,
            clock,
            config: config.clone(),
            followers: AtomicUsize::new(0),
            news: (Mutex::new(()), Condvar::new()),
            synced: AtomicU64::new(0),
        };
        {
            let mut tip = log.tip.lock();
            if !tip.reserve.fill() {
                tip.state = State::Full;
                tracing::error!(folder = %at.display(), "the disk has no room for the audit log's reserve: only operators' acts are written down");
            }
            let opening = log.opening("start", |line| line.number_if("cut_bytes", tail.cut));
            log.put(&mut tip, &opening, Class::Rescue)?;
        }
        Ok(log)
    }

    /// Where the files are.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// What proves the signatures.
    #[must_use]
    pub fn public_key(&self) -> PublicKey {
        self.signer.public()
    }

    /// Appends a line: all of it behind the head, with the closing brace and a newline. Answers its number.
    ///
    /// # Errors
    /// It cannot be written. Nothing of it is in the file then.
    pub fn append(&self, body: &[u8], class: Class) -> Result<u64, AuditError> {
        let now = self.clock.steady();
        let mut tip = self.tip.lock();
        if now.saturating_sub(tip.looked_at) >= LOOK {
            self.look(&mut tip, now);
        }
        let seq = self.put(&mut tip, body, class)?;
        if tip.unsigned >= u64::from(self.config.checkpoint_lines) {
            self.checkpoint(&mut tip);
        }
        if tip.offset >= tip.rotate_at {
            self.rotate(&mut tip, "rotate", "");
        }
        drop(tip);
        if self.followers.load(Ordering::SeqCst) > 0 {
            self.wake();
        }
        Ok(seq)
    }

    /// Waits for a line after `seq`, at most so long. For devices, on their own threads.
    pub fn wait_beyond(&self, seq: u64, at_most: Duration, stop: &AtomicBool) {
        let mut held = self.news.0.lock();
        self.followers.fetch_add(1, Ordering::SeqCst);
        if self.written.load(Ordering::SeqCst) <= seq && !stop.load(Ordering::SeqCst) {
            self.news.1.wait_for(&mut held, at_most);
        }
        self.followers.fetch_sub(1, Ordering::SeqCst);
    }

    /// Wakes everybody who waits.
    pub fn wake(&self) {
        // Whoever is about to wait holds the lock until it waits.
        drop(self.news.0.lock());
        self.news.1.notify_all();
    }

    /// The last line's number.
    #[must_use]
    pub fn last(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }

    /// Where the next line will be: number of the file's first line, offset, number of the line.
    #[must_use]
    pub fn end(&self) -> (u64, u64, u64) {
        let tip = self.tip.lock();
        (tip.first, tip.offset, tip.next)
    }

    /// The regular work: looks at the file, signs what is due, asks for the disk itself. Called every second or so.
    pub fn tick(&self) {
        let now = self.clock.steady();
        let (file, upto) = {
            let mut tip = self.tip.lock();
            self.look(&mut tip, now);
            if tip.unsigned > 0
                && now.saturating_sub(tip.signed_at) >= self.config.checkpoint
                && matches!(tip.state, State::Sound)
            {
                self.checkpoint(&mut tip);
            }
            // Only what is signed is worth waiting for the disk.
            (tip.file.clone(), if tip.unsigned == 0 { tip.next - 1 } else { 0 })
        };
        if upto > self.synced.load(Ordering::Relaxed) {
            match file.sync_data() {
                Ok(()) => self.synced.store(upto, Ordering::Relaxed),
                Err(error) => self.lose(&mut self.tip.lock(), format!("the disk did not keep it: {error}")),
            }
        }
    }

    /// Signs the last lines and waits for the disk: a clean end.
    pub fn close(&self) {
        let stop = self.event("stop", |_| {});
        let mut tip = self.tip.lock();
        if let Err(error) = self.put(&mut tip, &stop, Class::Rescue) {
            tracing::error!(error = error.whole(), "the end of the server is not on the audit log");
        }
        self.checkpoint(&mut tip);
        if let Err(error) = tip.file.sync_data() {
            tracing::error!(%error, "the audit log is not safely on the disk");
        }
    }

    /// An operator says to go on (SIGHUP): when the log was lost, a new file goes on with the chain. What was unlinked is
    /// written back first, since the open file still holds it. A sound log goes on as it is.
    pub fn reopen(&self) {
        let mut tip = self.tip.lock();
        self.look(&mut tip, self.clock.steady());
        let State::Lost(why) = &tip.state else { return };
        let why = why.clone();
        let path = self.folder.file(tip.first);
        let unlinked = tip.file.metadata().is_ok_and(|found| found.nlink() == 0 && found.len() == tip.offset);
        if unlinked && !path.exists() {
            match restore(&tip.file, &path) {
                Ok(()) => tracing::warn!(file = %path.display(), "the audit file that was removed is written back"),
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "the audit file that was removed cannot be written back")
                }
            }
        }
        self.rotate(&mut tip, "reopen", &why);
    }

    /// How it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let tip = self.tip.lock();
        tip.standing(&self.folder.file(tip.first))
    }

    /// The body of a line of the server's own.
    pub fn event(&self, kind: &str, fill: impl FnOnce(&mut Obj<'_>)) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        let mut line = Obj::go_on(&mut body);
        line.text("time", &self.now().rfc3339());
        line.text("type", kind);
        fill(&mut line);
        line.close();
        body.push(b'\n');
        body
    }

    fn now(&self) -> Moment {
        self.clock.now()
    }

    fn opening(&self, reason: &str, fill: impl FnOnce(&mut Obj<'_>)) -> Vec<u8> {
        self.event("open", |line| {
            line.text("reason", reason);
            line.text("public_key", &self.public_key().base64());
            line.text("version", env!("CARGO_PKG_VERSION"));
            fill(line);
        })
    }

    /// Writes a line, from the reserve when it may.
    fn put(&self, tip: &mut Tip, body: &[u8], class: Class) -> Result<u64, AuditError> {
        match &tip.state {
            State::Lost(why) => return Err(AuditError::Lost(why.clone())),
            State::Full if class == Class::Ordinary => {
                tip.refused += 1;
                return Err(AuditError::Full);
            }
            _ => {}
        }
        loop {
            match tip.write(body) {
                Ok(seq) => {
                    self.written.store(seq, Ordering::SeqCst);
                    return Ok(seq);
                }
                Err(Trouble::Full) => {
                    if matches!(tip.state, State::Sound) {
                        tracing::error!("the disk is full: only operators' acts are written down until there is space");
                    }
                    tip.state = State::Full;
                    if class == Class::Rescue && tip.reserve.release(2 * body.len() as u64) {
                        continue;
                    }
                    tip.refused += 1;
                    return Err(AuditError::Full);
                }
                Err(Trouble::Other(error)) => return Err(folder::io("write", &self.folder.file(tip.first))(error)),
                Err(Trouble::Torn(error)) => {
                    let why = format!("half a line is in the file and cannot be cut off: {error}");
                    self.lose(tip, why.clone());
                    return Err(AuditError::Lost(why));
                }
            }
        }
    }

    /// Compares the open file with what is at its path.
    fn look(&self, tip: &mut Tip, now: Duration) {
        tip.looked_at = now;
        if matches!(tip.state, State::Lost(_)) {
            return;
        }
        let path = self.folder.file(tip.first);
        let why = match std::fs::metadata(&path) {
            Err(error) => Some(format!("{} cannot be found: {error}", path.display())),
            Ok(found) if (found.dev(), found.ino()) != tip.dev_ino => {
                Some(format!("{} is another file now", path.display()))
            }
            Ok(found) if found.len() < tip.offset => Some(format!("{} was shortened", path.display())),
            Ok(found) if found.len() > tip.offset => Some(format!("somebody else wrote into {}", path.display())),
            Ok(_) => None,
        };
        if let Some(why) = why {
            return self.lose(tip, why);
        }
        if matches!(tip.state, State::Full) && tip.reserve.fill() {
            let refused = std::mem::take(&mut tip.refused);
            tip.state = State::Sound;
            let line = self.event("space", |line| line.number("refused", refused));
            if self.put(tip, &line, Class::Rescue).is_ok() {
                tracing::info!(refused, "there is space on the disk again: everything is written down");
            }
        }
    }

    fn lose(&self, tip: &mut Tip, why: String) {
        tracing::error!(why, "the audit log is lost: nothing is served until an operator mends it and sends SIGHUP");
        tip.state = State::Lost(why);
    }

    /// Signs all lines so far.
    fn checkpoint(&self, tip: &mut Tip) {
        let head = Head { seq: tip.next, prev: tip.head };
        let lines = tip.unsigned;
        let mut body = self.event("checkpoint", |line| line.number("lines", lines));
        body.truncate(body.len().saturating_sub(2));
        let mut signed = Vec::with_capacity(256);
        head.write(&mut signed);
        signed.extend_from_slice(&body);
        body.extend_from_slice(line::SIGNATURE);
        body.extend_from_slice(self.signer.sign(&line::signed(&signed)).as_bytes());
        body.extend_from_slice(b"\"}\n");
        match self.put(tip, &body, Class::Rescue) {
            Ok(_) => tip.unsigned = 0,
            Err(error) => tracing::error!(error = error.whole(), "the audit log could not be signed; tried again"),
        }
        tip.signed_at = self.clock.steady();
    }

    /// Begins a new file. When that is not possible, a sound log goes on with the old one.
    fn rotate(&self, tip: &mut Tip, reason: &str, lost: &str) {
        if lost.is_empty() {
            self.checkpoint(tip);
        }
        let begun = self.folder.begin(tip.next).and_then(|file| {
            let look = file.metadata().map_err(folder::io("look at", &self.folder.file(tip.next)))?;
            Ok((file, (look.dev(), look.ino())))
        });
        let (file, dev_ino) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                tracing::error!(error = error.whole(), "no new audit file could be begun");
                tip.rotate_at = tip.offset + (1 << 20);
                return;
            }
        };
        // The old file's last lines reach the disk before the new one is used.
        let _ = tip.file.sync_data();
        (tip.file, tip.dev_ino, tip.first, tip.offset) = (Arc::new(file), dev_ino, tip.next, 0);
        tip.rotate_at = self.config.file_bytes;
        if matches!(tip.state, State::Lost(_)) {
            tip.state = State::Sound;
        }
        let line = self.opening(reason, |line| line.text_if("lost", lost));
        if let Err(error) = self.put(tip, &line, Class::Rescue) {
            self.lose(tip, format!("a new file cannot be written: {}", error.whole()));
        }
    }
}
