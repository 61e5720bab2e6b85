//! SPDY/3.1 frames of a session that passes by (draft-mbelshe-httpbis-spdy-00; what `kubectl` before 1.31 speaks). The person
//! opens streams, each with a header `streamtype` that says what it carries; data frames follow in both directions. Payloads
//! are handed on as they come, with the channel that WebSocket would have for them.

mod inflate;

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::frames::Unreadable;
use inflate::Inflater;

/// The length of every frame's header.
const HEADER: usize = 8;
/// No header block is longer.
const LONGEST: usize = 16 << 10;
/// A session has five streams at most.
const STREAMS: usize = 16;
const CONTROL: u8 = 0x80;
const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const HEADERS: u16 = 8;
/// RST_STREAM, PING, GOAWAY, WINDOW_UPDATE, and how long each is: they carry nothing that anybody reads. API servers read
/// just that much of them, whatever length they say.
const BARE: [(u16, usize); 4] = [(3, 8), (6, 4), (7, 8), (9, 8)];
/// Says how long it is in its own words; only the API server might send it.
const SETTINGS: u16 = 4;
/// Says that a stream's end has come; no other flag of data means anything.
const FIN: u8 = 0x01;
/// Where the header block begins in SYN_STREAM and in HEADERS.
const AFTER_SYN_STREAM: usize = 10;
const AFTER_HEADERS: usize = 4;
/// What streams carry, by its channel.
const KINDS: [&str; 5] = ["stdin", "stdout", "stderr", "error", "resize"];

/// One direction of a session.
pub struct Spdy {
    header: Vec<u8>,
    left: usize,
    kind: Kind,
    /// Only the person's side opens streams.
    inflater: Option<Box<Inflater>>,
    streams: Arc<Mutex<HashMap<u32, u8>>>,
}

/// What the frame under way is.
enum Kind {
    Data(u8),
    /// A control frame with headers, as far as it is there.
    Block(u16, Vec<u8>),
    Passed,
}

// === impl Spdy ===

impl Spdy {
    /// What the person sends, and what comes back.
    #[must_use]
    pub fn pair() -> [Self; 2] {
        let streams = Arc::default();
        let side = |inflater| Self {
            header: Vec::with_capacity(HEADER),
            left: 0,
            kind: Kind::Passed,
            inflater,
            streams: Arc::clone(&streams),
        };
        [side(Some(Box::default())), side(None)]
    }

    /// Reads on. `piece` hears channel and bytes, in order.
    ///
    /// # Errors
    /// What comes is not what was agreed upon.
    pub fn read(&mut self, mut bytes: &[u8], mut piece: impl FnMut(u8, &[u8])) -> Result<(), Unreadable> {
        while !bytes.is_empty() {
            if self.left == 0 {
                let Some((byte, rest)) = bytes.split_first() else { break };
                self.header.push(*byte);
                bytes = rest;
                self.open()?;
                continue;
            }
            let (now, rest) = bytes.split_at(bytes.len().min(self.left));
            bytes = rest;
            self.left -= now.len();
            match &mut self.kind {
                Kind::Data(channel) => piece(*channel, now),
                Kind::Block(_, block) => block.extend_from_slice(now),
                Kind::Passed => {}
            }
            if self.left == 0 {
                self.close()?;
            }
        }
        Ok(())
    }

    /// Begins the frame when its header is whole.
    fn open(&mut self) -> Result<(), Unreadable> {
        let [a, b, c, d, flags, length @ ..] = self.header.as_slice() else { return Ok(()) };
        if length.len() < 3 {
            return Ok(());
        }
        self.left = length.iter().fold(0, |sum, byte| (sum << 8) | usize::from(*byte));
        let first = [*a, *b, *c, *d];
        self.kind = if a & CONTROL == 0 { self.data(u32::from_be_bytes(first), *flags)? } else { self.control(first)? };
        self.header.clear();
        Ok(())
    }

    fn data(&self, stream: u32, flags: u8) -> Result<Kind, Unreadable> {
        if flags & !FIN != 0 {
            return Err(Unreadable);
        }
        self.streams.lock().get(&stream).map(|channel| Kind::Data(*channel)).ok_or(Unreadable)
    }

    fn control(&self, [a, b, c, d]: [u8; 4]) -> Result<Kind, Unreadable> {
        let (version, kind) = (u16::from_be_bytes([a & !CONTROL, b]), u16::from_be_bytes([c, d]));
        let from_person = self.inflater.is_some();
        match kind {
            _ if version != VERSION => Err(Unreadable),
            // All blocks of a direction are compressed as one, so each must be read.
            SYN_STREAM | HEADERS if from_person && (1..=LONGEST).contains(&self.left) => {
                Ok(Kind::Block(kind, Vec::with_capacity(self.left)))
            }
            SYN_REPLY | HEADERS | SETTINGS if !from_person => Ok(Kind::Passed),
            kind if BARE.contains(&(kind, self.left)) => Ok(Kind::Passed),
            _ => Err(Unreadable),
        }
    }

    fn close(&mut self) -> Result<(), Unreadable> {
        let Kind::Block(kind, block) = std::mem::replace(&mut self.kind, Kind::Passed) else { return Ok(()) };
        let at = if kind == SYN_STREAM { AFTER_SYN_STREAM } else { AFTER_HEADERS };
        let (head, compressed) = block.split_at_checked(at).ok_or(Unreadable)?;
        let plain = self.inflater.as_mut().ok_or(Unreadable)?.read(compressed, LONGEST).ok_or(Unreadable)?;
        // Also of frames that open nothing: what a block has too much, the API server reads as the beginning of the next one.
        let headers = headers_of(&plain).ok_or(Unreadable)?;
        if kind != SYN_STREAM {
            return Ok(());
        }
        let stream = head.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes)).ok_or(Unreadable)?;
        let channel = channel_of(&headers).ok_or(Unreadable)?;
        let mut streams = self.streams.lock();
        // A number that comes again could be another stream for us than for the API server.
        if stream == 0 || stream >> 31 != 0 || streams.len() >= STREAMS || streams.insert(stream, channel).is_some() {
            return Err(Unreadable);
        }
        Ok(())
    }
}

/// Names and values of a block; `None`: it is not just these.
fn headers_of(mut block: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut headers = Vec::new();
    for _ in 0..number(&mut block)? {
        headers.push((text(&mut block)?, text(&mut block)?));
    }
    block.is_empty().then_some(headers)
}

/// The channel that a stream's headers name, once and plainly.
fn channel_of(headers: &[(&[u8], &[u8])]) -> Option<u8> {
    let mut kinds = headers.iter().filter(|(name, _)| name.eq_ignore_ascii_case(b"streamtype"));
    let (Some((_, kind)), None) = (kinds.next(), kinds.next()) else { return None };
    u8::try_from(KINDS.iter().position(|known| known.as_bytes() == *kind)?).ok()
}

fn number(block: &mut &[u8]) -> Option<u32> {
    let (bytes, rest) = block.split_first_chunk::<4>()?;
    *block = rest;
    Some(u32::from_be_bytes(*bytes))
}

fn text<'b>(block: &mut &'b [u8]) -> Option<&'b [u8]> {
    let length = usize::try_from(number(block)?).ok()?;
    let (text, rest) = block.split_at_checked(length)?;
    *block = rest;
    Some(text)
}

#[cfg(test)]
mod tests;
