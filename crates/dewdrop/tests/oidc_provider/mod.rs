//! The provider, and a browser of the simplest kind that signs people in at its forms.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use crate::common::eventually;
use crate::common::http::{Answer, read_answer};

/// A provider on this machine. Stopped when dropped.
pub struct Provider {
    /// Its issuer.
    pub issuer: String,
    process: Child,
}

impl Provider {
    /// Starts it; browsers may be sent back to these.
    pub fn start(redirects: &[&str]) -> Self {
        let port = free_port();
        let mut command = Command::new(build());
        command.arg(port.to_string()).args(redirects).stdout(Stdio::null()).stderr(Stdio::null());
        let process = command.spawn().unwrap();
        eventually("the provider answers", || TcpStream::connect(("127.0.0.1", port)).is_ok());
        Self { issuer: format!("http://127.0.0.1:{port}"), process }
    }

    /// Signs a person in where a sign-in leads: the address that the browser is sent back to.
    pub fn sign_in(&self, url: &str, user: &str) -> String {
        self.try_sign_in(url, user, "verysecure").unwrap_or_else(|| panic!("{user} is not signed in"))
    }

    /// The same; `None` when the provider does not take the password.
    pub fn try_sign_in(&self, url: &str, user: &str, password: &str) -> Option<String> {
        let form = self.whole(&header(&fetch("GET", url, ""), "location")?);
        let id = field(&form, "authRequestID");
        let filled = format!("username={user}&password={password}&id={id}");
        let next = header(&fetch("POST", &format!("{}/login/username", self.issuer), &filled), "location")?;
        header(&fetch("GET", &self.whole(&next), ""), "location")
    }

    /// A person allows a device.
    pub fn allow_device(&self, user_code: &str, user: &str) {
        let filled = format!("user_code={user_code}&username={user}&password=verysecure");
        let answer = fetch("POST", &format!("{}/device/login", self.issuer), &filled);
        let cookie = header(&answer, "set-cookie").unwrap_or_else(|| panic!("no cookie: {}", answer.text()));
        let cookie = format!("Cookie: {}\r\n", cookie.split(';').next().unwrap());
        let confirm = format!("{}/device/confirm?action=allowed", self.issuer);
        let answer = fetch_with("GET", &confirm, &cookie, "");
        assert_eq!(answer.status, 200, "{}", answer.text());
    }

    /// Asks the token endpoint with our id and secret.
    pub fn token(&self, form: &str) -> Answer {
        use base64::Engine as _;
        let basic = base64::engine::general_purpose::STANDARD.encode("dewdrop:client-secret");
        fetch_with("POST", &format!("{}/oauth/token", self.issuer), &format!("Authorization: Basic {basic}\r\n"), form)
    }

    fn whole(&self, location: &str) -> String {
        if location.starts_with('/') { format!("{}{location}", self.issuer) } else { location.to_owned() }
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// A port that is free now.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Asks for an address of this machine.
pub fn fetch(method: &str, url: &str, form: &str) -> Answer {
    fetch_with(method, url, "", form)
}

fn fetch_with(method: &str, url: &str, headers: &str, form: &str) -> Answer {
    let (place, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let mut stream = TcpStream::connect(place).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    let request = format!(
        "{method} /{path} HTTP/1.1\r\nHost: {place}\r\nConnection: close\r\n{headers}\
         Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{form}",
        form.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    read_answer(&mut stream)
}

fn header(answer: &Answer, name: &str) -> Option<String> {
    let text = String::from_utf8_lossy(&answer.whole).into_owned();
    let (head, _) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines().filter_map(|line| line.split_once(": "));
    lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
}

/// A field of an address's query, as it stands there.
pub fn field(url: &str, name: &str) -> String {
    let (_, query) = url.split_once('?').unwrap_or_else(|| panic!("no query in {url}"));
    let found = query.split('&').find_map(|pair| pair.strip_prefix(&format!("{name}=")));
    found.unwrap_or_else(|| panic!("no {name} in {url}")).to_owned()
}

fn build() -> PathBuf {
    static BUILDING: Mutex<()> = Mutex::new(());
    let _one = BUILDING.lock().unwrap();
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join("oidc-provider");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/go/oidc-provider");
    let mut go = Command::new("go");
    go.args(["build", "-mod=readonly", "-o"]).arg(&program).arg(".");
    let status = go.current_dir(source).env("CGO_ENABLED", "0").env("GOFLAGS", "-buildvcs=false").status();
    assert!(status.is_ok_and(|status| status.success()), "this test needs Go, and the provider must build");
    program
}
