//! What a listener's configuration keeps out before anything else is looked at.

use http::StatusCode;

use crate::config::Access;
use crate::http::target::api_path;
use crate::http::{Request, Response};
use crate::page::is_of_page;

/// The refusal, when there is one.
#[must_use]
pub fn closed(access: Access, request: &Request) -> Option<Response> {
    // As the path is understood later: `%6detrics` is the same.
    let is_metrics = api_path(request.target.path()).is_ok_and(|path| path.as_str() == "sys/metrics");
    if access.metrics_only && !is_metrics {
        return Some(Response::errors(StatusCode::NOT_FOUND, &["this listener only serves the metrics endpoint"]));
    }
    if access.no_metrics && is_metrics {
        return Some(Response::errors(StatusCode::FORBIDDEN, &["metrics endpoint is disabled for this listener"]));
    }
    let has_header =
        request.headers.get("x-vault-request").is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"true"));
    // A browser sends no such header for a page; the page's own requests have it.
    if access.require_request_header && !has_header && !is_of_page(request.target.path()) {
        return Some(Response::errors(
            StatusCode::PRECONDITION_FAILED,
            &["missing 'X-Vault-Request' header: this listener wants it to be true"],
        ));
    }
    None
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Method, Version};

    use super::*;
    use crate::http::{Connection, Peer};

    fn status(access: Access, path: &'static str, header: Option<&'static str>) -> Option<u16> {
        let mut headers = HeaderMap::new();
        headers.extend(
            header.map(|value| (http::HeaderName::from_static("x-vault-request"), HeaderValue::from_static(value))),
        );
        let request = Request {
            id: "1".into(),
            method: Method::GET,
            target: path.parse().unwrap(),
            version: Version::HTTP_11,
            headers,
            body: Bytes::new(),
            peer: Peer { address: None, connection: std::sync::Arc::new(Connection::default()) },
        };
        closed(access, &request).map(|response| response.status.as_u16())
    }

    #[test]
    fn each_setting_keeps_out_what_it_says() {
        let (metrics, health) = ("/v1/sys/metrics?format=prometheus", "/v1/sys/health");
        assert_eq!(status(Access::default(), metrics, None), None);
        let only = Access { metrics_only: true, ..Access::default() };
        assert_eq!((status(only, metrics, None), status(only, health, None)), (None, Some(404)));
        let none = Access { no_metrics: true, ..Access::default() };
        assert_eq!((status(none, metrics, None), status(none, health, None)), (Some(403), None));
        assert_eq!(status(none, "/v1/sys/%6detrics", None), Some(403), "the same path, written otherwise");
        assert_eq!(status(only, "/v1/sys/%6detrics", None), None);
        let marked = Access { require_request_header: true, ..Access::default() };
        assert_eq!((status(marked, health, None), status(marked, health, Some("no"))), (Some(412), Some(412)));
        assert_eq!(status(marked, health, Some("true")), None);
        assert_eq!((status(marked, "/ui/mfa", None), status(only, "/ui/mfa", None)), (None, Some(404)));
    }
}
