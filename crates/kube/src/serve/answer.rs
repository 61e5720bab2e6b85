//! One HTTP request and its answer.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout, timeout_at};

use super::Desk;
use super::guests::Room;
use crate::judge::JudgeError;
use crate::review::{Question, Verdict};

/// The largest body: the API server takes objects of 3 MB, and an update holds the old one beside the new.
const MOST: u64 = 8 << 20;
const BODY: Duration = Duration::from_secs(5);
/// Of the ten seconds that the API server waits, with what the body took.
const WORK: Duration = Duration::from_secs(8);

/// A refusal: its status and its words.
type Refusal = (StatusCode, String);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Validate,
    Mutate,
}

/// Answers a request.
pub(super) async fn answer(desk: &Desk, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let way = match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/healthz" | "/readyz") => return text(StatusCode::OK, "ok\n"),
        (&Method::POST, "/validate") => Way::Validate,
        (&Method::POST, "/mutate") => Way::Mutate,
        (_, "/healthz" | "/readyz") => {
            return refuse(&(StatusCode::METHOD_NOT_ALLOWED, "only GET is known here".into()));
        }
        (_, "/validate" | "/mutate") => {
            return refuse(&(StatusCode::METHOD_NOT_ALLOWED, "only POST is known here".into()));
        }
        _ => return refuse(&(StatusCode::NOT_FOUND, "there are /validate, /mutate, /healthz and /readyz".into())),
    };
    match timeout(WORK, ask(desk, way, request)).await {
        Ok(Ok(body)) => {
            let mut response = Response::new(Full::new(Bytes::from(body)));
            response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response
        }
        Ok(Err(refusal)) => refuse(&refusal),
        Err(_) => refuse(&(StatusCode::SERVICE_UNAVAILABLE, "there is no verdict in due time".into())),
    }
}

async fn ask(desk: &Desk, way: Way, request: Request<Incoming>) -> Result<Vec<u8>, Refusal> {
    let kind = request.headers().get(header::CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let kind = kind.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
    if !kind.eq_ignore_ascii_case(b"application/json") {
        return Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "the body must be application/json".into()));
    }
    let (body, _room) = whole(desk, request.into_body()).await?;
    let question = Question::read(&body).map_err(|e| (StatusCode::BAD_REQUEST, e.to_string()))?;
    let judged = match way {
        Way::Validate => desk.judge.validate(&question).await,
        Way::Mutate => desk.judge.mutate(&question),
    };
    let verdict = judged.map_err(|e| unjudged(&question, &e))?;
    log(&question, way, &verdict);
    verdict
        .body(&question.uid)
        .map_err(|e| (StatusCode::INTERNAL_SERVER_ERROR, format!("the answer cannot be written: {e}")))
}

/// The body, and the room in memory that it takes. Who finds none is refused at once: one who waited unread would hold up
/// all others of his HTTP/2 connection.
async fn whole(desk: &Desk, mut body: Incoming) -> Result<(Bytes, Vec<Room>), Refusal> {
    let too_large = || (StatusCode::PAYLOAD_TOO_LARGE, format!("the body is larger than {} MiB", MOST >> 20));
    if body.size_hint().exact().is_some_and(|announced| announced > MOST) {
        return Err(too_large());
    }
    let deadline = Instant::now() + BODY;
    let (mut whole, mut room) = (BytesMut::new(), Vec::new());
    loop {
        let frame = timeout_at(deadline, body.frame()).await;
        let frame =
            frame.map_err(|_| (StatusCode::REQUEST_TIMEOUT, "the body did not arrive in due time".to_owned()))?;
        match frame {
            None => return Ok((whole.freeze(), room)),
            Some(Err(_)) => return Err((StatusCode::BAD_REQUEST, "the body is not complete".into())),
            Some(Ok(frame)) => {
                let data = frame.into_data().unwrap_or_default();
                if (whole.len() + data.len()) as u64 > MOST {
                    return Err(too_large());
                }
                let full =
                    || (StatusCode::SERVICE_UNAVAILABLE, "too much is asked at once from this address".to_owned());
                room.push(desk.guest.take(data.len()).ok_or_else(full)?);
                whole.extend_from_slice(&data);
            }
        }
    }
}

fn unjudged(question: &Question<'_>, error: &JudgeError) -> Refusal {
    let (namespace, name) = (&question.namespace, &question.name);
    tracing::warn!(namespace, name, operation = question.operation, error = %error, "no verdict");
    match error {
        JudgeError::Review(e) => (StatusCode::BAD_REQUEST, e.to_string()),
        JudgeError::LookUp(e) => (StatusCode::SERVICE_UNAVAILABLE, e.to_string()),
    }
}

fn log(question: &Question<'_>, way: Way, verdict: &Verdict) {
    let (namespace, name, user) = (&question.namespace, &question.name, &question.user_info.username);
    let (resource, sub_resource) = (&question.resource.resource, &question.sub_resource);
    if let Some(why) = &verdict.denied {
        tracing::info!(namespace, name, user, resource, sub_resource, why, "refused");
    } else if way == Way::Mutate && !verdict.patch.is_empty() {
        tracing::info!(namespace, name, steps = verdict.patch.len(), "changed");
    } else {
        tracing::debug!(namespace, name, resource, sub_resource, warnings = verdict.warnings.len(), "allowed");
    }
}

fn refuse((status, why): &Refusal) -> Response<Full<Bytes>> {
    text(*status, &format!("{why}\n"))
}

fn text(status: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
