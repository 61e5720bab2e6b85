//! Requests that make what may outlive the grant: they go on as others do, and what came of them is put on the record even when
//! nobody waits for the answer any more.

use std::sync::Arc;

use dewdrop_core::Clock;
use http::{Request, Response, StatusCode};
use http_body_util::{Either, Full};
use hyper::body::Incoming;

use crate::body::{Asked, Cut};
use crate::grants::Live;
use crate::headers;
use crate::info::Info;
use crate::left::{self, Trace};
use crate::record::{Line, Record};
use crate::refuse::Refusal;
use crate::review;
use crate::upstream::ApiServer;

/// What is needed for one.
pub struct Maker {
    /// The API server.
    pub api: Arc<ApiServer>,
    /// The record.
    pub record: Record,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// The grant.
    pub live: Arc<Live>,
    /// What the record says of the request.
    pub line: Line,
}

// === impl Maker ===

impl Maker {
    /// Sends it on; the answer, whole.
    ///
    /// # Errors
    /// It is refused, or there is no answer.
    pub async fn make(self, info: &Info, request: Request<Incoming>) -> Result<Response<bytes::Bytes>, Refusal> {
        let (mut parts, incoming) = request.into_parts();
        left::ask_for_json(&mut parts.headers)?;
        let body = if left::is_token(info) {
            let body = review::body(incoming).await?;
            let unreadable = || Refusal::bad_request("a request for a token must be JSON or protobuf");
            let seconds = left::token::seconds(&parts.headers, &body).ok_or_else(unreadable)?;
            left::within(seconds, self.clock.now(), self.live.grant.ends_at)?;
            Either::Left(Full::new(body))
        } else {
            Either::Right(Cut::new(incoming, &self.live.over, None))
        };
        let mut next = Request::new(body);
        *next.headers_mut() = headers::onward(&parts.headers, &self.live.grant, &self.api.token())?;
        *next.method_mut() = parts.method;
        *next.uri_mut() = info.target().parse().map_err(|_| Refusal::bad_request("the path cannot be asked for"))?;
        // Whoever hangs up now has made it all the same.
        let info = info.clone();
        let made = tokio::spawn(async move { self.go(&info, next).await }).await;
        made.unwrap_or_else(|_| Err(Refusal::bad_gateway("what was asked broke off; look what came of it")))
    }

    async fn go(self, info: &Info, next: Request<Asked>) -> Result<Response<bytes::Bytes>, Refusal> {
        let answered = match self.api.ask(next).await {
            Ok(answer) => left::read(info, answer).await,
            Err(error) => {
                tracing::warn!(%error, "no answer of the API server");
                Err(Refusal::bad_gateway("the API server of this cluster does not answer"))
            }
        };
        match answered {
            Ok((mut response, trace)) => {
                headers::back(response.headers_mut());
                if let Some(trace) = trace {
                    self.note(trace, response.status());
                }
                Ok(response)
            }
            Err(refusal) => {
                self.note(left::unknown(info, &refusal.message), refusal.code);
                Err(refusal)
            }
        }
    }

    fn note(&self, trace: Trace, code: StatusCode) {
        let mut ticket = self.record.begin(Line { kind: "left", left: Some(trace), ..self.line.clone() });
        ticket.line().end.code = code.as_u16();
    }
}
