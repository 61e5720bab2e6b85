//! The login. One read, no write, unless the hash is an old one.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::call::{Call, Login, Outcome, Reply};
use dewdrop_core::store::{Batch, Revision};
use dewdrop_core::{Fault, Secret};
use serde_json::json;

use super::Userpass;
use super::password::{LONGEST, PasswordHash};
use super::users::{User, key};
use super::wire::LoginRequest;
use crate::cidr;
use crate::names::parse_name;
use crate::token_params::sorted_policies;

/// The same, and after the same time, for an unknown user and a wrong password.
fn refused() -> Fault {
    Fault::bad_credential("invalid username or password")
}

impl Userpass {
    pub(super) async fn login(self: Arc<Self>, call: Call, ask: LoginRequest) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("username"))?;
        let password = ask.password.map(|text| Secret::new(text.0)).filter(|p| !p.expose().is_empty());
        let password = password.ok_or_else(|| Fault::bad_request("missing password"))?;
        if password.expose().len() > LONGEST {
            return Err(refused());
        }
        let found = self.user(&name).await?;
        let kept = found.as_ref().map_or_else(PasswordHash::of_nobody, |(user, _)| user.password.clone());
        let work = move || kept.verify(&password).map(|good| (good, password));
        let (is_good, password) = self.pool.run(work).await??;
        let Some((user, revision)) = found.filter(|_| is_good) else { return Err(refused()) };
        if !cidr::admits(&user.token.params.bound_cidrs, call.caller.address) {
            return Err(Fault::denied("the user may not log in from this address (token_bound_cidrs)"));
        }
        if user.password.is_old(&password) {
            // What fails here is tried again at the next login; this one is good.
            let _ = self.upgrade(&name, &user, revision, password).await;
        }
        Ok(Outcome::Login(Box::new(answer(name, user))).into())
    }

    /// Replaces an old hash. When another write came first, that one stands.
    async fn upgrade(&self, name: &str, user: &User, at: Revision, password: Secret<String>) -> Result<(), Fault> {
        let password = self.pool.run(move || PasswordHash::of(&password)).await??;
        let user = User { password, token: user.token.clone() };
        self.place.store.commit(Batch::new().expect(key(name), at).put_json(key(name), &user)?).await?;
        Ok(())
    }
}

fn answer(name: String, user: User) -> Login {
    let params = user.token.params;
    Login {
        metadata: BTreeMap::from([("username".into(), name.clone())]),
        display_name: name.clone(),
        internal: json!({ "username": name, "policies": sorted_policies(&params.policies) }),
        alias: name,
        params,
        renewable: true,
        ..Login::default()
    }
}
