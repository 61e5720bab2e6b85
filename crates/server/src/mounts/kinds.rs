//! The engines that there are, by type.

use std::sync::{Arc, Weak};

use dewdrop_core::Fault;
use dewdrop_core::engine::Place;
use dewdrop_core::mount::{Mount, MountClass};
use dewdrop_core::route::Room;
use dewdrop_engines::identity::Identities;

use crate::sys::Sys;
use crate::tokens::TokenAuth;
use crate::vault::{ServerHouse, Vault};

/// An engine, opened.
pub struct Opened {
    /// Behind its routes.
    pub room: Room,
    /// Set for the identity mount.
    pub identities: Option<Arc<Identities>>,
}

/// The types that can be mounted by `sys/mounts` or `sys/auth`.
#[must_use]
pub fn known_kinds(class: MountClass) -> &'static [&'static str] {
    match class {
        MountClass::Secret => &["access", "database", "kubernetes", "kv"],
        MountClass::Auth => &["approle", "cert", "jwt", "kubernetes", "oidc", "userpass"],
    }
}

/// Opens the engine of a mount.
///
/// # Errors
/// 400 for a type that is not known, with those that are.
pub fn open(mount: &Mount, place: Place, vault: Weak<Vault>) -> Result<Opened, Fault> {
    if mount.class == MountClass::Secret && mount.kind == "identity" {
        let browsers = Arc::new(ServerHouse(vault));
        let identities = Identities::with_browsers(place, &mount.namespace.id, Some(browsers));
        return Ok(Opened { room: Room::new(identities.clone()), identities: Some(identities) });
    }
    let room = match (mount.class, mount.kind.as_str()) {
        (MountClass::Secret, "kv" | "generic") => open_kv(place)?,
        (MountClass::Secret, "cubbyhole") => Room::new(dewdrop_engines::cubbyhole::Cubbyhole::open(place)),
        (MountClass::Secret, "access") => Room::new(dewdrop_engines::access::Access::open(place)),
        (MountClass::Secret, "kubernetes") => dewdrop_engines::kubernetes::open(place),
        (MountClass::Secret, "database") => dewdrop_engines::database::open(place),
        (MountClass::Secret, "system") => Room::new(Arc::new(Sys::new(vault, mount.namespace.clone()))),
        (MountClass::Auth, "token") => Room::new(Arc::new(TokenAuth::new(vault, place.store))),
        (MountClass::Auth, "approle") => dewdrop_auth::AppRole::open(place),
        (MountClass::Auth, "cert") => dewdrop_auth::Cert::open(place),
        (MountClass::Auth, "jwt" | "oidc") => dewdrop_auth::Jwt::open(place),
        (MountClass::Auth, "kubernetes") => dewdrop_auth::Kubernetes::open(place),
        (MountClass::Auth, "userpass") => dewdrop_auth::Userpass::open(place),
        (class, _) => return Err(unknown(class)),
    };
    Ok(Opened { room, identities: None })
}

fn open_kv(place: Place) -> Result<Room, Fault> {
    match place.options.get("version").map_or("1", String::as_str) {
        "" | "1" => Ok(Room::new(dewdrop_engines::kv1::Kv1::open(place))),
        "2" => Ok(Room::new(dewdrop_engines::kv2::Kv2::open(place))),
        _ => Err(Fault::bad_request("kv has the versions 1 and 2")),
    }
}

fn unknown(class: MountClass) -> Fault {
    let what = match class {
        MountClass::Secret => "secrets engine",
        MountClass::Auth => "auth method",
    };
    Fault::bad_request(format!("unsupported {what} type; there are: {}", known_kinds(class).join(", ")))
}
