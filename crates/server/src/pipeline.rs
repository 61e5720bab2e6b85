//! One request's walk: bytes → typed request → who → permit → engine → lease → audit → reply.

mod deliver;
mod door;
mod elsewhere;
mod help;
mod index;
mod limits;
mod place;
mod record;
mod reply;
mod request;
mod running;
mod who;
mod wrap;

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::call::{BoxFuture, Call, Caller};
use dewdrop_core::mount::Namespace;
use dewdrop_core::policy::Permit;
use dewdrop_core::route::Spot;
use dewdrop_core::{Fault, Kind, Operation};
use http::HeaderMap;
use parking_lot::Mutex;

use crate::audit::Open;
use crate::http::target::{BadPath, api_path};
use crate::http::{Handler, Request, Response};
use crate::mounts::Mounted;
use crate::server::Server;
use crate::sys::around;
use crate::telemetry::traces::{self, within};
use crate::tokens::{LiveToken, end_token};
use crate::vault::Vault;
pub use deliver::Delivered;
use place::{locate, no_namespace};
pub use reply::status;
pub use request::{Asked, parse};
pub use running::Running;
pub use who::rights_of;
pub use wrap::{WrapAsk, is_wrapping, unwrap_response, wrap_response};

/// The server, as the edge sees it.
pub struct Api(pub Arc<Server>);

impl Handler for Api {
    fn handle(&self, request: Request) -> BoxFuture<Response> {
        match &self.0.telemetry.traces {
            None => Box::pin(handled(self.0.clone(), request)),
            Some(traces) => traces.request(request, |request| Box::pin(handled(self.0.clone(), request))),
        }
    }
}

async fn handled(server: Arc<Server>, request: Request) -> Response {
    let mut response = answered(&server, request).await;
    if let Some(hostname) = &server.settings.hostname {
        response.headers.insert("x-vault-hostname", hostname.clone());
    }
    response
}

async fn answered(server: &Arc<Server>, request: Request) -> Response {
    let request_id = request.id.clone();
    if let Err(BadPath::Redirect(path)) = api_path(request.target.path()) {
        return reply::redirect(&path, request.target.query(), request.method == http::Method::GET);
    }
    if let Some(response) = door::closed(server.settings.access(request.peer.connection.listener), &request) {
        return response;
    }
    if let Some(response) = crate::page::page(&request) {
        return response;
    }
    if let Some(response) = elsewhere::answer(server, &request) {
        return response;
    }
    let _running = server.metrics.running.enter(&request, server.clock().now());
    let began = server.clock().steady();
    let response = around(server, request, async |request| match walk(server, request).await {
        Ok(response) => response,
        Err(fault) => reply::refuse(&fault, &request_id),
    });
    let response = response.await;
    crate::turn::after(server, &request_id).await;
    server.metrics.request(server.clock().steady().saturating_sub(began));
    response
}

async fn walk(server: &Arc<Server>, request: Request) -> Result<Response, Fault> {
    let asked = request::parse(request, server.clock().now())?;
    let Ok(vault) = server.vault() else { return served(server, asked).await };
    let entry = limits::enter(&vault, &asked).await?;
    let request_id = asked.request_id.clone();
    let outcome = match &entry.refusal {
        Some(fault) => limited(vault, asked, fault, entry.audited).await,
        None => served(server, asked).await,
    };
    let mut response = outcome.unwrap_or_else(|fault| reply::refuse(&fault, &request_id));
    entry.tell(&mut response);
    Ok(response)
}

/// The answer to a request that a rate limit refuses.
async fn limited(vault: Arc<Vault>, asked: Asked, fault: &Fault, audited: bool) -> Result<Response, Fault> {
    if !audited {
        return Err(fault.clone());
    }
    let (namespace, path) = locate(&vault, &asked)?;
    let headers = asked.headers.clone();
    let caller = Arc::new(Caller { address: asked.address, ..Caller::default() });
    let walk = Walk { vault, namespace, path, asked, token: None, mounted: None, last_use: false };
    Ok(walk.refused(&caller, &headers, fault.clone()).await)
}

async fn served(server: &Arc<Server>, asked: Asked) -> Result<Response, Fault> {
    if let Some(answer) = crate::seal::gate(server, &asked).await {
        return answer.map(|reply| reply::plain(reply, &asked.request_id));
    }
    let vault = server.vault()?;
    let failures = server.settings.access(asked.listener).failures;
    let (namespace, rest) = match locate(&vault, &asked) {
        Ok(found) => found,
        Err(fault) => return Err(no_namespace(&vault, &asked, failures, fault).await),
    };
    let headers = asked.headers.clone();
    index::await_state(&vault, &headers).await?;
    let mut walk = Walk { vault, namespace, path: rest, asked, token: None, mounted: None, last_use: false };
    let found = within("who", walk.identify()).await;
    if walk.token.is_none() {
        walk.vault.quotas.strangers.check(walk.asked.address, failures, walk.vault.clock.steady())?;
    }
    let outcome = match found {
        Ok(caller) => walk.audited(caller, &headers).await,
        Err(fault) => {
            let caller = Arc::new(Caller { address: walk.asked.address, ..Caller::default() });
            walk.refused(&caller, &headers, fault).await
        }
    };
    walk.finish_token().await;
    if walk.token.is_none() && matches!(outcome.status.as_u16(), 400 | 403 | 404) {
        walk.vault.quotas.strangers.failed(walk.asked.address, failures, walk.vault.clock.steady());
    }
    Ok(outcome)
}

/// 404 in the words that clients know.
fn no_route(path: &str) -> Fault {
    Fault::missing(format!("no handler for route {path:?}. route entry not found."))
}

/// A request on its way through the unsealed server.
struct Walk {
    vault: Arc<Vault>,
    namespace: Arc<Namespace>,
    /// The path within the namespace.
    path: String,
    asked: Asked,
    token: Option<Arc<LiveToken>>,
    mounted: Option<Mounted>,
    /// The token ends with this request.
    last_use: bool,
}

impl Walk {
    /// Nobody could say whether a thing of that name is meant, or one within it.
    fn no_folder(&self) -> Result<(), Fault> {
        match self.asked.operation {
            Operation::Update | Operation::Patch if self.path.ends_with('/') => {
                Err(Fault::bad_request("cannot write to a path ending in '/'"))
            }
            _ => Ok(()),
        }
    }

    /// Looks the token up.
    async fn identify(&mut self) -> Result<Arc<Caller>, Fault> {
        let mut caller = Caller {
            text: self.asked.token.clone(),
            address: self.asked.address,
            certificates: std::mem::take(&mut self.asked.certificates),
            ..Caller::default()
        };
        if let Some(text) = &self.asked.token
            && let Some(live) = self.vault.tokens.find(text.expose(), self.asked.now).await?
        {
            if !live.record.may_come_from(self.asked.address) {
                return Err(Fault::denied("the token is bound to other addresses"));
            }
            caller.token = Some(live.record.clone());
            self.token = Some(live);
        }
        Ok(Arc::new(caller))
    }

    /// Serves with an audit line before (when state may change) and after.
    async fn audited(&mut self, caller: Arc<Caller>, headers: &HeaderMap) -> Response {
        let full = format!("{}{}", self.namespace.path, self.path);
        let found =
            self.vault.mounts.find(&full).filter(|(mounted, _)| mounted.mount.namespace.id == self.namespace.id);
        let Some((mounted, rest)) = found else {
            // Who may do nothing at the path must not learn whether there is a mount.
            let fields = std::mem::take(&mut self.asked.fields);
            let permitted = self.permitted(None, None, &full, &fields).await;
            let fault = match permitted.and_then(|_| self.no_folder()) {
                Err(fault) => fault,
                Ok(()) => no_route(&self.path),
            };
            self.asked.fields = fields;
            return self.refused(&caller, headers, fault).await;
        };
        let below = rest.to_owned();
        self.mounted = Some(mounted.clone());
        let act = self.act(&caller, headers);
        let open = match self.vault.audit.asked(&act).await {
            Ok(open) => Mutex::new(open),
            Err(fault) => return reply::refuse(&fault, &self.asked.request_id),
        };
        let fields = std::mem::take(&mut self.asked.fields);
        let outcome = self.serve(&mounted, &below, &full, fields, &caller, &open).await;
        let (mut response, delivered) = self.answer(outcome);
        if self.asked.operation.changes_state() && response.status.is_success() {
            index::tell(&self.vault, &mut response).await;
        }
        let end = delivered.end(self.vault.clock.now(), response.status.as_u16());
        match self.vault.audit.answered(open.into_inner(), &end).await {
            Ok(()) => response,
            Err(fault) => reply::refuse(&fault, &self.asked.request_id),
        }
    }

    /// Checks the right and lets the engine act.
    async fn serve(
        &mut self,
        mounted: &Mounted,
        below: &str,
        full: &str,
        mut fields: serde_json::Map<String, serde_json::Value>,
        caller: &Arc<Caller>,
        open: &Mutex<Open>,
    ) -> Result<Delivered, Fault> {
        let operation = self.asked.operation;
        let below =
            if matches!(operation, Operation::List | Operation::Scan) { below.trim_end_matches('/') } else { below };
        let found = mounted.room.find(below, operation);
        traces::found(operation, &mounted.mount, || found.as_ref().map_or("", |spot| mounted.room.pattern(spot)));
        let permit = match &found {
            Some(spot) if spot.public_because.is_some() => Permit::public(spot.public_because.unwrap_or_default()),
            _ => within("policy", self.permitted(Some(mounted), found.as_ref(), full, &fields)).await?,
        };
        // After the right is known: a stranger must not learn that there is such a namespace.
        self.namespace_open()?;
        self.no_folder()?;
        if operation == Operation::Help {
            return help::help(&self.vault, mounted, below);
        }
        let spot = self.served_spot(found, caller)?;
        let caller = &self.counted(caller);
        let lists = who::ListRule::of(&permit, self.token.as_deref(), &mut fields);
        let call = Call {
            permit,
            operation,
            path: below.to_owned(),
            captures: spot.captures.clone(),
            fields,
            caller: caller.clone(),
            mount: mounted.mount.clone(),
            now: self.asked.now,
            wrap_ttl: self.asked.wrap_ttl,
            headers: passed_headers(mounted, &self.asked.headers),
            request_id: self.asked.request_id.clone(),
            raw: self.asked.raw.clone(),
        };
        let delivery = deliver::Delivery {
            vault: &self.vault,
            mounted,
            below,
            caller,
            asked: &self.asked,
            lists: lists.as_ref().map(|rule| (rule, full)),
            open,
        };
        within("engine", delivery.run(&spot, call)).await
    }

    /// The route, when it serves the verb.
    fn served_spot(&self, found: Option<Spot>, caller: &Caller) -> Result<Spot, Fault> {
        let operation = self.asked.operation;
        let spot = found.ok_or_else(|| Fault::missing("1 error occurred:\n\t* unsupported path\n\n"))?;
        if self.asked.is_head {
            // No right of a policy covers it, so only root is told that no path answers it.
            let is_root = caller.token.as_ref().is_some_and(|token| token.is_root());
            return Err(if is_root {
                Fault::new(Kind::Unsupported, "")
            } else {
                Fault::denied("HEAD is no operation of a policy")
            });
        }
        if !spot.knows_operation && matches!(operation, Operation::List | Operation::Scan) && !spot.is_open_ended {
            return Err(Fault::missing("1 error occurred:\n\t* unsupported path\n\n"));
        }
        if !spot.knows_operation {
            return Err(Fault::new(Kind::Unsupported, "1 error occurred:\n\t* unsupported operation\n\n"));
        }
        Ok(spot)
    }

    /// Counts a use of the token and asks the policies.
    async fn permitted(
        &mut self,
        mounted: Option<&Mounted>,
        spot: Option<&Spot>,
        full: &str,
        fields: &serde_json::Map<String, serde_json::Value>,
    ) -> Result<Permit, Fault> {
        let Some(live) = self.token.clone() else { return Err(Fault::denied("no token, or one that is not valid")) };
        if live.record.num_uses != 0 {
            match self.vault.tokens.use_once(&live.record.accessor).await? {
                None => return Err(Fault::denied("the token has no uses left")),
                Some(left) => self.last_use = left == 0,
            }
            // The engine sees the token as it is after this use.
            self.token = self.vault.tokens.by_accessor(&live.record.accessor).await?;
        }
        let ask = who::PermitAsk {
            vault: &self.vault,
            live: &live,
            namespace: &self.namespace,
            asked: &self.asked,
            full,
            fields,
        };
        who::permit(&ask, mounted, spot).await
    }

    /// The caller with the token as it is now.
    fn counted(&self, caller: &Arc<Caller>) -> Arc<Caller> {
        match &self.token {
            Some(live) if live.record.num_uses != 0 => {
                Arc::new(Caller { token: Some(live.record.clone()), ..Caller::clone(caller) })
            }
            _ => caller.clone(),
        }
    }

    fn namespace_open(&self) -> Result<(), Fault> {
        let locked = self.vault.namespaces.locked_above(&self.namespace.path);
        match locked {
            Some(path) if !self.path.starts_with("sys/namespaces/api-lock/unlock") => {
                // An administrator decides when it ends, so no time is named after which to try again.
                let told = format!(
                    "API access to this namespace has been locked by an administrator - {path:?} must be unlocked to gain access."
                );
                Err(Fault::new(Kind::Unavailable, told))
            }
            _ => Ok(()),
        }
    }

    fn answer(&self, outcome: Result<Delivered, Fault>) -> (Response, Delivered) {
        match outcome {
            Ok(delivered) => (delivered.response(&self.asked.request_id), delivered),
            Err(fault) => {
                if !fault.known.is_empty() {
                    tracing::info!(request_id = &*self.asked.request_id, path = self.path, told = %fault.told, known = %fault.known, "refused");
                }
                (reply::refuse(&fault, &self.asked.request_id), Delivered::failed(fault))
            }
        }
    }

    /// The last use of a token ends it, after the answer is known.
    async fn finish_token(&self) {
        let Some(live) = self.token.as_ref().filter(|_| self.last_use) else { return };
        if let Err(fault) = end_token(&self.vault, &live.record.accessor, false).await {
            tracing::warn!(known = %fault.known, "a used-up token is ended later");
        }
    }
}

/// Headers that the mount lets through to its engine.
fn passed_headers(mounted: &Mounted, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
    let wanted = mounted.mount.tune.passthrough_request_headers.iter().map(|name| name.to_lowercase());
    let found = wanted.filter_map(|name| {
        let values: Vec<String> =
            headers.get_all(&name).iter().filter_map(|v| v.to_str().ok()).map(str::to_owned).collect();
        (!values.is_empty()).then_some((name, values))
    });
    found.collect()
}

#[cfg(test)]
mod tests;
