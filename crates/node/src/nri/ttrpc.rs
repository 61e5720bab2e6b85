//! ttrpc: messages of a length, a call's number, a type and a body. Only calls with one request and one response.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message as _;

use super::mux::{FrameError, Lane, write};
use super::wire::{Request, Response, Status};

/// Bytes of a message's header.
pub const HEADER: usize = 10;
/// Most bytes of a message's body.
pub const MOST: usize = 4 << 20;

const REQUEST: u8 = 1;
const RESPONSE: u8 = 2;

/// Codes of a [`Status`]: those of gRPC.
pub mod code {
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const FAILED_PRECONDITION: i32 = 9;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const UNIMPLEMENTED: i32 = 12;
}

/// One message, its header read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The call's number: odd for calls of the side that began.
    pub stream: u32,
    /// 0 for calls with one request and one response.
    pub flags: u8,
    pub body: Bytes,
}

/// Puts the messages of one lane together. Holds at most one that is not whole, and what came with it.
#[derive(Debug)]
pub struct Messages {
    lane: Lane,
    buffer: BytesMut,
}

impl Messages {
    pub fn new(lane: Lane) -> Self {
        Self { lane, buffer: BytesMut::new() }
    }

    /// A piece as it came. Take out what is whole before the next one.
    pub fn push(&mut self, piece: &[u8]) {
        self.buffer.extend_from_slice(piece);
    }

    /// The next whole message. Its header is checked before its body is waited for.
    ///
    /// # Errors
    /// It is too large, or of a type that has no place on this lane.
    pub fn next(&mut self) -> Result<Option<Message>, FrameError> {
        let Some(&[a, b, c, d, e, f, g, h, kind, flags]) = self.buffer.first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_be_bytes([a, b, c, d]);
        let stream = u32::from_be_bytes([e, f, g, h]);
        let expected = match self.lane {
            Lane::Plugin => REQUEST,
            Lane::Runtime => RESPONSE,
        };
        if kind != expected {
            return Err(FrameError::Kind { lane: self.lane, kind });
        }
        if stream % 2 == 0 {
            return Err(FrameError::Stream(stream));
        }
        if length as usize > MOST {
            return Err(FrameError::Message(length));
        }
        if self.buffer.len() < HEADER + length as usize {
            return Ok(None);
        }
        self.buffer.advance(HEADER);
        let body = self.buffer.split_to(length as usize).freeze();
        Ok(Some(Message { stream, flags, body }))
    }

    /// Between two messages.
    pub fn at_rest(&self) -> bool {
        self.buffer.is_empty()
    }
}

/// Appends the answer to a call of the runtime.
pub fn answer(stream: u32, outcome: Result<Vec<u8>, Status>, out: &mut Vec<u8>) {
    let response = match outcome {
        // Old clients want a status even when all went well.
        Ok(payload) => Response { status: Some(Status::default()), payload },
        Err(status) => Response { status: Some(status), payload: Vec::new() },
    };
    let body = response.encode_to_vec();
    if body.len() > MOST {
        let status = Status::new(code::RESOURCE_EXHAUSTED, "the answer is too large");
        return answer(stream, Err(status), out);
    }
    message(Lane::Plugin, stream, RESPONSE, &body, out);
}

/// Appends a call of ours.
pub fn call(stream: u32, request: &Request, out: &mut Vec<u8>) {
    message(Lane::Runtime, stream, REQUEST, &request.encode_to_vec(), out);
}

fn message(lane: Lane, stream: u32, kind: u8, body: &[u8], out: &mut Vec<u8>) {
    let mut whole = Vec::with_capacity(HEADER + body.len());
    whole.extend_from_slice(&(body.len() as u32).to_be_bytes());
    whole.extend_from_slice(&stream.to_be_bytes());
    whole.extend_from_slice(&[kind, 0]);
    whole.extend_from_slice(body);
    write(lane, &whole, out);
}
