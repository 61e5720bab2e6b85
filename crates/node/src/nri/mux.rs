//! Two connections within one socket: frames of a connection's number, a length and a payload.

use super::ttrpc;

const HEADER: usize = 8;
/// Most that a frame carries: one ttrpc message with its header.
const MOST: usize = ttrpc::HEADER + ttrpc::MOST;
/// The first frame of a message. The runtime's side reads a header into a buffer of this size and fails when the frame is
/// larger; the rest it reads straight into a place as large as the rest. It also fails when more than 256 frames wait to
/// be read: many small ones are no way out.
const FIRST: usize = 4096;

/// What is wrong with the bytes of the other side. Ends the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame for connection {0}, which there is not")]
    Connection(u32),
    #[error("a frame of {0} bytes, more than the {most} that there may be", most = MOST)]
    Frame(u32),
    #[error("a message of {0} bytes, more than the {most} that there may be", most = ttrpc::MOST)]
    Message(u32),
    #[error("a message of type {kind} on the connection of the {lane:?} service")]
    Kind { lane: Lane, kind: u8 },
    #[error("a call with the number {0}, which is even")]
    Stream(u32),
    #[error("the end within a message")]
    Truncated,
}

/// A connection within the socket, by the service that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// The runtime calls us.
    Plugin,
    /// We call the runtime.
    Runtime,
}

impl Lane {
    const fn number(self) -> u32 {
        match self {
            Self::Plugin => 1,
            Self::Runtime => 2,
        }
    }

    fn of(number: u32) -> Result<Self, FrameError> {
        let known = [Self::Plugin, Self::Runtime].into_iter().find(|lane| lane.number() == number);
        known.ok_or(FrameError::Connection(number))
    }
}

/// Takes frames apart. Keeps no payload: pieces are handed on as they come.
#[derive(Debug, Default)]
pub struct Demux {
    header: [u8; HEADER],
    have: usize,
    within: Option<(Lane, usize)>,
}

impl Demux {
    /// The next piece of payload in `bytes`, from which it takes what it used. `None`: all is used.
    ///
    /// # Errors
    /// A frame that is too large, or of no connection.
    pub fn next<'a>(&mut self, bytes: &mut &'a [u8]) -> Result<Option<(Lane, &'a [u8])>, FrameError> {
        while !bytes.is_empty() {
            let Some((lane, left)) = self.within else {
                self.read_header(bytes)?;
                continue;
            };
            let (piece, rest) = bytes.split_at(left.min(bytes.len()));
            *bytes = rest;
            self.within = (piece.len() < left).then(|| (lane, left - piece.len()));
            return Ok(Some((lane, piece)));
        }
        Ok(None)
    }

    fn read_header(&mut self, bytes: &mut &[u8]) -> Result<(), FrameError> {
        let (part, rest) = bytes.split_at((HEADER - self.have).min(bytes.len()));
        self.header[self.have..self.have + part.len()].copy_from_slice(part);
        self.have += part.len();
        *bytes = rest;
        if self.have < HEADER {
            return Ok(());
        }
        self.have = 0;
        let [a, b, c, d, e, f, g, h] = self.header;
        let lane = Lane::of(u32::from_be_bytes([a, b, c, d]))?;
        let length = u32::from_be_bytes([e, f, g, h]);
        match length as usize {
            0 => Ok(()),
            n if n <= MOST => {
                self.within = Some((lane, n));
                Ok(())
            }
            _ => Err(FrameError::Frame(length)),
        }
    }

    /// Between two frames.
    pub const fn at_rest(&self) -> bool {
        self.have == 0 && self.within.is_none()
    }
}

/// Appends one whole ttrpc message in one or two frames; none holds parts of two messages.
pub fn write(lane: Lane, message: &[u8], out: &mut Vec<u8>) {
    let (first, rest) = message.split_at(FIRST.min(message.len()));
    for piece in [first, rest].into_iter().filter(|piece| !piece.is_empty()) {
        out.extend_from_slice(&lane.number().to_be_bytes());
        out.extend_from_slice(&(piece.len() as u32).to_be_bytes());
        out.extend_from_slice(piece);
    }
}
