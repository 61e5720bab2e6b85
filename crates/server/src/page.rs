//! The page at which a security key answers: three files, within the program. It is the same for everybody; what it shows it
//! fetches from the API.

use http::{HeaderName, HeaderValue, Method, StatusCode, header};

use crate::http::{Body, Request, Response};

/// Nothing from elsewhere, nothing inline, no frame around it.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

const HEADERS: &[(&str, &str)] = &[
    ("content-security-policy", POLICY),
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cache-control", "no-store"),
    ("cross-origin-opener-policy", "same-origin"),
    ("permissions-policy", "publickey-credentials-create=(self), publickey-credentials-get=(self)"),
];

fn file(path: &str) -> Option<(&'static str, &'static str)> {
    match path {
        crate::mfa::PAGE => Some(("text/html; charset=utf-8", include_str!("page/mfa.html"))),
        "/ui/mfa.js" => Some(("text/javascript; charset=utf-8", include_str!("page/mfa.js"))),
        "/ui/mfa.css" => Some(("text/css; charset=utf-8", include_str!("page/mfa.css"))),
        _ => None,
    }
}

/// Whether a path is one of the page's.
#[must_use]
pub fn is_of_page(path: &str) -> bool {
    file(path).is_some()
}

/// The page or a part of it; `None`: it is something else.
#[must_use]
pub fn page(request: &Request) -> Option<Response> {
    let (kind, text) = file(request.target.path())?;
    if request.method != Method::GET && request.method != Method::HEAD {
        return Some(Response::errors(StatusCode::METHOD_NOT_ALLOWED, &["unsupported operation"]));
    }
    let mut response = Response::empty(StatusCode::OK);
    response.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    for (name, value) in HEADERS.iter().copied() {
        response.headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    if request.method == Method::GET {
        response.body = Body::full(text);
    }
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_inline_and_nothing_is_from_elsewhere() {
        let (_, html) = file("/ui/mfa").unwrap();
        for bad in ["<style", "style=", "onclick", "onload", "http:", "https:", "//"] {
            assert!(!html.contains(bad), "{bad}");
        }
        let scripts: Vec<&str> = html.match_indices("<script").map(|(at, _)| &html[at..at + 40]).collect();
        assert!(scripts.iter().all(|script| script.starts_with("<script src=\"/ui/")), "{scripts:?}");
        let (_, script) = file("/ui/mfa.js").unwrap();
        for bad in ["innerHTML", "eval(", "document.write", "localStorage", "sessionStorage", "http:", "https:"] {
            assert!(!script.contains(bad), "{bad}");
        }
        assert!(["/ui/", "/ui", "/ui/mfa/", "/ui/../v1"].iter().all(|path| !is_of_page(path)));
    }
}
