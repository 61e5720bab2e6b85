//! What somebody tries with an API behind the API server, to be somebody else there or to have more.

use anyhow::{Context, Result, ensure};

use super::{SHOP, Wares};
use crate::say;

/// Stands in all that is forged. The other server must not hear it; `Zm9yZ2Vk` is the same in base64.
const FORGED: [&str; 2] = ["forged", "Zm9yZ2Vk"];
/// Identities that nobody but the proxy may state, in every spelling.
const IDENTITIES: &[&str] = &[
    "X-Remote-User: forged",
    "x-remote-group: forged",
    "X-REMOTE-EXTRA-dewdrop.dev%2Fgrant: forged",
    "X-Remote-Uid: forged",
    "X_Remote_User: forged",
    "X-Remote_Group: forged",
    "x_remote_extra_forged: forged",
    "Impersonate-User: forged",
    "impersonate-group: forged",
    "IMPERSONATE-UID: forged",
    "Impersonate_User: forged",
    "Impersonate-Extra-Forged: forged",
    "Impersonate_Extra-dewdrop.dev%2fgrant: forged",
    "Sec-WebSocket-Protocol: v5.channel.k8s.io, base64url.bearer.authorization.k8s.io.Zm9yZ2Vk",
];
/// What a client may say without an effect.
const LEFT_OUT: &[&str] = &[
    "Authorization: Bearer forged",
    "X-Forwarded-User: forged",
    "X-Forwarded-Groups: forged",
    "X-Forwarded-For: forged",
    "X-Original-URL: /forged",
    "X-HTTP-Method-Override: forged",
    "Proxy-Authorization: Basic forged",
];
/// What is not granted, said plainly and in disguise.
const PATHS: &[&str] = &[
    "/apis/wares.example.com/v1/widgets",
    "/apis/wares.example.com/v1/namespaces/bank/widgets",
    "/apis/wares.example.com/v1/namespaces/shop/gadgets",
    "/apis/wares.example.com/v1/namespaces/shop",
    "/apis/wares.example.com/v1/namespaces/shop/status",
    "/apis/wares.example.com/v1/watch/namespaces/bank/widgets",
    "/apis/wares.example.com/v1/proxy/namespaces/shop/widgets/first",
    "/apis/wares.example.com/v1/namespaces/shop/widgets/first/proxy",
    "/apis/wares.example.com/v1/namespaces/shop/widgets/first/proxy/",
    "/apis/wares.example.com/v1/namespaces/shop/widgets/first/proxy/widgets?watch=true",
    "/apis/wares.example.com/v1/namespaces/shop/widgets/first/proxy/../../first",
    "/apis/wares.example.com/v1/namespaces/shop/widgets/first/%2e%2e/first",
    "/apis/wares.example.com/v1/namespaces/shop/widgets/first/.%2E/first",
    "/apis/wares.example.com/v1/namespaces/shop/widgets/../../bank/widgets",
    "/apis/wares.example.com/v1/namespaces/shop/widgets//first",
    "/apis/wares.example.com/v1/namespaces//bank/widgets",
    "/apis/wares.example.com/v1/namespaces/shop/widgets/first%2Fconsole",
    "/apis/wares.example.com/v1/namespaces/shop/widgets/first%3Fwatch=true",
    "/apis/wares.example.com/v1/namespaces/shop/widgets/first;/console",
    "/apis/wares.example.com/v1/namespaces/shop/widgets?watch=true&watch=false",
    "/apis/wares.example.com%2Fv1/namespaces/shop/widgets",
    "/apis//wares.example.com/v1/namespaces/shop/widgets",
    "//apis/wares.example.com/v1/namespaces/shop/widgets",
    "/apis/../apis/wares.example.com/v1/namespaces/bank/widgets",
    "/APIS/wares.example.com/v1/namespaces/shop/widgets",
    "/apis/WARES.example.com/v1/namespaces/shop/widgets",
    "/apis/wares.example.com./v1/namespaces/shop/widgets",
    "/api/v1/namespaces/wares/services/https:wares:443/proxy/apis/wares.example.com/v1/namespaces/shop/widgets",
];
/// Verbs that are not granted, and methods that are none.
const METHODS: &[(&str, &str)] = &[
    ("DELETE", "/apis/wares.example.com/v1/namespaces/shop/widgets/first"),
    ("DELETE", "/apis/wares.example.com/v1/namespaces/shop/widgets"),
    ("PUT", "/apis/wares.example.com/v1/namespaces/shop/widgets/first"),
    ("PATCH", "/apis/wares.example.com/v1/namespaces/shop/widgets/first"),
    ("POST", "/apis/wares.example.com/v1/namespaces/shop/widgets/first/proxy/x"),
    ("POST", "/apis/wares.example.com/v1/namespaces/shop/widgets/first/console"),
    ("OPTIONS", "/apis/wares.example.com/v1/namespaces/shop/widgets"),
    ("TRACE", "/apis/wares.example.com/v1/namespaces/shop/widgets"),
    ("BREW", "/apis/wares.example.com/v1/namespaces/shop/widgets"),
    ("POST", "/apis/wares.example.com/v1"),
    ("DELETE", "/apis/wares.example.com"),
];

/// All of it; then nothing has come to the other server that must not.
pub fn play(wares: &Wares<'_, '_>) -> Result<()> {
    identities(wares)?;
    hidden_identities(wares)?;
    tricks(wares)?;
    nothing_else_is_told(wares)
}

/// Whoever says who he is, is refused, over both versions of HTTP; the rest of what he says does not go on.
fn identities(wares: &Wares<'_, '_>) -> Result<()> {
    let path = format!("{SHOP}/widgets");
    for version in ["--http1.1", "--http2"] {
        for header in IDENTITIES {
            let (code, body) = wares.town.curl("ann", &[version, "-H", header], &path)?;
            ensure!(code == 403 && body.contains("is not for you to send"), "{version} {header}: {code} {body}");
        }
        for header in LEFT_OUT {
            let (code, body) = wares.town.curl("ann", &[version, "-H", header], &path)?;
            ensure!(code == 200, "{version} {header}: {code} {body}");
        }
    }
    let told = wares.town.refused("ann", &["get", "widgets", "--as=forged", "--as-group=forged"])?;
    ensure!(told.contains("is not for you to send"), "kubectl --as: {told}");
    Ok(())
}

/// Identities in trailers, nominated by `Connection`, or between the lines.
fn hidden_identities(wares: &Wares<'_, '_>) -> Result<()> {
    let way = wares.way()?;
    let get = format!("GET {SHOP}/widgets HTTP/1.1\r\nHost: x\r\n");
    let named = "Connection: X-Remote-User, X-Remote-Group, Impersonate-User, Impersonate-Group, Authorization, \
                 Impersonate-Extra-dewdrop.dev%2Fgrant, close\r\n";
    let told = way.open()?.raw(&format!("{get}{named}\r\n"))?;
    ensure!(told.starts_with("HTTP/1.1 200"), "names on Connection: {told}");
    let told = way.open()?.raw(&format!("{get}Connection: X-Remote-User, close\r\nX-Remote-User: forged\r\n\r\n"))?;
    ensure!(told.starts_with("HTTP/1.1 403"), "an identity that Connection names: {told}");
    for (what, line) in [
        ("a blank before the colon", "X-Remote-User : forged"),
        ("a folded line", "X-A: b\r\n X-Remote-User: forged"),
        ("a line feed alone", "X-A: b\nX-Remote-User: forged"),
        ("a carriage return alone", "X-A: b\rX-Remote-User: forged"),
    ] {
        let told = way.open()?.raw(&format!("{get}Connection: close\r\n{line}\r\n\r\n"))?;
        ensure!(!told.starts_with("HTTP/1.1 20"), "{what}: {told}");
    }
    let post =
        format!("POST {SHOP}/widgets HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\n");
    let before = wares.of_ann().len();
    let told = way.open()?.raw(&format!(
        "{post}Trailer: X-Remote-User, Impersonate-User\r\nTE: trailers\r\nTransfer-Encoding: chunked\r\n\r\n\
         2\r\n{{}}\r\n0\r\nX-Remote-User: forged\r\nImpersonate-User: forged\r\n\r\n"
    ))?;
    ensure!(told.starts_with("HTTP/1.1 201"), "identities in trailers: {told}");
    let asked = wares.of_ann();
    let last = asked.last().filter(|_| asked.len() == before + 1).context("it was not asked")?;
    ensure!(last.rest == "{}" && last.all("trailer").is_empty(), "with trailers: {last:?}");
    Ok(())
}

/// Paths, methods and upgrades are judged by what they are; nothing that is refused comes to the other server.
fn tricks(wares: &Wares<'_, '_>) -> Result<()> {
    let before = wares.of_ann().len();
    for path in PATHS {
        wares.refused(&[], path)?;
    }
    for (method, path) in METHODS {
        wares.refused(&["-X", method], path)?;
    }
    wares.refused(&["-X", "POST", "-H", "X-HTTP-Method-Override: GET"], &format!("{SHOP}/widgets/first/console"))?;
    for protocol in ["websocket", "SPDY/3.1", "h2c"] {
        let protocol = format!("Upgrade: {protocol}");
        let upgrade = ["--http1.1", "-H", "Connection: Upgrade", "-H", &protocol];
        for path in ["widgets/first/console", "widgets/first/proxy/", "gadgets"] {
            wares.refused(&upgrade, &format!("{SHOP}/{path}"))?;
        }
    }
    // Where everybody may look around.
    let discovery = SHOP.split("/namespaces").next().unwrap_or_default();
    for protocol in ["Upgrade: websocket", "Upgrade: SPDY/3.1"] {
        wares.refused(&["--http1.1", "-H", "Connection: Upgrade", "-H", protocol], discovery)?;
    }
    let after = wares.of_ann();
    ensure!(after.len() == before, "it was asked: {:?}", after.get(before..));
    say::line(&format!("{} tricks refused, none came to the other API server", PATHS.len() + METHODS.len() + 12));
    Ok(())
}

/// Nothing that was forged, and nothing of the proxy itself, in all that it was ever told.
fn nothing_else_is_told(wares: &Wares<'_, '_>) -> Result<()> {
    // The proxy's folder is beside those of the people.
    let token = std::fs::read_to_string(wares.town.home("account").join("token"))?;
    let asked = wares.server.asked();
    for text in FORGED.into_iter().chain([token.trim(), "dewdrop-proxy", "Bearer"]) {
        let told = asked.iter().find(|asked| asked.has(text)).map(|asked| &asked.line);
        ensure!(told.is_none(), "it was told what it must not hear: {told:?}");
    }
    let is_strange = |name: &str| name == "authorization" || name.replace('_', "-").starts_with("impersonate");
    let strange = asked.iter().find(|asked| asked.headers.iter().any(|(name, _)| is_strange(name)));
    ensure!(strange.is_none(), "a header that ends at the API server: {strange:?}");
    Ok(())
}
