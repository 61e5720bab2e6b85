//! Routes: each path of an engine is declared once, with the typed request that it takes. The same declaration gives the
//! router, the path help, the API document and the warning about fields that nobody reads.

mod pattern;
mod room;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;

use schemars::{JsonSchema, Schema};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::call::{BoxFuture, Call, Reply};
use crate::fault::Fault;
use crate::op::Operation;
use crate::wire::read_fields;
pub use pattern::Pattern;
pub use room::{Room, Spot};

/// All paths of one kind of engine. The first pattern that matches wins, so declare the special before the general.
pub struct Routes<E> {
    about: &'static str,
    routes: Vec<Route<E>>,
}

/// One path with its verbs.
pub struct Route<E> {
    pattern: Pattern,
    about: &'static str,
    public_because: Option<&'static str>,
    needs_sudo: bool,
    exists: Option<Exists<E>>,
    acts: Vec<Act<E>>,
}

type Exists<E> = Box<dyn Fn(Arc<E>, BTreeMap<&'static str, String>) -> BoxFuture<Result<bool, Fault>> + Send + Sync>;
type Run<E> = Box<dyn Fn(Arc<E>, Call) -> BoxFuture<Result<Reply, Fault>> + Send + Sync>;

/// One verb on one path.
struct Act<E> {
    operation: Operation,
    summary: &'static str,
    /// It does something, whatever the verb says.
    makes: bool,
    schema: Schema,
    known_fields: Option<Vec<String>>,
    run: Run<E>,
}

/// What the API document and the path help say of a route.
#[derive(Debug, Clone)]
pub struct RouteDoc {
    /// The pattern as written: `roles/{name}`.
    pub pattern: &'static str,
    /// A sentence or more.
    pub about: &'static str,
    /// Why no token is needed, when none is.
    pub public_because: Option<&'static str>,
    /// Whether the right `sudo` is needed beside that of the verb.
    pub needs_sudo: bool,
    /// Whether a first write is a `create`.
    pub tells_create: bool,
    /// The verbs, each with a summary and the JSON schema of its fields.
    pub acts: Vec<(Operation, &'static str, Schema)>,
}

// === impl Routes ===

impl<E: Send + Sync + 'static> Routes<E> {
    /// No routes yet; `about` says in a sentence or more what the engine is for.
    #[must_use]
    pub fn new(about: &'static str) -> Self {
        Self { about, routes: Vec::new() }
    }

    /// What the engine is for.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.about
    }

    /// Adds a path. `pattern` is made of literal segments, `{name}` for one segment, and, as the last one, `{name*}`
    /// for the rest (at least one character). The empty pattern is the mount itself.
    #[must_use]
    pub fn at(mut self, pattern: &'static str, about: &'static str, verbs: impl FnOnce(Route<E>) -> Route<E>) -> Self {
        let route = Route {
            pattern: Pattern::new(pattern),
            about,
            public_because: None,
            needs_sudo: false,
            exists: None,
            acts: Vec::new(),
        };
        self.routes.push(verbs(route));
        self
    }

    /// Adds the paths of another part of the same engine.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.routes.extend(other.routes);
        self
    }

    /// What there is to say of each route.
    #[must_use]
    pub fn docs(&self) -> Vec<RouteDoc> {
        self.routes.iter().map(Route::doc).collect()
    }
}

// === impl Route ===

impl<E: Send + Sync + 'static> Route<E> {
    /// No token is needed, because ...
    #[must_use]
    pub fn public(mut self, because: &'static str) -> Self {
        self.public_because = Some(because);
        self
    }

    /// The right `sudo` is needed beside that of the verb.
    #[must_use]
    pub fn sudo(mut self) -> Self {
        self.needs_sudo = true;
        self
    }

    /// Tells a first write from a later one, for policies that grant only `create` or only `update`.
    #[must_use]
    pub fn exists<F, R>(mut self, check: F) -> Self
    where
        F: Fn(Arc<E>, BTreeMap<&'static str, String>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<bool, Fault>> + Send + 'static,
    {
        self.exists = Some(Box::new(move |engine, captures| Box::pin(check(engine, captures))));
        self
    }

    /// Adds `GET`.
    #[must_use]
    pub fn read<B: Body, F, R>(self, summary: &'static str, act: F) -> Self
    where
        F: Fn(Arc<E>, Call, B) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, Fault>> + Send + 'static,
    {
        self.on(Operation::Read, summary, act)
    }

    /// Adds a `GET` that does something itself, such as giving a code away. Like a write, it is on the audit log before it is
    /// served. (What the server does with an answer, as with [`Outcome::Mint`](crate::call::Outcome::Mint), needs no mark.)
    #[must_use]
    pub fn read_that_makes<B: Body, F, R>(self, summary: &'static str, act: F) -> Self
    where
        F: Fn(Arc<E>, Call, B) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, Fault>> + Send + 'static,
    {
        let mut route = self.read(summary, act);
        route.acts.iter_mut().filter(|act| act.operation == Operation::Read).for_each(|act| act.makes = true);
        route
    }

    /// Adds `POST` and `PUT`.
    #[must_use]
    pub fn write<B: Body, F, R>(self, summary: &'static str, act: F) -> Self
    where
        F: Fn(Arc<E>, Call, B) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, Fault>> + Send + 'static,
    {
        self.on(Operation::Update, summary, act)
    }

    /// Adds `DELETE`.
    #[must_use]
    pub fn delete<B: Body, F, R>(self, summary: &'static str, act: F) -> Self
    where
        F: Fn(Arc<E>, Call, B) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, Fault>> + Send + 'static,
    {
        self.on(Operation::Delete, summary, act)
    }

    /// Adds `LIST`.
    #[must_use]
    pub fn list<B: Body, F, R>(self, summary: &'static str, act: F) -> Self
    where
        F: Fn(Arc<E>, Call, B) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, Fault>> + Send + 'static,
    {
        self.on(Operation::List, summary, act)
    }

    /// Adds any verb.
    #[must_use]
    pub fn on<B: Body, F, R>(mut self, operation: Operation, summary: &'static str, act: F) -> Self
    where
        F: Fn(Arc<E>, Call, B) -> R + Send + Sync + 'static,
        R: Future<Output = Result<Reply, Fault>> + Send + 'static,
    {
        let schema = schemars::schema_for!(B);
        let run: Run<E> = Box::new(move |engine, mut call| match read_fields::<B>(std::mem::take(&mut call.fields)) {
            Ok(body) => Box::pin(act(engine, call, body)),
            Err(fault) => Box::pin(std::future::ready(Err(fault))),
        });
        let known_fields = known_fields(&schema);
        self.acts.push(Act { operation, summary, makes: operation.changes_state(), known_fields, schema, run });
        self
    }

    fn knows(&self, operation: Operation) -> bool {
        self.acts.iter().any(|act| act.operation == operation)
    }

    fn makes(&self, operation: Operation) -> bool {
        self.acts.iter().any(|act| act.operation == operation && act.makes)
    }

    fn doc(&self) -> RouteDoc {
        RouteDoc {
            pattern: self.pattern.text(),
            about: self.about,
            public_because: self.public_because,
            needs_sudo: self.needs_sudo,
            tells_create: self.exists.is_some(),
            acts: self.acts.iter().map(|act| (act.operation, act.summary, act.schema.clone())).collect(),
        }
    }
}

/// A typed request: read from the fields of a call, described by a schema. Its field types are best those of
/// [`wire`](crate::wire), which accept what the API's clients send.
pub trait Body: DeserializeOwned + JsonSchema + Send + 'static {}
impl<T: DeserializeOwned + JsonSchema + Send + 'static> Body for T {}

/// A request without fields.
#[derive(Debug, Clone, Copy, serde::Deserialize, JsonSchema)]
pub struct NoFields {}

/// A request of free fields, such as a KV version 1 secret.
#[derive(Clone, serde::Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct AnyFields(pub Map<String, Value>);

/// The fields that a schema names; `None` when any field is welcome.
fn known_fields(schema: &Schema) -> Option<Vec<String>> {
    let object = schema.as_object()?;
    if object.get("additionalProperties").is_some_and(|more| *more != Value::Bool(false)) {
        return None;
    }
    Some(object.get("properties").and_then(Value::as_object).map(|p| p.keys().cloned().collect()).unwrap_or_default())
}

#[cfg(test)]
mod tests;
