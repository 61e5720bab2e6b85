//! One request as an engine sees it, and what the engine answers.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::fault::Fault;
use crate::lease::Lease;
use crate::mount::Mount;
use crate::op::Operation;
use crate::policy::Permit;
use crate::store::Revision;
use crate::token::{AuthView, TokenParams, TokenRecord, WrapView};
use crate::{Moment, Secret};

/// A future that can be kept and sent between threads.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// Who calls.
#[derive(Debug, Clone, Default)]
pub struct Caller {
    /// The token, when the path needs one.
    pub token: Option<Arc<TokenRecord>>,
    /// The token's text, as it came.
    pub text: Option<Arc<Secret<String>>>,
    /// Where the call comes from, after the rules for proxies.
    pub address: Option<IpAddr>,
    /// The client's certificate chain in DER, leaf first; empty without TLS client authentication.
    pub certificates: Vec<Bytes>,
}

impl Caller {
    /// The accessor of the token; empty without one.
    #[must_use]
    pub fn accessor(&self) -> &str {
        self.token.as_deref().map_or("", |t| &t.accessor)
    }

    /// The token's text; empty without one.
    #[must_use]
    pub fn token_text(&self) -> &str {
        self.text.as_deref().map_or("", |text| text.expose())
    }

    /// The name for people; empty without a token.
    #[must_use]
    pub fn display_name(&self) -> &str {
        self.token.as_deref().map_or("", |t| &t.display_name)
    }

    /// How long ago the caller passed a second factor; `None`: never with this token. A moment that lies ahead (a clock was
    /// put back) is none.
    #[must_use]
    pub fn mfa_age(&self, now: Moment) -> Option<Duration> {
        let at = self.token.as_deref()?.mfa.as_ref()?.at;
        (at <= now.plus(Duration::from_secs(60))).then(|| now.since(at))
    }

    /// The entity; empty when there is none.
    #[must_use]
    pub fn entity_id(&self) -> &str {
        self.token.as_deref().map_or("", |t| &t.entity_id)
    }
}

/// One request below a mount. None can be made without a permit.
#[derive(Debug)]
pub struct Call {
    /// Proof that the call may be made.
    pub permit: Permit,
    /// The verb. `Create` never occurs here: a write is an `Update`.
    pub operation: Operation,
    /// The path below the mount, without a slash at either end (a list of `a/` arrives as `a`).
    pub path: String,
    /// What the route's pattern caught, by name.
    pub captures: BTreeMap<&'static str, String>,
    /// Body fields of a write, query fields of a read.
    pub fields: Map<String, Value>,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// The mount as it is tuned now.
    pub mount: Arc<Mount>,
    /// When the request came in.
    pub now: Moment,
    /// The caller wants the answer wrapped for this long.
    pub wrap_ttl: Option<Duration>,
    /// Headers that the mount lets through, by lower-case name.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Names this request in logs, audit and reply.
    pub request_id: Arc<str>,
    /// The body of a write that is no JSON (`application/octet-stream`).
    pub raw: Option<Bytes>,
}

impl Call {
    /// What the pattern caught under a name; empty when it has no such part.
    #[must_use]
    pub fn capture(&self, name: &str) -> &str {
        self.captures.get(name).map_or("", String::as_str)
    }
}

/// What an engine answers.
#[derive(Debug)]
pub struct Reply {
    /// The answer itself.
    pub outcome: Outcome,
    /// Sentences for the caller beside it.
    pub warnings: Vec<String>,
    /// A status other than 200 (or 204 for [`Outcome::Nothing`]).
    pub status: Option<u16>,
    /// What a plain answer shows as `lease_duration`: how long it may be kept (KV version 1 does so).
    pub lease_hint: Option<Duration>,
    /// The public name of the secret in `data`: whoever gets the answer wrapped can tell by it what is within.
    pub accessor: Option<String>,
}

/// The kinds of answer.
#[derive(Debug)]
pub enum Outcome {
    /// 204, no body.
    Nothing,
    /// 200, `data` of the envelope.
    Data(Map<String, Value>),
    /// A login that succeeded: the server makes the token.
    Login(Box<Login>),
    /// A credential to be made under a lease, which the server writes first.
    Mint(Mint),
    /// A token that was made or renewed, with its data beside it. Only the server's own routes answer so.
    Token(Box<AuthView>),
    /// A lease that was renewed, with its life from now. Only the server's own routes answer so.
    Lease(Box<Lease>, Duration),
    /// The whole envelope as JSON text, as it was wrapped. Only the server's own routes answer so.
    Unwrapped(String),
    /// An answer that was wrapped. Only the server's own routes answer so.
    Wrapped(Box<WrapView>),
    /// 200 with a body that is no envelope.
    Raw(Raw),
    /// The same, piece by piece, for what should not be held in memory. Only the server's own routes answer so.
    Pieces(Pieces),
}

/// A body that comes piece by piece.
pub struct Pieces {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// The next piece; `None` after the last. An error cuts the connection.
    pub next: Box<dyn FnMut() -> BoxFuture<Option<std::io::Result<Bytes>>> + Send>,
}

impl std::fmt::Debug for Pieces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Pieces({})", self.content_type)
    }
}

/// A body that is no envelope.
#[derive(Debug)]
pub struct Raw {
    /// Its `Content-Type`.
    pub content_type: &'static str,
    /// Its bytes.
    pub body: Bytes,
}

/// A login that succeeded.
#[derive(Debug, Default)]
pub struct Login {
    /// Who it is to the auth method: the alias's name. Empty: no entity is made.
    pub alias: String,
    /// Metadata of the alias.
    pub alias_metadata: BTreeMap<String, String>,
    /// How the token is made.
    pub params: TokenParams,
    /// Metadata of the token; in the audit log in clear.
    pub metadata: BTreeMap<String, String>,
    /// For people; the mount's name is put before it.
    pub display_name: String,
    /// Given back to [`Engine::renew_login`](crate::engine::Engine::renew_login).
    pub internal: Value,
    /// Whether the token can be renewed.
    pub renewable: bool,
    /// Names of groups at the outside, for external groups.
    pub group_aliases: Vec<String>,
    /// A row of the method's own that shall be there exactly as long as the token.
    pub beside: Option<Beside>,
}

/// A row in the auth method's slice of the store that lives with a token: it is written in the commit that makes the
/// token, and removed in the commit that ends it, whoever ends it and why. So neither is ever there without the other.
/// A login with one always gets a service token.
#[derive(Debug, Clone)]
pub struct Beside {
    /// Its key within the method's slice.
    pub key: String,
    /// The revision of what stands there now; zero: nothing does. When it is another one by then, no token is made.
    pub revision: Revision,
    /// Its fields; the token's `accessor` is added.
    pub fields: Map<String, Value>,
}

/// A credential to be made. The server writes a lease with `internal` first, then runs `create`; when that fails or the
/// server dies in between, `internal` alone must be enough for [`Engine::revoke`](crate::engine::Engine::revoke).
pub struct Mint {
    /// Life of the lease.
    pub ttl: Duration,
    /// Ceiling of all renewals, counted from now; zero: the mount's.
    pub max_ttl: Duration,
    /// Whether the lease can be renewed.
    pub renewable: bool,
    /// What the engine needs to find the credential again.
    pub internal: Value,
    /// Makes the credential.
    pub create: BoxFuture<Result<Made, Fault>>,
}

/// A credential that was made.
pub struct Made {
    /// `data` of the reply.
    pub data: Map<String, Value>,
    /// What the engine needs to find the credential again, where it learned more of it than [`Mint::internal`] says. The lease
    /// holds this before the caller has the credential.
    pub internal: Option<Value>,
}

impl From<Map<String, Value>> for Made {
    fn from(data: Map<String, Value>) -> Self {
        Self { data, internal: None }
    }
}

impl std::fmt::Debug for Made {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Made").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Mint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mint(ttl {:?})", self.ttl)
    }
}

impl Reply {
    /// 204.
    #[must_use]
    pub fn nothing() -> Self {
        Outcome::Nothing.into()
    }

    /// 200 with `data`.
    #[must_use]
    pub fn data(data: Map<String, Value>) -> Self {
        Outcome::Data(data).into()
    }

    /// 200 with `data` from anything that is a JSON object.
    ///
    /// # Errors
    /// It is no object (a defect).
    pub fn of<T: serde::Serialize>(data: &T) -> Result<Self, Fault> {
        match serde_json::to_value(data) {
            Ok(Value::Object(map)) => Ok(Self::data(map)),
            Ok(_) => Err(Fault::internal("a reply must be a JSON object")),
            Err(e) => Err(Fault::internal(format!("encode a reply: {e}"))),
        }
    }

    /// 200 with `keys`; 404 when there are none, as the API has it.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound) for an empty list.
    pub fn keys(keys: Vec<String>) -> Result<Self, Fault> {
        if keys.is_empty() {
            return Err(Fault::not_found());
        }
        let mut data = Map::new();
        data.insert("keys".into(), keys.into());
        Ok(Self::data(data))
    }

    /// 200 with `keys`, in this order, and `key_info`, what there is to say of each; 404 when there are none.
    ///
    /// # Errors
    /// [`Kind::NotFound`](crate::Kind::NotFound) for an empty list.
    pub fn listed(lines: impl IntoIterator<Item = (String, Value)>) -> Result<Self, Fault> {
        let lines: Vec<(String, Value)> = lines.into_iter().collect();
        let mut reply = Self::keys(lines.iter().map(|(key, _)| key.clone()).collect())?;
        if let Outcome::Data(data) = &mut reply.outcome {
            data.insert("key_info".into(), Value::Object(lines.into_iter().collect()));
        }
        Ok(reply)
    }

    /// Adds a warning.
    #[must_use]
    pub fn warn(mut self, text: impl Into<String>) -> Self {
        self.warnings.push(text.into());
        self
    }
}

impl From<Outcome> for Reply {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, warnings: Vec::new(), status: None, lease_hint: None, accessor: None }
    }
}
