//! Where things lie.

/// All roles.
pub const ROLES: &str = "roles/";
/// All cases.
pub const CASES: &str = "cases/";
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

/// All clusters with a proxy.
pub const CLUSTERS: &str = "clusters/";

/// A cluster with a proxy.
pub fn cluster(name: &str) -> String {
    format!("{CLUSTERS}{name}")
}
