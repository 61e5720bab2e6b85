//! The login.

use std::sync::Arc;

use dewdrop_core::call::{Call, Login, Outcome, Reply};
use dewdrop_core::{Fault, Secret};
use serde_json::json;

use super::Jwt;
use super::role::Role;
use super::source::Source;
use super::wire::LoginRequest;
use crate::cidr;
use crate::jose::{Claims, Expected, Gaps, Refused};
use crate::kept_roles::KeepsRoles;

impl Jwt {
    pub(super) async fn login(self: Arc<Self>, call: Call, ask: LoginRequest) -> Result<Reply, Fault> {
        let source = self.source().await?.ok_or_else(|| Fault::bad_request("could not load configuration"))?;
        let named = ask.role.map(|text| text.0).filter(|name| !name.is_empty());
        let name = named.unwrap_or_else(|| source.config.default_role.clone()).to_lowercase();
        if name.is_empty() {
            return Err(Fault::bad_request("missing role"));
        }
        let unknown = || Fault::bad_request("role could not be found");
        let role = self.role(&name).await?.ok_or_else(unknown)?;
        if role.browser.is_on {
            return Err(Fault::bad_request("role with oidc role_type is not allowed"));
        }
        let jwt = ask.jwt.map(|text| Secret::new(text.0)).filter(|jwt| !jwt.expose().is_empty());
        let jwt = jwt.ok_or_else(|| Fault::bad_request("missing token"))?;
        admit_address(&role, &call)?;
        let claims = verified(&source, &role, &jwt, &call).await?;
        let login = answer(role, &claims)?;
        Ok(Outcome::Login(Box::new(login)).into())
    }
}

/// Whether a role gives tokens to where the caller is.
///
/// # Errors
/// 403.
pub fn admit_address(role: &Role, call: &Call) -> Result<(), Fault> {
    if cidr::admits(&role.token.params.bound_cidrs, call.caller.address) {
        return Ok(());
    }
    Err(Fault::denied(format!("role {:?}: token_bound_cidrs does not admit the caller's address", role.name)))
}

async fn verified(source: &Source, role: &Role, jwt: &Secret<String>, call: &Call) -> Result<Claims, Fault> {
    let refuse = |refused: Refused| refusal(role, &refused);
    let claims = source.verify(jwt.expose()).await.map_err(refuse)?;
    let expected = Expected {
        issuer: Some(source.config.bound_issuer.clone()).filter(|issuer| !issuer.is_empty()),
        audiences: role.bounds.audiences.clone(),
        subject: Some(role.bounds.subject.clone()).filter(|subject| !subject.is_empty()),
        skew: role.leeways.skew(),
        gaps: Gaps::Fill { end: role.leeways.end(), begin: role.leeways.begin() },
    };
    claims.check(&expected, call.now).map_err(refuse)?;
    // A token that was made for somebody else must not open this door by oversight.
    if role.bounds.audiences.is_empty() && !claims.audiences().is_empty() {
        return Err(told(role, "audience claim found in JWT but no audiences bound to the role".into()));
    }
    Ok(claims)
}

/// The login of somebody whom claims describe.
///
/// # Errors
/// 400: the role does not want that one.
pub fn answer(role: Role, claims: &Claims) -> Result<Login, Fault> {
    let refuse = |why: String| told(&role, why);
    let user = role.user(claims).map_err(refuse)?;
    let metadata = role.metadata(claims).map_err(refuse)?;
    let groups = role.groups(claims).map_err(refuse)?;
    role.bounds.admit(claims).map_err(|why| told(&role, format!("error validating claims: {why}")))?;
    Ok(Login {
        alias: user.clone(),
        alias_metadata: metadata.clone(),
        params: role.token.params,
        metadata,
        display_name: user,
        internal: json!({ "role": role.name }),
        renewable: true,
        group_aliases: groups,
        ..Login::default()
    })
}

/// A refusal that the operator's log tells with the role.
pub fn told(role: &Role, why: String) -> Fault {
    let known = format!("role {:?}: {why}", role.name);
    Fault::bad_credential(why).knowing(known)
}

/// The same of a token.
pub fn refusal(role: &Role, refused: &Refused) -> Fault {
    match refused {
        Refused::Keys(why) => Fault::unavailable("the keys of the issuer cannot be read now")
            .knowing(format!("role {:?}: {why}", role.name)),
        other => told(role, format!("error validating token: {other}")),
    }
}
