//! Access of people to clusters: what a grant allows, and whether one request to an API server lies within it. Rules are
//! read as Kubernetes reads those of RBAC (Kubernetes documentation, "Using RBAC Authorization").

mod danger;
mod rule;
mod scope;

pub use danger::dangers;
pub use rule::Rule;
pub use scope::{Scope, TooWide};

/// One request to an API server, as its path and verb say (`RequestInfo` of Kubernetes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes<'a> {
    /// A resource.
    Resource(ResourceAsk<'a>),
    /// Any other path, such as `/version`.
    Path {
        /// The HTTP method in lower case.
        verb: &'a str,
        /// The path.
        path: &'a str,
    },
}

/// One request for a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResourceAsk<'a> {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`...
    pub verb: &'a str,
    /// The API group; empty: the core.
    pub group: &'a str,
    /// The resource, such as `pods`.
    pub resource: &'a str,
    /// The part of it, such as `log`; empty: itself.
    pub subresource: &'a str,
    /// The namespace; empty: of the cluster, or of all namespaces.
    pub namespace: &'a str,
    /// The object; empty for lists and for objects that are made.
    pub name: &'a str,
}

/// Without letters and digits that look alike (Crockford's base 32, lower case).
const LETTERS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// The name of a request or a recording, out of random bytes: ten letters that people can type, 50 bits.
#[must_use]
pub fn name_of(random: [u8; 10]) -> String {
    random.iter().filter_map(|byte| LETTERS.get(usize::from(byte % 32))).map(|letter| char::from(*letter)).collect()
}

/// Where it says which resources there are, and below.
pub const DISCOVERY: [&str; 7] = ["/api", "/apis", "/openapi", "/version", "/livez", "/readyz", "/healthz"];

/// What every client has to read before it can ask for anything: which resources there are. As the cluster role
/// `system:discovery` has it.
#[must_use]
pub fn is_discovery(verb: &str, path: &str) -> bool {
    let below = |root: &str| path == root || path.strip_prefix(root).is_some_and(|rest| rest.starts_with('/'));
    matches!(verb, "get" | "head") && DISCOVERY.into_iter().any(below) && !path.split('/').any(|part| part == "..")
}

#[cfg(test)]
mod tests;
