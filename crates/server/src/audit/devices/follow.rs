//! A device's thread: reads the chain's files from its cursor on and hands the lines over.

use std::fs::File;
use std::io::{ErrorKind, Result};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Shared;
use super::shape::{shape, shorten};
use super::sink::Sink;
use crate::audit::folder;
use crate::audit::line::Head;
use crate::config::AuditDevice;

/// A place in the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The file, by its first line.
    first: u64,
    /// Bytes of it that were handed over.
    offset: u64,
    /// The next line's number.
    pub seq: u64,
}

/// Read and handed over at a time; a longer line grows it for once.
const CHUNK: usize = 1 << 18;
/// A stream that breaks may have lost this much that it had taken: it is sent again.
const AGAIN: u64 = 1 << 18;
const IDLE: Duration = Duration::from_secs(2);
/// Lines that come one by one are handed over together.
const GATHER: Duration = Duration::from_millis(10);
const WAITS: [u64; 6] = [100, 200, 500, 1000, 2000, 5000];

/// The thread.
pub struct Follower {
    device: AuditDevice,
    shared: Arc<Shared>,
    at: Cursor,
    /// Where to begin again when the stream breaks, and the place that comes after it.
    again: [Cursor; 2],
    file: Option<(u64, File)>,
    sink: Option<Sink>,
    saved: Cursor,
    cursor: PathBuf,
    failures: usize,
}

/// What a look into the files brought.
enum Found {
    Lines(Vec<u8>),
    NextFile(u64),
    Nothing,
}

impl From<(u64, u64, u64)> for Cursor {
    fn from((first, offset, seq): (u64, u64, u64)) -> Self {
        Self { first, offset, seq }
    }
}

impl Cursor {
    /// Keeps the cursor; a crash leaves the old one or the new one.
    ///
    /// # Errors
    /// The system's.
    pub fn save(&self, path: &Path) -> Result<()> {
        let beside = path.with_extension("new");
        std::fs::write(&beside, serde_json::to_vec(self)?)?;
        std::fs::rename(&beside, path)
    }
}

impl Follower {
    /// A follower at a place.
    pub fn new(device: AuditDevice, shared: Arc<Shared>, at: Cursor, cursor: PathBuf) -> Self {
        Self { device, shared, at, again: [at; 2], file: None, sink: None, saved: at, cursor, failures: 0 }
    }

    /// Follows until it is told to stop.
    pub fn run(mut self) {
        while !self.stopped() {
            match self.step() {
                Ok(true) => {}
                Ok(false) => self.idle(),
                Err(error) => self.failed(&error),
            }
        }
        if self.sink.is_some() || self.failures == 0 {
            self.save(self.at);
        }
    }

    fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    /// Hands some lines over; `false`: there are none.
    fn step(&mut self) -> Result<bool> {
        if self.shared.reopen.swap(false, Ordering::Relaxed) {
            self.sink = None;
        }
        // Without the key, accessors cannot be hidden: wait until the server is unsealed.
        if self.device.hmac_accessor && self.shared.feed.key.load().is_none() {
            return Ok(false);
        }
        match self.read()? {
            Found::Nothing => Ok(false),
            Found::NextFile(first) => {
                self.at = Cursor { first, offset: 0, seq: first };
                self.file = None;
                Ok(true)
            }
            Found::Lines(lines) => self.hand_over(&lines).map(|()| true),
        }
    }

    fn read(&mut self) -> Result<Found> {
        let log = &self.shared.feed.log;
        // Asked before the file is read to its end: what comes later is in this file or not yet anywhere.
        let next = match log.end().0 == self.at.first {
            true => None,
            false => folder::files(log.folder())
                .map_err(std::io::Error::other)?
                .into_iter()
                .find(|first| *first > self.at.first),
        };
        if self.file.as_ref().is_none_or(|(first, _)| *first != self.at.first) {
            match File::open(folder::file(self.shared.feed.log.folder(), self.at.first)) {
                Ok(file) => self.file = Some((self.at.first, file)),
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    let Some(next) = next else { return Err(error) };
                    tracing::error!(
                        device = self.device.path,
                        from = self.at.seq,
                        to = next - 1,
                        "lines were removed before the audit device had them"
                    );
                    return Ok(Found::NextFile(next));
                }
                Err(error) => return Err(error),
            }
        }
        let Some((_, file)) = &self.file else { return Ok(Found::Nothing) };
        let mut bytes = vec![0; CHUNK];
        loop {
            let count = read_full(file, &mut bytes, self.at.offset)?;
            if let Some(end) = bytes.get(..count).and_then(|read| read.iter().rposition(|byte| *byte == b'\n')) {
                bytes.truncate(end + 1);
                return Ok(Found::Lines(bytes));
            }
            if count < bytes.len() {
                // The next file was looked for before this one was read to its end, so nothing can come any more.
                return Ok(next.map_or(Found::Nothing, Found::NextFile));
            }
            let larger = bytes.len() * 4;
            bytes.resize(larger, 0);
        }
    }

    fn hand_over(&mut self, lines: &[u8]) -> Result<()> {
        let mut sink = match self.sink.take() {
            Some(sink) => sink,
            None => {
                let sink = Sink::open(&self.device.sink)?;
                self.again = [self.at; 2];
                sink
            }
        };
        let key = self.shared.feed.key.load_full();
        if sink.is_stream() {
            let mut out = Vec::with_capacity(lines.len());
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                out.extend_from_slice(&shape(line, &self.device, key.as_deref()));
            }
            sink.send(&out)?;
            self.advance(lines);
        } else {
            for line in lines.split_inclusive(|byte| *byte == b'\n') {
                let shaped = shape(line, &self.device, key.as_deref());
                match sink.send(&shaped) {
                    Err(error) if error.kind() == ErrorKind::ArgumentListTooLong => {
                        sink.send(&shorten(&shaped, &self.device))?
                    }
                    sent => sent?,
                }
                self.advance(line);
                self.again = [self.at; 2];
            }
        }
        if !sink.may_lose() {
            self.again = [self.at; 2];
        } else if self.at.first != self.again[1].first || self.at.offset - self.again[1].offset > AGAIN {
            self.again = [self.again[1], self.at];
        }
        self.sink = Some(sink);
        if self.failures > 0 {
            self.failures = 0;
            self.shared.error.lock().clear();
            tracing::info!(device = self.device.path, "the audit device works again");
        }
        if self.again[0].seq > self.saved.seq + 1000 {
            self.save(self.again[0]);
        }
        Ok(())
    }

    fn advance(&mut self, lines: &[u8]) {
        self.at.offset += lines.len() as u64;
        let last = lines.trim_ascii_end().rsplit(|byte| *byte == b'\n').next().and_then(Head::parse);
        self.at.seq = last.map_or(self.at.seq, |head| head.seq + 1);
        self.shared.seq.store(self.at.seq - 1, Ordering::Relaxed);
    }

    /// Nothing to hand over: what a stream took long ago has arrived.
    fn idle(&mut self) {
        if self.saved != self.again[0] {
            self.save(self.again[0]);
        }
        let log = &self.shared.feed.log;
        let last = self.at.seq.saturating_sub(1);
        if log.last() > last {
            // Lines are there: they came this very moment, or the key is missing.
            let no_key = self.device.hmac_accessor && self.shared.feed.key.load().is_none();
            return std::thread::sleep(if no_key { 20 * GATHER } else { GATHER });
        }
        log.wait_beyond(last, IDLE, &self.shared.stop);
        if log.last() > last {
            std::thread::sleep(GATHER);
        } else if self.sink.is_some() {
            self.again = [self.at; 2];
        }
    }

    fn failed(&mut self, error: &std::io::Error) {
        if self.failures == 0 {
            tracing::warn!(device = self.device.path, %error, "an audit device does not take lines; they wait for it");
        }
        *self.shared.error.lock() = error.to_string();
        self.sink = None;
        self.file = None;
        self.at = self.again[0];
        self.shared.seq.store(self.at.seq.saturating_sub(1), Ordering::Relaxed);
        let wait = WAITS.get(self.failures).or(WAITS.last()).copied().unwrap_or(1000);
        self.failures += 1;
        // In short steps, so that a stop is heard.
        for _ in 0..wait / 50 {
            if self.stopped() {
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn save(&mut self, cursor: Cursor) {
        match cursor.save(&self.cursor) {
            Ok(()) => self.saved = cursor,
            Err(error) => {
                tracing::warn!(cursor = %self.cursor.display(), %error, "the cursor of an audit device is not kept")
            }
        }
    }
}

fn read_full(file: &File, bytes: &mut [u8], at: u64) -> Result<usize> {
    let mut done = 0;
    while done < bytes.len() {
        match file.read_at(&mut bytes[done..], at + done as u64)? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}
