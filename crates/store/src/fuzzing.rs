//! What reads stored bytes, one function for each form: the fuzzer and the ordinary tests both call these. They fail by
//! panicking.

use bytes::Bytes;
use dewdrop_core::fuzzing::Target;
use futures_util::FutureExt as _;

use crate::barrier::fuzzing as barrier;
use crate::{WrappedKeys, parse_static_key, verify_snapshot};

/// By the name of its corpus.
pub const TARGETS: &[Target] = &[
    ("barrier-record", |bytes| barrier::record(Bytes::copy_from_slice(bytes))),
    ("keyring", barrier::keyring),
    ("wrapped-keys", |bytes| drop(serde_json::from_slice::<WrappedKeys>(bytes))),
    ("static-key", |bytes| drop(parse_static_key(bytes))),
    ("snapshot", snapshot),
];

fn snapshot(bytes: &[u8]) {
    let mut from = bytes;
    // All of it is in memory, so it never waits.
    let _ = verify_snapshot(&mut from).now_or_never();
}

#[cfg(test)]
#[test]
fn this_crate_reads_anything() {
    dewdrop_testkit::fuzz::replay(TARGETS);
}
