//! A role's half for sign-in by browser.

use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::wire::Strings;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::super::role::or_null;
use super::super::wire::RoleRequest;
use crate::token_params::set;

/// The most redirect URIs or scopes.
const MOST: usize = 500;
/// Seconds between two asks of a client that waits.
const POLL: u64 = 5;

/// What is kept of a role.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Browser {
    /// It is a role for browsers (`role_type=oidc`).
    pub is_on: bool,
    /// Where browsers may be sent back to.
    pub redirects: Vec<String>,
    /// Beside `openid`.
    pub scopes: Vec<String>,
    /// Who hears from the provider.
    pub callback: Callback,
    /// Seconds; zero: the default.
    pub poll_interval: u64,
    /// Seconds that a sign-in at the provider may be old; zero: any.
    pub max_age: u64,
    /// The page of `direct` does not ask.
    pub no_confirmation: bool,
}

/// Who hears from the provider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Callback {
    /// The client that began.
    #[default]
    Client,
    /// We; the client asks us.
    Direct,
    /// Nobody: we ask the provider.
    Device,
}

impl Browser {
    /// Takes over what a request gives.
    ///
    /// # Errors
    /// 400 for what cannot be; 501 for what is not built.
    pub fn apply(&mut self, ask: &RoleRequest) -> Result<(), Fault> {
        self.is_on = match ask.role_type.as_ref().map_or("", |text| text.0.as_str()) {
            "jwt" => false,
            "" | "oidc" => true,
            _ => return Err(Fault::bad_request("invalid 'role_type': use oidc or jwt")),
        };
        refuse_unbuilt(ask)?;
        set(&mut self.redirects, ask.allowed_redirect_uris.clone().map(|list| list.0));
        set(&mut self.scopes, ask.oidc_scopes.clone().map(|list| list.0));
        set(&mut self.max_age, ask.max_age.map(|age| age.0.as_secs()));
        // Not kept when it is not said again, as the API has it: the page asks, unless the last write says otherwise.
        self.no_confirmation = ask.oidc_disable_confirmation.is_some_and(|flag| flag.0);
        if let Some(interval) = ask.poll_interval {
            let refuse = |_| Fault::bad_request("poll_interval is a number of seconds");
            self.poll_interval = u64::try_from(interval.0).map_err(refuse)?;
        }
        if let Some(mode) = &ask.callback_mode {
            self.callback = Callback::named(&mode.0)?;
        }
        self.check()
    }

    fn check(&self) -> Result<(), Fault> {
        if self.is_on && self.redirects.is_empty() {
            let told = "'allowed_redirect_uris' must be set if 'role_type' is 'oidc' or unspecified.";
            return Err(Fault::bad_request(told));
        }
        if self.redirects.len() > MOST || self.scopes.len() > MOST {
            return Err(Fault::bad_request("allowed_redirect_uris and oidc_scopes have at most 500 entries"));
        }
        if self.scopes.iter().any(|scope| scope.is_empty() || scope.contains(char::is_whitespace)) {
            return Err(Fault::bad_request("each of oidc_scopes is one word"));
        }
        Ok(())
    }

    /// What a client that waits is told.
    pub fn pause(&self) -> Duration {
        Duration::from_secs(if self.poll_interval == 0 { POLL } else { self.poll_interval })
    }

    /// Its fields of a read.
    pub fn show(&self) -> Map<String, Value> {
        let mut fields = Map::new();
        let mut put = |name: &str, value: Value| drop(fields.insert(name.to_owned(), value));
        put("allowed_redirect_uris", or_null(self.redirects.is_empty(), json!(self.redirects)));
        put("callback_mode", json!(self.callback));
        put("max_age", json!(self.max_age));
        put("oidc_disable_confirmation", json!(self.no_confirmation));
        put("oidc_scopes", or_null(self.scopes.is_empty(), json!(self.scopes)));
        put("role_type", json!(if self.is_on { "oidc" } else { "jwt" }));
        if self.poll_interval > 0 {
            put("poll_interval", json!(self.poll_interval));
        }
        fields
    }
}

impl Callback {
    fn named(name: &str) -> Result<Self, Fault> {
        match name {
            "" | "client" => Ok(Self::Client),
            "direct" => Ok(Self::Direct),
            "device" => Ok(Self::Device),
            _ => Err(Fault::bad_request("invalid 'callback_mode': use client, direct or device")),
        }
    }
}

fn refuse_unbuilt(ask: &RoleRequest) -> Result<(), Fault> {
    let has = |list: &Option<Strings>| list.as_ref().is_some_and(|list| !list.0.is_empty());
    if has(&ask.oauth2_metadata) {
        return Err(Fault::not_built("oauth2_metadata is not built: the provider's tokens are not handed on"));
    }
    if ask.verbose_oidc_logging.is_some_and(|flag| flag.0) {
        return Err(Fault::not_built("verbose_oidc_logging is not built: claims of people are not logged"));
    }
    Ok(())
}
