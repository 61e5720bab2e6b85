//! One request's walk: read, known, judged, recorded, sent on as the person.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dewdrop_core::Clock;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;

use crate::body::{self, Asked, Broken, Cut, Told};
use crate::carrier::Carrier;
use crate::grants::{Grant, Grants, Live, Miss};
use crate::headers;
use crate::info::{Info, Resource};
use crate::inside;
use crate::lasting::Maker;
use crate::left;
use crate::record::{Line, Record, Ticket, What};
use crate::refuse::Refusal;
use crate::review::{self, Question};
use crate::session::tape::{About, Tape, Wire};
use crate::stream;
use crate::upstream::{Answer, ApiServer, WayError};

/// Parts of a pod that are entered. Kubernetes before 1.35 lets `get` do it over WebSocket; here it is always a `create`.
const ENTERED: [&str; 3] = ["exec", "attach", "portforward"];

/// What a connection may become.
const UPGRADES: [&[u8]; 2] = [b"websocket", b"SPDY/3.1"];

/// What all requests are put to.
pub struct Desk {
    /// The cluster's name.
    pub cluster: String,
    /// The grants that run.
    pub grants: Arc<Grants>,
    /// The API server.
    pub api: Arc<ApiServer>,
    /// The record.
    pub record: Record,
    /// Takes recordings of sessions to the server.
    pub carrier: Arc<dyn Carrier>,
    /// How long a recorded session stands still, at most, while the server does not take its recording.
    pub patience: Duration,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// Whose connection it is.
#[derive(Debug, Clone)]
pub struct Guest {
    /// The grant that the certificate names; `None`: it names none.
    pub grant: Option<String>,
    /// The address that it comes from, as the record has it.
    pub source: String,
}

// === impl Desk ===

impl Desk {
    /// Answers a request. Every one has its line on the record, refused or not. What few requests wait for is in boxes here and
    /// below: room for it would be moved, and made cold, by all others.
    pub async fn answer(&self, guest: &Guest, request: Request<Incoming>) -> Response<Told> {
        let mut ticket = self.record.begin(self.line(guest, &request));
        match self.serve(guest, request, &mut ticket).await {
            Ok(Served::Known(response)) => {
                ticket.line().end.code = response.status().as_u16();
                response.map(|body| Either::Left(Full::new(body)))
            }
            Ok(Served::Through(response, live)) => {
                ticket.line().end.code = response.status().as_u16();
                response.map(|body| Either::Right(Cut::new(body, &live.over, Some(ticket))))
            }
            Ok(Served::Switched(mut response, live, client, tape)) => {
                ticket.line().end.code = response.status().as_u16();
                ticket.line().recording = tape.as_ref().map_or_else(String::new, |(_, tape)| tape.id.clone());
                let server = hyper::upgrade::on(&mut response);
                tokio::spawn(stream::pump(client, server, live, tape, ticket.stream()));
                response.map(|_| Either::Left(Full::new(Bytes::new())))
            }
            Err(refusal) => {
                let line = ticket.line();
                line.end.code = refusal.code.as_u16();
                line.end.refused.clone_from(&refusal.message);
                refusal.response().map(|body| Either::Left(Full::new(body)))
            }
        }
    }

    fn line(&self, guest: &Guest, request: &Request<Incoming>) -> Line {
        Line {
            cluster: self.cluster.clone(),
            grant: guest.grant.clone().unwrap_or_default(),
            source: guest.source.clone(),
            what: What {
                verb: request.method().as_str().to_ascii_lowercase(),
                target: shortened(request.uri().path()),
                ..What::default()
            },
            command: headers::command(request.headers()),
            ..Line::default()
        }
    }

    async fn serve(
        &self,
        guest: &Guest,
        mut request: Request<Incoming>,
        ticket: &mut Ticket,
    ) -> Result<Served, Refusal> {
        if let Some(why) = self.record.closed() {
            return Err(Refusal::unavailable(format!("nothing is allowed while the record cannot be written: {why}")));
        }
        let id = guest.grant.as_deref().ok_or_else(|| Refusal::unauthorized("this certificate names no grant"))?;
        let live = self.grants.find(id).map_err(|miss| match miss {
            Miss::Stale => Refusal::unavailable(miss.to_string()),
            Miss::None => Refusal::unauthorized(miss.to_string()),
        })?;
        ticket.line().user.clone_from(&live.grant.user);
        let info = read(&request)?;
        describe(&mut ticket.line().what, &info);
        headers::check(request.headers())?;
        ticket.line().api.audit_id = headers::name_request(request.headers_mut());
        let question = review::question(&info);
        if question.is_none() {
            judge(&live.grant, &self.cluster, &info)?;
            if let Some(made) = info.made(headers::applies(request.headers())) {
                judge(&live.grant, &self.cluster, &made)?;
            }
        }
        if left::is_watched(&info) {
            let (api, record, clock) = (self.api.clone(), self.record.clone(), self.clock.clone());
            let maker = Maker { api, record, clock, live, line: ticket.line().clone() };
            return Box::pin(maker.make(&info, request)).await.map(Served::Known);
        }
        let (parts, incoming) = request.into_parts();
        if !matches!(question, Some(Question::MayI | Question::WhatMayI)) {
            let is_empty = incoming.is_end_stream();
            let body = if is_empty {
                Either::Left(Full::default())
            } else {
                Either::Right(Cut::new(incoming, &live.over, None))
            };
            return self.forward(live, &info, Request::from_parts(parts, body), ticket).await;
        }
        let body = Box::pin(review::body(incoming)).await?;
        let known = match question {
            Some(Question::WhatMayI) => Some(review::rules::answer(&live.grant, &self.cluster, &body)?),
            _ => review::grants_no(&live.grant, &self.cluster, &body)?,
        };
        match known {
            Some(answer) => Ok(Served::Known(review::response(answer))),
            None => self.forward(live, &info, Request::from_parts(parts, Either::Left(Full::new(body))), ticket).await,
        }
    }

    async fn forward(
        &self,
        live: Arc<Live>,
        info: &Info,
        mut request: Request<Asked>,
        ticket: &mut Ticket,
    ) -> Result<Served, Refusal> {
        let mut onward = headers::onward(request.headers(), &live.grant, &self.api.token())?;
        let client =
            self.switches(&live, info, request.headers(), &mut onward)?.then(|| hyper::upgrade::on(&mut request));
        if inside::leads_in(info) {
            let told = Box::pin(inside::announce(info, &live, &self.cluster, &self.carrier, &mut onward));
            ticket.enters(told.await?);
        }
        let (parts, body) = request.into_parts();
        let mut next = Request::new(body);
        *next.method_mut() = parts.method;
        *next.uri_mut() = info.target().parse().map_err(|_| Refusal::bad_request("the path cannot be asked for"))?;
        *next.headers_mut() = onward;
        let mut response = match client {
            None if info.verb == "watch" => Box::pin(self.api.watch(next)).await.map_err(|error| gateway(&error))?,
            None => self.api.ask(next).await.map_err(|error| gateway(&error))?,
            Some(client) => {
                let response = Box::pin(self.api.ask_alone(next)).await.map_err(|error| gateway(&error))?;
                if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                    let tape = Box::pin(self.tape(&live, info, response.headers())).await?;
                    return Ok(Served::Switched(response, live, client, tape));
                }
                response.map(Answer::alone)
            }
        };
        headers::back(response.headers_mut());
        let (head, body) = response.into_parts();
        match body::whole_if_short(body, &live.over).await.map_err(|error| broken(&error, head.status))? {
            Either::Right(body) => Ok(Served::Through(Response::from_parts(head, body), live)),
            Either::Left(body) => {
                ticket.count(body.len());
                Ok(Served::Known(Response::from_parts(head, body)))
            }
        }
    }
}

impl Desk {
    /// Whether a client wants to speak another protocol from here on; then `onward` says it, too.
    fn switches(&self, live: &Live, info: &Info, headers: &HeaderMap, onward: &mut HeaderMap) -> Result<bool, Refusal> {
        let Some(protocol) = upgrade_of(headers) else { return Ok(false) };
        // Everybody may look around there, and so nobody is judged by what is spoken.
        let of = info.resource.as_ref();
        let of = of
            .ok_or_else(|| Refusal::forbidden("a connection becomes a stream at resources alone, such as pods/exec"))?;
        onward.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        onward.insert(header::UPGRADE, protocol);
        if live.grant.record_sessions {
            if is_session(of) {
                stream::offer_recorded(onward)?;
            } else if info.verb != "watch" && !is_no_session(of) {
                return Err(Refusal::forbidden(format!(
                    "sessions of your grant are recorded, and a stream of {} cannot be: ask for a role with record_sessions=false",
                    resource_name(of)
                )));
            }
        }
        Ok(true)
    }

    /// The recording of a session that begins; `None`: it is not of a kind that is recorded.
    async fn tape(&self, live: &Live, info: &Info, answer: &HeaderMap) -> Result<Option<(Wire, Tape)>, Refusal> {
        let Some(of) = info.resource.as_ref().filter(|of| is_session(of) && live.grant.record_sessions) else {
            return Ok(None);
        };
        let wire = stream::wire(answer).ok_or_else(|| Refusal::forbidden(stream::UNREAD))?;
        let about = About {
            grant: live.grant.id.clone(),
            user: live.grant.user.clone(),
            cluster: self.cluster.clone(),
            namespace: of.namespace.clone(),
            name: of.name.clone(),
            target: resource_name(of),
            command: info.command(),
        };
        let tape = Tape::begin(about, self.clock.clone(), self.carrier.clone(), self.patience).await;
        tape.map(|tape| Some((wire, tape)))
            .map_err(|why| Refusal::unavailable(format!("the session cannot be recorded: {why}")))
    }
}

/// What came of a request.
enum Served {
    /// The answer is there, whole: the proxy knows it itself, or it is short.
    Known(Response<Bytes>),
    /// The API server's answer goes through.
    Through(Response<Answer>, Arc<Live>),
    /// The answer begins a stream; the client's side of it.
    Switched(Response<Incoming>, Arc<Live>, OnUpgrade, Option<(Wire, Tape)>),
}

/// Whether a grant allows it.
fn judge(grant: &Grant, cluster: &str, info: &Info) -> Result<(), Refusal> {
    let attributes = info.attributes();
    if grant.scope.allows(cluster, &attributes) {
        return Ok(());
    }
    let has = grant.scope.in_words().join("; ");
    Err(Refusal::forbidden(format!(
        "your grant {} does not allow to {attributes}. It allows: {has}. Ask for more with `dewdrop access request`",
        grant.id
    )))
}

fn read(request: &Request<Incoming>) -> Result<Info, Refusal> {
    // A whole address in the request line (or HTTP/2's authority) changes nothing: there is one API server here.
    let uri = request.uri();
    let info = Info::read(request.method(), uri.path(), uri.query());
    let mut info = info.map_err(|unreadable| Refusal::bad_request(unreadable.to_string()))?;
    if let Some(of) = &info.resource
        && of.group.is_empty()
        && of.resource == "pods"
        && ENTERED.contains(&of.subresource.as_str())
    {
        info.verb = "create".to_owned();
    }
    Ok(info)
}

/// What the record says of a request that was read.
fn describe(what: &mut What, info: &Info) {
    what.verb.clone_from(&info.verb);
    match &info.resource {
        None => what.target = shortened(&info.path),
        Some(of) => {
            what.target = resource_name(of);
            what.namespace.clone_from(&of.namespace);
            what.name.clone_from(&of.name);
        }
    }
}

/// Whether people type there, or read what is typed.
fn is_session(of: &Resource) -> bool {
    of.group.is_empty() && of.resource == "pods" && matches!(of.subresource.as_str(), "exec" | "attach")
}

/// Streams in which nobody commands anything: a container's output, and what a program says to a port.
fn is_no_session(of: &Resource) -> bool {
    of.group.is_empty() && of.resource == "pods" && matches!(of.subresource.as_str(), "log" | "portforward")
}

/// `pods/log`, `deployments/scale.apps`.
fn resource_name(of: &Resource) -> String {
    let Resource { group, resource, subresource, .. } = of;
    let mut name = String::with_capacity(resource.len() + subresource.len() + group.len() + 2);
    name.push_str(resource);
    for (sign, part) in [('/', subresource), ('.', group)] {
        if !part.is_empty() {
            name.push(sign);
            name.push_str(part);
        }
    }
    name
}

/// Paths of strangers can be long.
fn shortened(path: &str) -> String {
    path.get(..path.floor_char_boundary(256)).unwrap_or_default().to_owned()
}

/// The protocol that a client wants to speak from here on, if it is one that Kubernetes speaks: others could be requests again,
/// which nobody would judge.
fn upgrade_of(headers: &HeaderMap) -> Option<HeaderValue> {
    let wants = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    let wants = wants.flat_map(|value| value.split(',')).any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    let is_known = |value: &&HeaderValue| UPGRADES.iter().any(|known| value.as_bytes().eq_ignore_ascii_case(known));
    headers.get(header::UPGRADE).filter(|_| wants).filter(is_known).cloned()
}

fn gateway(error: &WayError) -> Refusal {
    tracing::warn!(%error, "no answer of the API server");
    Refusal::bad_gateway("the API server of this cluster does not answer")
}

/// The API server has answered, and may have done what it was asked for: client and record hear of it.
fn broken(error: &Broken, status: StatusCode) -> Refusal {
    match error {
        Broken::Over => Refusal::unauthorized(format!(
            "{}; the API server answered {} just then, which goes to nobody",
            Miss::None,
            status.as_u16()
        )),
        Broken::Http(error) => {
            tracing::warn!(%error, "an answer of the API server broke off");
            Refusal::bad_gateway(format!("the answer of the API server ({}) broke off", status.as_u16()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that the answer to a request takes while it is awaited.
    fn room<F: Future>(_: impl FnOnce(&'static Desk, &'static Guest, Request<Incoming>) -> F) -> usize {
        size_of::<F>()
    }

    #[test]
    fn a_request_takes_little_room() {
        let room = room(Desk::answer);
        assert!(room <= 5 << 10, "{room}");
    }

    #[test]
    fn what_was_done_and_is_told_nobody_is_said_to_be_done() {
        let refusal = broken(&Broken::Over, StatusCode::CREATED);
        assert_eq!(refusal.code, StatusCode::UNAUTHORIZED);
        assert!(
            refusal.message.contains("has ended") && refusal.message.contains("answered 201"),
            "{}",
            refusal.message
        );
    }

    #[test]
    fn a_connection_becomes_nothing_that_holds_requests() {
        let of = |protocol: &'static str| {
            let lines = [(header::CONNECTION, "keep-alive, Upgrade"), (header::UPGRADE, protocol)];
            upgrade_of(&lines.map(|(name, value)| (name, HeaderValue::from_static(value))).into_iter().collect())
        };
        assert!(of("websocket").is_some() && of("WebSocket").is_some() && of("SPDY/3.1").is_some());
        assert!(of("h2c").is_none() && of("HTTP/2.0").is_none() && of("websocket, h2c").is_none());
        assert!(upgrade_of(&HeaderMap::new()).is_none());
    }
}
