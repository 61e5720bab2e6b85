//! Frames and messages, cut in any way.

use std::collections::VecDeque;

use proptest::prelude::*;
use prost::Message as _;

use super::runtime::{frame, message};
use crate::nri::fuzzing::TARGETS;
use crate::nri::link::Reader;
use crate::nri::mux::{self, FrameError, Lane};
use crate::nri::ttrpc::{self, Message, code};
use crate::nri::wire::Response;

proptest! {
    /// Whatever the pieces, in frames and on the socket: what was sent arrives.
    #[test]
    fn what_is_sent_arrives_however_it_is_cut(
        sent in prop::collection::vec((any::<bool>(), 0u32..1000, prop::collection::vec(any::<u8>(), 0..300)), 0..8),
        frames in prop::collection::vec(1usize..400, 1..20),
        reads in prop::collection::vec(1usize..200, 1..20),
    ) {
        let mut bytes = Vec::new();
        let mut expected = VecDeque::new();
        let mut sizes = frames.iter().cycle();
        for (calls, number, body) in sent {
            let stream = number * 2 + 1;
            let (lane, at, kind) = if calls { (Lane::Plugin, 1, 1) } else { (Lane::Runtime, 2, 2) };
            let mut whole = &message(at, stream, kind, 0, &body)[8..];
            while !whole.is_empty() {
                let (piece, rest) = whole.split_at(sizes.next().unwrap().min(&whole.len()).to_owned());
                bytes.extend(frame(at, piece));
                whole = rest;
            }
            expected.push_back((lane, Message { stream, flags: 0, body: body.into() }));
        }
        let (mut reader, mut read, mut left) = (Reader::new(), VecDeque::new(), &bytes[..]);
        for size in reads.iter().cycle() {
            if left.is_empty() { break; }
            let (piece, rest) = left.split_at(*size.min(&left.len()));
            reader.feed(piece, &mut read).unwrap();
            left = rest;
        }
        prop_assert_eq!(read, expected);
        prop_assert_eq!(reader.end(), Ok(()));
    }

    #[test]
    fn garbage_is_an_error_or_nothing(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        for (_, target) in TARGETS {
            target(&bytes);
        }
    }

    /// Nearer to what is sent than garbage: one byte of good ones is another.
    #[test]
    fn a_byte_that_is_wrong_is_an_error_or_another_message(at in 0usize..61, byte: u8, cut: u8) {
        let mut bytes = vec![cut];
        bytes.extend(message(1, 7, 1, 0, &[0x0a, 0]));
        bytes.extend(message(2, 1, 2, 0, &[]));
        bytes.extend(message(1, 9, 1, 0, &[0x12, 1, b'x']));
        bytes[1 + at % 58] = byte;
        for (_, target) in TARGETS {
            target(&bytes);
        }
    }

    /// The runtime's reader: a message begins with its own frame of at most 4096 bytes, one more holds the rest.
    #[test]
    fn a_message_is_two_frames_at_most(length in 1usize..20_000) {
        let mut out = Vec::new();
        mux::write(Lane::Plugin, &vec![7; length], &mut out);
        let first = length.min(4096);
        let mut expected = frame(1, &vec![7; first]);
        if length > first {
            expected.extend(frame(1, &vec![7; length - first]));
        }
        prop_assert_eq!(out, expected);
    }
}

#[test]
fn the_largest_message_is_read_and_one_byte_more_is_not() {
    let mut read = VecDeque::new();
    let largest = message(1, 1, 1, 0, &vec![0; ttrpc::MOST]);
    Reader::new().feed(&largest, &mut read).unwrap();
    assert_eq!(read[0].1.body.len(), ttrpc::MOST);
    let larger = message(1, 1, 1, 0, &vec![0; ttrpc::MOST + 1]);
    assert_eq!(Reader::new().feed(&larger, &mut read), Err(FrameError::Frame(4_194_315)));
    // In two frames it is the message that is too large, known from its header.
    assert_eq!(Reader::new().feed(&frame(1, &larger[8..18]), &mut read), Err(FrameError::Message(4_194_305)));
}

#[test]
fn an_answer_that_is_too_large_is_a_failure_of_the_call() {
    let mut out = Vec::new();
    ttrpc::answer(5, Ok(vec![0; ttrpc::MOST]), &mut out);
    let response = Response::decode(&out[18..]).unwrap();
    assert_eq!(response.status.unwrap().code, code::RESOURCE_EXHAUSTED);
}
