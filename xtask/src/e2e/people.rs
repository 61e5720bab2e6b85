//! People: kubectl by grants of minutes, through the access proxy.

mod aggregated;
mod attacks;
mod cli;
mod constrained;
mod direct;
mod direct_tokens;
mod edges;
mod exec_guard;
mod full_disk;
mod heard;
mod kube_engine;
mod life;
mod old;
mod sweep;
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
    ("people: the disk of the audit log is full", full_disk::fails_closed),
    ("people: requests hidden in bodies", edges::smuggled),
    ("people: the API server restarts during a watch", edges::api_server_restarts),
    ("people: an old kubectl, over SPDY", old::speaks_spdy),
    ("people: forged identities, tricks with paths, other grants", attacks::tricks),
    ("people: an API server behind the API server", aggregated::behind),
    ("people: what the proxy's own token is good for", constrained::own_identity),
    ("people: what was made to keep access is refused, shown, and swept at the end", sweep::swept),
    ("people: what is left behind is shown, and what cannot be deleted too", sweep::reported),
    ("people: the API server tells what came by a grant and what went around", heard::heard),
    ("people: a cluster without the access proxy", direct::direct),
    ("people: a cluster without the access proxy, by tokens", direct_tokens::tokens),
    ("people: kubectl dewdrop, and from a command back to its approval", cli::plugin),
    ("people: exec needs a grant, and what it saw is replaced", exec_guard::guarded),
    ("kubernetes-engine: tokens, bindings and roles for as long as a lease", kube_engine::lives),
    ("kubernetes-engine: the server is killed while it makes credentials", kube_engine::killed),
];
