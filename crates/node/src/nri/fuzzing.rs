//! What reads the runtime's bytes: the fuzzer and the ordinary tests both call these. They fail by panicking.

use std::collections::VecDeque;

use dewdrop_core::fuzzing::Target;
use prost::Message as _;

use super::link::Reader;
use super::mux::Lane;
use super::wire::{About, ConfigureRequest, Request, Response, StateChangeEvent, SynchronizeRequest};
use super::{Container, Pod};

/// By the name of its corpus.
pub const TARGETS: &[Target] = &[("nri-frames", frames), ("nri-messages", messages)];

/// The same bytes in pieces of any size give the same messages. The first byte says how large the pieces are.
pub fn frames(bytes: &[u8]) {
    let Some((size, bytes)) = bytes.split_first() else { return };
    let read = |pieces: &mut dyn Iterator<Item = &[u8]>| {
        let (mut reader, mut whole) = (Reader::new(), VecDeque::new());
        let fault = pieces.map(|piece| reader.feed(piece, &mut whole)).find_map(Result::err);
        let fault = fault.or_else(|| reader.end().err());
        (whole, fault)
    };
    let (at_once, fault) = read(&mut std::iter::once(bytes));
    let in_pieces = read(&mut bytes.chunks(usize::from(*size).max(1)));
    assert_eq!((&at_once, fault), (&in_pieces.0, in_pieces.1), "however it is cut");
    for (lane, message) in at_once {
        match lane {
            Lane::Plugin => drop(Request::decode(message.body).map(|request| messages(&request.payload))),
            Lane::Runtime => drop(Response::decode(message.body)),
        }
    }
}

/// What the runtime says in a frame.
pub fn messages(bytes: &[u8]) {
    let _ = ConfigureRequest::decode(bytes);
    let _ = StateChangeEvent::decode(bytes);
    if let Ok(about) = About::decode(bytes) {
        let _ = format!("{:?} {:?}", about.pod.map(Pod::from), about.container.map(Container::from));
    }
    if let Ok(part) = SynchronizeRequest::decode(bytes) {
        let _: Vec<_> = part.containers.into_iter().map(Container::from).collect();
    }
}
