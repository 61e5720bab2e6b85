//! People: kubectl by grants of minutes, through the access proxy.

mod attacks;
mod kube_engine;
mod life;
mod town;

use super::scenes::Scene;
pub use town::Town;

/// The scenes.
pub const ALL: &[Scene] = &[
    ("people: from no access to a grant and to its end", life::whole),
    ("people: what runs is cut when the grant ends", life::cut),
    ("people: the server or the proxy is away", life::away),
    ("people: forged identities, tricks with paths, other grants", attacks::tricks),
    ("kubernetes-engine: tokens, bindings and roles for as long as a lease", kube_engine::lives),
    ("kubernetes-engine: the server is killed while it makes credentials", kube_engine::killed),
];
