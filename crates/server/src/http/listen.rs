//! Binding sockets.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, UnixListener};

use super::tls::{TlsError, TlsStore};
use crate::config::{Bind, Listener};

/// Connections that the kernel keeps waiting for us.
const BACKLOG: u32 = 4096;

/// A listener whose socket is bound: clients may connect, and wait until it is served.
#[derive(Debug)]
pub struct Bound {
    /// Its index in the configuration.
    pub index: usize,
    pub(super) socket: Socket,
    pub(super) tls: Option<Arc<TlsStore>>,
    pub(super) settings: Listener,
}

#[derive(Debug)]
pub(super) enum Socket {
    Tcp(TcpListener),
    Unix(UnixListener, #[expect(dead_code, reason = "held for its Drop")] UnixPath),
}

/// A socket's file, which goes when its listener does.
#[derive(Debug)]
pub(super) struct UnixPath(PathBuf);

impl Drop for UnixPath {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

/// Why a listener cannot be bound.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The address is taken, or is not this machine's, or may not be used.
    #[error("listen on {place}")]
    Socket {
        /// The address.
        place: String,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// TLS cannot be set up.
    #[error("set up TLS for {place}")]
    Tls {
        /// The address.
        place: String,
        /// Why.
        #[source]
        cause: TlsError,
    },
}

impl Bound {
    /// The address that is really listened on (the port may have been 0); `None` for a unix socket.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Tcp(listener) => listener.local_addr().ok(),
            Socket::Unix(..) => None,
        }
    }

    /// The TLS set-up, to be reloaded on SIGHUP; `None` for plain HTTP.
    #[must_use]
    pub fn tls(&self) -> Option<Arc<TlsStore>> {
        self.tls.clone()
    }
}

/// Binds all listeners, in the order of the configuration.
///
/// # Errors
/// The first that cannot be bound; those before it are closed again.
pub fn bind(listeners: &[Listener]) -> Result<Vec<Bound>, BindError> {
    listeners.iter().enumerate().map(|(index, listener)| bind_one(index, listener)).collect()
}

fn bind_one(index: usize, listener: &Listener) -> Result<Bound, BindError> {
    let place = match &listener.bind {
        Bind::Tcp(address) => address.to_string(),
        Bind::Unix { path, .. } => path.display().to_string(),
    };
    let tls = listener.tls.as_ref().map(TlsStore::open).transpose();
    let tls = tls.map_err(|cause| BindError::Tls { place: place.clone(), cause })?;
    let socket = match &listener.bind {
        Bind::Tcp(address) => tcp(*address).map(Socket::Tcp),
        Bind::Unix { path, mode, user, group } => {
            unix(path, *mode, *user, *group).map(|(listener, path)| Socket::Unix(listener, path))
        }
    };
    let socket = socket.map_err(|cause| BindError::Socket { place, cause })?;
    Ok(Bound { index, socket, tls, settings: listener.clone() })
}

fn tcp(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The mode is set after `bind` and before `listen`: nobody can connect before it holds.
fn unix(path: &Path, mode: u32, user: Option<u32>, group: Option<u32>) -> std::io::Result<(UnixListener, UnixPath)> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen, socket_with};
    if std::fs::symlink_metadata(path).is_ok() {
        // A file that nobody listens behind was left by a process that died.
        match std::os::unix::net::UnixStream::connect(path) {
            Ok(_) => return Err(std::io::ErrorKind::AddrInUse.into()),
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => std::fs::remove_file(path)?,
            Err(e) => return Err(e),
        }
    }
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    let guard = UnixPath(path.to_owned());
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?;
    if user.is_some() || group.is_some() {
        std::os::unix::fs::chown(path, user, group)?;
    }
    listen(&socket, i32::try_from(BACKLOG).unwrap_or(i32::MAX))?;
    let listener = UnixListener::from_std(std::os::unix::net::UnixListener::from(socket))?;
    Ok((listener, guard))
}
