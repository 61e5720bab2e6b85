//! Replays the fuzzer's corpus in the ordinary tests, and what lies near it: each seed, cut, spliced and with bytes changed.

use std::path::{Path, PathBuf};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

pub use dewdrop_core::fuzzing::Target;

/// Cases for each target beside the seeds.
const CASES: u32 = 400;

/// Runs each target over its corpus.
///
/// # Panics
/// A target without seeds, or one that fails.
pub fn replay(targets: &[Target]) {
    for (name, target) in targets {
        let seeds = seeds(name);
        assert!(!seeds.is_empty(), "fuzz/corpus/{name} has no seed");
        seeds.iter().for_each(|seed| target(seed));
        let near = (proptest::sample::select(seeds), vec((any::<prop::sample::Index>(), edit()), 0..6));
        let near =
            near.prop_map(|(seed, edits)| edits.into_iter().fold(seed, |bytes, (at, edit)| edit.apply(bytes, at)));
        let input = prop_oneof![4 => near, 1 => vec(any::<u8>(), 0..200)];
        let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
        let ran = runner.run(&input, |bytes| {
            target(&bytes);
            Ok(())
        });
        ran.unwrap_or_else(|found| panic!("{name}: {found}"));
    }
}

/// The folder of all corpora.
fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus")
}

fn seeds(name: &str) -> Vec<Vec<u8>> {
    let Ok(entries) = std::fs::read_dir(corpus().join(name)) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("a folder").path()).collect();
    files.sort();
    files.iter().map(|file| std::fs::read(file).expect("a seed")).collect()
}

#[derive(Debug, Clone)]
enum Edit {
    Set(u8),
    Insert(Vec<u8>),
    Cut,
    Drop(usize),
    Double,
}

fn edit() -> impl Strategy<Value = Edit> {
    // What means something to parsers comes more often than chance would bring it.
    let telling = prop::sample::select(b"{}[]()\"'\\/%$#*,;:=.-+0179 \n\0\xff\xc3".to_vec());
    let byte = prop_oneof![telling, any::<u8>()];
    prop_oneof![
        byte.clone().prop_map(Edit::Set),
        vec(byte, 1..8).prop_map(Edit::Insert),
        Just(Edit::Cut),
        (1usize..20).prop_map(Edit::Drop),
        Just(Edit::Double),
    ]
}

impl Edit {
    fn apply(self, mut bytes: Vec<u8>, at: prop::sample::Index) -> Vec<u8> {
        let at = at.index(bytes.len() + 1);
        match self {
            Self::Set(byte) => {
                if let Some(place) = bytes.get_mut(at) {
                    *place = byte;
                }
            }
            Self::Insert(new) => drop(bytes.splice(at..at, new)),
            Self::Cut => bytes.truncate(at),
            Self::Drop(count) => drop(bytes.drain(at..(at + count).min(bytes.len()))),
            Self::Double => bytes.extend_from_within(at..),
        }
        bytes
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_rules_read_anything() {
        super::replay(dewdrop_core::fuzzing::TARGETS);
    }

    #[test]
    #[should_panic(expected = "ttl")]
    fn a_parser_that_fails_is_found() {
        super::replay(&[("ttl", |bytes| assert!(bytes.len() < 5, "ttl"))]);
    }

    #[test]
    #[should_panic(expected = "has no seed")]
    fn a_target_without_seeds_is_found() {
        super::replay(&[("no-such-target", |_| {})]);
    }
}
