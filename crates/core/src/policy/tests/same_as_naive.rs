//! The compiled set gives the same answers as the documented rules applied one rule at a time, and no text makes the
//! reader panic.

use std::sync::Arc;

use proptest::prelude::*;

use super::{NOW, ask};
use crate::op::Operation;
use crate::policy::{Capabilities, Policy, PolicySet, check_file};

/// Segment by segment, with nothing shared with the code under test.
fn covers(pattern: &str, path: &str) -> bool {
    let (body, prefix) = pattern.strip_suffix('*').map_or((pattern, false), |body| (body, true));
    let wanted: Vec<&str> = body.split('/').collect();
    let found: Vec<&str> = path.split('/').collect();
    if !wanted.contains(&"+") {
        return if prefix { path.starts_with(body) } else { path == body };
    }
    let last = wanted.len() - 1;
    let same = |at: usize| wanted[at] == "+" || wanted[at] == found[at];
    if prefix {
        found.len() > last && (0..last).all(same) && found[last..].join("/").starts_with(wanted[last])
    } else {
        found.len() == wanted.len() && (0..=last).all(same)
    }
}

/// The documentation's list, most important first.
fn beats(a: &str, b: &str) -> bool {
    let first = |pattern: &str| {
        let mut at = 0;
        for segment in pattern.split('/') {
            if segment == "+" {
                return at;
            }
            at += segment.len() + 1;
        }
        pattern.strip_suffix('*').unwrap_or(pattern).len()
    };
    let plus = |pattern: &str| pattern.strip_suffix('*').unwrap_or(pattern).split('/').filter(|s| *s == "+").count();
    let exact = |pattern: &str| plus(pattern) == 0 && !pattern.ends_with('*');
    let key = |p: &str| (exact(p), first(p), !p.ends_with('*'), usize::MAX - plus(p), p.len(), p.to_owned());
    key(a) > key(b)
}

fn winner<'a>(rules: &'a [(String, &str)], path: &str, exact: bool) -> Option<&'a str> {
    let is_exact = |p: &str| !p.ends_with('*') && !p.split('/').any(|s| s == "+");
    let mut best: Option<&str> = None;
    for (pattern, _) in rules.iter().filter(|(pattern, _)| covers(pattern, path) && is_exact(pattern) == exact) {
        if best.is_none_or(|best| beats(pattern, best)) {
            best = Some(pattern);
        }
    }
    best
}

fn naive(rules: &[(String, &str)], path: &str, listing: bool) -> Capabilities {
    let bare = path.strip_suffix('/').filter(|_| listing);
    let found = winner(rules, path, true)
        .or_else(|| winner(rules, bare?, true))
        .or_else(|| winner(rules, path, false))
        .or_else(|| winner(rules, bare?, false));
    let Some(found) = found else { return Capabilities::NONE };
    let same = rules.iter().filter(|(pattern, _)| pattern == found);
    same.fold(Capabilities::NONE, |all, (_, name)| all.and(Capabilities::named(name).unwrap()))
}

fn pattern() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "+", "+", "a", "", "a*", "b+", "+a"]);
    (prop::collection::vec(segment, 1..5), prop::sample::select(vec!["", "", "/*", "*", "/"]))
        .prop_map(|(segments, end)| format!("{}{end}", segments.join("/")))
        .prop_filter("forbidden or rewritten", |p| !p.contains("+*") && !p.starts_with('/'))
}

fn path() -> impl Strategy<Value = String> {
    let segment = prop::sample::select(vec!["a", "b", "ab", "abc", "a", "", "+", "a*"]);
    prop::collection::vec(segment, 1..6)
        .prop_map(|segments| segments.join("/"))
        .prop_filter("rewritten", |p| !p.starts_with('/'))
}

fn capability() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["read", "update", "list", "create", "sudo", "read", "list", "deny"])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn compiled_equals_naive(
        rules in prop::collection::vec((pattern(), capability()), 0..12),
        paths in prop::collection::vec(path(), 1..8),
        split in 0_usize..12,
    ) {
        let stanza = |(path, name): &(String, &str)| format!("path {path:?} {{ capabilities = [{name:?}] }}\n");
        let (first, second) = rules.split_at(split.min(rules.len()));
        let policies: Vec<Arc<Policy>> = [first, second]
            .iter()
            .map(|rules| Arc::new(Policy::parse("p", "", &rules.iter().map(stanza).collect::<String>()).unwrap()))
            .collect();
        let set = PolicySet::compile(&policies, None);
        for path in &paths {
            prop_assert_eq!(set.capabilities(path, NOW), naive(&rules, path, true).shown(), "{:?} on {}", &rules, path);
            let read = naive(&rules, path, false);
            let may = read.grants() && read.has(Capabilities::named("read").unwrap());
            prop_assert_eq!(set.permit(&ask(Operation::Read, path)).is_ok(), may, "{:?} on {}", &rules, path);
            let listed = if path.ends_with('/') { path.clone() } else { format!("{path}/") };
            let list = naive(&rules, &listed, true);
            let may = list.grants() && list.has(Capabilities::named("list").unwrap());
            prop_assert_eq!(set.permit(&ask(Operation::List, path)).is_ok(), may, "{:?} on {}", &rules, path);
            // An explanation agrees with the decision, and its stanza works (or there is none).
            let explained = set.explain(&ask(Operation::Read, path));
            prop_assert_eq!(explained.allowed, set.permit(&ask(Operation::Read, path)).is_ok());
            if let Some(stanza) = explained.smallest_rule {
                let mut more = policies.clone();
                more.push(Arc::new(Policy::parse("more", "", &stanza).unwrap()));
                prop_assert!(PolicySet::compile(&more, None).permit(&ask(Operation::Read, path)).is_ok(), "{}", stanza);
            }
        }
    }

    #[test]
    fn no_text_panics(text in "\\PC*", bits in prop::collection::vec(
        prop::sample::select(vec![
            "path", " ", "\"", "{", "}", "[", "]", "=", ",", "\n", "capabilities", "read", "+", "*", "/", "{{", "}}", "\\",
            "\\u12", "<<", "EOT", "-", "1", "0x", "e", ".", "//", "/*", "*/", "#", "é", "😀", "null", "true", "case", "policy",
            "allowed_parameters", "identity.entity.id", "expiration", "list_scan_response_keys_filter_path", "{{.key}}", "|",
        ]), 0..60)) {
        for text in [text, bits.concat()] {
            for text in [format!("{{{text}"), format!("path \"a\" {{ {text} }}"), text] {
                if let Ok(policy) = Policy::parse("p", "ns", &text) {
                    let set = PolicySet::compile(&[Arc::new(policy)], None);
                    let _ = set.capabilities(&text, NOW);
                    let _ = set.explain(&ask(Operation::List, &text));
                    let _ = set.sees_anything_under(&text, NOW);
                }
                let _ = check_file(&text, NOW, &|_| None);
            }
        }
    }
}
