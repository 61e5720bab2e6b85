//! What reads bytes and texts from outside, one function for each parser: the fuzzer and the ordinary tests both call
//! these. They fail by panicking.

use std::collections::BTreeMap;

use dewdrop_core::fuzzing::Target;

use crate::nri::fuzzing::{frames, messages};
use crate::spec::{PodInfo, VolumeSpec, is_file_name};

/// By the name of its corpus.
pub const TARGETS: &[Target] = &[
    ("nri-frames", frames),
    ("nri-messages", messages),
    ("cri", crate::env::read_cri),
    ("cgroup", cgroup),
    ("volume-attributes", volume_attributes),
];

/// A process's list of control groups.
fn cgroup(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    if let Some(found) = crate::env::whose(text) {
        assert!(text.contains(&found.container_id), "an id that is not in the text");
    }
}

/// As an object of texts.
fn volume_attributes(bytes: &[u8]) {
    let Ok(attributes) = serde_json::from_slice::<BTreeMap<String, String>>(bytes) else { return };
    let _ = PodInfo::parse(&attributes);
    if let Ok(spec) = VolumeSpec::parse(&attributes) {
        let climbs = spec.credentials.iter().any(|one| !is_file_name(&one.name));
        assert!(!climbs && spec.mode & 0o022 == 0, "a volume that must not be: {attributes:?}");
    }
}

#[cfg(test)]
#[test]
fn the_agent_reads_anything() {
    dewdrop_testkit::fuzz::replay(TARGETS);
}
