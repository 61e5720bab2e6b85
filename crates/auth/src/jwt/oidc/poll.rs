//! `oidc/poll`: a client that did not get the browser back waits for its token.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Outcome, Reply};
use dewdrop_core::{Fault, Secret};

use super::super::Jwt;
use super::NO_STATE;
use super::browser::Callback;
use super::finish::{login, refused_code, who};
use super::pending::{Pending, Stage};
use super::provider::Trouble;
use super::start::provider_of;
use super::wire::{PollRequest, text};
use crate::jose::Claims;

/// What a provider that is asked too often wants more of.
const SLOWER: Duration = Duration::from_secs(5);

impl Jwt {
    pub(super) async fn poll(self: Arc<Self>, call: Call, ask: PollRequest) -> Result<Reply, Fault> {
        let now = self.place.clock.steady();
        let (state, client_nonce) = (text(ask.state), text(ask.client_nonce));
        let gone = || Fault::bad_request(NO_STATE);
        let pending = self.pending.find(&state, now).ok_or_else(gone)?;
        if pending.callback == Callback::Client {
            return Err(gone());
        }
        if !pending.is_of(&client_nonce) {
            self.pending.take(&state, now);
            return Err(Fault::bad_request("invalid client_nonce"));
        }
        let claims = match &pending.stage {
            Stage::Waiting | Stage::Asking => return Err(waits()),
            Stage::Known(claims) => claims.clone(),
            Stage::Device { code, pause, next, ends } => {
                if now >= *ends {
                    self.pending.take(&state, now);
                    return Err(gone());
                }
                if now < *next {
                    return Err(waits());
                }
                let asked = (code.clone(), *pause, *ends);
                self.ask_device(&call, &pending, &state, asked).await?
            }
        };
        // Whoever takes it out is the only one that gets a token.
        let pending = self.pending.take(&state, now).ok_or_else(gone)?;
        let role = self.browser_role(&pending.role).await?;
        Ok(Outcome::Login(Box::new(login(role, &claims, &call)?)).into())
    }

    async fn ask_device(
        &self,
        call: &Call,
        pending: &Pending,
        state: &str,
        (code, pause, ends): (Arc<Secret<String>>, Duration, Duration),
    ) -> Result<Claims, Fault> {
        let now = self.place.clock.steady();
        let later = |pause: Duration| Stage::Device { code: code.clone(), pause, next: now + pause, ends };
        self.pending.set(state, later(pause));
        let source = self.source().await?.ok_or_else(|| Fault::bad_request("could not load configuration"))?;
        let provider = provider_of(&source)?;
        let role = self.browser_role(&pending.role).await?;
        let tokens = match provider.ask_device(&code).await {
            Ok(tokens) => tokens,
            Err(Trouble::Refused(why)) if why == "authorization_pending" => return Err(waits()),
            Err(Trouble::Refused(why)) if why == "slow_down" => {
                self.pending.set(state, later(pause + SLOWER));
                return Err(waits());
            }
            Err(Trouble::Refused(why)) => {
                self.pending.take(state, now);
                return Err(refused_code(&role, Trouble::Refused(why)));
            }
            Err(trouble @ Trouble::Away(_)) => return Err(refused_code(&role, trouble)),
        };
        let known = who(&source, provider, &role, tokens, None, call).await;
        known.inspect_err(|_| drop(self.pending.take(state, now)))
    }
}

/// As the API has it: an error that means "not yet".
fn waits() -> Fault {
    Fault::bad_request("authorization_pending")
}
