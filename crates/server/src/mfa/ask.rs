//! Keys are asked before they can answer: an empty passcode for a method of type webauthn asks for its challenge.

use std::collections::BTreeMap;
use std::net::IpAddr;

use dewdrop_core::engine::{BrowserAct, BrowserAsk};
use dewdrop_core::mount::Namespace;
use dewdrop_core::{Fault, Moment};
use dewdrop_engines::identity::{MfaAsked, MfaChallenge, MfaKind, MfaNeed, MfaRefusal};
use serde_json::{Map, Value, json};

use super::{Codes, view};
use crate::vault::Vault;

/// What comes for a request that waits.
pub struct Answer<'a> {
    /// The request.
    pub id: &'a str,
    /// Codes by method; an empty one asks for a challenge.
    pub codes: &'a Codes,
    /// A browser shall do what is asked.
    pub browser: bool,
    /// Where this comes from.
    pub address: Option<IpAddr>,
    /// When.
    pub now: Moment,
}

/// How far a request got.
pub enum Went<T> {
    /// To its end.
    Through(T),
    /// Keys are asked: what the caller is told.
    Asked(Value),
}

/// Open challenges of a request, by method. Each is taken out to be checked.
pub type Challenges = BTreeMap<String, MfaChallenge>;

/// Asks the keys that the answer wants asked; `None`: it wants none.
///
/// # Errors
/// 403: there is no key of this person; the store's.
pub(super) async fn ask(
    vault: &Vault,
    namespace: &Namespace,
    need: &MfaNeed,
    answer: &Answer<'_>,
    who: &str,
) -> Result<Option<(Value, Challenges)>, Fault> {
    let identities = vault.mounts.identities(namespace)?;
    let (mut told, mut open, mut last) = (Map::new(), Challenges::new(), None);
    for demand in &need.demands {
        for method in demand.methods.iter().filter(|method| method.kind == MfaKind::Webauthn) {
            if answer.codes.of(method) != Some("") || open.contains_key(&method.id) {
                continue;
            }
            let asked = match &need.entity {
                Some(entity) => identities.mfa_challenge(entity, &method.id, answer.now).await?,
                None => None,
            };
            let refused = || view::refused(demand, method, &MfaRefusal::NotEnrolled);
            let MfaAsked { options, challenge, bounds } = asked.ok_or_else(refused)?;
            told.insert(method.id.clone(), options.clone());
            open.insert(method.id.clone(), challenge);
            last = Some((options, bounds));
        }
    }
    let Some((options, bounds)) = last else { return Ok(None) };
    let mut told = json!({ "mfa_request_id": answer.id, "mfa_challenges": told });
    if answer.browser {
        if open.len() > 1 {
            return Err(Fault::bad_request("a browser is asked for one method at a time"));
        }
        let (who, address) = (who.to_owned(), answer.address);
        let ask = BrowserAsk { act: BrowserAct::Answer, options, who, address, bounds };
        told["browser"] = vault.mfa.desk.open(ask, answer.now)?.view();
    }
    Ok(Some((told, open)))
}
