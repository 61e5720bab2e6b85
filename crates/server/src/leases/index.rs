//! The keys under which tokens and leases are kept, and the indexes that find them again: by time, by owner, by path.
//!
//! | key | value |
//! |---|---|
//! | `tok/ACCESSOR` | the token's record |
//! | `kid/PARENT/CHILD` | nothing: CHILD was made by PARENT |
//! | `lease/NS/ID` | the lease |
//! | `tlease/NS/ID` | nothing: the lease id of a token, for listing |
//! | `own/ACCESSOR/NS/ID` | nothing: the lease ends with that token |
//! | `on/MOUNT/NS/ID` | nothing: the lease is the business of that mount |
//! | `due/TIME/...` | what is to be done then; TIME is 12 hex digits of milliseconds. Of a lease: its mount |
//! | `gone/ACCESSOR` | a token that was ended, whose leases and children are still to be ended |
//! | `below/NS/TIME/PREFIX` | nothing: all that was made below a path until then is still to be revoked |

use dewdrop_core::Moment;

/// Where tokens are.
pub const TOKENS: &[u8] = b"tok/";
/// Where leases are.
pub const LEASES: &[u8] = b"lease/";
/// Where the time index is.
pub const DUE: &[u8] = b"due/";
/// Where the tombstones are.
pub const GONE: &[u8] = b"gone/";
/// Where revocations by prefix are that are not done yet.
pub const BELOW: &[u8] = b"below/";

/// What falls due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Due {
    /// A token ends.
    Token(String),
    /// A lease (namespace id, lease id) ends or is tried again.
    Lease(String, String),
}

/// Key of a token's record.
#[must_use]
pub fn token(accessor: &str) -> Vec<u8> {
    format!("tok/{accessor}").into_bytes()
}

/// Key that says who made whom.
#[must_use]
pub fn child(parent: &str, child: &str) -> Vec<u8> {
    format!("kid/{parent}/{child}").into_bytes()
}

/// Where the children of a token are.
#[must_use]
pub fn children(parent: &str) -> Vec<u8> {
    format!("kid/{parent}/").into_bytes()
}

/// Key of a lease.
#[must_use]
pub fn lease(namespace: &str, id: &str) -> Vec<u8> {
    format!("lease/{namespace}/{id}").into_bytes()
}

/// Key of a token's entry in the list of leases.
#[must_use]
pub fn token_lease(namespace: &str, id: &str) -> Vec<u8> {
    format!("tlease/{namespace}/{id}").into_bytes()
}

/// Key that ties a lease to its owner.
#[must_use]
pub fn owned(accessor: &str, namespace: &str, id: &str) -> Vec<u8> {
    format!("own/{accessor}/{namespace}/{id}").into_bytes()
}

/// Where the leases of a token are.
#[must_use]
pub fn owned_by(accessor: &str) -> Vec<u8> {
    format!("own/{accessor}/").into_bytes()
}

/// Key that ties a lease to its mount.
#[must_use]
pub fn on_mount(mount: &str, namespace: &str, id: &str) -> Vec<u8> {
    format!("on/{mount}/{namespace}/{id}").into_bytes()
}

/// Where the leases of a mount are.
#[must_use]
pub fn on_mount_all(mount: &str) -> Vec<u8> {
    format!("on/{mount}/").into_bytes()
}

/// Namespace id and lease id at the end of a key of [`owned`] or [`on_mount`], below the prefix.
#[must_use]
pub fn lease_of(key: &[u8], prefix: &[u8]) -> Option<(String, String)> {
    let rest = std::str::from_utf8(key.strip_prefix(prefix)?).ok()?;
    rest.split_once('/').map(|(namespace, id)| (namespace.to_owned(), id.to_owned()))
}

/// Key of a tombstone.
#[must_use]
pub fn gone(accessor: &str) -> Vec<u8> {
    format!("gone/{accessor}").into_bytes()
}

/// When a token ends.
#[must_use]
pub fn due_token(at: Moment, accessor: &str) -> Vec<u8> {
    due(at, "t", accessor)
}

/// When a lease ends or is tried again.
#[must_use]
pub fn due_lease(at: Moment, namespace: &str, id: &str) -> Vec<u8> {
    due(at, "l", &format!("{namespace}/{id}"))
}

/// A key of the time index that lies before all that is due at a moment, and after all that is due earlier.
#[must_use]
pub fn due_from(at: Moment) -> Vec<u8> {
    format!("due/{}/", time(at)).into_bytes()
}

fn due(at: Moment, kind: &str, what: &str) -> Vec<u8> {
    format!("due/{}/{kind}/{what}", time(at)).into_bytes()
}

fn time(at: Moment) -> String {
    format!("{:012x}", at.0.min(0xffff_ffff_ffff))
}

/// Key of a revocation of all that was made below a path until a moment.
#[must_use]
pub fn below(namespace: &str, until: Moment, prefix: &str) -> Vec<u8> {
    format!("below/{namespace}/{}/{prefix}", time(until)).into_bytes()
}

/// Reads a key of [`below`]: namespace id, moment, path.
#[must_use]
pub fn parse_below(key: &[u8]) -> Option<(String, Moment, String)> {
    let mut parts = std::str::from_utf8(key.strip_prefix(BELOW)?).ok()?.splitn(3, '/');
    let (namespace, until, prefix) = (parts.next()?, parts.next()?, parts.next()?);
    Some((namespace.to_owned(), Moment(u64::from_str_radix(until, 16).ok()?), prefix.to_owned()))
}

/// Reads a key of the time index.
#[must_use]
pub fn parse_due(key: &[u8]) -> Option<(Moment, Due)> {
    let rest = std::str::from_utf8(key.strip_prefix(DUE)?).ok()?;
    let mut parts = rest.splitn(3, '/');
    let at = Moment(u64::from_str_radix(parts.next()?, 16).ok()?);
    let what = match (parts.next()?, parts.next()?) {
        ("t", accessor) => Due::Token(accessor.to_owned()),
        ("l", lease) => lease.split_once('/').map(|(ns, id)| Due::Lease(ns.to_owned(), id.to_owned()))?,
        _ => return None,
    };
    Some((at, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_keys_sort_by_time_and_read_back() {
        let early = due_lease(Moment(255), "root", "database/creds/app/x");
        let late = due_token(Moment(256), "acc");
        assert!(early < late);
        assert_eq!(parse_due(&early), Some((Moment(255), Due::Lease("root".into(), "database/creds/app/x".into()))));
        assert_eq!(parse_due(&late), Some((Moment(256), Due::Token("acc".into()))));
        assert_eq!(parse_due(b"due/zz/t/x"), None);
        assert!(early < due_from(Moment(256)) && due_from(Moment(256)) < late);
        let all = below("root", Moment(7), "database/creds");
        assert_eq!(parse_below(&all), Some(("root".into(), Moment(7), "database/creds".into())));
    }

    #[test]
    fn lease_ids_may_hold_slashes() {
        let key = owned("acc", "root", "database/creds/app/x");
        assert_eq!(lease_of(&key, &owned_by("acc")), Some(("root".into(), "database/creds/app/x".into())));
    }
}
