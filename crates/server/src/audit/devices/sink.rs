//! Where a device's lines go.

use std::fs::File;
use std::io::{Error, ErrorKind, Result, Write as _};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::Duration;

use crate::config::{AuditSink, SocketKind};

/// An open sink.
pub enum Sink {
    /// Takes any number of lines at a time.
    File(File),
    /// Standard output.
    Stdout,
    /// Takes everything and keeps nothing.
    Discard,
    /// The same, and may lose what it took when it breaks.
    Tcp(TcpStream),
    /// The same.
    Unix(UnixStream),
    /// One line at a time, of limited size.
    Udp(UdpSocket),
    /// The same; `<PRIORITY>TAG[PID]: ` stands before each line.
    Syslog(UnixDatagram, String),
}

const SYSLOG: &str = "/dev/log";
const CONNECT: Duration = Duration::from_secs(5);

impl Sink {
    /// Opens or connects.
    ///
    /// # Errors
    /// The system's.
    pub fn open(sink: &AuditSink) -> Result<Self> {
        match sink {
            AuditSink::File { path, mode } => match path.to_str() {
                Some("stdout") => Ok(Self::Stdout),
                Some("discard" | "/dev/null") => Ok(Self::Discard),
                _ => {
                    let file =
                        std::fs::OpenOptions::new().create(true).append(true).mode(mode.unwrap_or(0o600)).open(path)?;
                    if let Some(mode) = mode {
                        file.set_permissions(std::fs::Permissions::from_mode(*mode))?;
                    }
                    Ok(Self::File(file))
                }
            },
            AuditSink::Socket { kind, address, timeout } => socket(*kind, address, *timeout),
            AuditSink::Syslog { facility: name, tag } => {
                let socket = UnixDatagram::unbound()?;
                socket.connect(SYSLOG)?;
                socket.set_write_timeout(Some(Duration::from_secs(2)))?;
                // Severity 6: informational.
                let priority = facility(name).unwrap_or(4) * 8 + 6;
                Ok(Self::Syslog(socket, format!("<{priority}>{tag}[{}]: ", std::process::id())))
            }
        }
    }

    /// Whether many lines may be handed over at once.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        !matches!(self, Self::Udp(_) | Self::Syslog(..))
    }

    /// Whether lines may be lost on the way when it breaks.
    #[must_use]
    pub fn may_lose(&self) -> bool {
        matches!(self, Self::Tcp(_) | Self::Unix(_))
    }

    /// Hands over.
    ///
    /// # Errors
    /// The system's; after one, the sink must be opened anew. `ArgumentListTooLong`: the line is too large for it.
    pub fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let sent = match self {
            Self::File(file) => file.write_all(bytes),
            Self::Stdout => {
                let mut out = std::io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
            Self::Discard => Ok(()),
            Self::Tcp(stream) => {
                still_there(stream, stream.set_nonblocking(true), bytes, || stream.set_nonblocking(false))
            }
            Self::Unix(stream) => {
                still_there(stream, stream.set_nonblocking(true), bytes, || stream.set_nonblocking(false))
            }
            Self::Udp(socket) => socket.send(bytes).map(drop),
            Self::Syslog(socket, head) => socket.send(&[head.as_bytes(), bytes.trim_ascii_end()].concat()).map(drop),
        };
        sent.map_err(|error| match error.raw_os_error() {
            Some(libc::EMSGSIZE) => Error::new(ErrorKind::ArgumentListTooLong, error),
            _ => error,
        })
    }
}

/// A peer that has closed takes one more write without complaint: ask first.
fn still_there<S>(stream: &S, unblocked: Result<()>, bytes: &[u8], block: impl FnOnce() -> Result<()>) -> Result<()>
where
    for<'s> &'s S: std::io::Read + std::io::Write,
{
    unblocked?;
    let mut nothing = [0; 64];
    let closed = match std::io::Read::read(&mut &*stream, &mut nothing) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => error.kind() != ErrorKind::WouldBlock,
    };
    block()?;
    if closed {
        return Err(Error::new(ErrorKind::ConnectionAborted, "the other side has closed the connection"));
    }
    std::io::Write::write_all(&mut &*stream, bytes)
}

fn socket(kind: SocketKind, address: &str, timeout: Duration) -> Result<Sink> {
    let timeout = Some(timeout.max(Duration::from_millis(1)));
    match kind {
        SocketKind::Unix => {
            let stream = UnixStream::connect(address)?;
            stream.set_write_timeout(timeout)?;
            Ok(Sink::Unix(stream))
        }
        SocketKind::Tcp => {
            let stream = TcpStream::connect_timeout(&resolve(address)?, CONNECT)?;
            stream.set_write_timeout(timeout)?;
            stream.set_nodelay(true)?;
            Ok(Sink::Tcp(stream))
        }
        SocketKind::Udp => {
            let to = resolve(address)?;
            let any: SocketAddr = if to.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
            let socket = UdpSocket::bind(any)?;
            socket.connect(to)?;
            socket.set_write_timeout(timeout)?;
            Ok(Sink::Udp(socket))
        }
    }
}

fn resolve(address: &str) -> Result<SocketAddr> {
    address.to_socket_addrs()?.next().ok_or_else(|| Error::new(ErrorKind::NotFound, "the name has no address"))
}

/// The number of a syslog facility (RFC 5424, table 1).
#[must_use]
pub fn facility(name: &str) -> Option<u8> {
    const NAMES: [&str; 12] =
        ["KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP"];
    let local = name.strip_prefix("LOCAL").and_then(|n| n.parse::<u8>().ok()).filter(|n| *n < 8).map(|n| 16 + n);
    local.or_else(|| NAMES.iter().position(|known| *known == name).and_then(|at| u8::try_from(at).ok()))
}
