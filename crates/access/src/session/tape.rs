//! A session that is recorded: what passes is written down first, and goes on only when there is room for that. While the server
//! does not take it, the session stands still; when that takes too long, or the server refuses, it is cut.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::rand::fill;
use dewdrop_core::Clock;
use dewdrop_core::access::name_of;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::cast::{self, Cast};
use super::frames::{Frames, Unreadable};
use super::spdy::Spdy;
use crate::carrier::{Carrier, Untold};

/// Batches of lines that wait to be sent, at most.
const QUEUE: usize = 64;
/// A piece is sent when it is so long, or after this time.
const PIECE: usize = 256 << 10;
const GATHER: Duration = Duration::from_millis(500);
/// So long may a piece be on its way before the session stands still.
pub const HOLD: Duration = Duration::from_secs(5);
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
    way: Way,
}

/// How the pieces get on, as their sender sees it.
#[derive(Clone)]
struct Way {
    /// Nothing may pass while this is so.
    held: watch::Sender<bool>,
    /// Why the last try failed.
    broken: Arc<Mutex<Option<Untold>>>,
    /// Cancelled when that is so.
    ended: CancellationToken,
    /// So long may the session stand still.
    patience: Duration,
}

// === impl Tape ===

impl Tape {
    /// Begins a recording: its first piece is with the server when this returns. `patience`: how long the server may be away later.
    ///
    /// # Errors
    /// The server does not take it.
    pub async fn begin(
        about: About,
        clock: Arc<dyn Clock>,
        carrier: Arc<dyn Carrier>,
        patience: Duration,
    ) -> Result<Self, Untold> {
        let id = new_id()?;
        let title = format!("{} {} in {}", about.target, about.name, about.namespace);
        let cast = cast::header(clock.now().seconds(), &title, &about.command);
        let first = Piece { number: 0, cast, about: Some(about), last: false };
        let way =
            Way { held: watch::Sender::new(false), broken: Arc::default(), ended: CancellationToken::new(), patience };
        // A person waits, and can try again: a server that says no is not asked for longer.
        let sent = timeout(HOLD, way.send(&*carrier, &id, &first, |why| !matches!(why, Untold::Away(_)))).await;
        sent.unwrap_or_else(|_| Err(way.why()))?;
        let (lines, waiting) = mpsc::channel(QUEUE);
        tokio::spawn(take_away(waiting, carrier, id.clone(), way.clone()));
        let began = clock.steady();
        Ok(Self { id, lines, cast: Mutex::default(), clock, began, way })
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
            () = self.way.ended.cancelled() => Err(self.way.end()),
        };
        let rest = self.cast.lock().end(self.at());
        if !rest.is_empty() {
            self.lines.send(rest).await.map_err(|_| self.way.end())?;
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

    /// Puts lines into the queue, and returns when what they tell of may pass.
    async fn write(&self, lines: String) -> io::Result<()> {
        self.lines.send(lines).await.map_err(|_| self.way.end())?;
        let mut held = self.way.held.subscribe();
        held.wait_for(|is_held| !is_held).await.map(drop).map_err(|_| self.way.end())
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

// === impl Way ===

impl Way {
    fn why(&self) -> Untold {
        self.broken.lock().clone().unwrap_or_else(|| Untold::Away("the server does not answer in time".to_owned()))
    }

    /// What the record says of a session that was cut.
    fn end(&self) -> io::Error {
        io::Error::other(format!("the session cannot be recorded any more: {}", self.why()))
    }

    /// Sends a piece until the server has it; `gives_up` tells which answers end that.
    async fn send(
        &self,
        carrier: &dyn Carrier,
        id: &str,
        piece: &Piece,
        gives_up: fn(&Untold) -> bool,
    ) -> Result<(), Untold> {
        loop {
            let Err(why) = carrier.session(id, piece).await else { return Ok(()) };
            *self.broken.lock() = Some(why.clone());
            if gives_up(&why) {
                return Err(why);
            }
            if let Untold::Unable(_) = why {
                self.held.send_replace(true);
            }
            tracing::debug!(%why, recording = id, "a piece of a recording is sent again");
            tokio::time::sleep(AGAIN).await;
        }
    }

    /// The same for as long as there is patience. The session stands still when the server says that it cannot write, and when it
    /// says nothing for a while; it goes on only after the server has the piece.
    async fn send_in_time(&self, carrier: &dyn Carrier, id: &str, piece: &Piece) -> Result<(), Untold> {
        let sending = self.send(carrier, id, piece, Untold::lasts);
        tokio::pin!(sending);
        let sent = match timeout(HOLD.min(self.patience), &mut sending).await {
            Ok(sent) => sent,
            Err(_) => {
                self.held.send_replace(true);
                let late = timeout(self.patience.saturating_sub(HOLD), sending).await;
                late.unwrap_or_else(|_| Err(self.why()))
            }
        };
        // What was cut stays cut, and says why.
        if sent.is_ok() && !self.ended.is_cancelled() {
            *self.broken.lock() = None;
            self.held.send_replace(false);
        }
        sent
    }
}

/// Takes lines to the server until the session is over.
async fn take_away(mut waiting: mpsc::Receiver<String>, carrier: Arc<dyn Carrier>, id: String, way: Way) {
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
        if let Err(why) = way.send_in_time(&*carrier, &id, &piece).await {
            tracing::warn!(%why, recording = id, "a session is cut: it cannot be recorded");
            way.held.send_replace(true);
            way.ended.cancel();
            // What went on meanwhile is told all the same, if the server comes back in time.
            match timeout(FAREWELL, way.send(&*carrier, &id, &piece, Untold::lasts)).await {
                Ok(Ok(())) => {}
                // A recording that is full takes its end.
                Ok(Err(Untold::Unfit(_))) => break,
                _ => return,
            }
        }
        number += 1;
    }
    let last = Piece { number, cast: String::new(), about: None, last: true };
    let told = timeout(FAREWELL, way.send(&*carrier, &id, &last, Untold::lasts)).await;
    if !matches!(told, Ok(Ok(()))) {
        tracing::warn!(why = %way.why(), recording = id, "the end of a session is not on its recording");
    }
}

fn new_id() -> Result<String, Untold> {
    let mut bytes = [0u8; 10];
    fill(&mut bytes).map_err(|_| Untold::Away("there is no randomness".to_owned()))?;
    Ok(name_of(bytes))
}

#[cfg(test)]
mod tests;
