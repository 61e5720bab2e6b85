//! Where things lie in the mount's slice of the store.

use dewdrop_core::Moment;

/// The HMAC key.
pub const HMAC_KEY: &[u8] = b"hmac-key";
/// Before the names of roles.
pub const ROLES: &str = "role/";
/// Before all secret ids; `uid` of the role, `/` and the HMAC follow.
pub const SECRETS: &str = "secret/";
/// Before the ends of life.
pub const ENDS: &str = "end/";

/// A role.
pub fn role(name: &str) -> Vec<u8> {
    format!("{ROLES}{name}").into_bytes()
}

/// The role's name, by the HMAC of its role id.
pub fn role_id(hmac: &str) -> Vec<u8> {
    format!("role-id/{hmac}").into_bytes()
}

/// All secret ids of a role.
pub fn secrets_of(uid: &str) -> String {
    format!("{SECRETS}{uid}/")
}

/// A secret id.
pub fn secret(uid: &str, hmac: &str) -> Vec<u8> {
    format!("{SECRETS}{uid}/{hmac}").into_bytes()
}

/// All accessors of a role.
pub fn accessors_of(uid: &str) -> String {
    format!("accessor/{uid}/")
}

/// The HMAC of a secret id, by its accessor.
pub fn accessor(uid: &str, accessor: &str) -> Vec<u8> {
    format!("accessor/{uid}/{accessor}").into_bytes()
}

/// The end of a secret id's life: sorted by time.
pub fn end(at: Moment, uid: &str, hmac: &str) -> Vec<u8> {
    format!("{ENDS}{:016x}/{uid}/{hmac}", at.0).into_bytes()
}

/// Reads a key of [`end`]: the moment, the role's uid, the HMAC.
pub fn parse_end(key: &[u8]) -> Option<(Moment, &str, &str)> {
    let mut parts = std::str::from_utf8(key).ok()?.strip_prefix(ENDS)?.split('/');
    let at = u64::from_str_radix(parts.next()?, 16).ok()?;
    Some((Moment(at), parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_sort_by_time_and_read_back() {
        let early = end(Moment(9), "uid", "hmac");
        assert!(early < end(Moment(10), "a", "a"));
        assert_eq!(parse_end(&early), Some((Moment(9), "uid", "hmac")));
        assert_eq!(parse_end(b"end/zz/a/b"), None);
        assert_eq!(parse_end(b"end/9"), None);
    }
}
