//! People: kubectl by grants of minutes, through the access proxy.

mod attacks;
mod edges;
mod life;
mod old;
mod town;

use super::scenes::Scene;
pub use town::Town;

/// The scenes.
pub const ALL: &[Scene] = &[
    ("people: from no access to a grant and to its end", life::whole),
    ("people: what runs is cut when the grant ends", life::cut),
    ("people: the server or the proxy is away", life::away),
    ("people: the approver leaves, the role goes", edges::what_allowed_it_goes),
    ("people: the proxy is killed, the server silent in the middle of a session", edges::broken_sessions),
    ("people: requests hidden in bodies", edges::smuggled),
    ("people: the API server restarts during a watch", edges::api_server_restarts),
    ("people: an old kubectl, over SPDY", old::speaks_spdy),
    ("people: forged identities, tricks with paths, other grants", attacks::tricks),
];
