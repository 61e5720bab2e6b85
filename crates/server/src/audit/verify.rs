//! Proves offline that no line of a log was changed, dropped or moved. Reads each file once, with one line in memory.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::AuditError;
use super::folder::{self, io};
use super::keys::PublicKey;
use super::line::{self, GENESIS, Hash, Head};
use super::tail::checkpoint_holds;

/// What is to be proved.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ask {
    /// The key that must have signed; `None`: the one that the log names, which proves order but not who wrote.
    pub key: Option<PublicKey>,
    /// A line that must be there with this value, as `sys/audit-chain` told it: finds a log that was cut short.
    pub expect: Option<(u64, Hash)>,
}

/// What was found.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Nothing is wrong.
    pub ok: bool,
    /// The first thing that is wrong.
    pub problem: Option<Problem>,
    /// Files that were read.
    pub files: Vec<String>,
    /// Lines that hold together.
    pub lines: u64,
    /// The first one; more than 1: what was before is not here.
    pub first_seq: u64,
    /// The last one.
    pub last_seq: u64,
    /// Its time.
    pub last_time: String,
    /// The chain's value after it.
    pub head: String,
    /// Signatures that are right.
    pub checkpoints: u64,
    /// The last signed line.
    pub signed_through: u64,
    /// Lines after it: in order, but whoever has the file could have changed them.
    pub unsigned_lines: u64,
    /// The key that signed, in base64.
    pub public_key: String,
    /// The key was given, and not taken from the log.
    pub key_was_given: bool,
}

/// Where the log does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The file.
    pub file: String,
    /// The line of the file, from 1; 0: the file as a whole.
    pub line: u64,
    /// The number that the line must have.
    pub seq: u64,
    /// What is wrong.
    pub what: String,
}

/// The files of a log: one file, or a folder's.
///
/// # Errors
/// The folder cannot be read, or has none.
pub fn files(path: &Path) -> Result<Vec<PathBuf>, AuditError> {
    if !path.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let found: Vec<PathBuf> = folder::files(path)?.into_iter().map(|first| folder::file(path, first)).collect();
    if found.is_empty() {
        return Err(io("find audit-*.log in", path)(std::io::ErrorKind::NotFound.into()));
    }
    Ok(found)
}

/// Reads lines with their newlines; stops when `visit` says so.
///
/// # Errors
/// A file cannot be read.
pub fn each_line(path: &Path, visit: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<(), AuditError> {
    let reader = BufReader::with_capacity(1 << 18, File::open(path).map_err(io("open", path))?);
    lines(reader, path, visit)
}

fn lines(mut reader: impl BufRead, path: &Path, visit: &mut dyn FnMut(u64, &[u8]) -> bool) -> Result<(), AuditError> {
    let mut bytes = Vec::new();
    let mut number = 0;
    loop {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(io("read", path))? == 0 {
            return Ok(());
        }
        number += 1;
        if !visit(number, &bytes) {
            return Ok(());
        }
    }
}

/// Checks files in the order given.
///
/// # Errors
/// A file cannot be read. That something is wrong with the log is no error: the report says it.
pub fn verify(paths: &[PathBuf], ask: &Ask) -> Result<Report, AuditError> {
    let mut walk = Walk { key: ask.key, expect: ask.expect, at: None, report: Report::default() };
    walk.report.key_was_given = ask.key.is_some();
    for path in paths {
        let name = path.display().to_string();
        walk.report.files.push(name.clone());
        each_line(path, &mut |number, bytes| walk.goes_on(&name, number, bytes))?;
        if walk.report.problem.is_some() {
            break;
        }
    }
    Ok(walk.finish())
}

/// The same for a log that is in memory.
///
/// # Errors
/// Never: memory can be read.
pub fn verify_bytes(log: &[u8], ask: &Ask) -> Result<Report, AuditError> {
    let mut walk = Walk { key: ask.key, expect: ask.expect, at: None, report: Report::default() };
    lines(log, Path::new("memory"), &mut |number, bytes| walk.goes_on("memory", number, bytes))?;
    Ok(walk.finish())
}

struct Walk {
    key: Option<PublicKey>,
    expect: Option<(u64, Hash)>,
    /// The last line and its value.
    at: Option<(u64, Hash)>,
    report: Report,
}

impl Walk {
    /// Takes a line; notes what is wrong with it.
    fn goes_on(&mut self, file: &str, line: u64, bytes: &[u8]) -> bool {
        let Err(what) = self.line(bytes) else { return true };
        let seq = self.next();
        self.report.problem = Some(Problem { file: file.to_owned(), line, seq, what });
        false
    }

    /// The number that must come next. A forged line may bear the largest there is.
    fn next(&self) -> u64 {
        self.at.map_or(1, |(seq, _)| seq.saturating_add(1))
    }

    fn line(&mut self, bytes: &[u8]) -> Result<(), String> {
        if !bytes.ends_with(b"\n") {
            return Err("the line is cut off: the server crashed while it wrote, or the file was shortened".into());
        }
        let head = Head::parse(bytes)
            .ok_or("the line does not begin as a line of this log does: it was changed, or is not from this log")?;
        match self.at {
            None if head.seq == 1 && head.prev != GENESIS => return Err("line 1 names a line before it".into()),
            None => self.report.first_seq = head.seq,
            Some(_) if head.seq > self.next() => {
                return Err(format!("lines {} to {} are missing", self.next(), head.seq - 1));
            }
            Some((last, _)) if head.seq <= last => {
                return Err(format!("line {} stands where line {} must be", head.seq, last.saturating_add(1)));
            }
            Some((last, value)) if head.prev != value => {
                return Err(format!(
                    "the chain breaks between line {last} and line {}: one of them was changed",
                    head.seq
                ));
            }
            Some(_) => {}
        }
        let value: Value = serde_json::from_slice(bytes).map_err(|error| format!("the line is no JSON: {error}"))?;
        if !line::TYPES.iter().any(|kind| line::is_type(bytes, kind)) {
            return Err("the line is of no type that this log has: it was changed, or a newer program wrote it".into());
        }
        if line::is_type(bytes, "open") {
            self.opening(&value)?;
        }
        if line::is_type(bytes, "checkpoint") {
            let key = self.key.ok_or("there is no key to check the signature with: say --public-key")?;
            if !checkpoint_holds(bytes, key) {
                return Err("the signature is not right: the line was changed, or another key signed it".into());
            }
            self.report.checkpoints += 1;
            self.report.signed_through = head.seq;
        }
        let hash = line::hash(bytes, b"");
        if self.expect.is_some_and(|(seq, expected)| seq == head.seq && expected != hash) {
            return Err("the line's value is not the expected one".into());
        }
        self.at = Some((head.seq, hash));
        self.report.lines += 1;
        self.report.last_time = value.get("time").and_then(Value::as_str).unwrap_or_default().to_owned();
        Ok(())
    }

    /// Each start names the key that signs from there on.
    fn opening(&mut self, value: &Value) -> Result<(), String> {
        let named = value
            .get("public_key")
            .and_then(Value::as_str)
            .and_then(PublicKey::parse)
            .ok_or("the line names no key")?;
        match self.key {
            None => self.key = Some(named),
            Some(key) if key != named => {
                return Err("from here on another key signs: this is not the log that the key belongs to".into());
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn finish(mut self) -> Report {
        let (last, hash) = self.at.unwrap_or((0, GENESIS));
        self.report.last_seq = last;
        self.report.head = hex::encode(hash);
        self.report.unsigned_lines =
            if last == 0 { 0 } else { last - self.report.signed_through.max(self.report.first_seq - 1) };
        self.report.public_key = self.key.map(|key| key.base64()).unwrap_or_default();
        if self.report.problem.is_none() {
            let file = self.report.files.last().cloned().unwrap_or_default();
            let what = match self.expect {
                _ if last == 0 => Some("there is no line in it".to_owned()),
                Some((seq, _)) if seq > last => {
                    Some(format!("the log ends before line {seq}, which was told of: it was cut short"))
                }
                _ => None,
            };
            self.report.problem = what.map(|what| Problem { file, line: 0, seq: last.saturating_add(1), what });
        }
        self.report.ok = self.report.problem.is_none();
        self.report
    }
}
