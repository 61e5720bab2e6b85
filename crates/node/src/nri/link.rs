//! One link to the runtime, from its socket's beginning to its end.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use prost::Message as _;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::timeout;

use super::mux::{Demux, FrameError, Lane};
use super::run::{Limits, NriSettings};
use super::service::{Service, Then};
use super::ttrpc::{self, Message, Messages, code};
use super::watcher::Link;
use super::wire::{RUNTIME_SERVICE, RegisterPluginRequest, Request, Response, Status};
use super::worker::{Stuck, Worker};

/// The number of our one call.
const REGISTER: u32 = 1;

/// Why a link ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    #[error("connect to the runtime's NRI socket {socket}")]
    Connect { socket: String, source: io::Error },
    #[error("the runtime refused the plug-in {index}-{name}: {why}")]
    Refused { index: String, name: String, why: String },
    #[error("the runtime was silent for {0:?}")]
    Silent(Duration),
    #[error("the runtime closed the link")]
    Closed,
    #[error("the runtime closed the link before it answered the registration")]
    Unanswered,
    #[error("the runtime shuts down")]
    ShutDown,
    #[error("the runtime sent what is not NRI")]
    Frame(#[from] FrameError),
    #[error("the runtime sent a {what} that cannot be read")]
    Garbage { what: &'static str, source: prost::DecodeError },
    #[error("the runtime answered a call that was not made")]
    Unasked,
    #[error("the runtime told of more containers than a node can have")]
    TooMuch,
    #[error("the watcher cannot be told")]
    Stuck(#[from] Stuck),
    #[error("read from or write to the runtime")]
    Io(#[source] io::Error),
}

/// From bytes to messages. Holds at most one message of each lane that is not whole.
#[derive(Debug)]
pub struct Reader {
    demux: Demux,
    plugin: Messages,
    runtime: Messages,
}

impl Reader {
    pub fn new() -> Self {
        let (plugin, runtime) = (Messages::new(Lane::Plugin), Messages::new(Lane::Runtime));
        Self { demux: Demux::default(), plugin, runtime }
    }

    /// Appends the messages that are whole with these bytes.
    ///
    /// # Errors
    /// The bytes are not what NRI sends. Nothing that follows can be understood.
    pub fn feed(&mut self, mut bytes: &[u8], whole: &mut VecDeque<(Lane, Message)>) -> Result<(), FrameError> {
        while let Some((lane, piece)) = self.demux.next(&mut bytes)? {
            let messages = match lane {
                Lane::Plugin => &mut self.plugin,
                Lane::Runtime => &mut self.runtime,
            };
            messages.push(piece);
            while let Some(message) = messages.next()? {
                whole.push_back((lane, message));
            }
        }
        Ok(())
    }

    /// The other side may end here.
    pub fn end(&self) -> Result<(), FrameError> {
        let at_rest = self.demux.at_rest() && self.plugin.at_rest() && self.runtime.at_rest();
        if at_rest { Ok(()) } else { Err(FrameError::Truncated) }
    }
}

/// Registers and serves until the link ends. `up` is called when the runtime has told all that runs.
pub async fn serve<S>(
    stream: S,
    settings: &NriSettings,
    limits: &Limits,
    worker: &Worker,
    up: &mut (dyn FnMut(Link) + Send),
) -> LinkError
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let service = Service::new(worker, settings.guarded, limits.patience);
    let mut line = Line { stream, reader: Reader::new(), service, settings, limits, registered: false };
    match line.run(up).await {
        Err(why) => why,
        Ok(never) => match never {},
    }
}

struct Line<'a, S> {
    stream: S,
    reader: Reader,
    service: Service<'a>,
    settings: &'a NriSettings,
    limits: &'a Limits,
    registered: bool,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Line<'_, S> {
    async fn run(&mut self, up: &mut (dyn FnMut(Link) + Send)) -> Result<std::convert::Infallible, LinkError> {
        let silence = self.limits.silence;
        let state = timeout(silence, self.begin()).await.map_err(|_| LinkError::Silent(silence))??;
        up(state);
        loop {
            // More than one `Synchronize` is unusual and harmless.
            self.step().await?;
        }
    }

    /// Registers, and goes on until the runtime has told all.
    async fn begin(&mut self) -> Result<Link, LinkError> {
        let NriSettings { name, index, .. } = self.settings;
        let register = RegisterPluginRequest { plugin_name: name.clone(), plugin_idx: index.clone() };
        let request = Request {
            service: RUNTIME_SERVICE.into(),
            method: "RegisterPlugin".into(),
            payload: register.encode_to_vec().into(),
            timeout_nano: 0,
        };
        let mut out = Vec::new();
        ttrpc::call(REGISTER, &request, &mut out);
        self.write(&out).await?;
        loop {
            if let Then::Connected(state) = self.step().await? {
                return Ok(state);
            }
        }
    }

    /// Reads once and answers all that is whole by then, one after the other.
    async fn step(&mut self) -> Result<Then, LinkError> {
        let mut buffer = [0; 16 << 10];
        let count = self.stream.read(&mut buffer).await.map_err(|error| self.broken(error))?;
        if count == 0 {
            self.reader.end()?;
            return Err(self.closed());
        }
        let mut whole = VecDeque::new();
        self.reader.feed(&buffer[..count], &mut whole)?;
        let mut then = Then::GoOn;
        for (lane, message) in whole {
            match lane {
                Lane::Runtime => self.registered(message)?,
                Lane::Plugin => self.called(message).await?,
            }
            match std::mem::replace(&mut self.service.then, Then::GoOn) {
                Then::GoOn => {}
                Then::ShutDown => return Err(LinkError::ShutDown),
                connected => then = connected,
            }
        }
        Ok(then)
    }

    fn registered(&mut self, message: Message) -> Result<(), LinkError> {
        if self.registered || message.stream != REGISTER {
            return Err(LinkError::Unasked);
        }
        let garbage = |source| LinkError::Garbage { what: "answer to the registration", source };
        let status = Response::decode(message.body).map_err(garbage)?.status.unwrap_or_default();
        if status.code != 0 {
            let NriSettings { name, index, .. } = self.settings;
            return Err(LinkError::Refused { index: index.clone(), name: name.clone(), why: status.message });
        }
        self.registered = true;
        Ok(())
    }

    async fn called(&mut self, message: Message) -> Result<(), LinkError> {
        let Message { stream, flags, body } = message;
        let outcome = if flags == 0 {
            let request = Request::decode(body).map_err(|source| LinkError::Garbage { what: "call", source })?;
            self.service.answer(request).await?
        } else {
            Err(Status::new(code::INVALID_ARGUMENT, "only calls with one request and one answer are served"))
        };
        let mut out = Vec::new();
        ttrpc::answer(stream, outcome, &mut out);
        self.write(&out).await
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), LinkError> {
        let silence = self.limits.silence;
        let written = timeout(silence, self.stream.write_all(bytes)).await;
        written.map_err(|_| LinkError::Silent(silence))?.map_err(|error| self.broken(error))
    }

    /// Closed with something unread is closed, too.
    fn broken(&self, error: io::Error) -> LinkError {
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => self.closed(),
            _ => LinkError::Io(error),
        }
    }

    fn closed(&self) -> LinkError {
        if self.registered { LinkError::Closed } else { LinkError::Unanswered }
    }
}
