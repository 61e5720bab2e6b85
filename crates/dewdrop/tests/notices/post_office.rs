//! The mail server of the tests: Python's aiosmtpd, which pip brings once.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};

use dewdrop_testkit::receiver::dead_port;
use serde_json::Value;

/// The password that it wants.
pub const PASSWORD: &str = "p0st-0ffice-canary";

/// A mail server. Stopped when dropped.
pub struct PostOffice {
    process: Child,
    /// Its port.
    pub port: u16,
    /// The authority of its certificate.
    pub ca_pem: String,
    mail: Arc<Mutex<Vec<Value>>>,
    _folder: tempfile::TempDir,
}

impl PostOffice {
    /// Starts it, as `localhost`.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        let port = dead_port();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/notices/mail_server.py");
        let mut command = Command::new("python3");
        command.env("PYTHONPATH", library()).arg(script).arg(port.to_string()).arg(&cert).arg(&key).arg(PASSWORD);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        assert_eq!(lines.next().unwrap().unwrap(), "ready");
        let mail: Arc<Mutex<Vec<Value>>> = Arc::default();
        let all = mail.clone();
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                all.lock().unwrap().push(serde_json::from_str(&line).unwrap());
            }
        });
        Self { process, port, ca_pem: made.cert.pem(), mail, _folder: folder }
    }

    /// All that it took.
    pub fn mail(&self) -> Vec<Value> {
        self.mail.lock().unwrap().clone()
    }
}

impl Drop for PostOffice {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where aiosmtpd is.
fn library() -> PathBuf {
    static BRINGING: Mutex<()> = Mutex::new(());
    let _one = BRINGING.lock().unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("aiosmtpd-1.4.6");
    if !folder.is_dir() {
        // Beside, then renamed: a run that is cut off leaves nothing half.
        let beside = folder.with_extension(std::process::id().to_string());
        let mut pip = Command::new("python3");
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-compile", "--target"]);
        let status = pip.arg(&beside).arg("aiosmtpd==1.4.6").status();
        assert!(status.is_ok_and(|status| status.success()), "this test needs Python and pip, which brings aiosmtpd");
        std::fs::rename(&beside, &folder).unwrap();
    }
    folder
}
