//! `oidc/auth_url`: a sign-in begins.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::{Fault, Secret};
use serde_json::{Map, Value};

use super::super::{Jwt, Source, role::Role};
use super::browser::Callback;
use super::pending::{Pending, Stage};
use super::proof::{challenge, random};
use super::provider::{Document, Provider, Trouble};
use super::redirects::is_allowed;
use super::wire::{BeginRequest, text};
use crate::kept_roles::KeepsRoles;

/// The longest text of a client's own, and the longest URI, in bytes: what waits is in memory, and nobody has signed in yet.
const LONGEST: usize = 1024;
const LONGEST_URI: usize = 2048;

impl Jwt {
    pub(super) async fn begin(self: Arc<Self>, call: Call, ask: BeginRequest) -> Result<Reply, Fault> {
        let source = self.source().await?.ok_or_else(|| Fault::bad_request("could not load configuration"))?;
        let provider = provider_of(&source)?;
        let (redirect, client_nonce) = (text(ask.redirect_uri), text(ask.client_nonce));
        let name = Some(text(ask.role)).filter(|name| !name.is_empty());
        let name = name.unwrap_or_else(|| source.config.default_role.clone()).to_lowercase();
        if name.is_empty() {
            return Err(Fault::bad_request("missing role"));
        }
        let role = self.role(&name).await?.ok_or_else(unknown)?;
        let callback = role.browser.callback;
        if callback != Callback::Device && redirect.is_empty() {
            return Err(Fault::bad_request("missing redirect_uri"));
        }
        if callback != Callback::Client && client_nonce.is_empty() {
            return Err(Fault::bad_request("missing client_nonce"));
        }
        if client_nonce.len() > LONGEST {
            return Err(Fault::bad_request("client_nonce is longer than 1024 bytes"));
        }
        // A device's is compared with nothing.
        if redirect.len() > LONGEST_URI {
            return Err(Fault::bad_request("redirect_uri is longer than 2048 bytes"));
        }
        let may_go = callback == Callback::Device || is_allowed(&redirect, &role.browser.redirects);
        if !role.browser.is_on || !may_go {
            // As the API has it: an empty URL and no error.
            return Ok(Reply::data(one("auth_url", "")));
        }
        let pending = Pending {
            role: role.name.clone(),
            redirect,
            callback,
            client_nonce,
            nonce: format!("n_{}", random()?),
            verifier: Arc::new(Secret::new(random()?)),
            address: call.caller.address,
            begun: self.place.clock.steady(),
            stage: Stage::Waiting,
        };
        match callback {
            Callback::Device => self.begin_device(provider, &role, pending).await,
            Callback::Client | Callback::Direct => self.begin_code(provider, &role, pending).await,
        }
    }

    async fn begin_code(&self, provider: &Provider, role: &Role, pending: Pending) -> Result<Reply, Fault> {
        let document = provider.document().await.map_err(|trouble| away(&trouble))?;
        let state = format!("st_{}", random()?);
        let mut fields = one("auth_url", &url(provider, &document, role, &pending, &state));
        if pending.callback == Callback::Direct {
            fields.insert("state".into(), state.clone().into());
            fields.insert("poll_interval".into(), role.browser.pause().as_secs().to_string().into());
        }
        self.pending.add(state, pending, self.place.clock.steady());
        Ok(Reply::data(fields))
    }

    async fn begin_device(&self, provider: &Provider, role: &Role, pending: Pending) -> Result<Reply, Fault> {
        let device = provider.begin_device(&scope(role)).await.map_err(|trouble| away(&trouble))?;
        let state = format!("st_{}", random()?);
        let now = self.place.clock.steady();
        let own = Duration::from_secs(if device.interval == 0 { 5 } else { device.interval.min(60) });
        let pause = own.max(Duration::from_secs(role.browser.poll_interval));
        let stage = Stage::Device {
            code: Arc::new(device.device_code.into_secret()),
            pause,
            next: now,
            ends: now + Duration::from_secs(device.expires_in.min(3600)),
        };
        let complete = !device.verification_uri_complete.is_empty();
        let place = if complete { &device.verification_uri_complete } else { &device.verification_uri };
        let mut fields = one("auth_url", place);
        fields.insert("state".into(), state.clone().into());
        fields.insert("poll_interval".into(), pause.as_secs().to_string().into());
        if !complete {
            fields.insert("user_code".into(), device.user_code.into());
        }
        self.pending.add(state, Pending { stage, ..pending }, now);
        Ok(Reply::data(fields))
    }

    /// A role for browsers.
    pub(super) async fn browser_role(&self, name: &str) -> Result<Role, Fault> {
        let role = self.role(name).await?.ok_or_else(unknown)?;
        if role.browser.is_on { Ok(role) } else { Err(Fault::bad_request("role with jwt role_type is not allowed")) }
    }
}

fn unknown() -> Fault {
    Fault::bad_request("role could not be found")
}

/// The provider of a configuration, if it has one for browsers.
///
/// # Errors
/// 400: it has none.
pub fn provider_of(source: &Source) -> Result<&Provider, Fault> {
    source.provider.as_ref().ok_or_else(|| Fault::bad_request("OIDC login is not configured for this mount"))
}

fn url(provider: &Provider, document: &Document, role: &Role, pending: &Pending, state: &str) -> String {
    let (challenge, scope) = (challenge(&pending.verifier), scope(role));
    let max_age = role.browser.max_age.to_string();
    let mut fields = vec![
        ("client_id", provider.client.id.as_str()),
        ("code_challenge", &challenge),
        ("code_challenge_method", "S256"),
        ("nonce", &pending.nonce),
        ("redirect_uri", &pending.redirect),
        ("response_type", "code"),
        ("scope", &scope),
        ("state", state),
    ];
    if provider.client.takes_forms() {
        fields.push(("response_mode", "form_post"));
    }
    if role.browser.max_age > 0 {
        fields.push(("max_age", &max_age));
    }
    fields.sort_unstable();
    document.url(&fields)
}

fn scope(role: &Role) -> String {
    let more = role.browser.scopes.iter().map(String::as_str).filter(|scope| *scope != "openid");
    std::iter::once("openid").chain(more).collect::<Vec<_>>().join(" ")
}

fn one(name: &str, value: &str) -> Map<String, Value> {
    Map::from_iter([(name.to_owned(), value.into())])
}

fn away(trouble: &Trouble) -> Fault {
    let why = match trouble {
        Trouble::Refused(why) | Trouble::Away(why) => why,
    };
    Fault::unavailable("the provider cannot be asked now").knowing(why.clone())
}
