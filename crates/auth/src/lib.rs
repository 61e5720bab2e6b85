//! The auth methods: each proves who somebody is and says what token they may have. The server makes the token.
//!
//! A wrong credential is a fault of [`Kind::BadCredential`](dewdrop_core::Kind::BadCredential), with the same text for an
//! unknown name and a wrong secret, so that the server can count it for its lock-out; the name that it counts under is
//! told by [`login_name`].

pub mod approle;
pub mod cert;
mod cidr;
#[doc(hidden)]
pub mod fuzzing;
mod glob;
mod jose;
pub mod jwt;
mod kept_roles;
pub mod kubernetes;
mod listing;
mod names;
mod rows;
mod token_params;
pub mod userpass;

use dewdrop_core::Fault;
use dewdrop_core::store::SharedStore;
use serde_json::{Map, Value};

pub use approle::AppRole;
pub use cert::Cert;
pub use jwt::Jwt;
pub use kubernetes::Kubernetes;
pub use userpass::Userpass;

/// The name that a login tries to be, before it is checked: the user of `login/{username}`, the role id of an AppRole
/// login. `path` is below the mount. `None`: no login path of that method, or no name in it.
#[must_use]
pub fn login_name(method: &str, path: &str, fields: &Map<String, Value>) -> Option<String> {
    match method {
        "userpass" => path.strip_prefix("login/").map(str::to_lowercase),
        "approle" if path == "login" => fields.get("role_id").and_then(Value::as_str).map(str::to_owned),
        _ => None,
    }
    .filter(|name| !name.is_empty())
}

/// The role that a login names, before it is checked. `store` is the mount's slice, `path` is below the mount. `None`: no
/// login path of a method with roles, or a role that is not there.
///
/// # Errors
/// The store's.
pub async fn login_role(
    method: &str,
    store: SharedStore,
    path: &str,
    fields: &Map<String, Value>,
) -> Result<Option<String>, Fault> {
    let field = |name: &str| fields.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (method, path) {
        ("approle", "login") => match field("role_id") {
            Some(role_id) => approle::role_name(store, role_id).await,
            None => Ok(None),
        },
        ("kubernetes", "login" | "agent/start") => Ok(field("role").map(str::to_owned)),
        ("jwt", "login") => match field("role") {
            Some(role) => Ok(Some(role.to_owned())),
            None => jwt::default_role(store).await,
        },
        _ => Ok(None),
    }
}

#[cfg(test)]
mod counting;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn login_names_are_those_of_the_aliases() {
        let fields = serde_json::json!({ "role_id": "Abc" });
        let fields = fields.as_object().unwrap();
        assert_eq!(login_name("userpass", "login/Bob", fields), Some("bob".into()));
        assert_eq!(login_name("approle", "login", fields), Some("Abc".into()));
        assert_eq!(login_name("approle", "role/x", fields), None);
        assert_eq!(login_name("userpass", "login/", fields), None);
    }
}
