//! A watcher that writes down what it is told, and does what a container's name says.

use std::sync::Mutex;
use std::sync::mpsc as blocking;

use tokio::sync::mpsc;

use crate::nri::{Adjustment, Container, Link, Mount, Pod, Watcher};

pub struct Recorder {
    notes: mpsc::UnboundedSender<String>,
    gate: Mutex<blocking::Receiver<()>>,
}

/// What was told.
pub struct Notes(mpsc::UnboundedReceiver<String>);

/// Lets a callback go on that waits: one for each.
pub struct Gate(blocking::Sender<()>);

impl Recorder {
    pub fn new() -> (Self, Notes, Gate) {
        let (notes, told) = mpsc::unbounded_channel();
        let (open, gate) = blocking::channel();
        (Self { notes, gate: Mutex::new(gate) }, Notes(told), Gate(open))
    }

    fn note(&self, line: String) {
        let _ = self.notes.send(line);
    }

    fn act(&self, name: &str) {
        match name {
            "blocks" => self.gate.lock().unwrap().recv().unwrap(),
            "panics" => panic!("as asked"),
            _ => {}
        }
    }
}

impl Gate {
    pub fn open(&self) {
        self.0.send(()).unwrap();
    }
}

impl Notes {
    pub async fn next(&mut self) -> String {
        self.0.recv().await.unwrap()
    }

    /// While there is no runtime it may be told so first.
    pub async fn next_but_lost(&mut self) -> String {
        loop {
            let line = self.next().await;
            if !line.starts_with("lost ") {
                return line;
            }
        }
    }
}

impl Watcher for Recorder {
    fn synchronize(&self, pods: Vec<Pod>, containers: Vec<Container>) {
        let pods: Vec<_> = pods.into_iter().map(|pod| pod.name).collect();
        let containers: Vec<_> = containers.into_iter().map(|container| container.name).collect();
        self.note(format!("synchronize {pods:?} {containers:?}"));
    }

    fn creating(&self, pod: &Pod, container: &Container) -> Result<Adjustment, String> {
        self.note(format!("creating {pod:?} {container:?}"));
        self.act(&container.name);
        let mount = Mount { destination: "/d".into(), kind: "tmpfs".into(), ..Mount::default() };
        match container.name.as_str() {
            "refused" => Err("not yet".into()),
            "adjusted" => Ok(Adjustment {
                args: Some(vec!["/wrap".into()]),
                mounts: vec![mount],
                env: vec![("A".into(), "1".into())],
                annotations: vec![("k".into(), "v".into())],
            }),
            _ => Ok(Adjustment::default()),
        }
    }

    fn started(&self, _: &Pod, container: &Container) {
        self.note(format!("started {} {}", container.name, container.pid));
        self.act(&container.name);
    }

    fn stopped(&self, _: &Pod, container: &Container) {
        self.note(format!("stopped {} {:?}", container.name, container.ended));
    }

    fn pod_gone(&self, pod: &Pod) {
        self.note(format!("gone {}", pod.name));
    }

    fn link(&self, state: Link) {
        self.note(match state {
            Link::Connected { runtime, version, nri, timeout } => {
                format!("connected {runtime} {version} nri {nri} {timeout:?}")
            }
            Link::Lost { why } => format!("lost {why}"),
        });
    }
}
