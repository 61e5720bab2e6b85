//! Patterns of paths below a mount.

use std::collections::BTreeMap;

/// A parsed pattern; see [`Routes::at`](super::Routes::at).
#[derive(Debug, Clone)]
pub struct Pattern {
    text: &'static str,
    parts: Vec<Part>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(&'static str),
    Segment(&'static str),
    Rest(&'static str),
}

impl Pattern {
    /// Parses a pattern of the source code.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        let parts = text.split('/').filter(|part| !part.is_empty()).map(parse_part).collect();
        Self { text, parts }
    }

    /// As it was written.
    #[must_use]
    pub fn text(&self) -> &'static str {
        self.text
    }

    /// Whether it ends in a part that catches all the rest.
    #[must_use]
    pub fn is_open_ended(&self) -> bool {
        matches!(self.parts.last(), Some(Part::Rest(_)))
    }

    /// What the pattern catches of a path (no leading slash), or `None` when it does not match.
    #[must_use]
    pub fn catch(&self, path: &str) -> Option<BTreeMap<&'static str, String>> {
        let mut left = Some(path).filter(|p| !p.is_empty());
        let mut caught = BTreeMap::new();
        for part in &self.parts {
            let rest = left?;
            if let Part::Rest(name) = part {
                caught.insert(*name, rest.to_owned());
                return Some(caught);
            }
            let (segment, after) = rest.split_once('/').map_or((rest, None), |(segment, after)| (segment, Some(after)));
            match part {
                Part::Literal(word) if *word == segment => {}
                Part::Segment(name) if !segment.is_empty() => {
                    caught.insert(*name, segment.to_owned());
                }
                _ => return None,
            }
            left = after;
        }
        left.is_none().then_some(caught)
    }
}

fn parse_part(part: &'static str) -> Part {
    let Some(inner) = part.strip_prefix('{').and_then(|p| p.strip_suffix('}')) else { return Part::Literal(part) };
    inner.strip_suffix('*').map_or(Part::Segment(inner), Part::Rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caught(pattern: &'static str, path: &str) -> Option<Vec<(&'static str, String)>> {
        Pattern::new(pattern).catch(path).map(|c| c.into_iter().collect())
    }

    #[test]
    fn patterns_catch_what_they_say() {
        assert_eq!(caught("roles/{name}", "roles/app"), Some(vec![("name", "app".into())]));
        assert_eq!(caught("roles/{name}", "roles/app/x"), None);
        assert_eq!(caught("roles/{name}", "roles"), None);
        assert_eq!(caught("roles/{name}", "roles/"), None);
        assert_eq!(caught("roles", "roles/"), None);
        assert_eq!(caught("data/{path*}", "data/a/b/c"), Some(vec![("path", "a/b/c".into())]));
        assert_eq!(caught("data/{path*}", "data"), None);
        assert_eq!(caught("", ""), Some(vec![]));
        assert_eq!(caught("", "x"), None);
        assert_eq!(caught("{path*}", "x/"), Some(vec![("path", "x/".into())]));
        assert_eq!(
            caught("role/{role}/secret-id/{act}", "role/a/secret-id/lookup"),
            Some(vec![("act", "lookup".into()), ("role", "a".into())])
        );
    }
}
