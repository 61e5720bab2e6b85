//! Users: make, read, list, change, remove.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, Revision, get_json};
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Secret};
use serde::{Deserialize, Serialize};

use super::Userpass;
use super::password::{LONGEST, PasswordHash};
use super::wire::{PasswordRequest, PoliciesRequest, UserRequest};
use crate::listing::{Page, list};
use crate::names::parse_name;
use crate::rows;
use crate::token_params::{OldFields, TokenFields, TokenSettings};

const USERS: &str = "user/";

/// What is kept of a user.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct User {
    /// What is kept of the password.
    pub password: PasswordHash,
    /// How tokens are made.
    pub token: TokenSettings,
}

/// All paths of users.
pub fn routes() -> Routes<Userpass> {
    Routes::new("")
        .at("users", "The names of all users.", |route| route.list("Lists the users.", Userpass::list_users))
        .at("users/{username}", "A user: password, and what tokens they get.", |route| {
            route
                .exists(Userpass::user_exists)
                .read("Reads the user.", Userpass::read_user)
                .write("Makes or changes the user.", Userpass::write_user)
                .delete("Removes the user.", Userpass::delete_user)
        })
        .at("users/{username}/password", "The password.", |route| {
            route.write("Sets the password.", Userpass::write_password)
        })
        .at("users/{username}/policies", "Policies of the tokens.", |route| {
            route.write("Sets the policies.", Userpass::write_policies)
        })
}

pub fn key(name: &str) -> Vec<u8> {
    format!("{USERS}{name}").into_bytes()
}

impl Userpass {
    /// A user with the revision of the record.
    pub(super) async fn user(&self, name: &str) -> Result<Option<(User, Revision)>, Fault> {
        Ok(get_json(&*self.place.store, &key(name)).await?)
    }

    async fn user_exists(self: Arc<Self>, captures: BTreeMap<&'static str, String>) -> Result<bool, Fault> {
        let name = parse_name(captures.get("username").map_or("", String::as_str))?;
        Ok(self.place.store.get(&key(&name)).await?.is_some())
    }

    async fn list_users(self: Arc<Self>, _call: Call, page: Page) -> Result<Reply, Fault> {
        list(&*self.place.store, USERS, &page).await
    }

    async fn read_user(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("username"))?;
        let (user, _) = self.user(&name).await?.ok_or_else(Fault::not_found)?;
        Ok(Reply::data(user.token.show()))
    }

    async fn write_user(self: Arc<Self>, call: Call, ask: UserRequest) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("username"))?;
        let old = || OldFields {
            policies: ask.policies.clone(),
            ttl: ask.ttl,
            max_ttl: ask.max_ttl,
            bound_cidrs: ask.bound_cidrs.clone(),
            ..OldFields::default()
        };
        let password = self.hash(ask.password.clone(), ask.password_hash.as_ref()).await?;
        self.change_user(&name, |user| {
            let mut user = match (user, &password) {
                (Some(user), None) => user,
                (Some(user), Some(password)) => User { password: password.clone(), ..user },
                (None, Some(password)) => User { password: password.clone(), token: TokenSettings::default() },
                (None, None) => return Err(no_password()),
            };
            user.token.apply(ask.token_fields(), old())?;
            Ok(user)
        })
        .await
    }

    async fn delete_user(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("username"))?;
        self.place.store.commit(Batch::new().delete(key(&name))).await?;
        Ok(Reply::nothing())
    }

    async fn write_password(self: Arc<Self>, call: Call, ask: PasswordRequest) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("username"))?;
        if self.user(&name).await?.is_none() {
            return Err(no_user());
        }
        let password = self.hash(ask.password, ask.password_hash.as_ref()).await?.ok_or_else(no_password)?;
        let change =
            |user: Option<User>| user.map(|user| User { password: password.clone(), ..user }).ok_or_else(no_user);
        self.change_user(&name, change).await
    }

    async fn write_policies(self: Arc<Self>, call: Call, ask: PoliciesRequest) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("username"))?;
        self.change_user(&name, |user| {
            let mut user = user.ok_or_else(no_user)?;
            let new = TokenFields { policies: ask.token_policies.clone(), ..TokenFields::default() };
            user.token.apply(new, OldFields { policies: ask.policies.clone(), ..OldFields::default() })?;
            Ok(user)
        })
        .await
    }

    /// The hash that a request asks for; `None`: it gives neither password nor hash.
    async fn hash(&self, password: Option<Text>, hash: Option<&Text>) -> Result<Option<PasswordHash>, Fault> {
        let password = password.map(|text| Secret::new(text.0)).filter(|p| !p.expose().is_empty());
        let hash = hash.filter(|text| !text.0.is_empty());
        match (password, hash) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(Fault::bad_request("only one of password or password_hash may be provided")),
            (None, Some(hash)) => PasswordHash::bcrypt(&hash.0).map(Some),
            (Some(password), None) if password.expose().len() > LONGEST => {
                Err(Fault::bad_request(format!("the password is too long: at most {LONGEST} bytes")))
            }
            (Some(password), None) => self.pool.run(move || PasswordHash::of(&password)).await?.map(Some),
        }
    }

    /// Reads a user, changes it and writes it back; anew when another write came first.
    async fn change_user(
        &self,
        name: &str,
        change: impl Fn(Option<User>) -> Result<User, Fault> + Send + Sync,
    ) -> Result<Reply, Fault> {
        rows::change(&*self.place.store, &key(name), change).await?;
        Ok(Reply::nothing())
    }
}

fn no_password() -> Fault {
    Fault::bad_request("must provide either password or password_hash")
}

fn no_user() -> Fault {
    Fault::missing("username does not exist")
}
