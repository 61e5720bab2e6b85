//! Streams: what comes after an upgrade. They are carried, counted, recorded where they must be, and cut when the grant ends.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};

use crate::grants::Live;
use crate::record::Ticket;
use crate::refuse::Refusal;
use crate::session::tape::{Tape, Wire};

/// The protocols of sessions that can be recorded. Over WebSocket, the first byte of each message names its channel.
const RECORDED: [&str; 5] =
    ["v5.channel.k8s.io", "v4.channel.k8s.io", "v3.channel.k8s.io", "v2.channel.k8s.io", "channel.k8s.io"];
const SPDY: &str = "SPDY/3.1";
/// What is spoken on the streams of SPDY.
const SPOKEN: &str = "x-stream-protocol-version";
/// Said to whoever speaks another protocol.
pub const UNREAD: &str =
    "sessions of your grant are recorded, and this client speaks a protocol that is not: use kubectl";

/// How a session can be read, by the API server's answer; `None`: it cannot.
pub fn wire(answer: &HeaderMap) -> Option<Wire> {
    let said = |name: &str| answer.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if RECORDED.contains(&said(header::SEC_WEBSOCKET_PROTOCOL.as_str())) {
        return Some(Wire::Channels);
    }
    let is_spdy = said(header::UPGRADE.as_str()).eq_ignore_ascii_case(SPDY) && RECORDED.contains(&said(SPOKEN));
    is_spdy.then_some(Wire::Spdy)
}

/// Leaves a client that begins a session no protocol but those that can be recorded, before the API server hears of it: a session
/// that it has begun has run its command.
///
/// # Errors
/// The client speaks none of them.
pub fn offer_recorded(headers: &mut HeaderMap) -> Result<(), Refusal> {
    let is_spdy = headers.get(header::UPGRADE).is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(SPDY.as_bytes()));
    let name = if is_spdy { HeaderName::from_static(SPOKEN) } else { header::SEC_WEBSOCKET_PROTOCOL };
    let offered = headers.get_all(&name).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = offered.flat_map(|value| value.split(',')).map(str::trim).collect();
    let fit: Vec<HeaderValue> =
        RECORDED.iter().filter(|known| offered.contains(known)).copied().map(HeaderValue::from_static).collect();
    headers.remove(&name);
    if fit.is_empty() {
        return Err(Refusal::forbidden(UNREAD));
    }
    for one in fit {
        headers.append(&name, one);
    }
    Ok(())
}

/// Carries a stream both ways until one side ends, or the grant does.
pub async fn pump(
    client: OnUpgrade,
    server: OnUpgrade,
    live: Arc<Live>,
    tape: Option<(Wire, Tape)>,
    mut ticket: Ticket,
) {
    let passed = Arc::new(Passed::default());
    let streams = async {
        let (client, server) = tokio::try_join!(client, server).map_err(io::Error::other)?;
        let mut client = Counted { inner: TokioIo::new(client), passed: passed.clone() };
        let mut server = TokioIo::new(server);
        match &tape {
            Some((wire, tape)) => tape.carry(*wire, client, server).await,
            None => copy_bidirectional(&mut client, &mut server).await.map(drop),
        }
    };
    tokio::select! {
        carried = streams => if let Err(error) = carried {
            ticket.line().end.refused = error.to_string();
        },
        () = live.over.cancelled() => "the grant has ended".clone_into(&mut ticket.line().end.refused),
    }
    let end = &mut ticket.line().end;
    end.bytes = passed.to_client.load(Ordering::Relaxed);
    end.received = Some(passed.from_client.load(Ordering::Relaxed));
}

/// Bytes that passed, framing included.
#[derive(Default)]
struct Passed {
    from_client: AtomicU64,
    to_client: AtomicU64,
}

/// The client's side of a stream. What was counted stays known when the stream is cut.
struct Counted<T> {
    inner: T,
    passed: Arc<Passed>,
}

impl<T: AsyncRead + Unpin> AsyncRead for Counted<T> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        self.passed.from_client.fetch_add((buf.filled().len() - before) as u64, Ordering::Relaxed);
        polled
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Counted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, buf);
        if let Poll::Ready(Ok(wrote)) = &polled {
            self.passed.to_client.fetch_add(*wrote as u64, Ordering::Relaxed);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

    use super::*;

    #[test]
    fn only_what_can_be_read_is_recorded() {
        let of = |lines: &[(&'static str, &'static str)]| {
            let lines =
                lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            wire(&lines.collect())
        };
        assert_eq!(of(&[("sec-websocket-protocol", "v5.channel.k8s.io")]), Some(Wire::Channels));
        assert_eq!(of(&[("upgrade", "SPDY/3.1"), (SPOKEN, "v4.channel.k8s.io")]), Some(Wire::Spdy));
        assert_eq!(of(&[("sec-websocket-protocol", "base64.channel.k8s.io")]), None);
        assert_eq!(of(&[("upgrade", "SPDY/3.1")]), None);
        assert_eq!(of(&[("upgrade", "SPDY/2"), (SPOKEN, "v4.channel.k8s.io")]), None);
        assert_eq!(of(&[("upgrade", "SPDY/3.1"), (SPOKEN, "portforward.k8s.io")]), None);
        assert_eq!(of(&[]), None);
    }

    #[test]
    fn no_session_begins_in_a_protocol_that_is_not_read() {
        let of = |lines: &[(&'static str, &'static str)]| {
            let lines =
                lines.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
            let mut headers: HeaderMap = lines.collect();
            let left = offer_recorded(&mut headers).is_ok();
            let said =
                |name| headers.get_all(name).iter().map(|value| value.to_str().unwrap().to_owned()).collect::<Vec<_>>();
            left.then(|| [said("sec-websocket-protocol"), said(SPOKEN)].concat())
        };
        let protocol = "sec-websocket-protocol";
        for lines in [
            vec![("upgrade", "websocket")],
            vec![("upgrade", "websocket"), (protocol, "v4.base64.channel.k8s.io")],
            vec![("upgrade", "websocket"), (protocol, "")],
            vec![("upgrade", "websocket"), (SPOKEN, "v4.channel.k8s.io")],
            vec![("upgrade", "SPDY/3.1")],
            vec![("upgrade", "SPDY/3.1"), (SPOKEN, "portforward.k8s.io")],
            vec![("upgrade", "spdy/3.1"), (protocol, "v4.channel.k8s.io")],
        ] {
            assert_eq!(of(&lines), None, "{lines:?}");
        }
        let both = [
            ("upgrade", "websocket"),
            (protocol, "base64.channel.k8s.io, v5.channel.k8s.io"),
            (protocol, "v4.channel.k8s.io"),
        ];
        assert_eq!(of(&both).unwrap(), ["v5.channel.k8s.io", "v4.channel.k8s.io"]);
        assert_eq!(
            of(&[("upgrade", "SPDY/3.1"), (SPOKEN, "v4.channel.k8s.io"), (SPOKEN, "x")]).unwrap(),
            ["v4.channel.k8s.io"]
        );
    }

    #[tokio::test]
    async fn both_directions_are_counted() {
        let (mut person, client) = duplex(64);
        let passed = Arc::new(Passed::default());
        let mut client = Counted { inner: client, passed: passed.clone() };
        person.write_all(b"abc").await.unwrap();
        let mut buffer = [0; 3];
        client.read_exact(&mut buffer).await.unwrap();
        client.write_all(b"hello").await.unwrap();
        assert_eq!((passed.from_client.load(Ordering::Relaxed), passed.to_client.load(Ordering::Relaxed)), (3, 5));
    }
}
