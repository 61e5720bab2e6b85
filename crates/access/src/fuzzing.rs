//! What reads bytes of people, of the API server and of callers: the fuzzer and the ordinary tests both call these. They fail by
//! panicking.

use dewdrop_core::fuzzing::Target;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, StatusCode};

use crate::heard::Reader;
use crate::info::Info;
use crate::session::cast::Cast;
use crate::session::frames::Frames;
use crate::session::spdy::Spdy;
use crate::{heard, left, review, tls};

/// By the name of its corpus.
pub const TARGETS: &[Target] = &[
    ("websocket-frames", websocket_frames),
    ("spdy-frames", spdy_frames),
    ("session-cast", session_cast),
    ("api-request", api_request),
    ("audit-events", audit_events),
    ("access-review", access_review),
    ("token-request", token_request),
    ("left-behind", left_behind),
    ("grant-certificate", grant_certificate),
];

/// What a stream says on each channel, read in pieces of a size; `None`: it is refused.
fn told<E>(
    bytes: &[u8],
    size: usize,
    mut read: impl FnMut(&[u8], &mut dyn FnMut(u8, &[u8])) -> Result<(), E>,
) -> Option<Vec<u8>> {
    let mut told = Vec::new();
    for piece in bytes.chunks(size) {
        read(piece, &mut |channel, said| told.extend(said.iter().flat_map(|byte| [channel, *byte]))).ok()?;
    }
    Some(told)
}

fn websocket_frames(bytes: &[u8]) {
    let read = |size| {
        let mut frames = Frames::default();
        told(bytes, size, move |piece, each| frames.read(piece, each))
    };
    assert_eq!(read(1), read(4096), "the border of two pieces makes a difference");
}

fn spdy_frames(bytes: &[u8]) {
    for is_person in [true, false] {
        let read = |size| {
            let [person, pod] = Spdy::pair();
            let mut side = if is_person { person } else { pod };
            told(bytes, size, move |piece, each| side.read(piece, each))
        };
        assert_eq!(read(1), read(4096), "the border of two pieces makes a difference");
    }
}

/// The first byte of each piece is its channel.
fn session_cast(bytes: &[u8]) {
    let mut cast = Cast::default();
    let mut lines = String::new();
    for piece in bytes.chunks(7) {
        let (channel, said) = piece.split_first().map_or((0, piece), |(channel, said)| (channel % 6, said));
        lines += &cast.piece(std::time::Duration::ZERO, channel, said);
    }
    lines += &cast.end(std::time::Duration::ZERO);
    for line in lines.lines() {
        assert!(serde_json::from_str::<(f64, String, String)>(line).is_ok(), "a line is none of a cast: {line}");
    }
}

/// A method, a path and a query, parted by a blank and a question mark.
fn api_request(bytes: &[u8]) {
    let text = std::str::from_utf8(bytes).unwrap_or_default();
    let (method, target) = text.split_once(' ').unwrap_or(("GET", text));
    let (path, query) = target.split_once('?').map_or((target, None), |(path, query)| (path, Some(query)));
    let Ok(info) = method.parse::<Method>().map_err(drop).and_then(|m| Info::read(&m, path, query).map_err(drop))
    else {
        return;
    };
    let _ = (info.command(), info.made(true), left::is_watched(&info), info.attributes().to_string());
    let method = method.parse().unwrap_or_default();
    assert_eq!(Info::read(&method, &info.path, query).ok(), Some(info), "what goes on is not what was judged");
}

fn audit_events(bytes: &[u8]) {
    let reader = Reader { cluster: "c".into(), proxy: "p".into(), skip: vec!["system:".into()] };
    for line in heard::events(bytes).unwrap_or_default().iter().filter_map(|event| reader.line(event)) {
        let id = &line.api.audit_id;
        assert!((1..=64).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{id}");
        assert!([&line.what.name, &line.user, &line.what.target].iter().all(|text| text.len() <= 1024), "too long");
    }
}

fn access_review(bytes: &[u8]) {
    let Some(grant) = grant() else { return };
    let body = bytes::Bytes::copy_from_slice(bytes);
    let _ = (review::grants_no(&grant, "c", &body), review::rules::answer(&grant, "c", &body));
}

fn token_request(bytes: &[u8]) {
    for kind in ["application/json", "application/vnd.kubernetes.protobuf"] {
        let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]);
        let _ = left::token::seconds(&headers, bytes);
    }
}

fn left_behind(bytes: &[u8]) {
    let Ok(info) = Info::read(&Method::POST, "/api/v1/namespaces/shop/secrets", None) else { return };
    if let Some(mut trace) = left::trace(&info, StatusCode::CREATED.as_u16(), bytes) {
        trace.shorten();
        assert!([&trace.path, &trace.uid, &trace.until, &trace.why].iter().all(|text| text.len() <= 1024), "too long");
    }
}

fn grant_certificate(bytes: &[u8]) {
    if let Some(id) = tls::grant_of(&bytes.to_vec().into()) {
        assert!((1..=64).contains(&id.len()), "{id}");
    }
}

fn grant() -> Option<crate::grants::Grant> {
    let grant = serde_json::json!({
        "id": "g", "user": "ann", "role": "r", "ends_at": "2026-01-01T00:00:00Z",
        "scope": { "clusters": ["c"], "namespaces": ["shop"], "rules": [] },
    });
    serde_json::from_value(grant).ok()
}

#[cfg(test)]
#[test]
fn the_proxy_reads_anything() {
    dewdrop_testkit::fuzz::replay(TARGETS);
}
