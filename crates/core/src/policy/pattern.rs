//! The paths that rules are written for, and which rule wins where several match.
//!
//! A pattern is exact (`a/b`), a prefix (`a/*`, `a/b*`), or holds segments that may be anything (`a/+/c`, `a/+/c*`). `*`
//! means something only as the last character, `+` only as a whole segment. An exact pattern beats all others; of the
//! others the winner is found by the rules of the public documentation, in the order of [`Rank`]'s fields.

use std::cmp::Ordering;

/// A path of a rule, with the path of its namespace before it and no leading slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    text: String,
    prefix: bool,
    /// Where the first `+` or the final `*` stands, in bytes.
    wild_at: usize,
    plus: usize,
}

/// What decides between two patterns that match the same path. The first difference counts; the larger wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rank<'a> {
    wild_at: usize,
    whole: bool,
    few_plus: std::cmp::Reverse<usize>,
    length: usize,
    text: &'a str,
}

impl Pattern {
    /// The pattern of a rule in a namespace (its path, with a slash at the end). One leading slash of the rule is dropped,
    /// as in requests.
    #[must_use]
    pub fn of_rule(namespace: &str, path: &str) -> Self {
        Self::new(&format!("{namespace}{}", path.strip_prefix('/').unwrap_or(path)))
    }

    /// Takes a full pattern apart.
    #[must_use]
    pub fn new(text: &str) -> Self {
        let prefix = text.ends_with('*');
        let body = if prefix { &text[..text.len() - 1] } else { text };
        let mut wild_at = body.len();
        let mut plus = 0;
        let mut at = 0;
        for segment in body.split('/') {
            if segment == "+" {
                wild_at = wild_at.min(at);
                plus += 1;
            }
            at += segment.len() + 1;
        }
        Self { text: text.to_owned(), prefix, wild_at, plus }
    }

    /// As written, without a leading slash.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Without the final `*`.
    pub(super) fn body(&self) -> &str {
        if self.prefix { &self.text[..self.text.len() - 1] } else { &self.text }
    }

    /// The part before the first wildcard.
    pub(super) fn head(&self) -> &str {
        &self.text[..self.wild_at]
    }

    pub(super) fn is_exact(&self) -> bool {
        !self.prefix && self.plus == 0
    }

    pub(super) fn is_prefix(&self) -> bool {
        self.prefix
    }

    pub(super) fn has_plus(&self) -> bool {
        self.plus > 0
    }

    pub(super) fn rank(&self) -> Rank<'_> {
        Rank {
            wild_at: self.wild_at,
            whole: !self.prefix,
            few_plus: std::cmp::Reverse(self.plus),
            length: self.text.len(),
            text: &self.text,
        }
    }

    /// Whether this pattern covers a path.
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        if self.plus == 0 {
            return if self.prefix { path.starts_with(self.body()) } else { path == self.text };
        }
        let mut rest = Some(path);
        let mut segments = self.body().split('/').peekable();
        while let Some(segment) = segments.next() {
            let Some(left) = rest else { return false };
            if self.prefix && segments.peek().is_none() {
                return left.starts_with(segment);
            }
            let (found, after) = cut(left);
            if segment != "+" && segment != found {
                return false;
            }
            rest = after;
        }
        rest.is_none()
    }

    /// Whether some path that starts with `prefix` can match. `prefix` ends in a slash.
    pub(super) fn reaches(&self, prefix: &str) -> bool {
        let body = self.body();
        if self.plus == 0 {
            return body.starts_with(prefix) || self.prefix && prefix.starts_with(body);
        }
        let mut rest = prefix;
        let mut segments = body.split('/').peekable();
        while !rest.is_empty() {
            let Some(segment) = segments.next() else { return false };
            if self.prefix && segments.peek().is_none() {
                return rest.starts_with(segment);
            }
            let (found, after) = cut(rest);
            if segment != "+" && segment != found {
                return false;
            }
            rest = after.unwrap_or_default();
        }
        segments.peek().is_some()
    }
}

/// The first segment, and what comes after its slash.
pub(super) fn cut(path: &str) -> (&str, Option<&str>) {
    path.split_once('/').map_or((path, None), |(first, rest)| (first, Some(rest)))
}

impl Rank<'_> {
    /// The rule of the documentation by which `self` loses against a winner.
    pub(super) fn loses_because(&self, winner: &Self) -> &'static str {
        if self.wild_at != winner.wild_at {
            "its first wildcard comes earlier in the path"
        } else if self.whole != winner.whole {
            "it ends in `*`, the deciding rule does not"
        } else if self.few_plus != winner.few_plus {
            "it has more `+` segments"
        } else if self.length != winner.length {
            "it is shorter"
        } else {
            "it comes earlier in the alphabet"
        }
    }
}

impl PartialOrd for Rank<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Rank<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let key = |rank: &Self| (rank.wild_at, rank.whole, rank.few_plus, rank.length);
        key(self).cmp(&key(other)).then_with(|| self.text.cmp(other.text))
    }
}
