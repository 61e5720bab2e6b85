//! A line to the API server that a scene can cut, without cutting the node off from the server.

use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use anyhow::{Context, Result};

/// The line.
pub struct Cable {
    /// Where it begins.
    pub address: String,
    is_cut: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
}

impl Cable {
    /// From a port of its own at `host` to `to`. It ends with the program.
    pub fn lay(host: &str, to: &str) -> Result<Self> {
        let listener = TcpListener::bind((host, 0)).context("cannot listen for the line to the API server")?;
        let address = listener.local_addr()?.to_string();
        let (is_cut, open) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (cut, streams, to) = (is_cut.clone(), open.clone(), to.to_owned());
        thread::spawn(move || {
            for near in listener.incoming().flatten() {
                if cut.load(Ordering::Relaxed) {
                    continue;
                }
                // What fails here is seen at the near end as a connection that closes.
                drop(join(near, &to, &streams));
            }
        });
        Ok(Self { address, is_cut, open })
    }

    /// Cuts it, or mends it.
    pub fn set_cut(&self, is_cut: bool) {
        self.is_cut.store(is_cut, Ordering::Relaxed);
        if is_cut {
            for stream in self.open.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
                // Closed already is as good.
                drop(stream.shutdown(Shutdown::Both));
            }
        }
    }
}

fn join(near: TcpStream, to: &str, open: &Mutex<Vec<TcpStream>>) -> io::Result<()> {
    let far = TcpStream::connect(to)?;
    open.lock().unwrap_or_else(PoisonError::into_inner).extend([near.try_clone()?, far.try_clone()?]);
    for (from, into) in [(near.try_clone()?, far.try_clone()?), (far, near)] {
        thread::spawn(move || pump(from, into));
    }
    Ok(())
}

fn pump(mut from: TcpStream, mut into: TcpStream) {
    let mut bytes = [0; 16 << 10];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        let Some(Ok(())) = bytes.get(..count).map(|bytes| into.write_all(bytes)) else { break };
    }
    drop((from.shutdown(Shutdown::Both), into.shutdown(Shutdown::Both)));
}
