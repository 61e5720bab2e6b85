//! Where things lie.

/// All roles.
pub const ROLES: &str = "roles/";
/// All cases.
pub const CASES: &str = "cases/";
/// The names of cases that are not over, or were not when it was looked last: nobody reads all cases to find these few.
pub const OPEN: &str = "open/";
/// The authorities that sign certificates.
pub const AUTHORITY: &str = "authority";

/// A role.
pub fn role(name: &str) -> String {
    format!("{ROLES}{name}")
}

/// A case.
pub fn case(id: &str) -> String {
    format!("{CASES}{id}")
}

/// The authorities that a cluster without a proxy trusts, and no other cluster.
pub fn authority(cluster: &str) -> String {
    format!("authorities/{cluster}")
}

/// The issuer of tokens, with its keys.
pub const ISSUER: &str = "issuer";

/// All clusters.
pub const CLUSTERS: &str = "clusters/";

/// A cluster.
pub fn cluster(name: &str) -> String {
    format!("{CLUSTERS}{name}")
}

/// What a case left behind.
pub fn left(id: &str) -> String {
    format!("left/{id}")
}

/// What went round the access proxies.
pub const AROUND: &str = "around/";

/// The names of cases that left something which can be deleted.
pub const SWEEPS: &str = "sweeps/";

/// A case that left something which can be deleted.
pub fn sweep(id: &str) -> String {
    format!("{SWEEPS}{id}")
}

/// A case that is not over.
pub fn open(id: &str) -> String {
    format!("{OPEN}{id}")
}

/// The names of break-glasses that nobody has looked at.
pub const UNREVIEWED: &str = "unreviewed/";

/// A break-glass that nobody has looked at.
pub fn unreviewed(id: &str) -> String {
    format!("{UNREVIEWED}{id}")
}

/// What there is to say of each recording.
pub const RECORDINGS: &str = "recordings/";

/// What there is to say of a recording.
pub fn recording(id: &str) -> String {
    format!("{RECORDINGS}{id}")
}

/// A piece of a recording; no number: all of them.
pub fn piece(id: &str, number: Option<u32>) -> String {
    number.map_or_else(|| format!("recorded/{id}/"), |number| format!("recorded/{id}/{number:08}"))
}

/// All notices.
pub const NOTICES: &str = "notices/";

/// Who is told.
pub fn notice(name: &str) -> String {
    format!("{NOTICES}{name}")
}

/// How it went with a notice.
pub fn outcome(name: &str) -> String {
    format!("told/{name}")
}

/// What waits for a notice.
pub fn outbox(name: &str) -> String {
    format!("outbox/{name}/")
}
