//! The archive around a snapshot: gzip around tar. The snapshot lies in parts of at most 1 MiB, `state.bin.000001` and so on,
//! since the length of an entry stands before it and that of a snapshot is known at its end only. Nothing is compressed:
//! the values are encrypted. `SHA256SUMS.sealed` stands at the end, where clients look whether the file is whole; what proves
//! a snapshot is the checksum within it and the seal on each value.

use std::io::{Cursor, Error, Read, Result, Write};
use std::pin::Pin;
use std::task::{Context, Poll};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use dewdrop_store::SnapshotInfo;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use tokio::io::{AsyncRead, ReadBuf};

/// How a gzip file begins.
pub(super) const GZIP: [u8; 2] = [0x1f, 0x8b];
const BLOCK: usize = 512;
const STATE: &str = "state.bin";
/// No other entry is longer.
const LONGEST_OTHER: u64 = 1 << 20;
/// Decoded at one time.
const STEP: usize = 1 << 16;

/// Writes an archive.
pub(super) struct Writer {
    zip: GzEncoder<Vec<u8>>,
    parts: u32,
    sums: String,
}

/// Reads the snapshot out of an archive.
pub(super) struct Unpacked {
    zip: GzDecoder<Cursor<Bytes>>,
    /// Of the entry that is being read.
    left: u64,
    padding: u64,
    ended: bool,
}

// === impl Writer ===

impl Writer {
    pub(super) fn new() -> Self {
        Self { zip: GzEncoder::new(Vec::new(), Compression::none()), parts: 0, sums: String::new() }
    }

    /// Adds a part of the snapshot; gives what is to be sent.
    pub(super) fn part(&mut self, bytes: &[u8]) -> Result<Bytes> {
        self.parts += 1;
        let name = format!("{STATE}.{:06}", self.parts);
        self.entry(&name, bytes)?;
        self.zip.flush()?;
        Ok(std::mem::take(self.zip.get_mut()).into())
    }

    /// Ends the archive; gives the rest.
    pub(super) fn finish(mut self, info: &SnapshotInfo) -> Result<Bytes> {
        let meta = serde_json::to_vec(info).map_err(Error::other)?;
        self.entry("meta.json", &meta)?;
        let sums = std::mem::take(&mut self.sums);
        self.entry("SHA256SUMS", sums.as_bytes())?;
        self.entry("SHA256SUMS.sealed", sums.as_bytes())?;
        self.zip.write_all(&[0; 2 * BLOCK])?;
        Ok(self.zip.finish()?.into())
    }

    fn entry(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let sum = digest(&SHA256, bytes);
        self.sums.push_str(&format!("{}  {name}\n", hex::encode(sum)));
        self.zip.write_all(&header(name, bytes.len())?)?;
        self.zip.write_all(bytes)?;
        self.zip.write_all(&[0; BLOCK][..bytes.len().next_multiple_of(BLOCK) - bytes.len()])
    }
}

/// The header of an entry, as POSIX `ustar` has it.
fn header(name: &str, length: usize) -> Result<[u8; BLOCK]> {
    let mut header = [0; BLOCK];
    let fields = [
        (0, name.to_owned()),
        (100, "0000600".into()),
        (108, "0000000".into()),
        (116, "0000000".into()),
        (124, format!("{length:011o}")),
        (136, "00000000000".into()),
        (148, " ".repeat(8)),
        (156, "0".into()),
        (257, "ustar\0".into()),
        (263, "00".into()),
    ];
    for (at, text) in fields {
        let field =
            header.get_mut(at..at + text.len()).ok_or_else(|| Error::other("a field of a tar header is too long"))?;
        field.copy_from_slice(text.as_bytes());
    }
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(header)
}

// === impl Unpacked ===

impl Unpacked {
    pub(super) fn new(body: Bytes) -> Self {
        Self { zip: GzDecoder::new(Cursor::new(body)), left: 0, padding: 0, ended: false }
    }

    /// Goes on to the next part of the snapshot; false at the end.
    fn advance(&mut self) -> Result<bool> {
        while !self.ended {
            self.skip(self.padding)?;
            self.padding = 0;
            let mut header = [0; BLOCK];
            self.zip.read_exact(&mut header)?;
            if header.iter().all(|byte| *byte == 0) {
                self.ended = true;
                break;
            }
            let (name, length) = entry(&header)?;
            self.padding = length.next_multiple_of(BLOCK as u64) - length;
            if name.starts_with(STATE) && length > 0 {
                self.left = length;
                return Ok(true);
            }
            if length > LONGEST_OTHER {
                return Err(Error::other("an entry that is no part of a snapshot is too long"));
            }
            self.skip(length)?;
        }
        Ok(false)
    }

    fn skip(&mut self, count: u64) -> Result<()> {
        let skipped = std::io::copy(&mut (&mut self.zip).take(count), &mut std::io::sink())?;
        if skipped == count { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }

    fn step(&mut self, into: &mut [u8]) -> Result<usize> {
        if into.is_empty() || (self.left == 0 && !self.advance()?) {
            return Ok(0);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(into.len());
        let read = self.zip.read(into.get_mut(..most).unwrap_or_default())?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        self.left -= read as u64;
        Ok(read)
    }
}

/// Name and length of an entry.
fn entry(header: &[u8; BLOCK]) -> Result<(String, u64)> {
    let text = |from: usize, to: usize| {
        let field = header.get(from..to).unwrap_or_default();
        let field = field.split(|byte| *byte == 0).next().unwrap_or_default();
        String::from_utf8_lossy(field).trim().to_owned()
    };
    let length = u64::from_str_radix(&text(124, 136), 8).ok().filter(|length| *length < 1 << 40);
    Ok((text(0, 100), length.ok_or_else(|| Error::other("it is no tar archive"))?))
}

impl AsyncRead for Unpacked {
    /// Never waits: all of it is in memory.
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let most = buffer.remaining().min(STEP);
        let into = buffer.initialize_unfilled_to(most);
        let read = self.get_mut().step(into)?;
        buffer.advance(read);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;

    fn packed(parts: &[&[u8]]) -> Vec<u8> {
        let mut writer = Writer::new();
        let mut all: Vec<u8> = parts.iter().flat_map(|part| writer.part(part).unwrap()).collect();
        let info = SnapshotInfo { version: 1, revision: 1, rows: 1, bytes: 1, sha256: String::new() };
        all.extend(writer.finish(&info).unwrap());
        all
    }

    async fn unpacked(bytes: Vec<u8>) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        Unpacked::new(bytes.into()).read_to_end(&mut out).await.map(|_| out)
    }

    #[tokio::test]
    async fn what_goes_in_comes_out() {
        let long = vec![7u8; 3 * BLOCK + 1];
        let archive = packed(&[&long, b"end"]);
        assert_eq!(unpacked(archive).await.unwrap(), [long.as_slice(), b"end"].concat());
        assert_eq!(unpacked(packed(&[])).await.unwrap(), b"");
    }

    #[tokio::test]
    async fn what_is_cut_or_changed_is_refused() {
        let archive = packed(&[&[7u8; 2000]]);
        for length in [0, 1, 20, 600, archive.len() / 2, archive.len() - 600] {
            assert!(unpacked(archive[..length].to_vec()).await.is_err(), "{length}");
        }
        assert!(unpacked(b"\x1f\x8bgarbage".to_vec()).await.is_err());
    }
}
