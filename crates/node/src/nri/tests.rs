//! Against a runtime that is played here, and bytes that no runtime sends.

mod calls;
mod faults;
mod framing;
mod late;
mod links;
mod runtime;
mod watcher;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixListener;
use tokio::sync::oneshot;

use super::run::{Limits, NriSettings, run_within};
use super::wire;
use runtime::Runtime;
use watcher::{Gate, Notes, Recorder};

/// The plug-in at work, on a socket of its own.
struct Scene {
    socket: PathBuf,
    listener: Option<UnixListener>,
    notes: Notes,
    gate: Gate,
    _folder: tempfile::TempDir,
    /// Dropped, it stops the plug-in.
    _stop: oneshot::Sender<()>,
}

/// As in earnest, but for the pause.
fn patient() -> Limits {
    let moment = Duration::from_millis(1);
    Limits { patience: Duration::from_secs(600), silence: Duration::from_secs(600), pause: (moment, moment) }
}

impl Scene {
    fn start(limits: Limits) -> Self {
        let mut scene = Self::without_socket(limits);
        scene.listen();
        scene
    }

    /// The runtime is not there yet.
    fn without_socket(limits: Limits) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("nri.sock");
        let (recorder, notes, gate) = Recorder::new();
        let (stop, stopped) = oneshot::channel::<()>();
        let settings = NriSettings::new(&socket, "dewdrop", "10");
        tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            run_within(settings, limits, Arc::new(recorder), stopped).await.unwrap();
        });
        Self { socket, listener: None, notes, gate, _folder: folder, _stop: stop }
    }

    fn listen(&mut self) {
        let _ = std::fs::remove_file(&self.socket);
        self.listener = Some(UnixListener::bind(&self.socket).unwrap());
    }

    /// The next link, nothing said yet.
    async fn accept(&self) -> Runtime {
        Runtime::over(self.listener.as_ref().unwrap().accept().await.unwrap().0)
    }

    /// A link that is up, nothing running on the node.
    async fn up(&mut self) -> Runtime {
        let mut runtime = self.accept().await;
        runtime.registration().await;
        let _: wire::ConfigureResponse = runtime.ask("Configure", &runtime::configuration()).await.unwrap();
        let _: wire::SynchronizeResponse =
            runtime.ask("Synchronize", &wire::SynchronizeRequest::default()).await.unwrap();
        assert_eq!(self.notes.next_but_lost().await, "synchronize [] []");
        assert_eq!(self.notes.next().await, "connected testrun 9.9 nri 0.12.5 2s");
        runtime
    }
}
