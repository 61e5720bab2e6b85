//! The end of the chain, which one lock guards: the file that is written, and how a line gets into it. What cannot be written
//! is not half there: the file is cut back.

use std::fs::File;
use std::io::IoSlice;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::audit::line::{self, Hash, Head};
use crate::audit::reserve::Reserve;

/// The end of the chain: the file that is written, and what the next line goes on with.
pub struct Tip {
    /// Open for appending.
    pub file: Arc<File>,
    /// The number of the file's first line.
    pub first: u64,
    /// Which file it is, whatever lies at its path.
    pub dev_ino: (u64, u64),
    /// Where the next line begins.
    pub offset: u64,
    /// A new file is begun when the offset is here.
    pub rotate_at: u64,
    /// The next line's number.
    pub next: u64,
    /// The last line's hash.
    pub head: Hash,
    /// Lines that no checkpoint covers yet.
    pub unsigned: u64,
    /// When a checkpoint was written, as steady time.
    pub signed_at: Duration,
    /// When the file was last compared with what is at its path.
    pub looked_at: Duration,
    /// Whether lines are written.
    pub state: State,
    /// Lines refused since the disk was full.
    pub refused: u64,
    /// Space for what must still be written then.
    pub reserve: Reserve,
    /// Kept, so that a line needs no new buffer.
    pub head_bytes: Vec<u8>,
}

/// Whether lines are written.
pub enum State {
    /// All are.
    Sound,
    /// Only those that may use the reserve.
    Full,
    /// None is; why.
    Lost(String),
}

/// Why a line is not written.
pub enum Trouble {
    /// The disk has no room.
    Full,
    /// Nothing of it is in the file.
    Other(std::io::Error),
    /// Half of it is, and cannot be cut off.
    Torn(std::io::Error),
}

/// The chain as it stands.
#[derive(Debug, Clone, Serialize)]
pub struct Standing {
    /// `sound`, `full` (only operators' acts are written) or `lost` (nothing is).
    pub state: &'static str,
    /// Why it is not sound.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub why: String,
    /// The file that is written.
    pub file: String,
    /// The last line's number.
    pub seq: u64,
    /// Its value.
    pub hash: String,
    /// Lines that no checkpoint covers yet.
    pub unsigned: u64,
    /// Bytes set aside.
    pub reserve: u64,
    /// Lines refused since the disk was full.
    pub refused: u64,
}

// === impl Tip ===

impl Tip {
    /// Appends head and body in one call. Answers the line's number.
    pub fn write(&mut self, body: &[u8]) -> Result<u64, Trouble> {
        let head = Head { seq: self.next, prev: self.head };
        self.head_bytes.clear();
        head.write(&mut self.head_bytes);
        let total = self.head_bytes.len() + body.len();
        let mut done = 0;
        while done < total {
            let from_head = self.head_bytes.get(done..).unwrap_or_default();
            let from_body = body.get(done.saturating_sub(self.head_bytes.len())..).unwrap_or_default();
            match rustix::io::writev(&self.file, &[IoSlice::new(from_head), IoSlice::new(from_body)]) {
                Ok(0) => return Err(self.undo(rustix::io::Errno::NOSPC, done)),
                Ok(written) => done += written,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(self.undo(error, done)),
            }
        }
        self.head = line::hash(&self.head_bytes, body);
        self.offset += total as u64;
        self.next += 1;
        self.unsigned += 1;
        Ok(head.seq)
    }

    fn undo(&self, error: rustix::io::Errno, done: usize) -> Trouble {
        use rustix::io::Errno;
        if let Err(error) = if done > 0 { self.file.set_len(self.offset) } else { Ok(()) } {
            return Trouble::Torn(error);
        }
        match error {
            Errno::NOSPC | Errno::DQUOT | Errno::FBIG => Trouble::Full,
            error => Trouble::Other(error.into()),
        }
    }

    /// How it stands, written into this file.
    pub fn standing(&self, file: &Path) -> Standing {
        let (state, why) = match &self.state {
            State::Sound => ("sound", String::new()),
            State::Full => ("full", "the disk is full".to_owned()),
            State::Lost(why) => ("lost", why.clone()),
        };
        Standing {
            state,
            why,
            file: file.display().to_string(),
            seq: self.next - 1,
            hash: hex::encode(self.head),
            unsigned: self.unsigned,
            reserve: self.reserve.bytes(),
            refused: self.refused,
        }
    }
}

/// Writes the content of a file without a name to a path.
pub fn restore(file: &File, path: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
    let mut out = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let mut block = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        let count = file.read_at(&mut block, at)?;
        if count == 0 {
            return out.sync_all();
        }
        std::io::Write::write_all(&mut out, block.get(..count).unwrap_or_default())?;
        at += count as u64;
    }
}
