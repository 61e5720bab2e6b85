//! Lanes: threads that serve connections, each its own ones, from the handshake to the API server and back. A request that
//! stays on one thread wakes no other: that was a fifth of what it cost.

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use dewdrop_api::door::{Guest, Place};
use rustls::ServerConfig;
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};

use crate::door;
use crate::walk::Desk;

/// The threads. They end when this is dropped, and what they serve with them.
pub struct Lanes {
    lanes: Vec<Lane>,
    next: AtomicUsize,
}

struct Lane {
    /// As many can wait as there are places at the door.
    guests: mpsc::UnboundedSender<Arrival>,
    end: oneshot::Sender<()>,
}

/// A connection on its way to a lane.
struct Arrival {
    stream: TcpStream,
    peer: SocketAddr,
    place: Place,
    tls: Arc<ServerConfig>,
}

// === impl Lanes ===

impl Lanes {
    /// A lane for each desk.
    ///
    /// # Errors
    /// There is no thread to be had.
    pub fn open(desks: Vec<Desk>) -> io::Result<Self> {
        let lanes = desks.into_iter().enumerate().map(|(number, desk)| Lane::open(number, desk));
        Ok(Self { lanes: lanes.collect::<io::Result<_>>()?, next: AtomicUsize::new(0) })
    }

    /// Lets a connection in, on the next lane.
    pub fn serve(&self, guest: Guest, tls: Arc<ServerConfig>) {
        let Guest { stream, peer, place } = guest;
        let Ok(stream) = stream.into_std() else { return };
        let next = self.next.fetch_add(1, Ordering::Relaxed) % self.lanes.len().max(1);
        if let Some(lane) = self.lanes.get(next) {
            // A lane hears as long as this lives.
            let _ = lane.guests.send(Arrival { stream, peer, place, tls });
        }
    }

    /// Lets nobody in any more. What is open goes on until its end, or until the ends that are returned are dropped.
    pub fn close(self) -> Vec<oneshot::Sender<()>> {
        self.lanes.into_iter().map(|lane| lane.end).collect()
    }
}

impl Lane {
    fn open(number: usize, desk: Desk) -> io::Result<Self> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let (guests, mut arrivals) = mpsc::unbounded_channel::<Arrival>();
        let (end, ended) = oneshot::channel::<()>();
        let work = async move {
            let desk = Arc::new(desk);
            tokio::spawn(Arc::clone(&desk.api).keep());
            while let Some(Arrival { stream, peer, place, tls }) = arrivals.recv().await {
                match tokio::net::TcpStream::from_std(stream) {
                    Ok(stream) => {
                        drop(tokio::spawn(door::connection(Guest { stream, peer, place }, tls, desk.clone())))
                    }
                    Err(error) => tracing::warn!(%peer, %error, "a connection could not be served"),
                }
            }
            // The record ends when nobody writes on it any more.
            drop(desk);
            let _ = ended.await;
        };
        std::thread::Builder::new().name(format!("lane-{number}")).spawn(move || runtime.block_on(work))?;
        Ok(Self { guests, end })
    }
}

#[cfg(test)]
mod tests;
