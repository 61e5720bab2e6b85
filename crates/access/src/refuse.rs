//! Refusals as the API server words them: a `Status` (Kubernetes API conventions), which kubectl shows as it is.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use serde_json::json;

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The status code.
    pub code: StatusCode,
    /// The `reason` of the `Status`, a word.
    pub reason: &'static str,
    /// What the person reads.
    pub message: String,
}

// === impl Refusal ===

impl Refusal {
    /// 403.
    pub fn forbidden(message: impl Into<String>) -> Self {
        Self { code: StatusCode::FORBIDDEN, reason: "Forbidden", message: message.into() }
    }

    /// 400.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_REQUEST, reason: "BadRequest", message: message.into() }
    }

    /// 401: the grant is over. kubectl's plug-in then asks for another certificate, and tells why there is none.
    pub fn unauthorized(message: impl Into<String>) -> Self {
        Self { code: StatusCode::UNAUTHORIZED, reason: "Unauthorized", message: message.into() }
    }

    /// 502: the API server.
    pub fn bad_gateway(message: impl Into<String>) -> Self {
        Self { code: StatusCode::BAD_GATEWAY, reason: "InternalError", message: message.into() }
    }

    /// 503: the proxy itself cannot know.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self { code: StatusCode::SERVICE_UNAVAILABLE, reason: "ServiceUnavailable", message: message.into() }
    }

    /// As it is sent.
    #[must_use]
    pub fn response(&self) -> Response<Bytes> {
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": format!("dewdrop: {}", self.message), "reason": self.reason, "code": self.code.as_u16(),
        });
        let mut response = Response::new(Bytes::from(status.to_string()));
        *response.status_mut() = self.code;
        response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json"));
        response
    }
}
