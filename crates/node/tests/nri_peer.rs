//! Against the half of NRI that containerd runs, in Go: what our own fake of a runtime cannot prove.
//! `cargo test -p dewdrop-node --test nri_peer -- --ignored` (about a minute when Go's caches are cold).

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test that cannot set itself up has failed"
)]

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use dewdrop_node::nri::{Adjustment, Container, Link, Mount, NriSettings, Pod, Watcher, run};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, oneshot};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs Go, and its module proxy the first time"]
async fn the_go_runtime_and_we_understand_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("nri.sock");
    let mut seen = Seen::start(&socket);
    let mut peer = Peer::start(&build(), &socket);

    peer.ask("up 3 0").await.unwrap();
    peer.ask("synced").await.unwrap();
    assert_eq!(seen.next_but_lost().await, "synchronize 3 3");
    assert_eq!(seen.next().await, "connected peer v1.2.3 2s");
    all_calls(&mut peer, &mut seen).await;
    large_calls(&mut peer, &mut seen).await;

    // The runtime is started anew, with more on the node than one message holds: 700 * 16 KiB.
    peer.end().await;
    assert!(seen.next().await.starts_with("lost "));
    let mut peer = Peer::start(&build(), &socket);
    peer.ask("up 700 16384").await.unwrap();
    peer.ask("synced").await.unwrap();
    assert_eq!(seen.next_but_lost().await, "synchronize 700 700");
    assert_eq!(seen.next().await, "connected peer v1.2.3 2s");
    assert_eq!(peer.ask("create plain").await.unwrap(), untouched());
    seen.next().await;

    // We end while the runtime waits for our word: that container is not made without it.
    let (asked, ()) = tokio::join!(peer.ask("create blocks"), async {
        assert!(seen.next().await.starts_with("creating blocks"));
        seen.stop().await;
    });
    assert!(asked.is_err(), "{asked:?}");
    // After it we are gone, and the node goes on.
    assert_eq!(peer.ask("create plain").await.unwrap(), untouched());
}

/// Accepted, adjusted, refused, late; started, ended, gone.
async fn all_calls(peer: &mut Peer, seen: &mut Seen) {
    assert_eq!(peer.ask("create plain").await.unwrap(), untouched());
    assert_eq!(seen.next().await, "creating plain in shop/pod-plain, cgroup /kubepods/podplain/plain");
    let adjusted = peer.ask("create adjusted").await.unwrap();
    assert_eq!(adjusted["args"], json!(["/dewdrop-exec", "/app", "serve"]));
    assert_eq!(adjusted["env"], json!([{"key": "A", "value": "1"}]));
    assert_eq!(adjusted["annotations"], json!({"dewdrop": "yes"}));
    let mount = json!({"destination": "/d", "type": "bind", "source": "/run/d", "options": ["ro", "rbind"]});
    assert_eq!(adjusted["mounts"], json!([mount]));
    seen.next().await;
    assert_eq!(peer.ask("create refused").await.unwrap_err(), refusal("not yet: there is no credential"));
    seen.next().await;
    assert_eq!(peer.ask("create panics").await.unwrap_err(), refusal("dewdrop: the node agent failed; see its log"));
    seen.next().await;
    peer.ask("start plain").await.unwrap();
    assert_eq!(seen.next().await, "started plain 4711");
    peer.ask("stop plain").await.unwrap();
    assert_eq!(seen.next().await, "stopped plain Some(Ended { exit_code: 137, finished_at: 1700000000000000001 })");
    peer.ask("gone plain").await.unwrap();
    assert_eq!(seen.next().await, "gone uid-plain");
}

fn untouched() -> Value {
    json!({"args": null, "env": [], "mounts": [], "annotations": {}})
}

/// As kubelet would show it.
fn refusal(why: &str) -> String {
    format!("rpc error: code = FailedPrecondition desc = {why}")
}

/// Around the size of the runtime's buffers, and near the most that there may be; both ways.
async fn large_calls(peer: &mut Peer, seen: &mut Seen) {
    let buffer = (3900..4100).chain(8000..8200);
    for size in buffer.chain([2000, 65_536, 1_200_000, 4_000_000]) {
        peer.ask(&format!("large big {size}")).await.unwrap();
        assert_eq!(seen.next().await, "started big 0");
        let answered = peer.ask(&format!("create sized-{size}")).await.unwrap();
        let text = answered["annotations"]["sized"].as_str().unwrap_or_default().len();
        assert_eq!(text, size, "an answer that needs several frames arrives whole");
        seen.next().await;
    }
}

/// Writes down what it is told.
struct Recorder(mpsc::UnboundedSender<String>);

impl Recorder {
    fn note(&self, line: String) {
        let _ = self.0.send(line);
    }
}

impl Watcher for Recorder {
    fn synchronize(&self, pods: Vec<Pod>, containers: Vec<Container>) {
        self.note(format!("synchronize {} {}", pods.len(), containers.len()));
    }
    fn creating(&self, pod: &Pod, container: &Container) -> Result<Adjustment, String> {
        let (name, at) = (&container.name, &container.cgroups_path);
        self.note(format!("creating {name} in {}/{}, cgroup {at}", pod.namespace, pod.name));
        if let Some(size) = name.strip_prefix("sized-") {
            let text = "y".repeat(size.parse().unwrap());
            return Ok(Adjustment { annotations: vec![("sized".into(), text)], ..Adjustment::default() });
        }
        match name.as_str() {
            "adjusted" => Ok(adjustment(container)),
            "refused" => Err("not yet: there is no credential".into()),
            "panics" => panic!("as asked"),
            "blocks" => loop {
                std::thread::park();
            },
            _ => Ok(Adjustment::default()),
        }
    }
    fn started(&self, _: &Pod, container: &Container) {
        self.note(format!("started {} {}", container.name, container.pid));
    }
    fn stopped(&self, _: &Pod, container: &Container) {
        self.note(format!("stopped {} {:?}", container.name, container.ended));
    }
    fn pod_gone(&self, pod: &Pod) {
        self.note(format!("gone {}", pod.uid));
    }
    fn link(&self, state: Link) {
        self.note(match state {
            Link::Connected { runtime, version, timeout, .. } => format!("connected {runtime} {version} {timeout:?}"),
            Link::Lost { why } => format!("lost {why}"),
        });
    }
}

fn adjustment(container: &Container) -> Adjustment {
    let wrapped = std::iter::once("/dewdrop-exec".to_owned()).chain(container.args.iter().cloned());
    let mount = Mount {
        destination: "/d".into(),
        kind: "bind".into(),
        source: "/run/d".into(),
        options: vec!["ro".into(), "rbind".into()],
    };
    Adjustment {
        args: Some(wrapped.collect()),
        mounts: vec![mount],
        env: vec![("A".into(), "1".into())],
        annotations: vec![("dewdrop".into(), "yes".into())],
    }
}

/// The plug-in that runs, and what its watcher was told.
struct Seen {
    told: mpsc::UnboundedReceiver<String>,
    stop: oneshot::Sender<()>,
    running: tokio::task::JoinHandle<()>,
}

impl Seen {
    fn start(socket: &Path) -> Self {
        let (note, told) = mpsc::unbounded_channel();
        let (stop, stopped) = oneshot::channel::<()>();
        let settings = NriSettings::new(socket, "dewdrop", "10");
        let running = tokio::spawn(async move {
            let stopped = async { drop(stopped.await) };
            run(settings, Arc::new(Recorder(note)), stopped).await.unwrap();
        });
        Self { told, stop, running }
    }

    async fn next(&mut self) -> String {
        self.told.recv().await.unwrap()
    }

    /// While the runtime is not there it may be told so, once for each reason.
    async fn next_but_lost(&mut self) -> String {
        loop {
            let line = self.next().await;
            if !line.starts_with("lost ") {
                return line;
            }
        }
    }

    async fn stop(self) {
        self.stop.send(()).unwrap();
        self.running.await.unwrap();
    }
}

/// The Go program.
struct Peer {
    child: Child,
    stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    fn start(program: &Path, socket: &Path) -> Self {
        let mut command = tokio::process::Command::new(program);
        let command = command.arg(socket).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let mut child = command.spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Self { child, stdin, lines: BufReader::new(stdout).lines() }
    }

    async fn ask(&mut self, line: &str) -> Result<Value, String> {
        self.stdin.write_all(format!("{line}\n").as_bytes()).await.unwrap();
        let answer: Value = serde_json::from_str(&self.lines.next_line().await.unwrap().unwrap()).unwrap();
        match answer.get("error") {
            Some(error) => Err(error.as_str().unwrap().to_owned()),
            None => Ok(answer["answer"].clone()),
        }
    }

    async fn end(mut self) {
        self.child.kill().await.unwrap();
    }
}

/// Built once for all tests of this program.
fn build() -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one = BUILDING.lock().unwrap();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("nri-peer");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go/nri-peer");
    let mut go = Command::new("go");
    go.args(["build", "-mod=readonly", "-tags", "nri_no_wasm", "-o"]).arg(&program).arg(".");
    let status = go.current_dir(source).env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false").status();
    assert!(status.expect("this test needs Go").success(), "the Go program does not build");
    program
}
