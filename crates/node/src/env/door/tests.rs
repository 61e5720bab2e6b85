//! A real socket in a folder whose path is longer than a socket's may be; the processes of a folder of our own.

use tokio::io::AsyncReadExt;

use super::*;

/// Answers one container and counts.
struct Played(String);

#[async_trait]
impl Desk for Played {
    async fn answer(&self, whose: &Whose, image: bool) -> Answer {
        match whose.container_id == self.0 {
            true => Answer::Wait(format!("image={image}")),
            false => Answer::Refused,
        }
    }
}

struct Stage {
    dir: tempfile::TempDir,
    folder: PathBuf,
    door: tokio::task::JoinHandle<()>,
}

impl Stage {
    fn open(desk: Played) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("x".repeat(120)).join(".dewdrop");
        fs::create_dir_all(&folder).unwrap();
        let own = dir.path().join(std::process::id().to_string());
        fs::create_dir(own).unwrap();
        let door = Door::new(folder.clone(), Processes::at(dir.path()), Arc::new(desk));
        let door = tokio::spawn(Door { patience: Duration::from_millis(500), ..door }.keep());
        let stage = Self { dir, folder, door };
        stage.container('a');
        stage
    }

    /// This very process is now in that container.
    fn container(&self, letter: char) {
        let path = self.dir.path().join(std::process::id().to_string()).join("cgroup");
        fs::write(path, format!("0::/kubepods/pod{}/{}", "0".repeat(32), id(letter))).unwrap();
    }

    async fn connect(&self) -> UnixStream {
        let folder = File::open(&self.folder).unwrap();
        loop {
            if let Ok(stream) = UnixStream::connect(format!("/proc/self/fd/{}/{SOCKET}", folder.as_raw_fd())).await {
                return stream;
            }
            sleep(Duration::from_millis(5)).await;
        }
    }

    async fn ask(&self, line: &[u8]) -> String {
        let mut stream = self.connect().await;
        // Whoever is refused at sight hangs up before it has heard.
        drop(stream.write_all(line).await);
        let mut text = Vec::new();
        // With what it had not read, the end of a refusal is a reset.
        drop(stream.read_to_end(&mut text).await);
        String::from_utf8(text).unwrap()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.door.abort();
    }
}

fn id(letter: char) -> String {
    letter.to_string().repeat(64)
}

const REFUSED: &str = "{\"v\":1,\"refused\":true}\n";

#[tokio::test]
async fn the_right_container_is_answered_and_others_are_refused() {
    let stage = Stage::open(Played(id('a')));
    assert_eq!(stage.ask(b"{\"v\":1}\n").await, "{\"v\":1,\"wait\":\"image=false\"}\n");
    assert_eq!(stage.ask(b"{\"v\":1,\"image\":true}\n").await, "{\"v\":1,\"wait\":\"image=true\"}\n");
    stage.container('b');
    assert_eq!(stage.ask(b"{\"v\":1}\n").await, REFUSED);
    fs::remove_dir_all(stage.dir.path().join(std::process::id().to_string())).unwrap();
    assert_eq!(stage.ask(b"{\"v\":1}\n").await, REFUSED, "a process of the node itself");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let stage = Stage::open(Played(id('a')));
    for line in [&b"\n"[..], b"{}\n", b"{\"v\":2}\n", b"[]\n", b"\xff\xfe\n"] {
        assert_eq!(stage.ask(line).await, REFUSED, "{line:?}");
    }
    let endless = vec![b' '; 3 * 4096];
    assert!(matches!(stage.ask(&endless).await.as_str(), "" | REFUSED), "no more than its share is read");
}

#[tokio::test]
async fn everybody_in_the_container_may_connect_and_a_new_agent_takes_the_place_of_the_old() {
    let stage = Stage::open(Played(id('a')));
    stage.ask(b"{\"v\":1}\n").await;
    assert_eq!(fs::metadata(stage.folder.join(SOCKET)).unwrap().permissions().mode() & 0o777, 0o666);
    let second = tokio::spawn(
        Door::new(stage.folder.clone(), Processes::at(stage.dir.path()), Arc::new(Played(id('z')))).keep(),
    );
    while stage.ask(b"{\"v\":1}\n").await != REFUSED {
        sleep(Duration::from_millis(5)).await;
    }
    second.abort();
}

#[tokio::test]
async fn who_says_nothing_is_sent_away_and_hinders_the_others_no_longer() {
    let stage = Stage::open(Played(id('a')));
    let mut silent = Vec::new();
    for _ in 0..AT_ONCE {
        silent.push(stage.connect().await);
    }
    assert_eq!(stage.ask(b"{\"v\":1}\n").await, "{\"v\":1,\"wait\":\"image=false\"}\n");
}

/// A real process in real control groups, seen through the real `/proc`. Needs root, as the agent does.
#[tokio::test]
async fn a_process_is_answered_by_its_real_cgroup() {
    let folder = tempfile::tempdir().unwrap();
    let door = Door::new(folder.path().to_owned(), Processes::of_system(), Arc::new(Played(id('a'))));
    let door = tokio::spawn(door.keep());
    assert_eq!(child_in(folder.path(), Some(&id('a'))).await, "{\"v\":1,\"wait\":\"image=false\"}\n");
    assert_eq!(child_in(folder.path(), Some(&id('b'))).await, REFUSED, "another container of the same pod");
    assert_eq!(child_in(folder.path(), None).await, REFUSED, "a process of the node");
    door.abort();
}

/// What a child of ours is answered when it asks from a container's group.
async fn child_in(folder: &Path, container: Option<&str>) -> String {
    let v1 = Path::new("/sys/fs/cgroup/pids");
    let root = if v1.is_dir() { v1 } else { Path::new("/sys/fs/cgroup") };
    let pod = root.join(format!("dewdrop-test-{}/kubepods/pod{}", std::process::id(), "0".repeat(32)));
    let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
    child.args(["--ignored", "--exact", "env::door::tests::child", "--nocapture"]).env("DEWDROP_TEST_FOLDER", folder);
    let mut child = child.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped()).spawn().unwrap();
    if let Some(container) = container {
        fs::create_dir_all(pod.join(container)).unwrap();
        fs::write(pod.join(container).join("cgroup.procs"), child.id().unwrap().to_string()).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"go\n").await.unwrap();
    let out = child.wait_with_output().await.unwrap();
    if let Some(container) = container {
        fs::remove_dir(pod.join(container)).unwrap();
        for folder in pod.ancestors().take(3) {
            drop(fs::remove_dir(folder));
        }
    }
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    let answer = said.lines().find_map(|line| line.split_once("answer: ")).map(|(_, answer)| format!("{answer}\n"));
    answer.unwrap_or(said)
}

/// The child of the test above.
#[test]
#[ignore = "run by a_process_is_answered_by_its_real_cgroup"]
fn child() {
    use std::io::{Read, Write};
    let folder = std::env::var("DEWDROP_TEST_FOLDER").unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
    let mut tries = 0;
    let mut stream = loop {
        match std::os::unix::net::UnixStream::connect(format!("{folder}/{SOCKET}")) {
            Ok(stream) => break stream,
            Err(why) => assert!(tries < 1000, "{why}"),
        }
        tries += 1;
        std::thread::sleep(Duration::from_millis(5));
    };
    drop(stream.write_all(b"{\"v\":1}\n"));
    let mut text = Vec::new();
    drop(stream.read_to_end(&mut text));
    println!("answer: {}", String::from_utf8_lossy(&text));
}
