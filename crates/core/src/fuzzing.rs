//! What reads bytes from outside, one function for each parser: the fuzzer and the ordinary tests both call these. They
//! fail by panicking.

use std::time::Duration;

use crate::clock::Moment;
use crate::password::PasswordPolicy;
use crate::policy::{Policy, PolicySet};
use crate::wire::{Flag, Int, Pairs, Strings, Text, TextList, Ttl, format_ttl, parse_ttl};

/// A parser by the name of its corpus.
pub type Target = (&'static str, fn(&[u8]));

/// Those of this crate.
pub const TARGETS: &[Target] =
    &[("policy", policy), ("password-policy", password_policy), ("ttl", ttl), ("fields", fields), ("shamir", shamir)];

fn policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(policy) = Policy::parse("p", "", text) {
        let set = PolicySet::compile(&[policy.into()], None);
        for path in ["", "a", "secret/data/a/b", text] {
            let _ = set.capabilities(path, Moment(0));
        }
        let _ = set.granted(Moment(0));
    }
}

fn password_policy(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(policy) = PasswordPolicy::parse(text) {
        let mut next = 0u8;
        let mut count = |out: &mut [u8]| {
            for byte in out {
                next = next.wrapping_mul(5).wrapping_add(113);
                *byte = next;
            }
        };
        assert_eq!(policy.generate(&mut count).expose().chars().count(), policy.length());
    }
}

fn ttl(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(time) = parse_ttl(text) {
        let whole = Duration::from_secs(time.as_secs());
        assert_eq!(parse_ttl(&format_ttl(whole)), Ok(whole), "what is printed is read as the same");
    }
}

fn fields(bytes: &[u8]) {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(bytes) else { return };
    let _ = serde_json::from_value::<Text>(value.clone());
    let _ = serde_json::from_value::<TextList>(value.clone());
    let _ = serde_json::from_value::<Strings>(value.clone());
    let _ = serde_json::from_value::<Flag>(value.clone());
    let _ = serde_json::from_value::<Int>(value.clone());
    let _ = serde_json::from_value::<Pairs>(value.clone());
    let _ = serde_json::from_value::<Ttl>(value);
}

/// The first byte says how long each share is.
fn shamir(bytes: &[u8]) {
    let Some((length, rest)) = bytes.split_first() else { return };
    let shares: Vec<&[u8]> = rest.chunks(usize::from(*length).max(1)).collect();
    let _ = crate::shamir::combine(&shares);
}
