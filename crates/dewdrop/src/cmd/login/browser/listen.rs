//! The browser comes back to us: one small page server on the loopback, for one sign-in.

use std::collections::BTreeMap;
use std::time::Duration;

use dewdrop_api::{Call, Envelope, Error};
use percent_encoding::percent_decode_str;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};

/// The largest request in bytes.
const MOST: usize = 64 * 1024;
/// How long a browser may take to send it.
const SLOWEST: Duration = Duration::from_secs(10);

/// Waits for one sign-in.
pub struct Listening<'a> {
    /// Where browsers come.
    pub listener: TcpListener,
    /// The surroundings.
    pub ctx: &'a Ctx,
    /// Where the auth method is mounted.
    pub mount: &'a str,
    /// Names the sign-in.
    pub state: String,
    /// What only we know of it.
    pub client_nonce: &'a str,
}

/// What came by one connection.
enum Came {
    /// Nothing for us: what the browser is told.
    Stray(u16, &'static str),
    /// The answer of the provider.
    Back(BTreeMap<String, String>),
}

impl Listening<'_> {
    /// Answers browsers until the one comes that brings this sign-in. Others are told so and change nothing.
    pub async fn wait(self) -> Result<Option<Envelope>> {
        loop {
            let Ok((mut stream, _)) = self.listener.accept().await else { continue };
            let came = match tokio::time::timeout(SLOWEST, read(&mut stream)).await {
                Ok(Some(request)) => self.understand(&request),
                _ => continue,
            };
            match came {
                Came::Stray(status, why) => answer(&mut stream, status, "Sign-in failed", why).await,
                Came::Back(fields) => {
                    let ended = self.end(&fields).await;
                    match &ended {
                        Ok(_) => {
                            let told = "You may close this window and go back to the terminal.";
                            answer(&mut stream, 200, "Signed in", told).await;
                        }
                        Err(_) => {
                            answer(&mut stream, 400, "Sign-in failed", "The terminal tells why.").await;
                        }
                    }
                    return ended;
                }
            }
        }
    }

    fn understand(&self, request: &str) -> Came {
        let (head, body) = request.split_once("\r\n\r\n").unwrap_or((request, ""));
        let mut line = head.lines().next().unwrap_or_default().split(' ');
        let (method, target) = (line.next().unwrap_or_default(), line.next().unwrap_or_default());
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        if path != "/oidc/callback" {
            return Came::Stray(404, "There is nothing here.");
        }
        let fields = match method {
            "GET" => pairs(query),
            "POST" => pairs(body),
            _ => return Came::Stray(405, "This is not how a provider answers."),
        };
        if fields.get("state") == Some(&self.state) {
            return Came::Back(fields);
        }
        Came::Stray(400, "This belongs to another sign-in, or to none.")
    }

    /// Gives the server what the browser brought.
    async fn end(&self, fields: &BTreeMap<String, String>) -> Result<Option<Envelope>> {
        let mut call = Call::read(&format!("auth/{}/oidc/callback", self.mount))?.anonymous();
        for name in ["state", "code", "id_token", "error", "iss"] {
            if let Some(value) = fields.get(name) {
                call = call.with_query(name, value);
            }
        }
        call = call.with_query("client_nonce", self.client_nonce).wrapped(self.ctx.settings.wrap_ttl.as_deref());
        match self.ctx.client().await?.call(call).await {
            Ok(envelope) => Ok(envelope),
            // Without the address, which holds the code.
            Err(Error::Api(error)) => Err(Failure::server(error.errors.join("; ")).hint("sign in again")),
            Err(error) => Err(error.into()),
        }
    }
}

/// One request as text; `None`: it is none, or too large.
async fn read(stream: &mut TcpStream) -> Option<String> {
    let mut bytes = Vec::new();
    let mut part = [0; 4096];
    loop {
        let length = stream.read(&mut part).await.ok().filter(|length| *length > 0)?;
        bytes.extend_from_slice(&part[..length]);
        if bytes.len() > MOST {
            return None;
        }
        let text = String::from_utf8_lossy(&bytes);
        if let Some((head, body)) = text.split_once("\r\n\r\n")
            && body.len() >= length_of_body(head)
        {
            return Some(text.into_owned());
        }
    }
}

fn length_of_body(head: &str) -> usize {
    let headers = head.lines().filter_map(|line| line.split_once(':'));
    let mut lengths = headers.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
    lengths.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0)
}

/// Our own pages: nothing that came is in them.
async fn answer(stream: &mut TcpStream, status: u16, title: &str, told: &str) {
    let body = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Dewdrop: {title}</title></head>\
         <body style=\"font:16px system-ui,sans-serif;max-width:34em;margin:15vh auto\"><h1>{title}</h1><p>{told}</p></body></html>\n"
    );
    let head = format!(
        "HTTP/1.1 {status} -\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {}\r\nConnection: close\r\n\
         Cache-Control: no-store\r\nReferrer-Policy: no-referrer\r\nX-Frame-Options: DENY\r\n\r\n",
        body.len()
    );
    // A browser that has gone changes nothing.
    let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
    let _ = stream.shutdown().await;
}

fn pairs(text: &str) -> BTreeMap<String, String> {
    let decoded = |part: &str| percent_decode_str(&part.replace('+', " ")).decode_utf8_lossy().into_owned();
    let pairs = text.split('&').filter_map(|pair| pair.split_once('='));
    pairs.map(|(name, value)| (decoded(name), decoded(value))).collect()
}

/// The state in a provider's address.
pub fn state_of(url: &str) -> Option<String> {
    pairs(url.split_once('?')?.1).remove("state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_is_found_and_decoded() {
        assert_eq!(state_of("https://a/x?nonce=1&state=st_a%2Bb+c").as_deref(), Some("st_a+b c"));
        assert_eq!(state_of("https://a/x"), None);
    }

    #[test]
    fn a_body_is_waited_for() {
        assert_eq!(length_of_body("POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 12"), 12);
        assert_eq!(length_of_body("GET / HTTP/1.1"), 0);
    }
}
