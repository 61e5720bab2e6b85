//! What the agent and the server answer, one function for each: the fuzzer and the ordinary tests both call these. They fail
//! by panicking.

use std::ffi::OsString;

use crate::ask::{self, Tried};
use crate::{search, stage};

/// A parser by the name of its corpus, as in the other crates.
pub type Target = (&'static str, fn(&[u8]));

/// Those of this crate.
pub const TARGETS: &[Target] = &[
    ("exec-agent", agent),
    #[cfg(feature = "agentless")]
    ("exec-server", crate::agentless::fuzzing::server),
];

/// The agent's answer, as far as it can be followed without starting anything.
fn agent(bytes: &[u8]) {
    let Tried::Given(given) = ask::read(bytes) else { return };
    let env: Vec<_> = given.env.into_iter().map(|(name, value)| (name.into(), value.into())).collect();
    let command = stage::of_image(given.entrypoint, given.cmd, &[]);
    let Some(name) = command.first().filter(|name| !name.is_empty()) else { return };
    let places: Vec<OsString> = search::candidates(name, &env).into_iter().map(OsString::from).collect();
    let is_it = |place: &OsString| place.as_encoded_bytes().ends_with(name.as_encoded_bytes());
    assert!(!places.is_empty() && places.iter().all(is_it), "another command than the image's: {places:?}");
}

#[cfg(test)]
#[test]
fn the_wrapper_reads_anything() {
    dewdrop_testkit::fuzz::replay(TARGETS);
}
