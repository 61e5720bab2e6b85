//! A played agent, and the wrapper in a folder with its socket.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A volume as the agent publishes it.
pub struct Stage {
    dir: tempfile::TempDir,
}

impl Stage {
    pub fn new(mode: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join(".dewdrop");
        std::fs::create_dir(&folder).unwrap();
        // Not copied by this process: another test's fork would hold the copy open for writing ("text file busy").
        let made = Command::new("cp").arg(env!("CARGO_BIN_EXE_dewdrop-exec")).arg(folder.join("exec")).status();
        assert!(made.unwrap().success());
        std::fs::write(folder.join("mode"), mode).unwrap();
        Self { dir }
    }

    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    pub fn program(&self) -> PathBuf {
        self.dir.path().join(".dewdrop/exec")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join(".dewdrop/agent.sock")
    }

    /// The wrapper with arguments; its output is caught. It hears all signals, also where whoever runs the tests ignores some
    /// (shells do that for what they put into the background).
    pub fn exec(&self, args: &[&str]) -> Command {
        let mut command = Command::new("env");
        command
            .arg("--default-signal")
            .arg(self.program())
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// An agent that gives these answers, one for each connection, and then the last one again.
    pub fn agent(&self, answers: &[&str]) -> Agent {
        let listener = UnixListener::bind(self.socket()).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (answers, heard) = (answers.iter().map(|a| (*a).to_owned()).collect::<Vec<_>>(), asked.clone());
        let thread = std::thread::spawn(move || {
            for (at, stream) in listener.incoming().enumerate() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(&stream).read_line(&mut line).unwrap();
                heard.lock().unwrap().push(line);
                let answer = answers.get(at).or(answers.last()).unwrap();
                // The wrapper may have been killed meanwhile.
                drop(stream.write_all(answer.as_bytes()));
            }
        });
        Agent { asked, _thread: thread }
    }
}

/// The played agent. Its thread ends with the test.
pub struct Agent {
    asked: Arc<Mutex<Vec<String>>>,
    _thread: JoinHandle<()>,
}

impl Agent {
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// The answer with one variable.
pub const USER: &str = "{\"v\":1,\"env\":{\"DB_USERNAME\":\"v-canary-1\"}}\n";
