//! People: kubectl by grants of minutes, through the access proxy.

mod attacks;
mod exec_guard;
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
    ("people: exec needs a grant, and what it saw is replaced", exec_guard::guarded),
];
