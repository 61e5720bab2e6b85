//! Where the chain goes on after a start. What was written since the last checkpoint is checked again; a last line without
//! its newline is what a crash leaves, and is cut off. Anything else that does not fit was done by somebody: no start.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::AuditError;
use super::folder::{file, io};
use super::keys::PublicKey;
use super::line::{self, GENESIS, Hash, Head};

/// The end of the chain.
pub struct Tail {
    /// The number of the next line.
    pub next: u64,
    /// The value of the last one.
    pub head: Hash,
    /// The last file, open for reading and appending, with its first line's number and its length; `None`: begin one.
    pub last: Option<(File, u64, u64)>,
    /// Bytes of an incomplete line that were cut off.
    pub cut: u64,
}

const WINDOW: u64 = 1 << 20;

/// Finds the end of the chain in a folder's files (numbers of first lines, in order).
///
/// # Errors
/// The files cannot be read; the end does not hold together.
pub fn find(folder: &Path, files: &[u64], key: PublicKey) -> Result<Tail, AuditError> {
    let Some((first, before)) = files.split_last() else {
        return Ok(Tail { next: 1, head: GENESIS, last: None, cut: 0 });
    };
    let path = file(folder, *first);
    let open = OpenOptions::new().read(true).append(true).open(&path).map_err(io("open", &path))?;
    let size = open.metadata().map_err(io("look at", &path))?.len();
    let (start, bytes) = window(&open, size).map_err(io("read", &path))?;
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let cut = (bytes.len() - whole) as u64;
    if cut > 0 {
        open.set_len(size - cut).map_err(io("shorten", &path))?;
    }
    if whole == 0 {
        // The file was begun, and the crash came before its first line was there.
        let earlier = find(folder, before, key)?;
        if earlier.next != *first {
            return Err(broken(&path, format!("it must begin with line {}", earlier.next)));
        }
        return Ok(Tail { last: Some((open, *first, 0)), cut, ..earlier });
    }
    let (next, head) = walk(&path, bytes.get(..whole).unwrap_or_default(), (start == 0).then_some(*first), key)?;
    Ok(Tail { next, head, last: Some((open, *first, size - cut)), cut })
}

/// The end of a file from its last checkpoint on, or all of it.
fn window(file: &File, size: u64) -> std::io::Result<(u64, Vec<u8>)> {
    let mut length = WINDOW;
    loop {
        let start = size.saturating_sub(length);
        let mut bytes = vec![0; usize::try_from(size - start).unwrap_or(usize::MAX)];
        file.read_exact_at(&mut bytes, start)?;
        if start == 0 {
            return Ok((0, bytes));
        }
        let mut lines = bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n').map(|(at, _)| at + 1);
        let checkpoint = lines.find(|at| bytes.get(*at..).is_some_and(|rest| is_whole_checkpoint(first_line(rest))));
        if let Some(at) = checkpoint {
            return Ok((start + at as u64, bytes.split_off(at)));
        }
        length *= 4;
    }
}

/// One that a crash cut off is no place to begin at.
fn is_whole_checkpoint(bytes: &[u8]) -> bool {
    bytes.ends_with(b"\n") && line::is_type(bytes, "checkpoint")
}

fn first_line(bytes: &[u8]) -> &[u8] {
    let end = bytes.iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |at| at + 1);
    bytes.get(..end).unwrap_or_default()
}

fn walk(path: &Path, lines: &[u8], first: Option<u64>, key: PublicKey) -> Result<(u64, Hash), AuditError> {
    let mut at: Option<(u64, Hash)> = None;
    for bytes in lines.split_inclusive(|byte| *byte == b'\n') {
        let expected = at.map(|(next, _)| next).or(first);
        let head = Head::parse(bytes)
            .ok_or_else(|| broken(path, format!("line {} is not of this log", expected.unwrap_or_default())))?;
        if expected.is_some_and(|expected| expected != head.seq) {
            return Err(broken(
                path,
                format!("line {} follows where line {} must be", head.seq, expected.unwrap_or_default()),
            ));
        }
        if at.is_some_and(|(_, prev)| prev != head.prev) {
            return Err(broken(path, format!("the line before line {} was changed", head.seq)));
        }
        if line::is_type(bytes, "checkpoint") && !checkpoint_holds(bytes, key) {
            return Err(broken(path, format!("the signature of the checkpoint at line {} is not right", head.seq)));
        }
        at = Some((head.seq + 1, line::hash(bytes, b"")));
    }
    at.ok_or_else(|| broken(path, "it holds no line".to_owned()))
}

/// Whether a checkpoint line is signed with a key.
#[must_use]
pub fn checkpoint_holds(line_bytes: &[u8], key: PublicKey) -> bool {
    let text = line_bytes.strip_suffix(b"\"}\n");
    let at = text.and_then(|text| text.windows(line::SIGNATURE.len()).rposition(|part| part == line::SIGNATURE));
    let (Some(text), Some(at)) = (text, at) else { return false };
    let (before, signature) = text.split_at(at);
    let signature = std::str::from_utf8(&signature[line::SIGNATURE.len()..]).unwrap_or_default();
    key.verifies(&line::signed(before), signature)
}

fn broken(path: &Path, why: String) -> AuditError {
    AuditError::Broken { path: path.to_owned(), why }
}
