//! `dewdrop login -method=oidc`: the sign-in happens in a browser. We wait for it on the loopback (`callbackmode=client`),
//! or ask the server whether it has happened (`direct`, `device`).

mod listen;

use std::process::Stdio;
use std::time::Duration;

use dewdrop_api::{Call, Envelope, Error};
use serde_json::{Map, Value, json};
use tokio::net::TcpListener;

use super::Method;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::line;
use listen::Listening;

/// How long a person may take.
const PATIENCE: Duration = Duration::from_secs(600);

/// How it is signed in by browser.
pub const METHOD: Method = Method {
    kind: "oidc",
    fields: &[
        ("role", "role to sign in with; the mount's default, unless given"),
        ("callbackmode", "client (we listen), direct (the server does) or device (nobody does); default: client"),
        ("port", "port to listen on; default: 8250"),
        ("listenaddress", "address to listen on; default: localhost"),
        ("callbackmethod", "http or https, as the browser shall come back; default: http, with direct the server's"),
        ("callbackhost", "host that the browser shall come back to; default: localhost, with direct the server's"),
        ("callbackport", "port that the browser shall come back to; default: port, with direct the server's"),
        ("skip_browser", "true: only print the address, open no browser"),
    ],
    example: "dewdrop login -method=oidc role=engineering",
};

/// What was asked on the command line.
struct Ask {
    role: String,
    mode: Mode,
    listen: String,
    port: u16,
    back: [Option<String>; 3],
    skip_browser: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Client,
    Direct,
    Device,
}

/// Signs in by browser.
pub async fn login(ctx: &Ctx, mount: &str, fields: Map<String, Value>) -> Result<Envelope> {
    let ask = Ask::of(fields)?;
    let listener = match ask.mode {
        Mode::Client => Some(listener(&ask).await?),
        Mode::Direct | Mode::Device => None,
    };
    let port = listener.as_ref().and_then(|one| one.local_addr().ok()).map_or(ask.port, |address| address.port());
    let redirect = ask.redirect(ctx, mount, port);
    let client_nonce = random()?;
    let begun = begin(ctx, mount, &ask.role, &redirect, &client_nonce).await?;
    show(&begun.url, &begun.user_code, ask.skip_browser)?;
    let waiting = async {
        if !begun.state.is_empty() {
            return poll(ctx, mount, &begun.state, &client_nonce, begun.pause).await;
        }
        let listener = listener.ok_or_else(|| {
            Failure::server("the role wants the browser to come back to this program").hint("leave callbackmode away")
        })?;
        let no_state = || Failure::server("the provider's address has no state");
        let state = listen::state_of(&begun.url).ok_or_else(no_state)?;
        Listening { listener, ctx, mount, state, client_nonce: &client_nonce }.wait().await
    };
    let late = |_| Failure::server("Timed out waiting for response from provider").hint("sign in again");
    let envelope = tokio::time::timeout(PATIENCE, waiting).await.map_err(late)??;
    envelope
        .filter(|e| e.auth.is_some() || e.wrap_info.is_some())
        .ok_or_else(|| Failure::server("the server gave no token"))
}

/// What the server says to a sign-in that begins.
struct Begun {
    /// Where the person goes.
    url: String,
    /// Names the sign-in where we have to ask for its end; else empty.
    state: String,
    /// What a device's person types; empty: nothing.
    user_code: String,
    /// Seconds between two asks.
    pause: u64,
}

async fn begin(ctx: &Ctx, mount: &str, role: &str, redirect: &str, client_nonce: &str) -> Result<Begun> {
    let body = json!({ "role": role, "redirect_uri": redirect, "client_nonce": client_nonce });
    let call = Call::write(&format!("auth/{mount}/oidc/auth_url"), &body)?.anonymous();
    let data = ctx.ask(call).await?.and_then(|envelope| envelope.data);
    let text = |name: &str| data.as_ref().and_then(|data| data.text(name)).unwrap_or_default().to_owned();
    let url = text("auth_url");
    if url.is_empty() {
        let told = format!("Unable to authorize role {role:?} with redirect_uri {redirect:?}");
        return Err(Failure::server(told).hint(
            "the role is to be of role_type=oidc, and its allowed_redirect_uris to hold this address (of localhost any \
             port will do); see also callbackmode",
        ));
    }
    let pause = text("poll_interval").parse().unwrap_or(5);
    Ok(Begun { url, state: text("state"), user_code: text("user_code"), pause })
}

impl Ask {
    fn of(mut fields: Map<String, Value>) -> Result<Self> {
        let mut take = |name: &str| {
            fields.remove(name).map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned))
        };
        let flag = |given: Option<String>| matches!(given.as_deref(), Some("true" | "1" | "t"));
        let port = take("port").unwrap_or_else(|| "8250".into());
        let ask = Self {
            role: take("role").unwrap_or_default(),
            mode: Mode::named(take("callbackmode").as_deref().unwrap_or("client"))?,
            listen: take("listenaddress").unwrap_or_else(|| "localhost".into()),
            port: port.parse().map_err(|_| Failure::usage(format!("port={port} is no port")))?,
            back: [take("callbackmethod"), take("callbackhost"), take("callbackport")],
            skip_browser: flag(take("skip_browser")),
        };
        // Older scripts give it; we never go on after an error.
        drop(take("abort_on_error"));
        if flag(take("show_qr")) {
            return Err(Failure::usage("show_qr is not built").hint("open the printed address in a browser"));
        }
        match fields.keys().next() {
            None => Ok(ask),
            Some(name) => Err(Failure::usage(format!("login -method=oidc does not know {name}"))
                .hint("`dewdrop auth help oidc` lists what it takes")),
        }
    }

    /// Where the browser shall come back to.
    fn redirect(&self, ctx: &Ctx, mount: &str, port: u16) -> String {
        let [method, host, back_port] = &self.back;
        let given = |one: &Option<String>, default: &str| one.clone().unwrap_or_else(|| default.to_owned());
        match self.mode {
            Mode::Device => String::new(),
            Mode::Client => {
                let (method, host) = (given(method, "http"), given(host, "localhost"));
                format!("{method}://{host}:{}/oidc/callback", given(back_port, &port.to_string()))
            }
            Mode::Direct => {
                let address = ctx.settings.config.address.trim_end_matches('/');
                let (own_method, place) = address.split_once("://").unwrap_or(("http", address));
                let (own_host, own_port) = match place.rsplit_once(':') {
                    Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => (host, Some(port)),
                    _ => (place, None),
                };
                let port = back_port.as_deref().or(own_port).map(|port| format!(":{port}")).unwrap_or_default();
                let namespace = ctx.settings.config.namespace.trim_matches('/');
                let namespace = if namespace.is_empty() { String::new() } else { format!("{namespace}/") };
                let (method, host) = (given(method, own_method), given(host, own_host));
                format!("{method}://{host}{port}/v1/{namespace}auth/{mount}/oidc/callback")
            }
        }
    }
}

impl Mode {
    fn named(name: &str) -> Result<Self> {
        match name {
            "client" => Ok(Self::Client),
            "direct" => Ok(Self::Direct),
            "device" => Ok(Self::Device),
            _ => Err(Failure::usage("callbackmode is client, direct or device")),
        }
    }
}

async fn listener(ask: &Ask) -> Result<TcpListener> {
    TcpListener::bind((ask.listen.as_str(), ask.port)).await.map_err(|error| {
        Failure::usage(format!("listen on {} port {}: {error}", ask.listen, ask.port))
            .hint("give another with port=N; of localhost the provider's server takes any")
    })
}

/// Tells the person where to go, and goes there if it can.
fn show(url: &str, user_code: &str, skip_browser: bool) -> Result<()> {
    let is_address = url.starts_with("https://") || url.starts_with("http://");
    if !is_address || [url, user_code].iter().any(|text| text.contains(char::is_control)) {
        return Err(Failure::server("the server gave an address that is none of the web"));
    }
    let how = if skip_browser { "Open this address in your browser:" } else { "Launching browser to:" };
    line(&format!("Complete the login via your OIDC provider. {how}\n\n    {url}\n"));
    if !user_code.is_empty() {
        line(&format!("When prompted, enter this code: {user_code}\n"));
    }
    if !skip_browser && !opened(url) {
        line("There is no browser to be opened here: open the address yourself.");
    }
    line("Waiting for OIDC authentication to complete...");
    Ok(())
}

fn opened(url: &str) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = std::process::Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok()
}

/// Asks the server until the sign-in has ended.
async fn poll(ctx: &Ctx, mount: &str, state: &str, nonce: &str, pause: u64) -> Result<Option<Envelope>> {
    let mut pause = Duration::from_secs(pause.clamp(1, 60));
    let body = json!({ "state": state, "client_nonce": nonce });
    loop {
        tokio::time::sleep(pause).await;
        let call = Call::write(&format!("auth/{mount}/oidc/poll"), &body)?.anonymous();
        let call = call.wrapped(ctx.settings.wrap_ttl.as_deref());
        match ctx.client().await?.call(call).await {
            Err(Error::Api(error)) if error.errors.iter().any(|why| why == "authorization_pending") => {}
            Err(Error::Api(error)) if error.errors.iter().any(|why| why == "slow_down") => {
                pause += Duration::from_secs(5);
            }
            Err(error) => return Err(error.into()),
            Ok(envelope) => return Ok(envelope),
        }
    }
}

/// A text of 256 random bits.
fn random() -> Result<String> {
    use base64::Engine as _;
    let mut bytes = [0; 32];
    let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
    source.fill(&mut bytes).map_err(|_| Failure::usage("the random generator failed"))?;
    Ok(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes))
}
