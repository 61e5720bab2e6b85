//! What becomes of an engine's answer: a lease around a credential, a token around a login, wrapping around either.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Call, Caller, Login, Outcome, Pieces, Raw, Reply};
use dewdrop_core::route::Spot;
use dewdrop_core::token::{AuthView, WrapView};
use dewdrop_core::{Fault, Moment};
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value};

use super::Asked;
use super::reply::{self, Envelope, Signed};
use super::who::ListRule;
use super::wrap::{WrapAsk, wrap_response};
use crate::audit::{End, Open};
use crate::http::Response;
use crate::leases::{MintAsk, mint};
use crate::mfa::{self, Admitted, Door};
use crate::mounts::Mounted;
use crate::telemetry::traces::carried;
use crate::vault::Vault;

/// A permitted call on its way to the engine.
pub struct Delivery<'a> {
    /// The vault.
    pub vault: &'a Arc<Vault>,
    /// The mount.
    pub mounted: &'a Mounted,
    /// The path below it.
    pub below: &'a str,
    /// Who calls.
    pub caller: &'a Caller,
    /// What is asked.
    pub asked: &'a Asked,
    /// Which keys of a list are shown, and the full path of the list.
    pub lists: Option<(&'a ListRule, &'a str)>,
    /// The request on the audit log.
    pub open: &'a Mutex<Open>,
}

/// A body that is no envelope.
enum Bare {
    Whole(Raw),
    /// Taken by the answer.
    Pieces(Mutex<Option<Pieces>>),
}

/// An answer, ready to be sent and to be written down.
#[derive(Default)]
pub struct Delivered {
    status: Option<u16>,
    data: Option<Map<String, Value>>,
    auth: Option<Signed>,
    lease: Option<(String, Duration, bool)>,
    /// Seconds that a plain answer shows as its lease.
    hint: Option<Duration>,
    wrapped: Option<WrapView>,
    /// What was wrapped: the caller does not see it, the audit log does.
    within: Option<Box<Delivered>>,
    warnings: Vec<String>,
    bare: Option<Bare>,
    /// A whole envelope that was wrapped.
    unwrapped: Option<String>,
    /// The fields of `data` stand beside it as well: old clients read them there.
    flat: bool,
    fault: Option<Fault>,
}

impl Delivery<'_> {
    /// Lets the engine act and does what its answer asks for.
    ///
    /// # Errors
    /// The engine's; the store's.
    pub async fn run(&self, spot: &Spot, call: Call) -> Result<Delivered, Fault> {
        let wrap_ttl = self.asked.wrap_ttl;
        let changes_identity = self.mounted.identities.is_some() && call.operation.changes_state();
        let served = self.serve(spot, call).await;
        if changes_identity {
            self.vault.policies.invalidate();
        }
        let Reply { outcome, warnings, status, lease_hint, accessor } = served?;
        let flat = is_flat(self.mounted, self.below) && self.asked.path.starts_with("sys/");
        let mut delivered = Delivered { status, warnings, hint: lease_hint, flat, ..Delivered::default() };
        match outcome {
            Outcome::Nothing => {}
            Outcome::Data(data) => delivered.data = Some(self.filtered(data)?),
            Outcome::Raw(raw) => delivered.bare = Some(Bare::Whole(raw)),
            Outcome::Pieces(pieces) => delivered.bare = Some(Bare::Pieces(Mutex::new(Some(pieces)))),
            Outcome::Login(login) => self.login(&mut delivered, *login).await?,
            Outcome::Token(auth) => delivered.auth = Some(Signed::Token(auth)),
            Outcome::Wrapped(view) => delivered.wrapped = Some(*view),
            Outcome::Unwrapped(envelope) => delivered.unwrapped = Some(envelope),
            Outcome::Mint(asked) => self.mint(&mut delivered, asked).await?,
            Outcome::Lease(lease, ttl) => delivered.lease = Some((lease.id, ttl, lease.renewable)),
        }
        match wrap_ttl {
            Some(ttl) if delivered.can_be_wrapped() => self.wrap(delivered, ttl, accessor).await,
            _ => Ok(delivered),
        }
    }

    /// The engine's own answer. Where it is a login, its failures are counted.
    async fn serve(&self, spot: &Spot, call: Call) -> Result<Reply, Fault> {
        if spot.makes {
            self.before_making()?;
        }
        let lockouts = &self.vault.lockouts;
        let attempt = match spot.public_because {
            Some(_) => lockouts.attempt(&self.mounted.mount, self.below, &call.fields, self.asked.now)?,
            None => None,
        };
        let served = self.mounted.room.serve(spot, call).await;
        match attempt {
            Some(attempt) => lockouts.conclude(attempt, served).await,
            None => served,
        }
    }

    /// What cannot be written down is not made, whatever the verb is: `GET` makes credentials, and gives a provider's codes away.
    fn before_making(&self) -> Result<(), Fault> {
        self.vault.audit.before_making(&mut self.open.lock())
    }

    fn filtered(&self, data: Map<String, Value>) -> Result<Map<String, Value>, Fault> {
        match self.lists {
            Some((rule, full)) => rule.apply(data, full, self.asked.now),
            None => Ok(data),
        }
    }

    /// A token, or a request for a second factor.
    async fn login(&self, delivered: &mut Delivered, login: Login) -> Result<(), Fault> {
        self.before_making()?;
        let door = Door {
            vault: self.vault,
            mount: &self.mounted.mount,
            below: self.below,
            caller: self.caller,
            now: self.asked.now,
        };
        match door.admit(login, &self.asked.headers).await? {
            Admitted::Token(auth, warnings) => {
                delivered.warnings.extend(warnings);
                delivered.auth = Some(Signed::Token(Box::new(auth)));
            }
            Admitted::Waits(view) => {
                delivered.warnings.push(mfa::WAITS.to_owned());
                delivered.auth = Some(Signed::Waits(view));
            }
        }
        Ok(())
    }

    /// Detached: the caller may hang up, the credential is made to its end all the same.
    async fn mint(&self, delivered: &mut Delivered, asked: dewdrop_core::call::Mint) -> Result<(), Fault> {
        let token = self.caller.token.clone().ok_or_else(|| Fault::denied("a credential needs a token"))?;
        self.before_making()?;
        let ask =
            MintAsk { mount: self.mounted.mount.clone(), path: self.below.to_owned(), token, now: self.asked.now };
        let minted = tokio::spawn(carried(mint(self.vault.clone(), ask, asked)))
            .await
            .map_err(|_| Fault::internal("the task that made a credential broke"))??;
        delivered.warnings.extend(minted.warnings);
        delivered.data = Some(minted.data);
        delivered.lease = Some((minted.lease.id, minted.ttl, minted.lease.renewable));
        Ok(())
    }

    async fn wrap(&self, delivered: Delivered, ttl: Duration, accessor: Option<String>) -> Result<Delivered, Fault> {
        self.before_making()?;
        let response = match &delivered.unwrapped {
            Some(envelope) => envelope.clone(),
            None => serde_json::to_string(&delivered.envelope(&self.asked.request_id))
                .map_err(|e| Fault::internal(format!("encode an answer: {e}")))?,
        };
        let namespace = &self.mounted.mount.namespace;
        let path = format!("{}{}", self.mounted.mount.path, self.below);
        let ask = WrapAsk {
            namespace,
            path: &path,
            ttl,
            response,
            wrapped_accessor: delivered.token().map(|auth| auth.accessor.clone()).or(accessor).unwrap_or_default(),
            now: self.asked.now,
        };
        let wrapped = wrap_response(self.vault, ask).await?;
        Ok(Delivered { wrapped: Some(wrapped), within: Some(Box::new(delivered)), ..Delivered::default() })
    }
}

impl Delivered {
    /// A body that is no envelope.
    #[must_use]
    pub fn raw(raw: Raw) -> Self {
        Self { bare: Some(Bare::Whole(raw)), ..Self::default() }
    }

    /// Nothing but a refusal, for the audit log.
    #[must_use]
    pub fn failed(fault: Fault) -> Self {
        Self { fault: Some(fault), ..Self::default() }
    }

    /// The HTTP answer.
    #[must_use]
    pub fn response(&self, request_id: &str) -> Response {
        if let Some(Bare::Whole(raw)) = &self.bare {
            return reply::bare(self.status.unwrap_or(200), raw);
        }
        if let Some(Bare::Pieces(pieces)) = &self.bare {
            return pieces.lock().take().map_or_else(
                || reply::json(500, Vec::new()),
                |pieces| reply::pieces(self.status.unwrap_or(200), pieces),
            );
        }
        if let Some(envelope) = &self.unwrapped {
            return reply::json(200, envelope.clone().into_bytes());
        }
        let is_empty = self.data.is_none() && self.auth.is_none() && self.lease.is_none() && self.wrapped.is_none();
        if is_empty && self.warnings.is_empty() {
            return reply::json(self.status.unwrap_or(204), Vec::new());
        }
        let id = if self.wrapped.is_some() { "" } else { request_id };
        let envelope = self.envelope(id);
        let body = match (&self.data, self.flat) {
            (Some(data), true) => serde_json::to_vec(&Flat { fields: data, envelope }),
            _ => serde_json::to_vec(&envelope),
        };
        reply::json(self.status.unwrap_or(200), body.unwrap_or_default())
    }

    /// What the audit log is told.
    #[must_use]
    pub fn end(&self, time: Moment, status: u16) -> End<'_> {
        let within = self.within.as_deref().unwrap_or(self);
        End {
            time,
            status,
            fault: self.fault.as_ref(),
            data: within.data.as_ref(),
            auth: within.token(),
            lease: within.lease.as_ref().map(|(id, ttl, _)| (id.as_str(), *ttl)),
            wrapped_in: self.wrapped.as_ref().map(|wrap| wrap.accessor.as_str()),
            warnings: &self.warnings,
        }
    }

    fn can_be_wrapped(&self) -> bool {
        self.bare.is_none() && (self.data.is_some() || self.token().is_some() || self.unwrapped.is_some())
    }

    fn envelope<'a>(&'a self, request_id: &'a str) -> Envelope<'a> {
        let (lease_id, duration, renewable) = match &self.lease {
            Some((id, ttl, renewable)) => (id.as_str(), ttl.as_secs(), *renewable),
            None => ("", self.hint.unwrap_or_default().as_secs(), false),
        };
        Envelope {
            request_id,
            lease_id,
            renewable,
            lease_duration: duration,
            data: self.data.as_ref(),
            wrap_info: self.wrapped.as_ref(),
            warnings: Some(self.warnings.as_slice()).filter(|w| !w.is_empty()),
            auth: self.auth.as_ref(),
        }
    }

    /// The token, when one was made.
    fn token(&self) -> Option<&AuthView> {
        match self.auth.as_ref()? {
            Signed::Token(auth) => Some(auth),
            Signed::Waits(_) => None,
        }
    }
}

/// An answer whose `data` stands twice.
#[derive(Serialize)]
struct Flat<'a> {
    #[serde(flatten)]
    fields: &'a Map<String, Value>,
    #[serde(flatten)]
    envelope: Envelope<'a>,
}

/// The oldest paths below `sys/` answer so.
fn is_flat(mounted: &Mounted, below: &str) -> bool {
    const FLAT: [&str; 13] = [
        "audit",
        "audit-hash",
        "config/auditing",
        "auth",
        "capabilities",
        "capabilities-accessor",
        "capabilities-self",
        "config/cors",
        "ha-status",
        "key-status",
        "mounts",
        "policy",
        "remount",
    ];
    mounted.mount.kind == "system"
        && !below.starts_with("remount/status/")
        && FLAT.iter().any(|head| below.strip_prefix(head).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
}
