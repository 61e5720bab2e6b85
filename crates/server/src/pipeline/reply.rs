//! From what was done to HTTP: the one table of status codes, and the envelope.

use dewdrop_core::call::{Outcome, Pieces, Raw, Reply};
use dewdrop_core::token::{AuthView, WrapView};
use dewdrop_core::{Fault, Kind};
use http::StatusCode;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::http::{Body, Response};
use crate::mfa::WaitView;

/// What a page for people may do: show its own style and send its own form to us.
const PAGE_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The body of every answer of the API that is no error.
#[derive(Serialize)]
pub struct Envelope<'a> {
    /// Names the request; empty where the answer is wrapped.
    pub request_id: &'a str,
    /// The lease, or empty.
    pub lease_id: &'a str,
    /// Whether it can be renewed.
    pub renewable: bool,
    /// Seconds.
    pub lease_duration: u64,
    /// The answer.
    pub data: Option<&'a Map<String, Value>>,
    /// Where the answer is, when it is wrapped.
    pub wrap_info: Option<&'a WrapView>,
    /// Sentences for the caller.
    pub warnings: Option<&'a [String]>,
    /// The token that was made or renewed.
    pub auth: Option<&'a Signed>,
}

/// What stands in the place of a token.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Signed {
    /// The token.
    Token(Box<AuthView>),
    /// The login waits for a second factor.
    Waits(WaitView),
}

/// The status of each class of fault. Nowhere else is one chosen.
#[must_use]
pub fn status(kind: Kind) -> u16 {
    match kind {
        Kind::BadRequest | Kind::Conflict | Kind::BadCredential => 400,
        Kind::Denied => 403,
        Kind::NotFound => 404,
        Kind::Unsupported => 405,
        Kind::Precondition => 412,
        Kind::TooLarge => 413,
        Kind::MediaType => 415,
        Kind::TooMany => 429,
        Kind::Target | Kind::Internal => 500,
        Kind::NotBuilt => 501,
        Kind::Unavailable => 503,
    }
}

/// The answer to a refusal.
#[must_use]
pub fn refuse(fault: &Fault, request_id: &str) -> Response {
    let body = match &fault.data {
        Some(data) if !fault.told.is_empty() => {
            serde_json::to_vec(&serde_json::json!({ "errors": [fault.told], "data": data }))
        }
        // A deleted version answers 404 with what is left of it.
        Some(data) => {
            let envelope = Envelope { data: data.as_object(), ..Envelope::empty(request_id) };
            serde_json::to_vec(&envelope)
        }
        None => {
            let told = Some(fault.told.as_ref()).filter(|text| !text.is_empty());
            let errors: Vec<&str> = told.into_iter().collect();
            serde_json::to_vec(&serde_json::json!({ "errors": errors }))
        }
    };
    let mut response = json(status(fault.kind), body.unwrap_or_default());
    if let Some(wait) = fault.retry_after {
        let seconds = wait.as_secs().max(1);
        response.headers.insert("retry-after", http::HeaderValue::from(seconds));
    }
    response
}

/// The answer of an engine that needs neither lease nor token.
#[must_use]
pub fn plain(reply: Reply, request_id: &str) -> Response {
    let warnings = Some(reply.warnings.as_slice()).filter(|w| !w.is_empty());
    match reply.outcome {
        Outcome::Data(data) => {
            let envelope = Envelope { data: Some(&data), warnings, ..Envelope::empty(request_id) };
            json(reply.status.unwrap_or(200), serde_json::to_vec(&envelope).unwrap_or_default())
        }
        Outcome::Raw(raw) => bare(reply.status.unwrap_or(200), &raw),
        _ => json(reply.status.unwrap_or(204), Vec::new()),
    }
}

/// A body that is no envelope. A page for people gets the headers that keep it from being shown within another page,
/// from loading or running anything, and from telling its address on.
#[must_use]
pub fn bare(status: u16, raw: &Raw) -> Response {
    let mut response = json(status, Vec::new());
    let headers = &mut response.headers;
    headers.insert("content-type", http::HeaderValue::from_static(raw.content_type));
    if raw.content_type.starts_with("text/html") {
        headers.insert("content-security-policy", http::HeaderValue::from_static(PAGE_POLICY));
        headers.insert("x-frame-options", http::HeaderValue::from_static("DENY"));
        headers.insert("x-content-type-options", http::HeaderValue::from_static("nosniff"));
        headers.insert("referrer-policy", http::HeaderValue::from_static("no-referrer"));
    }
    response.body = Body::full(raw.body.clone());
    response
}

/// A body that comes piece by piece.
#[must_use]
pub fn pieces(status: u16, pieces: Pieces) -> Response {
    let mut response = json(status, Vec::new());
    response.headers.insert("content-type", http::HeaderValue::from_static(pieces.content_type));
    response.body = Body::pieces(futures_util::stream::unfold(pieces, |mut pieces| async {
        let next = (pieces.next)().await?;
        Some((next, pieces))
    }));
    response
}

/// 307 to a clean path: what OpenBao does with doubled slashes.
#[must_use]
pub fn redirect(path: &str, query: Option<&str>, with_page: bool) -> Response {
    let target = query.map_or_else(|| path.to_owned(), |query| format!("{path}?{query}"));
    let mut response = Response::empty(StatusCode::TEMPORARY_REDIRECT);
    // The path is decoded already and holds nothing that cannot be printed; `<` and `&` it may hold.
    if with_page && !target.contains(['<', '>', '&', '"']) {
        response.headers.insert("content-type", http::HeaderValue::from_static("text/html; charset=utf-8"));
        response.body = Body::full(format!("<a href=\"{target}\">Temporary Redirect</a>.\n\n"));
    }
    if let Ok(location) = http::HeaderValue::from_str(&target) {
        response.headers.insert("location", location);
    }
    response
}

/// A JSON body with the headers that every answer has.
#[must_use]
pub fn json(status: u16, mut body: Vec<u8>) -> Response {
    if !body.is_empty() {
        body.push(b'\n');
    }
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = Response::json(status, body);
    let headers = &mut response.headers;
    headers.insert("cache-control", http::HeaderValue::from_static("no-store"));
    headers.insert("strict-transport-security", http::HeaderValue::from_static("max-age=31536000; includeSubDomains"));
    response
}

impl<'a> Envelope<'a> {
    /// Without anything but the request's id.
    #[must_use]
    pub fn empty(request_id: &'a str) -> Self {
        Self {
            request_id,
            lease_id: "",
            renewable: false,
            lease_duration: 0,
            data: None,
            wrap_info: None,
            warnings: None,
            auth: None,
        }
    }
}
