//! A session that is recorded: what passes is written down first, and goes on only when there is room for that. When it
//! cannot be told to the server for too long, the session is cut.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use dewdrop_core::Clock;
use dewdrop_core::access::name_of;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cast::{self, Cast};
use super::frames::{Frames, Unreadable};
use super::spdy::Spdy;
use crate::record::Carrier;

/// Batches of lines that wait to be sent, at most.
const QUEUE: usize = 64;
/// A piece is sent when it is so long, or after this time.
const PIECE: usize = 256 << 10;
const GATHER: Duration = Duration::from_millis(500);
/// So long may the server be away before the session is cut.
const PATIENCE: Duration = Duration::from_secs(5);
/// The last piece is tried for longer: nobody waits for it.
const FAREWELL: Duration = Duration::from_secs(60);
const AGAIN: Duration = Duration::from_millis(250);
const BUFFER: usize = 16 << 10;

/// Whose session it is, and of what.
#[derive(Debug, Clone, Serialize)]
pub struct About {
    /// The grant.
    pub grant: String,
    /// The person.
    pub user: String,
    /// The cluster.
    pub cluster: String,
    /// The namespace.
    pub namespace: String,
    /// The pod.
    pub name: String,
    /// `pods/exec` or `pods/attach`.
    pub target: String,
    /// What exec runs. It may hold secrets, as what is typed may: so it is in the recording, and not among what is listed.
    #[serde(skip)]
    pub command: String,
}

/// How the session's bytes are to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// WebSocket: the first byte of each message names its channel.
    Channels,
    /// SPDY/3.1: each channel is a stream.
    Spdy,
}

/// One direction of a session.
enum Reader {
    Channels(Frames),
    Spdy(Box<Spdy>),
}

/// A piece of a recording, as the server takes it.
#[derive(Debug, Clone, Serialize)]
pub struct Piece {
    /// Its number, from 0.
    pub number: u32,
    /// Lines.
    pub cast: String,
    /// With the first one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<About>,
    /// Nothing comes after it.
    pub last: bool,
}

/// A recording under way.
pub struct Tape {
    /// Its name.
    pub id: String,
    lines: mpsc::Sender<String>,
    cast: Mutex<Cast>,
    clock: Arc<dyn Clock>,
    began: Duration,
    /// Cancelled when lines cannot be sent any more.
    broken: CancellationToken,
}

// === impl Tape ===

impl Tape {
    /// Begins a recording: its first piece is with the server when this returns.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn begin(about: About, clock: Arc<dyn Clock>, carrier: Arc<dyn Carrier>) -> Result<Self, String> {
        let id = new_id()?;
        let title = format!("{} {} in {}", about.target, about.name, about.namespace);
        let cast = cast::header(clock.now().seconds(), &title, &about.command);
        let first = Piece { number: 0, cast, about: Some(about), last: false };
        send(&*carrier, &id, &first, PATIENCE).await?;
        let (lines, waiting) = mpsc::channel(QUEUE);
        let broken = CancellationToken::new();
        tokio::spawn(take_away(waiting, carrier, id.clone(), broken.clone()));
        let began = clock.steady();
        Ok(Self { id, lines, cast: Mutex::default(), clock, began, broken })
    }

    /// Carries a stream both ways until one side is done.
    ///
    /// # Errors
    /// A side broke, the stream is not what it should be, or it cannot be recorded any more.
    pub async fn carry<C, S>(&self, wire: Wire, client: C, server: S) -> io::Result<()>
    where
        C: AsyncRead + AsyncWrite + Unpin,
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ((from_client, to_client), (from_server, to_server)) = (tokio::io::split(client), tokio::io::split(server));
        let [typed, shown] = wire.readers();
        let both = async {
            let typed = self.one_way(typed, from_client, to_server, cast::is_typed);
            let shown = self.one_way(shown, from_server, to_client, |_| true);
            tokio::try_join!(typed, shown).map(|_| ())
        };
        let carried = tokio::select! {
            carried = both => carried,
            () = self.broken.cancelled() => Err(io::Error::other("the session cannot be recorded any more")),
        };
        let rest = self.cast.lock().end(self.at());
        if !rest.is_empty() {
            self.write(rest).await?;
        }
        carried
    }

    /// `may_say` tells on which channels this side may say something: else a person could write what looks as if it was shown.
    async fn one_way(
        &self,
        mut reader: Reader,
        mut from: impl AsyncRead + Unpin,
        mut to: impl AsyncWrite + Unpin,
        may_say: fn(u8) -> bool,
    ) -> io::Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let read = from.read(&mut buffer).await?;
            let bytes = buffer.get(..read).unwrap_or_default();
            if bytes.is_empty() {
                to.shutdown().await?;
                return Ok(());
            }
            let (mut lines, mut is_forged) = (String::new(), false);
            {
                let (at, mut cast) = (self.at(), self.cast.lock());
                let piece = |channel: u8, bytes: &[u8]| {
                    is_forged |= !may_say(channel);
                    lines.push_str(&cast.piece(at, channel, bytes));
                };
                reader.read(bytes, piece).map_err(io::Error::other)?;
            }
            if is_forged {
                return Err(io::Error::other("the client wrote to a channel that is only read"));
            }
            if !lines.is_empty() {
                self.write(lines).await?;
            }
            to.write_all(bytes).await?;
            to.flush().await?;
        }
    }

    async fn write(&self, lines: String) -> io::Result<()> {
        let sent = self.lines.send_timeout(lines, PATIENCE).await;
        sent.map_err(|_| io::Error::other("the session cannot be recorded any more"))
    }

    fn at(&self) -> Duration {
        self.clock.steady().saturating_sub(self.began)
    }
}

impl Wire {
    /// What the person sends, and what comes back.
    fn readers(self) -> [Reader; 2] {
        match self {
            Self::Channels => [Frames::default(), Frames::default()].map(Reader::Channels),
            Self::Spdy => Spdy::pair().map(|side| Reader::Spdy(Box::new(side))),
        }
    }
}

impl Reader {
    fn read(&mut self, bytes: &[u8], piece: impl FnMut(u8, &[u8])) -> Result<(), Unreadable> {
        match self {
            Self::Channels(frames) => frames.read(bytes, piece),
            Self::Spdy(spdy) => spdy.read(bytes, piece),
        }
    }
}

/// Takes lines to the server until the session is over.
async fn take_away(
    mut waiting: mpsc::Receiver<String>,
    carrier: Arc<dyn Carrier>,
    id: String,
    broken: CancellationToken,
) {
    let mut number = 1;
    loop {
        let Some(mut cast) = waiting.recv().await else { break };
        let more = async {
            while cast.len() < PIECE {
                let Some(lines) = waiting.recv().await else { break };
                cast.push_str(&lines);
            }
        };
        let _ = timeout(GATHER, more).await;
        let piece = Piece { number, cast, about: None, last: false };
        if let Err(why) = send(&*carrier, &id, &piece, PATIENCE).await {
            tracing::warn!(%why, recording = id, "a session is cut: it cannot be recorded");
            broken.cancel();
            // What went on meanwhile is told all the same, if the server comes back in time.
            if send(&*carrier, &id, &piece, FAREWELL).await.is_err() {
                return;
            }
        }
        number += 1;
    }
    let last = Piece { number, cast: String::new(), about: None, last: true };
    if let Err(why) = send(&*carrier, &id, &last, FAREWELL).await {
        tracing::warn!(%why, recording = id, "the end of a session is not on its recording");
    }
}

async fn send(carrier: &dyn Carrier, id: &str, piece: &Piece, patience: Duration) -> Result<(), String> {
    let tries = async {
        loop {
            match carrier.session(id, piece).await {
                Ok(()) => return,
                Err(why) => tracing::debug!(%why, recording = id, "a piece of a recording is sent again"),
            }
            tokio::time::sleep(AGAIN).await;
        }
    };
    timeout(patience, tries).await.map_err(|_| "the server does not take the recording".to_owned())
}

fn new_id() -> Result<String, String> {
    let mut bytes = [0u8; 10];
    fill(&mut bytes).map_err(|_| "no randomness".to_owned())?;
    Ok(name_of(bytes))
}

#[cfg(test)]
mod tests {
    use dewdrop_core::{FakeClock, Moment};
    use tokio::io::duplex;

    use super::*;
    use crate::record::Line;

    #[derive(Default)]
    struct Held {
        pieces: Mutex<Vec<Piece>>,
        broken: Mutex<bool>,
    }

    #[async_trait::async_trait]
    impl Carrier for Held {
        async fn carry(&self, _: &[Line]) -> Result<(), String> {
            Ok(())
        }

        async fn session(&self, _: &str, piece: &Piece) -> Result<(), String> {
            if *self.broken.lock() {
                return Err("away".into());
            }
            self.pieces.lock().push(piece.clone());
            Ok(())
        }

        async fn announce(&self, _: &crate::inside::Announcement) -> Result<(), String> {
            Ok(())
        }

        async fn left(&self, _: &str) -> Result<(), String> {
            Ok(())
        }
    }

    fn about() -> About {
        let text = |text: &str| text.to_owned();
        About {
            grant: text("g1"),
            user: text("ann"),
            cluster: text("prod"),
            namespace: text("shop"),
            name: text("web"),
            target: text("pods/exec"),
            command: text("id -u"),
        }
    }

    fn frame(channel: u8, text: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x82, u8::try_from(text.len() + 1).unwrap(), channel];
        bytes.extend_from_slice(text);
        bytes
    }

    async fn begin(held: &Arc<Held>) -> Result<Tape, String> {
        Tape::begin(about(), FakeClock::at(Moment(1_767_225_600_000)), held.clone()).await
    }

    #[tokio::test(start_paused = true)]
    async fn what_passes_is_what_is_recorded() {
        let held = Arc::new(Held::default());
        let tape = begin(&held).await.unwrap();
        let ((mut person, client), (mut pod, server)) = (duplex(1 << 16), duplex(1 << 16));
        let typed = frame(0, b"id\n");
        let seen = [frame(1, b"uid=0\n"), frame(2, b"oops")].concat();
        person.write_all(&typed).await.unwrap();
        pod.write_all(&seen).await.unwrap();
        person.shutdown().await.unwrap();
        pod.shutdown().await.unwrap();
        tape.carry(Wire::Channels, client, server).await.unwrap();
        drop(tape);
        let (mut got, mut told) = (Vec::new(), Vec::new());
        pod.read_to_end(&mut got).await.unwrap();
        person.read_to_end(&mut told).await.unwrap();
        assert_eq!((got, told), (typed, seen));
        tokio::time::sleep(Duration::from_secs(2)).await;
        let pieces = held.pieces.lock();
        let cast: String = pieces.iter().map(|piece| piece.cast.as_str()).collect();
        for line in [
            "\"command\":\"id -u\"",
            "\"title\":\"pods/exec web in shop\"",
            "\"i\", \"id\\n\"",
            "\"o\", \"uid=0\\n\"",
            "\"o\", \"oops\"",
        ] {
            assert!(cast.contains(line), "{line} is missing in {cast}");
        }
        assert!(pieces.last().unwrap().last && pieces.iter().enumerate().all(|(n, piece)| piece.number as usize == n));
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_server_nothing_begins_and_what_runs_is_cut() {
        let held = Arc::new(Held::default());
        let tape = begin(&held).await.unwrap();
        *held.broken.lock() = true;
        assert!(begin(&held).await.is_err());
        let ((mut person, client), (mut pod, server)) = (duplex(1 << 16), duplex(1 << 16));
        person.write_all(&frame(0, b"x")).await.unwrap();
        pod.write_all(&frame(1, b"y")).await.unwrap();
        let cut = timeout(Duration::from_secs(20), tape.carry(Wire::Channels, client, server)).await.unwrap();
        assert!(cut.unwrap_err().to_string().contains("cannot be recorded"));
        drop(tape);
        *held.broken.lock() = false;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let pieces = held.pieces.lock();
        assert!(pieces.iter().any(|piece| piece.cast.contains("\"o\", \"y\"")), "what was seen before it was cut");
        assert!(pieces.last().is_some_and(|piece| piece.last));
    }

    #[tokio::test(start_paused = true)]
    async fn what_cannot_be_read_is_cut() {
        let held = Arc::new(Held::default());
        for wire in [Wire::Channels, Wire::Spdy] {
            let tape = begin(&held).await.unwrap();
            let ((mut person, client), (_pod, server)) = (duplex(1 << 16), duplex(1 << 16));
            person.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
            assert!(tape.carry(wire, client, server).await.is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_person_writes_nothing_that_looks_as_if_it_was_shown() {
        let held = Arc::new(Held::default());
        for channel in [1, 2, 3] {
            let tape = begin(&held).await.unwrap();
            let ((mut person, client), (mut pod, server)) = (duplex(1 << 16), duplex(1 << 16));
            person.write_all(&frame(channel, b"all is well\n")).await.unwrap();
            let cut = tape.carry(Wire::Channels, client, server).await;
            assert!(cut.unwrap_err().to_string().contains("only read"), "{channel}");
            let mut got = Vec::new();
            pod.read_to_end(&mut got).await.unwrap();
            assert!(got.is_empty());
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        assert!(!held.pieces.lock().iter().any(|piece| piece.cast.contains("all is well")));
    }
}
