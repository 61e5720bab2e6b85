//! An engine with its routes, as the server holds it: one type for all engines.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};

use super::{RouteDoc, Routes};
use crate::Moment;
use crate::call::{Call, Caller, Outcome, Reply};
use crate::engine::{Credential, Engine, Renewal, Renewed};
use crate::fault::Fault;
use crate::mount::Mount;
use crate::op::Operation;
use crate::token::TokenParams;

/// A mounted engine. Cheap to clone.
#[derive(Clone)]
pub struct Room(Arc<dyn Erased>);

/// A route that was found for a path.
#[derive(Debug, Clone)]
pub struct Spot {
    route: usize,
    /// What its pattern caught.
    pub captures: BTreeMap<&'static str, String>,
    /// Why no token is needed, when none is.
    pub public_because: Option<&'static str>,
    /// Whether the right `sudo` is needed.
    pub needs_sudo: bool,
    /// Whether a first write can be told from a later one.
    pub tells_create: bool,
    /// Whether the route knows the verb.
    pub knows_operation: bool,
    /// Whether its pattern catches all the rest of a path.
    pub is_open_ended: bool,
    /// Whether serving it does something, which must stand on the audit log before.
    pub makes: bool,
}

impl Room {
    /// Puts an engine behind its routes.
    pub fn new<E: Engine>(engine: Arc<E>) -> Self {
        Self(Arc::new(Mounted { engine, routes: E::routes() }))
    }

    /// Finds the route of a path below the mount.
    #[must_use]
    pub fn find(&self, path: &str, operation: Operation) -> Option<Spot> {
        self.0.find(path, operation)
    }

    /// What the engine is for.
    #[must_use]
    pub fn about(&self) -> &'static str {
        self.0.about()
    }

    /// What there is to say of each route.
    #[must_use]
    pub fn docs(&self) -> Vec<RouteDoc> {
        self.0.docs()
    }

    /// The pattern of the route, as its engine wrote it.
    #[must_use]
    pub fn pattern(&self, spot: &Spot) -> &'static str {
        self.0.pattern(spot)
    }

    /// Whether a write would meet something that is there: an `update` and no `create`.
    ///
    /// # Errors
    /// The engine's.
    pub async fn exists(&self, spot: &Spot) -> Result<bool, Fault> {
        self.0.exists(spot).await
    }

    /// Serves a call; that the call may be made is proved by the permit within it.
    ///
    /// # Errors
    /// The engine's, [`Fault::unsupported`] for a verb that the route does not know, and 400 for fields of the
    /// wrong type.
    pub async fn serve(&self, spot: &Spot, call: Call) -> Result<Reply, Fault> {
        self.0.serve(spot, call).await
    }

    /// See [`Engine::revoke`].
    ///
    /// # Errors
    /// The engine's.
    pub async fn revoke(&self, credential: &Credential) -> Result<(), Fault> {
        self.0.revoke(credential).await
    }

    /// See [`Engine::renew`].
    ///
    /// # Errors
    /// The engine's.
    pub async fn renew(&self, credential: &Credential, ask: &Renewal) -> Result<Renewed, Fault> {
        self.0.renew(credential, ask).await
    }

    /// See [`Engine::renew_login`].
    ///
    /// # Errors
    /// The engine's.
    pub async fn renew_login(&self, internal: &Value, caller: &Caller) -> Result<TokenParams, Fault> {
        self.0.renew_login(internal, caller).await
    }

    /// See [`Engine::tick`].
    ///
    /// # Errors
    /// The engine's.
    pub async fn tick(&self, mount: &Arc<Mount>, now: Moment) -> Result<(), Fault> {
        self.0.tick(mount, now).await
    }

    /// See [`Engine::forget_caches`].
    pub fn forget_caches(&self) {
        self.0.forget_caches();
    }
}

#[async_trait]
trait Erased: Send + Sync {
    fn find(&self, path: &str, operation: Operation) -> Option<Spot>;
    fn about(&self) -> &'static str;
    fn docs(&self) -> Vec<RouteDoc>;
    fn pattern(&self, spot: &Spot) -> &'static str;
    async fn exists(&self, spot: &Spot) -> Result<bool, Fault>;
    async fn serve(&self, spot: &Spot, call: Call) -> Result<Reply, Fault>;
    async fn revoke(&self, credential: &Credential) -> Result<(), Fault>;
    async fn renew(&self, credential: &Credential, ask: &Renewal) -> Result<Renewed, Fault>;
    async fn renew_login(&self, internal: &Value, caller: &Caller) -> Result<TokenParams, Fault>;
    async fn tick(&self, mount: &Arc<Mount>, now: Moment) -> Result<(), Fault>;
    fn forget_caches(&self);
}

struct Mounted<E> {
    engine: Arc<E>,
    routes: Routes<E>,
}

#[async_trait]
impl<E: Engine> Erased for Mounted<E> {
    fn find(&self, path: &str, operation: Operation) -> Option<Spot> {
        let routes = || self.routes.routes.iter().enumerate();
        let (route, captures) = routes().find_map(|(at, r)| Some((at, r.pattern.catch(path)?))).or_else(|| {
            // With a slash at its end, a folder is still that folder, but only for `LIST`: other verbs are refused there.
            let folder = path.strip_suffix('/')?;
            let of_folder = routes().filter(|(_, r)| r.knows(Operation::List) && !r.knows(operation));
            of_folder
                .filter(|(_, r)| !r.pattern.is_open_ended())
                .find_map(|(at, r)| Some((at, r.pattern.catch(folder)?)))
        })?;
        let found = self.routes.routes.get(route)?;
        Some(Spot {
            route,
            captures,
            public_because: found.public_because,
            needs_sudo: found.needs_sudo,
            tells_create: found.exists.is_some(),
            is_open_ended: found.pattern.is_open_ended(),
            knows_operation: found.knows(operation),
            makes: found.makes(operation),
        })
    }

    fn about(&self) -> &'static str {
        self.routes.about
    }

    fn docs(&self) -> Vec<RouteDoc> {
        self.routes.docs()
    }

    fn pattern(&self, spot: &Spot) -> &'static str {
        self.routes.routes.get(spot.route).map_or("", |route| route.pattern.text())
    }

    async fn exists(&self, spot: &Spot) -> Result<bool, Fault> {
        match self.routes.routes.get(spot.route).and_then(|r| r.exists.as_ref()) {
            Some(check) => check(self.engine.clone(), spot.captures.clone()).await,
            None => Ok(true),
        }
    }

    async fn serve(&self, spot: &Spot, mut call: Call) -> Result<Reply, Fault> {
        let route = self.routes.routes.get(spot.route).ok_or_else(Fault::unsupported)?;
        let act = route.acts.iter().find(|act| act.operation == call.operation).ok_or_else(Fault::unsupported)?;
        let warnings = field_warnings(act.known_fields.as_deref(), &mut call.fields, &spot.captures);
        let mut reply = (act.run)(self.engine.clone(), call).await?;
        // As in the API, an answer without a body stays without one.
        if !matches!(reply.outcome, Outcome::Nothing) || !reply.warnings.is_empty() {
            reply.warnings.extend(warnings);
        }
        Ok(reply)
    }

    async fn revoke(&self, credential: &Credential) -> Result<(), Fault> {
        self.engine.revoke(credential).await
    }

    async fn renew(&self, credential: &Credential, ask: &Renewal) -> Result<Renewed, Fault> {
        self.engine.renew(credential, ask).await
    }

    async fn renew_login(&self, internal: &Value, caller: &Caller) -> Result<TokenParams, Fault> {
        self.engine.renew_login(internal, caller).await
    }

    async fn tick(&self, mount: &Arc<Mount>, now: Moment) -> Result<(), Fault> {
        self.engine.tick(mount, now).await
    }

    fn forget_caches(&self) {
        self.engine.forget_caches();
    }
}

/// Takes the fields away that the path itself says, and tells of them and of those that nobody reads.
fn field_warnings(
    known: Option<&[String]>,
    fields: &mut Map<String, Value>,
    captures: &BTreeMap<&'static str, String>,
) -> Vec<String> {
    let Some(known) = known else { return Vec::new() };
    let mut warnings = Vec::new();
    let named: Vec<String> =
        captures.keys().filter(|name| fields.remove(**name).is_some()).map(ToString::to_string).collect();
    let ignored: Vec<String> = fields.keys().filter(|name| !known.contains(*name)).cloned().collect();
    if !ignored.is_empty() {
        warnings.push(format!("Endpoint ignored these unrecognized parameters: [{}]", ignored.join(" ")));
    }
    if !named.is_empty() {
        warnings.push(format!(
            "Endpoint replaced the value of these parameters with the values captured from the endpoint's path: [{}]",
            named.join(" ")
        ));
    }
    warnings
}
