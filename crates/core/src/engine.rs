//! The joint to secrets engines and auth methods. An engine declares its routes with typed requests and acts on them;
//! the server does all the rest: tokens, policies, leases, audit, wrapping.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde_json::Value;

use crate::call::Caller;
use crate::fault::Fault;
use crate::mount::Mount;
use crate::route::Routes;
use crate::secret::Secret;
use crate::store::SharedStore;
use crate::token::TokenParams;
use crate::{Clock, Moment};

/// A kind of secrets engine or auth method. One value serves one mount and owns that mount's slice of the store.
#[async_trait]
pub trait Engine: Send + Sync + Sized + 'static {
    /// The paths below the mount.
    fn routes() -> Routes<Self>;

    /// Takes a credential back, by the `internal` of its lease. Already gone counts as success. An error is tried again
    /// for ever with back-off, and its text is shown to the operator.
    async fn revoke(&self, credential: &Credential) -> Result<(), Fault> {
        Err(Fault::internal(format!("{} makes no leases", credential.lease_id)))
    }

    /// Extends a credential at its target, to the life that it answers.
    async fn renew(&self, credential: &Credential, ask: &Renewal) -> Result<Renewed, Fault> {
        let _ = ask;
        Err(Fault::internal(format!("{} makes no leases", credential.lease_id)))
    }

    /// Whether a token of a login may still be renewed (the role is still there, the user not locked), with the token
    /// parameters of now. `internal` is what the login gave; `caller` asks for the renewal, and need not be who logged in.
    async fn renew_login(&self, internal: &Value, caller: &Caller) -> Result<TokenParams, Fault> {
        let _ = (internal, caller);
        Err(Fault::bad_request("this auth method does not renew"))
    }

    /// Work that is due now and then: rotation, tidying, reconciliation. Called about every second while the mount is
    /// served; must be quick when nothing is due. Only one server of a cluster calls it at a time.
    async fn tick(&self, mount: &Arc<Mount>, now: Moment) -> Result<(), Fault> {
        let _ = (mount, now);
        Ok(())
    }

    /// Drops what is cached of the store: another server of the cluster wrote, or a snapshot was restored.
    fn forget_caches(&self) {}
}

/// A credential under a lease.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The lease.
    pub lease_id: String,
    /// What the engine gave at [`Mint`](crate::call::Mint).
    pub internal: Value,
    /// When it was made.
    pub issued: Moment,
    /// The mount as it is tuned now.
    pub mount: Arc<Mount>,
}

/// What a renewal asks.
#[derive(Debug, Clone, Copy)]
pub struct Renewal {
    /// Now.
    pub now: Moment,
    /// What the caller asks; zero: as the role says.
    pub increment: Duration,
}

/// What a renewal gives.
#[derive(Debug, Clone)]
pub struct Renewed {
    /// The life from now, already cut at all ceilings (see [`life`](crate::lease::life)).
    pub ttl: Duration,
    /// Sentences for the caller.
    pub warnings: Vec<String>,
}

/// What an engine is given when it is mounted.
#[derive(Clone)]
pub struct Place {
    /// Its own slice of the store, behind the barrier.
    pub store: SharedStore,
    /// Where the time comes from.
    pub clock: Arc<dyn Clock>,
    /// The mount's random id.
    pub mount_uuid: String,
    /// The mount's accessor.
    pub mount_accessor: String,
    /// The options at mount time (`version=2`).
    pub options: std::collections::BTreeMap<String, String>,
    /// What the server offers.
    pub house: Arc<dyn House>,
}

/// What the server offers to engines.
#[async_trait]
pub trait House: Send + Sync {
    /// A password by a policy of `sys/policies/password`, in a namespace (by id); the empty name: the default policy of
    /// 20 characters.
    async fn password(&self, namespace: &str, policy: &str) -> Result<Secret<String>, Fault>;

    /// Every lease of a mount (by uuid) that is not yet gone, in whatever state, with its `internal`. Read in pages from
    /// the store; for reconciliation, not for hot paths.
    async fn leases_of(&self, mount_uuid: &str) -> Result<Vec<KnownLease>, Fault>;

    /// Whether a policy of that name would be refused for tokens (`root` by a non-root, ...). For auth methods that
    /// want to warn early.
    async fn policy_exists(&self, namespace: &str, name: &str) -> Result<bool, Fault>;

    /// A mount of a namespace (by id), as it is now; `None` when there is none. For aliases, and for rules about logins.
    async fn mount_by(&self, namespace: &str, by: MountBy<'_>) -> Result<Option<MountName>, Fault> {
        let _ = (namespace, by);
        Ok(None)
    }

    /// An entity of a namespace (by id) with its groups, as they are now; `None` when there is none, or it is disabled.
    async fn person(&self, namespace: &str, entity: &str) -> Result<Option<Person>, Fault> {
        let _ = (namespace, entity);
        Ok(None)
    }

    /// Ends tokens, by their accessors, with all that hangs on them. Already gone is fine.
    async fn end_tokens(&self, accessors: &[String]) -> Result<(), Fault> {
        let _ = accessors;
        Err(Fault::internal("this house ends no tokens"))
    }
}

/// The page of the server at which keys answer.
pub trait Browsers: Send + Sync {
    /// Makes ready what a browser needs; it is fetched and answered by the codes within.
    fn show(&self, ask: BrowserAsk, now: Moment) -> Result<BrowserTicket, Fault>;
}

/// What a browser shall do with a key (WebAuthn), in front of a person whose terminal waits for it.
#[derive(Debug, Clone)]
pub struct BrowserAsk {
    /// What.
    pub act: BrowserAct,
    /// As the browser is asked.
    pub options: Value,
    /// Whom it is for; shown.
    pub who: String,
    /// From where it was asked; shown.
    pub address: Option<IpAddr>,
    /// Where the page may be opened, and from where.
    pub bounds: BrowserBounds,
}

/// Where a page for a key may be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserBounds {
    /// At these addresses of the server.
    pub origins: Vec<String>,
    /// Only from where it was asked.
    pub same_address: bool,
}

/// The acts of a browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BrowserAct {
    /// Make a key.
    Register,
    /// Let a key sign.
    Answer,
}

/// Where the two sides meet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserTicket {
    /// The page.
    pub path: &'static str,
    /// At which addresses of the server keys know it.
    pub origins: Vec<String>,
    /// For the page; serves once.
    pub code: String,
    /// For whoever asked, who fetches the answer by it.
    pub ticket: String,
    /// How long both hold.
    pub life: Duration,
}

impl BrowserTicket {
    /// As the API tells it.
    #[must_use]
    pub fn view(&self) -> Value {
        serde_json::json!({
            "path": self.path, "code": self.code, "ticket": self.ticket, "expires_in": self.life.as_secs(),
            "origins": self.origins,
        })
    }
}

/// Somebody whom identity knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// The entity's id. One that went up in another has the other's.
    pub id: String,
    /// The entity's name.
    pub name: String,
    /// Id and name of each group, those that come by other groups as well.
    pub groups: Vec<(String, String)>,
}

/// How a mount is looked for.
#[derive(Debug, Clone, Copy)]
pub enum MountBy<'a> {
    /// The one of this accessor.
    Accessor(&'a str),
    /// Any auth method of this type.
    AuthKind(&'a str),
}

/// Where a mount is, and what it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountName {
    /// Path within its namespace, with `auth/` in front for auth methods.
    pub path: String,
    /// Its type, such as `userpass`.
    pub kind: String,
}

/// A lease as reconciliation sees it.
#[derive(Debug, Clone)]
pub struct KnownLease {
    /// The lease.
    pub lease_id: String,
    /// What the engine gave.
    pub internal: Value,
}
