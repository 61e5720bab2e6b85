//! Ranges of keys that share a prefix.

use std::ops::Bound;

/// Lower and upper bound of a range of keys.
pub(crate) type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

/// The first key after all those that start with `prefix`; `None` when there is no end (empty, or only 0xff).
pub(crate) fn end(prefix: &[u8]) -> Option<Vec<u8>> {
    let last = prefix.iter().rposition(|byte| *byte != 0xff)?;
    let mut end = prefix[..=last].to_vec();
    end[last] += 1;
    Some(end)
}

/// The bounds of the keys below `prefix` and after `after`; `None` when there can be none.
/// `end` is [`end`] of the same prefix, which the caller keeps alive.
pub(crate) fn bounds<'a>(prefix: &'a [u8], end: Option<&'a [u8]>, after: Option<&'a [u8]>) -> Option<Bounds<'a>> {
    let upper = end.map_or(Bound::Unbounded, Bound::Excluded);
    match after {
        Some(after) if after >= prefix => {
            if end.is_some_and(|end| after >= end) {
                return None;
            }
            Some((Bound::Excluded(after), upper))
        }
        _ => Some((Bound::Included(prefix), upper)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_prefix_carries_over_ff() {
        assert_eq!(end(b"a"), Some(b"b".to_vec()));
        assert_eq!(end(b"a\xff\xff"), Some(b"b".to_vec()));
        assert_eq!(end(b"\xff\xff"), None);
        assert_eq!(end(b""), None);
    }

    #[test]
    fn after_the_last_key_there_is_nothing() {
        assert!(bounds(b"a", Some(b"b"), Some(b"b")).is_none());
        assert_eq!(bounds(b"b", Some(b"c"), Some(b"a")).unwrap().0, Bound::Included(b"b".as_slice()));
        assert_eq!(bounds(b"b", Some(b"c"), Some(b"b1")).unwrap().0, Bound::Excluded(b"b1".as_slice()));
    }
}
