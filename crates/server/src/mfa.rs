//! The second factor between a login and its token.
//!
//! A login that an enforcement asks for more waits in memory, and nothing of it is on disk: no entity, no token, no row
//! beside one. Whoever comes back with the right codes gets the token; a restart forgets it, and the person logs in again.

mod ask;
mod codes;
mod desk;
mod view;
mod waiting;

use std::sync::Arc;

use dewdrop_core::call::{Caller, Login};
use dewdrop_core::mount::{Mount, Namespace};
use dewdrop_core::token::{AuthView, MfaPassed, TokenKind, TokenRecord};
use dewdrop_core::{Fault, Kind, Moment};
use dewdrop_engines::identity::{MfaDemand, MfaNeed, MfaRefusal};
use http::HeaderMap;

use crate::tokens::from_login;
use crate::vault::Vault;
use ask::Challenges;
pub use ask::{Answer, Went};
pub use codes::Codes;
pub use desk::{End, PAGE, Seen};
pub use view::{Requirement, WaitView};
pub use waiting::Waiting;
use waiting::{LoginHeld, What};

/// What the caller of a login that waits is told beside it.
pub const WAITS: &str = "A login request was issued that is subject to MFA validation. Please make sure to validate the login by \
                         sending another request to mfa/validate endpoint.";

/// Where a login came in.
pub struct Door<'a> {
    /// The vault.
    pub vault: &'a Vault,
    /// The auth mount.
    pub mount: &'a Arc<Mount>,
    /// The path below it.
    pub below: &'a str,
    /// Who calls.
    pub caller: &'a Caller,
    /// When.
    pub now: Moment,
}

/// What becomes of a login.
pub enum Admitted {
    /// Its token, and what the caller should know.
    Token(AuthView, Vec<String>),
    /// It waits for a second factor.
    Waits(WaitView),
}

impl Door<'_> {
    /// Lets a login in, with the codes of its header when there are any; else it waits.
    ///
    /// # Errors
    /// 403: a code of the header is wrong; as [`from_login`].
    pub async fn admit(&self, login: Login, headers: &HeaderMap) -> Result<Admitted, Fault> {
        let need = needed(self.vault, self.mount, &login).await?;
        if need.demands.is_empty() {
            let (auth, warnings) = self.token(login, None).await?;
            return Ok(Admitted::Token(auth, warnings));
        }
        let Some(codes) = Codes::of_headers(headers) else {
            let who = format!("{}\0{}", self.mount.uuid, login.alias);
            let held = LoginHeld {
                mount: self.mount.uuid.clone(),
                namespace: self.mount.namespace.id.clone(),
                below: self.below.to_owned(),
                login,
                address: self.caller.address,
            };
            let id = self.vault.mfa.add(&who, What::Login(Box::new(held)), self.now)?;
            return Ok(Admitted::Waits(WaitView::new(Requirement::new(id, &need.demands))));
        };
        let passed = pass(self.vault, &self.mount.namespace, &need, &codes, &mut Challenges::new(), self.now).await;
        // One answer for all that may be wrong, as for any other request that is refused.
        let passed = passed.map_err(|fault| if fault.kind == Kind::Denied { hidden(&fault) } else { fault })?;
        let (auth, warnings) = self.token(login, passed).await?;
        Ok(Admitted::Token(auth, warnings))
    }

    /// The token of a login that is through.
    async fn token(&self, login: Login, passed: Option<MfaPassed>) -> Result<(AuthView, Vec<String>), Fault> {
        let made = from_login(self.vault, self.mount, self.below, login, self.caller, self.now, passed).await?;
        let identity_policies = match made.record.entity_id.as_str() {
            "" => Vec::new(),
            entity => {
                let view = self.vault.mounts.identities(&self.mount.namespace)?.view(entity).await?;
                view.map(|v| v.policies.clone()).unwrap_or_default()
            }
        };
        Ok((AuthView::new(made.text.expose(), &made.record, identity_policies, self.now), made.warnings))
    }
}

fn hidden(fault: &Fault) -> Fault {
    Fault::denied(fault.told.to_string())
}

async fn needed(vault: &Vault, mount: &Mount, login: &Login) -> Result<MfaNeed, Fault> {
    let identities = vault.mounts.identities(&mount.namespace)?;
    identities.mfa_needed(&mount.accessor, &mount.kind, &login.alias, &login.group_aliases).await
}

/// Goes on with a login that waits. What it needs is asked anew: a rule that came meanwhile holds.
///
/// # Errors
/// 400: there is no such login, or it waited too long; 403: a code is wrong; as [`from_login`].
pub async fn validate(
    vault: &Vault,
    namespace: &Namespace,
    answer: &Answer<'_>,
) -> Result<Went<(AuthView, Vec<String>)>, Fault> {
    let is_it = |what: &What| matches!(what, What::Login(held) if held.namespace == namespace.id);
    let held = vault.mfa.take(answer.id, answer.now, is_it).ok_or_else(no_request)?;
    let What::Login(login) = &held.what else { return Err(no_request()) };
    let Some(mounted) = vault.mounts.by_uuid(&login.mount) else { return Err(no_request()) };
    let need = needed(vault, &mounted.mount, &login.login).await?;
    let who = if login.login.display_name.is_empty() { &login.login.alias } else { &login.login.display_name };
    let who = format!("{} ({})", who, mounted.mount.path.trim_end_matches('/'));
    let (held, passed) = match go_on(vault, namespace, &need, answer, held, &who).await? {
        Went::Through(through) => through,
        Went::Asked(told) => return Ok(Went::Asked(told)),
    };
    let What::Login(login) = held.what else { return Err(no_request()) };
    let LoginHeld { below, login, address, .. } = *login;
    let caller = Caller { address, ..Caller::default() };
    let door = Door { vault, mount: &mounted.mount, below: &below, caller: &caller, now: answer.now };
    Ok(Went::Through(door.token(login, passed).await?))
}

/// One step of a request that was taken out: keys are asked and it waits on, or it is passed. A refusal puts it back.
async fn go_on(
    vault: &Vault,
    namespace: &Namespace,
    need: &MfaNeed,
    answer: &Answer<'_>,
    mut held: waiting::Held,
    who: &str,
) -> Result<Went<(waiting::Held, Option<MfaPassed>)>, Fault> {
    let step = match ask::ask(vault, namespace, need, answer, who).await {
        Ok(Some((told, challenges))) => {
            held.challenges = challenges;
            vault.mfa.put_back_asked(answer.id, held);
            return Ok(Went::Asked(told));
        }
        Ok(None) => pass(vault, namespace, need, answer.codes, &mut held.challenges, answer.now).await,
        Err(fault) => Err(fault),
    };
    match step {
        Ok(passed) => Ok(Went::Through((held, passed))),
        Err(fault) => {
            vault.mfa.put_back(answer.id, held);
            Err(fault)
        }
    }
}

/// Opens a request of a signed-in caller to show the second factor anew.
///
/// # Errors
/// 400: the token cannot remember it, or its holder has enrolled in nothing; the store's.
pub async fn begin_step_up(vault: &Vault, token: &TokenRecord, now: Moment) -> Result<Requirement, Fault> {
    let (_, need) = own_need(vault, token).await?;
    let what = What::StepUp { accessor: token.accessor.clone() };
    let id = vault.mfa.add(&format!("token\0{}", token.accessor), what, now)?;
    Ok(Requirement::new(id, &need.demands))
}

/// Ends it: the token remembers when its holder showed the second factor.
///
/// # Errors
/// 400: no such request of this token; 403: a code is wrong; the store's.
pub async fn step_up(vault: &Vault, token: &TokenRecord, answer: &Answer<'_>) -> Result<Went<MfaPassed>, Fault> {
    let (home, need) = own_need(vault, token).await?;
    let is_it = |what: &What| matches!(what, What::StepUp { accessor } if *accessor == token.accessor);
    let held = vault.mfa.take(answer.id, answer.now, is_it).ok_or_else(no_request)?;
    let passed = match go_on(vault, &home, &need, answer, held, &token.display_name).await? {
        Went::Through((_, passed)) => passed.ok_or_else(|| Fault::internal("a step-up without a demand"))?,
        Went::Asked(told) => return Ok(Went::Asked(told)),
    };
    let remember = |record: &mut TokenRecord| {
        record.mfa = Some(passed.clone());
        Ok(true)
    };
    let changed = vault.tokens.change(&token.accessor, remember).await?;
    changed.map(|_| Went::Through(passed)).ok_or_else(|| Fault::denied("the token ended meanwhile"))
}

/// Any of the methods in which the token's holder has enrolled.
async fn own_need(vault: &Vault, token: &TokenRecord) -> Result<(Arc<Namespace>, MfaNeed), Fault> {
    if token.kind == TokenKind::Batch {
        return Err(Fault::bad_request("a batch token cannot remember a second factor; log in again, with it"));
    }
    let home =
        vault.namespaces.by_id(&token.namespace).ok_or_else(|| Fault::denied("the token's namespace is gone"))?;
    let identities = vault.mounts.identities(&home)?;
    let view = match token.entity_id.as_str() {
        "" => None,
        entity => identities.view(entity).await?,
    };
    let view = view.ok_or_else(|| Fault::bad_request("the token belongs to nobody, so it has no second factor"))?;
    let methods = identities.mfa_enrolled(&view.id).await?;
    if methods.is_empty() {
        return Err(Fault::bad_request(
            "you have no second factor: enrol at identity/mfa/method/totp/generate (dewdrop mfa enroll), or register a key \
             (dewdrop mfa register)",
        ));
    }
    let demands = vec![MfaDemand { name: "step-up".into(), methods }];
    Ok((home, MfaNeed { entity: Some(view.id.clone()), demands }))
}

/// Checks codes against what is needed: one method of each demand. A method is asked once, however many demands name it.
async fn pass(
    vault: &Vault,
    namespace: &Namespace,
    need: &MfaNeed,
    codes: &Codes,
    challenges: &mut Challenges,
    now: Moment,
) -> Result<Option<MfaPassed>, Fault> {
    let identities = vault.mounts.identities(namespace)?;
    let mut passed: Vec<String> = Vec::new();
    for demand in &need.demands {
        if demand.methods.iter().any(|method| passed.contains(&method.id)) {
            continue;
        }
        let mut refusal = None;
        for method in &demand.methods {
            let Some(code) = codes.of(method) else { continue };
            let checked = match &need.entity {
                Some(entity) => {
                    let challenge = challenges.remove(&method.id);
                    identities.mfa_answer(entity, &method.id, code, challenge, now).await?
                }
                None => Err(MfaRefusal::NotEnrolled),
            };
            match checked {
                Ok(()) => {
                    passed.push(method.id.clone());
                    refusal = None;
                    break;
                }
                Err(why) => refusal = Some(view::refused(demand, method, &why)),
            }
        }
        if let Some(fault) = refusal {
            return Err(fault);
        }
        if !demand.methods.iter().any(|method| passed.contains(&method.id)) {
            return Err(view::no_code(demand));
        }
    }
    Ok((!passed.is_empty()).then_some(MfaPassed { at: now, methods: passed }))
}

fn no_request() -> Fault {
    Fault::bad_request("invalid request ID")
}

#[cfg(test)]
mod tests;
