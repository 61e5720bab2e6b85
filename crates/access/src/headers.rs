//! Headers on their way through: what a client may not say, what ends here, what the proxy says itself.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};

use crate::grants::Grant;
use crate::refuse::Refusal;

/// Headers of one connection only (RFC 9110, section 7.6.1), and what is the proxy's to say.
const NOT_ON: &[&str] = &[
    "authorization",
    "connection",
    "forwarded",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    // Compression of streams: they could not be read for the record.
    "sec-websocket-extensions",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-rewrite-url",
];
/// Starts of more of them: front proxies say who somebody is and where he comes from. What stands behind the API server, another
/// API server or a Service, may believe them.
const NOT_ON_STARTS: &[&str] = &["x-forwarded-"];
/// How a request is named in the API server's audit.
static AUDIT: HeaderName = HeaderName::from_static("audit-id");
/// As whom the API server lets the proxy act.
static ACT_AS_USER: HeaderName = HeaderName::from_static("impersonate-user");
static ACT_AS_GROUP: HeaderName = HeaderName::from_static("impersonate-group");
static ACT_BY_GRANT: HeaderName = HeaderName::from_static("impersonate-extra-dewdrop.dev%2fgrant");
/// Headers of the connection that an answer came by.
static NOT_BACK: [HeaderName; 6] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TRAILER,
];
/// Starts of headers by which front proxies of an API server are believed.
const TRUSTED_STARTS: &[&str] = &["impersonate", "x-remote-"];
/// A token in the place of a protocol, as browsers have to say it. API servers look there when they do not know the header's.
const TOKEN_AS_PROTOCOL: &str = "base64url.bearer.authorization.k8s.io";

/// A name as those read it to whom `_` is as good as `-`.
fn plain(name: &HeaderName) -> Cow<'_, str> {
    let name = name.as_str();
    if name.contains('_') { name.replace('_', "-").into() } else { name.into() }
}

/// Refuses what nobody but the proxy may say, in whatever spelling.
///
/// # Errors
/// The client says who he is.
pub fn check(headers: &HeaderMap) -> Result<(), Refusal> {
    for name in headers.keys() {
        let plain = plain(name);
        if TRUSTED_STARTS.iter().any(|start| plain.starts_with(start)) {
            return Err(Refusal::forbidden(format!(
                "the header {name} is not for you to send (kubectl --as does): you act as yourself, by your grant"
            )));
        }
    }
    let mut protocols = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    if protocols.any(|value| String::from_utf8_lossy(value.as_bytes()).contains(TOKEN_AS_PROTOCOL)) {
        return Err(Refusal::forbidden(
            "a token in sec-websocket-protocol is not for you to send: you act as yourself, by your certificate",
        ));
    }
    Ok(())
}

/// The headers that go on: the client's, without those of the connection, and the person's identity.
///
/// # Errors
/// A name of the grant cannot stand in a header.
pub fn onward(from: &HeaderMap, grant: &Grant, token: &HeaderValue) -> Result<HeaderMap, Refusal> {
    let named: Vec<String> = from
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|name| name.trim().to_ascii_lowercase())
        .collect();
    let mut to = HeaderMap::with_capacity(from.len() + 4);
    for (name, value) in from {
        let plain = plain(name);
        // The name is ours by now, whatever the client says that belongs to the connection.
        let ends_here = *name != AUDIT && named.iter().any(|own| own == name.as_str());
        let is_ours = NOT_ON.contains(&plain.as_ref()) || NOT_ON_STARTS.iter().any(|start| plain.starts_with(start));
        if !is_ours && !ends_here {
            to.append(name, value.clone());
        }
    }
    to.insert(header::AUTHORIZATION, token.clone());
    // Those are Kubernetes' own, and ours.
    if ["system:", "dewdrop:"].iter().any(|start| grant.user.starts_with(start)) {
        return Err(Refusal::forbidden("nobody acts as a user whose name begins with system: or dewdrop:"));
    }
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| Refusal::forbidden("the name of a grant cannot stand in a header"))
    };
    to.insert(&ACT_AS_USER, value(&grant.user)?);
    for group in &grant.groups {
        to.append(&ACT_AS_GROUP, value(group)?);
    }
    to.insert(&ACT_BY_GRANT, value(&grant.id)?);
    Ok(to)
}

/// The API server calls the request by this name in its own audit; what the client called it does not count.
pub fn name_request(headers: &mut HeaderMap) -> String {
    let mut bytes = [0u8; 16];
    let name = aws_lc_rs::rand::fill(&mut bytes).map(|()| hex::encode(bytes)).unwrap_or_default();
    headers.remove(&AUDIT);
    if let Ok(value) = HeaderValue::from_str(&name)
        && !name.is_empty()
    {
        headers.insert(&AUDIT, value);
    }
    name
}

/// The same headers without those of the connection, for an answer on its way back.
pub fn back(headers: &mut HeaderMap) {
    for name in &NOT_BACK {
        headers.remove(name);
    }
}

/// Whether a patch is an apply on the server's side: of an object that is not there, it makes one.
#[must_use]
pub fn applies(headers: &HeaderMap) -> bool {
    let is_apply =
        |value: &HeaderValue| value.to_str().is_ok_and(|kind| kind.to_ascii_lowercase().contains("apply-patch"));
    headers.get_all(header::CONTENT_TYPE).iter().any(is_apply)
}

/// What kubectl says of its own command (KEP-859): `kubectl exec`, for the record. Values of flags are not in it.
#[must_use]
pub fn command(headers: &HeaderMap) -> String {
    let mut text = headers.get("kubectl-command").and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    if let Some(session) = headers.get("kubectl-session").and_then(|value| value.to_str().ok()) {
        let _ = write!(text, " ({session})");
    }
    text.truncate(text.char_indices().nth(200).map_or(text.len(), |(at, _)| at));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    fn grant() -> Grant {
        serde_json::from_value(serde_json::json!({
            "id": "g1", "user": "ann", "role": "look", "ends_at": "2026-01-01T00:00:00Z", "groups": ["devs", "shop"],
            "scope": { "clusters": [], "namespaces": [], "rules": [] },
        }))
        .unwrap()
    }

    #[test]
    fn nobody_says_who_he_is_in_any_spelling() {
        for name in [
            "Impersonate-User",
            "IMPERSONATE-GROUP",
            "impersonate-extra-x",
            "Impersonate_User",
            "impersonate-uid",
            "impersonateuser",
            "X-Remote-User",
            "x_remote_group",
        ] {
            assert!(check(&headers(&[(name, "system:admin")])).is_err(), "{name}");
        }
        let token = "v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.c3RvbGVu";
        assert!(check(&headers(&[("Sec-WebSocket-Protocol", token)])).is_err(), "a token as a protocol");
        assert!(
            check(&headers(&[("Sec-WebSocket-Protocol", "v5.channel.k8s.io"), ("Sec-WebSocket-Protocol", token)]))
                .is_err(),
            "a token in the second line"
        );
        let harmless =
            [("Accept", "*/*"), ("Kubectl-Command", "kubectl get"), ("Sec-WebSocket-Protocol", "v5.channel.k8s.io")];
        assert_eq!(check(&headers(&harmless)), Ok(()));
    }

    #[test]
    fn what_goes_on_is_the_proxys_word() {
        let from = headers(&[
            ("Authorization", "Bearer stolen"),
            ("Connection", "close, X-Secret"),
            ("X-Secret", "1"),
            ("X-Forwarded-For", "10.0.0.1"),
            ("X-Forwarded-User", "root"),
            ("X_Forwarded_Groups", "system:masters"),
            ("X-HTTP-Method-Override", "DELETE"),
            ("Accept", "application/json"),
            ("Transfer-Encoding", "chunked"),
        ]);
        let to = onward(&from, &grant(), &HeaderValue::from_static("Bearer ours")).unwrap();
        let all: Vec<String> = to.iter().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
        assert_eq!(
            all,
            [
                "accept: application/json",
                "authorization: Bearer ours",
                "impersonate-user: ann",
                "impersonate-group: devs",
                "impersonate-group: shop",
                "impersonate-extra-dewdrop.dev%2fgrant: g1",
            ]
        );
    }

    #[test]
    fn no_client_takes_the_requests_name_away() {
        let mut from = headers(&[("Connection", "Audit-ID, close"), ("Audit-ID", "mine"), ("X-Real-IP", "10.0.0.1")]);
        let name = name_request(&mut from);
        let to = onward(&from, &grant(), &HeaderValue::from_static("Bearer ours")).unwrap();
        assert_eq!(to.get(&AUDIT).unwrap(), name.as_str());
        assert!(!to.contains_key("x-real-ip"), "where the request came from is not the client's to say");
    }

    #[test]
    fn only_an_apply_may_make_what_is_not_there() {
        for kind in [
            "application/apply-patch+yaml",
            "application/apply-patch+cbor; charset=utf-8",
            "Application/Apply-Patch+YAML",
        ] {
            assert!(applies(&headers(&[("Content-Type", kind)])), "{kind}");
        }
        assert!(applies(&headers(&[
            ("Content-Type", "application/json"),
            ("Content-Type", "application/apply-patch+yaml")
        ])));
        assert!(
            !applies(&headers(&[("Content-Type", "application/strategic-merge-patch+json")]))
                && !applies(&headers(&[]))
        );
    }

    #[test]
    fn a_name_with_a_line_break_goes_nowhere() {
        let grant = Grant { user: "ann\r\nImpersonate-Group: system:masters".into(), ..grant() };
        assert!(onward(&HeaderMap::new(), &grant, &HeaderValue::from_static("x")).is_err());
    }

    #[test]
    fn nobody_is_called_like_a_part_of_the_cluster() {
        for user in ["system:kube-controller-manager", "dewdrop:sweep"] {
            let grant = Grant { user: user.into(), ..grant() };
            assert!(onward(&HeaderMap::new(), &grant, &HeaderValue::from_static("x")).is_err(), "{user}");
        }
    }
}
