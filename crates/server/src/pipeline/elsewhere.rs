//! What a server answers that stands by: nearly everything is the active server's business, and clients are sent there.

use http::header::LOCATION;
use http::{HeaderValue, StatusCode};

use crate::http::{Request, Response};
use crate::server::Server;

/// What each server says of itself.
const OWN: &[&str] = &["sys/health", "sys/seal-status", "sys/leader", "sys/init", "sys/unseal"];
/// What would hit another server than the one that was asked.
const NOT_FOR_OTHERS: &[&str] = &["sys/seal", "sys/step-down"];

/// The answer of a standby; `None` when this server answers itself.
#[must_use]
pub fn answer(server: &Server, request: &Request) -> Option<Response> {
    let leader = server.turns.leader()?;
    let path = request.target.path().strip_prefix("/v1/")?.trim_end_matches('/');
    if OWN.contains(&path) {
        return None;
    }
    let refuse = |why: &str| Some(Response::errors(StatusCode::SERVICE_UNAVAILABLE, &[why]));
    if NOT_FOR_OTHERS.contains(&path) {
        return refuse("this server stands by: ask the active one (sys/leader tells its address)");
    }
    // An address that all servers share would lead back here.
    if leader.address.is_empty() || leader.address == server.settings.api_addr {
        return refuse(
            "this server stands by, and the active one has no api_addr of its own to which clients could be sent",
        );
    }
    let target = request.target.as_str();
    let Ok(location) = HeaderValue::from_str(&format!("{}{target}", leader.address.trim_end_matches('/'))) else {
        return refuse("this server stands by, and the api_addr of the active one is no address");
    };
    let mut response = Response::errors(StatusCode::TEMPORARY_REDIRECT, &[]);
    response.headers.insert(LOCATION, location);
    Some(response)
}
