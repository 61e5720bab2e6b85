//! Verifies a service account's token by a configuration: by the cluster's keys, or by asking the API server.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::{Clock, Fault, Moment};

use super::account::Account;
use super::api::Api;
use super::config::{Config, Verify};
use super::role::Role;
use crate::jose::{Alg, Claims, Expected, Fetch, Gaps, KeySet, Refused, RemoteKeys, Signed};

/// What the API server of a cluster may sign with.
const TAKEN: [Alg; 5] = [Alg::RS256, Alg::RS384, Alg::RS512, Alg::ES256, Alg::ES384];
const SKEW: Duration = Duration::from_secs(60);

/// A configuration in use.
pub struct Verifier {
    /// The configuration.
    pub config: Config,
    /// The cluster's API.
    pub api: Arc<Api>,
    keys: Keys,
}

/// Whom a token must be for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The audience of the role.
    Role,
    /// One container.
    Container,
}

enum Keys {
    /// None: the API server alone judges.
    None,
    Given(KeySet),
    Remote(RemoteKeys),
}

impl Verifier {
    /// A configuration, made ready for use.
    ///
    /// # Errors
    /// 400: a certificate or a key is none.
    pub fn new(config: Config, clock: Arc<dyn Clock>) -> Result<Self, Fault> {
        let api = Arc::new(Api::new(&config)?);
        let given = config.given_keys()?;
        let keys = match config.verify {
            _ if !given.is_empty() => Keys::Given(given),
            Verify::TokenReview => Keys::None,
            Verify::Offline => Keys::Remote(RemoteKeys::new(Box::new(JwksOf { api: api.clone() }), clock)),
        };
        Ok(Self { config, api, keys })
    }

    /// Verifies a token for a role. With `verify=token_review` the claims alone are worth nothing before
    /// [`confirm`](Self::confirm) has been asked too.
    /// With [`Whom::Container`] the caller looks at the audiences.
    ///
    /// # Errors
    /// 403, with a sentence where the API has one; 503 when the keys cannot be had.
    pub async fn read(&self, jwt: &str, role: &Role, whom: Whom, now: Moment) -> Result<Account, Fault> {
        let refuse = |refused| refusal(role, refused);
        let token = Signed::read(jwt).map_err(refuse)?;
        if !TAKEN.contains(&token.alg) {
            return Err(refuse(Refused::Algorithm));
        }
        let claims = self.claims(token).await.map_err(refuse)?;
        claims.check(&self.expected(role, whom), now).map_err(refuse)?;
        let no_account = || Refused::Claim("the token is not one of a service account".into());
        Account::of(&claims).ok_or_else(no_account).map_err(refuse)
    }

    /// Asks the API server whether a token is still good, where the configuration says so.
    ///
    /// # Errors
    /// 403, or 503 when the API server does not answer.
    pub async fn confirm(&self, jwt: &str, role: &Role, whom: Whom, account: &Account) -> Result<(), Fault> {
        if self.config.verify == Verify::Offline {
            return Ok(());
        }
        let audiences = match role.audience.as_str() {
            one if !one.is_empty() && whom == Whom::Role => vec![one.to_owned()],
            _ => account.audiences.clone(),
        };
        self.api.review(jwt, role, &audiences, account).await
    }

    async fn claims(&self, token: Signed<'_>) -> Result<Claims, Refused> {
        match &self.keys {
            Keys::None => Ok(token.unverified()),
            Keys::Given(keys) => keys.verify(token, &TAKEN),
            Keys::Remote(keys) => keys.verify(token, &TAKEN).await,
        }
    }

    fn expected(&self, role: &Role, whom: Whom) -> Expected {
        let audience = Some(role.audience.clone()).filter(|audience| !audience.is_empty() && whom == Whom::Role);
        let offline = self.config.verify == Verify::Offline;
        let issuer = Some(self.config.issuer.clone()).filter(|issuer| !issuer.is_empty());
        Expected {
            issuer: issuer.filter(|_| offline || !self.config.disable_iss_validation),
            audiences: audience.into_iter().collect(),
            subject: None,
            skew: SKEW,
            // Without the API server's word nothing else would ever end such a token.
            gaps: if offline { Gaps::Refuse } else { Gaps::Allow },
        }
    }
}

/// What the caller of a role hears when a token is refused, and what the operator.
fn refusal(role: &Role, refused: Refused) -> Fault {
    let known = format!("role {:?}: {refused}", role.name);
    match refused {
        Refused::Malformed(_) | Refused::Algorithm | Refused::Signature(_) => Fault::denied(known),
        Refused::Keys(_) => Fault::unavailable("the keys of the cluster cannot be read now").knowing(known),
        Refused::Claim(told) => Fault::denied_saying(told).knowing(known),
    }
}

/// The key set at its URL.
struct JwksOf {
    api: Arc<Api>,
}

#[async_trait]
impl Fetch for JwksOf {
    async fn fetch(&self) -> Result<KeySet, String> {
        self.api.keys().await
    }
}
