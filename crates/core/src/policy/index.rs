//! The compiled form of many rules: finds the one rule that decides about a path, in time that hardly depends on how many
//! there are.
//!
//! Exact paths are in a hash map. Prefixes are sorted, each with a link to the longest other prefix within it, so that
//! one binary search finds the longest match. Patterns with `+` hang in a tree of segments below the literal text
//! before their first `+`; since an earlier first wildcard always loses, the search stops at the first such text that
//! leads to a match. Rules are numbered by [`Rank`](super::pattern::Rank): the larger number wins.

use std::collections::HashMap;

use super::pattern::{Pattern, cut};
use super::rule::Grants;

/// The stanzas for one path, added up.
#[derive(Debug)]
pub(super) struct Merged {
    pub(super) pattern: Pattern,
    pub(super) grants: Grants,
    /// Numbers of the stanzas in the set.
    pub(super) sources: Vec<usize>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Exact ones first, then by rank.
    pub(super) rules: Vec<Merged>,
    exact: HashMap<Box<str>, usize>,
    prefixes: Prefixes,
    heads: HashMap<Box<str>, Branch>,
    longest_head: usize,
}

impl Index {
    /// Builds it from stanzas: pattern, what it grants, its number.
    pub(super) fn build<'a>(stanzas: impl Iterator<Item = (&'a Pattern, &'a Grants, usize)>) -> Self {
        let mut by_text: HashMap<&str, usize> = HashMap::new();
        let mut rules: Vec<Merged> = Vec::new();
        for (pattern, grants, number) in stanzas {
            if let Some(known) = by_text.get(pattern.text()).and_then(|at| rules.get_mut(*at)) {
                known.grants.merge(grants);
                known.sources.push(number);
            } else {
                by_text.insert(pattern.text(), rules.len());
                rules.push(Merged { pattern: pattern.clone(), grants: grants.clone(), sources: vec![number] });
            }
        }
        rules.sort_by(|a, b| {
            let exact = b.pattern.is_exact().cmp(&a.pattern.is_exact());
            exact.then_with(|| a.pattern.rank().cmp(&b.pattern.rank()))
        });
        let mut index = Self::default();
        let mut prefixes = Vec::new();
        for (id, rule) in rules.iter().enumerate() {
            let pattern = &rule.pattern;
            if pattern.is_exact() {
                index.exact.insert(pattern.text().into(), id);
            } else if pattern.has_plus() {
                let head = pattern.head();
                index.longest_head = index.longest_head.max(head.len());
                let branch = index.heads.entry(head.into()).or_default();
                branch.insert(&pattern.body()[head.len()..], pattern.is_prefix(), id);
            } else {
                prefixes.push((pattern.body().into(), id));
            }
        }
        index.heads.values_mut().for_each(Branch::finish);
        index.prefixes = Prefixes::new(prefixes);
        index.rules = rules;
        index
    }

    /// The rule that decides. `listing`: a path that ends in a slash also finds rules written without it, unless one
    /// with it matches.
    pub(super) fn decide(&self, path: &str, listing: bool) -> Option<&Merged> {
        let bare = path.strip_suffix('/').filter(|_| listing);
        let id = self
            .exact
            .get(path)
            .or_else(|| self.exact.get(bare?))
            .copied()
            .or_else(|| self.wild(path))
            .or_else(|| self.wild(bare?))?;
        self.rules.get(id)
    }

    fn wild(&self, path: &str) -> Option<usize> {
        let prefix = self.prefixes.longest(path);
        if self.heads.is_empty() {
            return prefix.map(|(id, _)| id);
        }
        let floor = prefix.map_or(0, |(_, length)| length);
        let slashes = path.as_bytes().iter().enumerate().rev().filter(|(_, byte)| **byte == b'/').map(|(at, _)| at + 1);
        for end in slashes.chain([0]) {
            if end > self.longest_head {
                continue;
            }
            if end < floor {
                break;
            }
            if let Some(id) = self.heads.get(&path[..end]).and_then(|branch| branch.find(Some(&path[end..]))) {
                return Some(id).max(prefix.map(|(id, _)| id));
            }
        }
        prefix.map(|(id, _)| id)
    }
}

/// Texts of which the longest that starts another text is wanted.
#[derive(Debug, Default)]
struct Prefixes {
    /// Sorted by text.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    text: Box<str>,
    id: usize,
    /// The longest other entry that this text starts with.
    within: Option<usize>,
}

impl Prefixes {
    fn new(mut texts: Vec<(Box<str>, usize)>) -> Self {
        texts.sort();
        let mut entries: Vec<Entry> = Vec::with_capacity(texts.len());
        let mut open: Vec<usize> = Vec::new();
        for (text, id) in texts {
            while open.last().and_then(|at| entries.get(*at)).is_some_and(|last| !text.starts_with(&*last.text)) {
                open.pop();
            }
            let within = open.last().copied();
            open.push(entries.len());
            entries.push(Entry { text, id, within });
        }
        Self { entries }
    }

    /// The id and the length of the longest entry that `text` starts with.
    fn longest(&self, text: &str) -> Option<(usize, usize)> {
        // Everything between an entry that `text` starts with and `text` itself starts with that entry too.
        let mut at = self.entries.partition_point(|entry| &*entry.text <= text).checked_sub(1)?;
        loop {
            let entry = self.entries.get(at)?;
            if text.starts_with(&*entry.text) {
                return Some((entry.id, entry.text.len()));
            }
            at = entry.within?;
        }
    }
}

/// A tree of segments. Its depth is bounded by the parser.
#[derive(Debug, Default)]
struct Branch {
    literal: HashMap<Box<str>, Branch>,
    any: Option<Box<Branch>>,
    /// A pattern ends here.
    end: Option<usize>,
    /// Patterns that go on with some text and `*`.
    tails: Prefixes,
    loose: Vec<(Box<str>, usize)>,
}

impl Branch {
    fn insert(&mut self, body: &str, prefix: bool, id: usize) {
        let mut branch = self;
        let mut segments = body.split('/').peekable();
        while let Some(segment) = segments.next() {
            if prefix && segments.peek().is_none() {
                branch.loose.push((segment.into(), id));
                return;
            }
            branch = match segment {
                "+" => branch.any.get_or_insert_default(),
                _ => branch.literal.entry(segment.into()).or_default(),
            };
        }
        branch.end = Some(id);
    }

    fn finish(&mut self) {
        self.tails = Prefixes::new(std::mem::take(&mut self.loose));
        self.literal.values_mut().for_each(Self::finish);
        if let Some(any) = &mut self.any {
            any.finish();
        }
    }

    /// The highest number of a pattern that covers the rest of a path; `None`: the path has ended.
    fn find(&self, rest: Option<&str>) -> Option<usize> {
        let Some(rest) = rest else { return self.end };
        let tail = self.tails.longest(rest).map(|(id, _)| id);
        let (segment, after) = cut(rest);
        let literal = self.literal.get(segment).and_then(|branch| branch.find(after));
        let any = self.any.as_ref().and_then(|branch| branch.find(after));
        tail.max(literal).max(any)
    }
}
