//! Userpass: people log in with a name and a password. Paths, fields and texts follow the public API documentation and
//! what an OpenBao server was seen to answer. Passwords are kept as argon2id hashes (`password.rs`); a bcrypt hash that a
//! caller brought along is replaced by one of these at its first good login.
//!
//! Locking users out after failed logins is the server's work: it counts faults of `Kind::BadCredential`.

mod login;
mod password;
mod pool;
mod users;
mod wire;

use std::sync::Arc;

use async_trait::async_trait;
use dewdrop_core::Fault;
use dewdrop_core::call::Caller;
use dewdrop_core::engine::{Engine, Place};
use dewdrop_core::route::{Room, Routes};
use dewdrop_core::token::TokenParams;
use serde_json::Value;

use crate::token_params::sorted_policies;
use pool::Pool;

/// The auth method at one mount.
pub struct Userpass {
    place: Place,
    pool: Arc<Pool>,
}

impl Userpass {
    /// The method behind its routes. All mounts of a process share the threads that hash.
    #[must_use]
    pub fn open(place: Place) -> Room {
        Room::new(Arc::new(Self { place, pool: Pool::of_process() }))
    }
}

#[async_trait]
impl Engine for Userpass {
    fn routes() -> Routes<Self> {
        Routes::new("People log in with a name and a password.")
            .at("login/{username}", "Logs in with a password.", |route| {
                route.public("this is how a caller gets a token").write("Logs in.", Self::login)
            })
            .and(users::routes())
    }

    /// A token ends when the user is gone, or has other policies by now.
    async fn renew_login(&self, internal: &Value, _: &Caller) -> Result<TokenParams, Fault> {
        let name = internal.get("username").and_then(Value::as_str).unwrap_or_default();
        let gone = || Fault::bad_request(format!("user {name:?} does not exist any more: log in again"));
        let params = self.user(name).await?.ok_or_else(gone)?.0.token.params;
        let at_login = internal.get("policies").and_then(Value::as_array).cloned().unwrap_or_default();
        if sorted_policies(&params.policies) != at_login {
            return Err(Fault::bad_request("policies have changed, not renewing"));
        }
        Ok(params)
    }
}

#[cfg(test)]
mod tests;
