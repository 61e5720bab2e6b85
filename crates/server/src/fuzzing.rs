//! What reads bytes from outside, one function for each parser: the fuzzer and the ordinary tests both call these. They
//! fail by panicking.

use std::sync::Arc;

use bytes::Bytes;
use dewdrop_core::fuzzing::Target;
use dewdrop_core::{Moment, Secret};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Version};

use crate::audit::verify::{Ask, verify_bytes};
use crate::config::Config;
use crate::http::target::{Query, api_path};
use crate::http::{Connection, Peer, Request};
use crate::seal::{generate_root, parse_share, pgp};
use crate::tokens::batch::BatchKey;

/// By the name of its corpus.
pub const TARGETS: &[Target] = &[
    ("config", config),
    ("target", target),
    ("request", request),
    ("audit-log", audit_log),
    ("snapshot-archive", crate::sys::read_archive),
    ("token-text", token_text),
    ("pgp-key", pgp_key),
];

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

fn config(bytes: &[u8]) {
    for name in ["server.hcl", "server.json"] {
        let _ = Config::parse(name, text(bytes));
    }
}

/// Path and query.
fn target(bytes: &[u8]) {
    let Ok(whole) = PathAndQuery::try_from(bytes) else { return };
    if let Ok(path) = api_path(whole.path()) {
        let path = path.into_string();
        let climbs = path.split('/').any(|segment| segment == "..");
        assert!(!climbs && !path.contains('\0'), "a path that must not be served: {path:?}");
    }
    if let Ok(query) = Query::parse(whole.query().unwrap_or_default()) {
        let _ = (query.flag("list"), query.pairs().count());
    }
}

/// The first byte chooses method and content type, the second line is the token, the third the namespace; then the body.
fn request(bytes: &[u8]) {
    let mut parts = bytes.splitn(4, |byte| *byte == b'\n');
    let mut next = || parts.next().unwrap_or_default();
    let (first, token, namespace, body) = (next(), next(), next(), next());
    let (choice, target) = first.split_first().unwrap_or((&0, b""));
    let methods = ["GET", "POST", "LIST", "PATCH", "HEAD", "SCAN"];
    let method = methods.get(usize::from(choice % 8)).unwrap_or(&"PUT");
    let kinds = ["application/json", "application/x-www-form-urlencoded", "application/merge-patch+json"];
    let kind = kinds.get(usize::from(choice / 8 % 4)).unwrap_or(&"application/octet-stream");
    let (Ok(target), Ok(method)) = (PathAndQuery::try_from(target), Method::from_bytes(method.as_bytes())) else {
        return;
    };
    let mut headers = HeaderMap::new();
    headers.insert("content-type", HeaderValue::from_static(kind));
    for (name, value) in [("x-vault-token", token), ("x-vault-namespace", namespace), ("x-vault-wrap-ttl", namespace)] {
        if let (Ok(value), false) = (HeaderValue::from_bytes(value), value.is_empty()) {
            headers.insert(name, value);
        }
    }
    let peer = Peer { address: None, connection: Arc::new(Connection::default()) };
    let body = Bytes::copy_from_slice(body);
    let request = Request { id: "0".into(), method, target, version: Version::HTTP_11, headers, body, peer };
    let _ = crate::pipeline::parse(request, Moment(0));
}

fn audit_log(bytes: &[u8]) {
    let _ = verify_bytes(bytes, &Ask::default());
}

/// Tokens and shares as people type them.
fn token_text(bytes: &[u8]) {
    let text = text(bytes);
    let (one, other) = text.split_once('\n').unwrap_or((text, ""));
    let _ = (parse_share(one), generate_root::decode(one, other));
    if let Ok(key) = BatchKey::new(&Secret::new(vec![7; 32])) {
        assert!(key.open(text).is_none(), "a forged batch token was read");
    }
}

fn pgp_key(bytes: &[u8]) {
    use base64::Engine as _;
    let _ = pgp::key("key", text(bytes), Moment(0));
    let _ = pgp::key("key", &base64::engine::general_purpose::STANDARD.encode(bytes), Moment(0));
}

#[cfg(test)]
#[test]
fn the_server_reads_anything() {
    dewdrop_testkit::fuzz::replay(TARGETS);
}
