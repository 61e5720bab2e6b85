//! `oidc/callback`: the provider has sent the browser back.

use std::sync::Arc;

use dewdrop_core::call::{Call, Login, Outcome, Reply};
use dewdrop_core::{Fault, Moment, Secret};
use serde_json::Value;

use super::super::login::{admit_address, answer, refusal, told};
use super::super::{Jwt, Source, config::Config, role::Role};
use super::browser::Callback;
use super::pending::{Pending, Stage};
use super::provider::{Provider, Tokens, Trouble, is_code};
use super::redirects::is_allowed;
use super::start::provider_of;
use super::wire::{CallbackRequest, text};
use super::{NO_STATE, page};
use crate::jose::{Claims, Expected, Gaps};

/// What a browser brings back.
struct Brought {
    state: String,
    code: Secret<String>,
    error: Option<String>,
    issuer: String,
    is_confirmed: bool,
}

impl Jwt {
    pub(super) async fn callback_form(self: Arc<Self>, call: Call, ask: CallbackRequest) -> Result<Reply, Fault> {
        let source = self.source().await?.ok_or_else(|| Fault::bad_request("could not load configuration"))?;
        if !source.config.client.takes_forms() {
            return Err(Fault::unsupported());
        }
        self.callback(call, ask).await
    }

    pub(super) async fn callback(self: Arc<Self>, call: Call, ask: CallbackRequest) -> Result<Reply, Fault> {
        let now = self.place.clock.steady();
        let client_nonce = text(ask.client_nonce);
        let brought = Brought {
            state: text(ask.state),
            code: Secret::new(text(ask.code)),
            error: ask.error.map(|error| if is_code(&error.0) { error.0 } else { "the provider refuses".into() }),
            issuer: text(ask.iss),
            is_confirmed: ask.confirm.is_some(),
        };
        let pending = self.pending.find(&brought.state, now).ok_or_else(|| Fault::bad_request(NO_STATE))?;
        match pending.callback {
            Callback::Device => Err(Fault::bad_request(NO_STATE)),
            Callback::Direct => Ok(self.callback_direct(&call, &pending, &brought).await),
            Callback::Client => {
                // Whatever comes of it, this state is used.
                let pending = self.pending.take(&brought.state, now).ok_or_else(|| Fault::bad_request(NO_STATE))?;
                if !pending.is_of(&client_nonce) {
                    return Err(Fault::bad_request("invalid client_nonce"));
                }
                let (role, claims) = self.claims_of(&call, &pending, &brought).await?;
                admit_address(&role, &call)?;
                Ok(Outcome::Login(Box::new(answer(role, &claims)?)).into())
            }
        }
    }

    /// The browser sees a page, and the client asks for the token.
    async fn callback_direct(&self, call: &Call, pending: &Pending, brought: &Brought) -> Reply {
        let is_asked = match self.browser_role(&pending.role).await {
            Ok(role) => !role.browser.no_confirmation,
            Err(fault) => return page::failed(&fault.told),
        };
        if brought.error.is_none() && !brought.code.expose().is_empty() && is_asked && !brought.is_confirmed {
            return page::confirm(pending, &brought.state, brought.code.expose());
        }
        if !self.pending.begin_asking(&brought.state) {
            return page::failed(NO_STATE);
        }
        let now = self.place.clock.steady();
        match self.claims_of(call, pending, brought).await {
            Ok((_, claims)) => {
                self.pending.set(&brought.state, Stage::Known(claims));
                page::done()
            }
            Err(fault) => {
                self.pending.take(&brought.state, now);
                page::failed(&fault.told)
            }
        }
    }

    /// Who it is, by what the browser brought.
    async fn claims_of(&self, call: &Call, pending: &Pending, brought: &Brought) -> Result<(Role, Claims), Fault> {
        if let Some(error) = &brought.error {
            return Err(Fault::bad_credential(format!("Dewdrop login failed. {error}")));
        }
        if brought.code.expose().is_empty() {
            return Err(Fault::bad_request("Dewdrop login failed. No code or id_token received."));
        }
        let source = self.source().await?.ok_or_else(|| Fault::bad_request("could not load configuration"))?;
        let provider = provider_of(&source)?;
        let role = self.browser_role(&pending.role).await?;
        if !is_allowed(&pending.redirect, &role.browser.redirects) {
            return Err(told(&role, "the role no longer allows this redirect_uri".into()));
        }
        // RFC 9207: an answer of another provider.
        if !brought.issuer.is_empty() && brought.issuer != provider.issuer {
            return Err(told(&role, "the answer comes from another issuer".into()));
        }
        let exchanged = provider.exchange(brought.code.expose(), &pending.verifier, &pending.redirect).await;
        let tokens = exchanged.map_err(|trouble| refused_code(&role, trouble))?;
        let claims = who(&source, provider, &role, tokens, Some(&pending.nonce), call).await?;
        Ok((role, claims))
    }
}

/// Who it is, by the provider's tokens. `nonce`: what the token must say, when a browser was sent with it.
pub async fn who(
    source: &Source,
    provider: &Provider,
    role: &Role,
    tokens: Tokens,
    nonce: Option<&str>,
    call: &Call,
) -> Result<Claims, Fault> {
    let id_token = tokens.id_token.into_secret();
    let mut claims = source.verify(id_token.expose()).await.map_err(|why| refusal(role, &why))?;
    admit(&source.config, role, &claims, nonce, call.now)?;
    let access = tokens.access_token.into_secret();
    match provider.userinfo(&access).await {
        Ok(more) => add(&mut claims, more).map_err(|why| told(role, why.into()))?,
        // Without it claims are missing, and roles that need them refuse.
        Err(Trouble::Refused(_) | Trouble::Away(_)) => {}
    }
    Ok(claims)
}

/// Whether a verified token is one of the provider's, for us, for this role and for this sign-in.
///
/// # Errors
/// What the caller hears.
pub fn admit(config: &Config, role: &Role, claims: &Claims, nonce: Option<&str>, now: Moment) -> Result<(), Fault> {
    let expected = Expected {
        issuer: Some(config.discovery.url.clone()),
        audiences: vec![config.client.id.clone()],
        subject: Some(role.bounds.subject.clone()).filter(|subject| !subject.is_empty()),
        skew: role.leeways.skew(),
        gaps: Gaps::Refuse,
    };
    claims.check(&expected, now).map_err(|why| refusal(role, &why))?;
    check_party(config, role, claims).map_err(|why| told(role, why.into()))?;
    check_freshness(role, claims, nonce, now).map_err(|why| told(role, why.into()))
}

/// Whether the token was made for us, and by whom the configuration and the role want.
fn check_party(config: &Config, role: &Role, claims: &Claims) -> Result<(), &'static str> {
    let audiences = claims.audiences();
    match claims.text("azp") {
        Some(party) if party != config.client.id => return Err("invalid authorized party (azp) claim"),
        None if audiences.len() > 1 => return Err("several audiences and no authorized party (azp) claim"),
        _ => {}
    }
    let issuer = &config.bound_issuer;
    if !issuer.is_empty() && claims.text("iss") != Some(issuer) {
        return Err("invalid issuer (iss) claim");
    }
    let bound = &role.bounds.audiences;
    if !bound.is_empty() && !bound.iter().any(|one| audiences.contains(&one.as_str())) {
        return Err("invalid audience (aud) claim: audience claim does not match any expected audience");
    }
    Ok(())
}

/// Whether the token was made for this sign-in, and the person has shown herself lately.
fn check_freshness(role: &Role, claims: &Claims, nonce: Option<&str>, now: Moment) -> Result<(), &'static str> {
    if nonce.is_some_and(|nonce| claims.text("nonce") != Some(nonce)) {
        return Err("invalid nonce claim: the token was made for another sign-in");
    }
    if role.browser.max_age == 0 {
        return Ok(());
    }
    let shown = claims.0.get("auth_time").and_then(Value::as_u64).ok_or("the token has no auth_time claim")?;
    let oldest = now.seconds().saturating_sub(role.browser.max_age + role.leeways.skew().as_secs());
    if shown < oldest { Err("the sign-in at the provider is older than max_age") } else { Ok(()) }
}

/// Claims of the userinfo beside those of the token. What is signed stays as it is.
///
/// # Errors
/// They are of somebody else.
pub fn add(claims: &mut Claims, more: serde_json::Map<String, Value>) -> Result<(), &'static str> {
    if more.is_empty() {
        return Ok(());
    }
    if more.get("sub") != claims.0.get("sub") {
        return Err("the userinfo is of another subject");
    }
    for (name, value) in more {
        claims.0.entry(name).or_insert(value);
    }
    Ok(())
}

/// What is told when the provider does not take a code.
pub fn refused_code(role: &Role, trouble: Trouble) -> Fault {
    match trouble {
        Trouble::Refused(code) => told(role, format!("Dewdrop login failed. Error exchanging oidc code: {code}")),
        Trouble::Away(why) => Fault::unavailable("Dewdrop login failed. The provider cannot be asked now.")
            .knowing(format!("role {:?}: {why}", role.name)),
    }
}

/// A login of somebody whom the provider has named.
///
/// # Errors
/// The role does not want that one.
pub fn login(role: Role, claims: &Claims, call: &Call) -> Result<Login, Fault> {
    admit_address(&role, call)?;
    answer(role, claims)
}
