//! A real Chromium without a window, driven over its DevTools protocol through two pipes (messages end in a zero byte), with
//! a security key in software in its hands.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

/// The browser, with one page. Stopped when dropped.
pub struct Chromium {
    process: Child,
    asks: ChildStdin,
    told: Receiver<Value>,
    last: u64,
    session: String,
    _profile: tempfile::TempDir,
}

impl Chromium {
    /// Starts it.
    pub fn start() -> Self {
        let profile = tempfile::tempdir().unwrap();
        // Its pipes are 3 and 4.
        let script = "exec chromium \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>/dev/null";
        let mut command = Command::new("sh");
        command.args(["-c", script, "chromium", "--headless=new", "--no-sandbox", "--remote-debugging-pipe"]);
        command.args(["--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--no-proxy-server"]);
        command.arg(format!("--user-data-dir={}", profile.path().display()));
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let asks = process.stdin.take().unwrap();
        let mut pipe = BufReader::new(process.stdout.take().unwrap());
        let (tell, told) = channel();
        std::thread::spawn(move || {
            let mut message = Vec::new();
            while pipe.read_until(0, &mut message).is_ok_and(|count| count > 0) {
                message.pop();
                if tell.send(serde_json::from_slice(&message).unwrap()).is_err() {
                    return;
                }
                message.clear();
            }
        });
        let mut browser = Self { process, asks, told, last: 0, session: String::new(), _profile: profile };
        let page = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attach = json!({ "targetId": page["targetId"], "flatten": true });
        browser.session = browser.ask("Target.attachToTarget", attach)["sessionId"].as_str().unwrap().to_owned();
        browser.ask("WebAuthn.enable", json!({}));
        browser
    }

    /// Sends a command and waits for its result.
    pub fn ask(&mut self, method: &str, params: Value) -> Value {
        self.last += 1;
        let mut message = json!({ "id": self.last, "method": method, "params": params });
        if !self.session.is_empty() {
            message["sessionId"] = self.session.clone().into();
        }
        self.asks.write_all(format!("{message}\0").as_bytes()).unwrap();
        loop {
            let told = self.told.recv_timeout(PATIENCE).unwrap_or_else(|error| panic!("{method}: {error}"));
            if told["id"] == self.last {
                assert!(told["error"].is_null(), "{method}: {told}");
                return told["result"].clone();
            }
        }
    }

    /// A new key in its hands; its name.
    pub fn add_key(&mut self) -> String {
        let options = json!({
            "protocol": "ctap2", "transport": "usb", "hasResidentKey": false, "hasUserVerification": true,
            "isUserVerified": true, "automaticPresenceSimulation": true,
        });
        let made = self.ask("WebAuthn.addVirtualAuthenticator", json!({ "options": options }));
        made["authenticatorId"].as_str().unwrap().to_owned()
    }

    /// Takes a key out of its hands.
    pub fn drop_key(&mut self, key: &str) {
        self.ask("WebAuthn.removeVirtualAuthenticator", json!({ "authenticatorId": key }));
    }

    /// The one credential of a key.
    pub fn credential(&mut self, key: &str) -> Value {
        let all = self.ask("WebAuthn.getCredentials", json!({ "authenticatorId": key }));
        all["credentials"][0].clone()
    }

    /// Opens an address.
    pub fn open(&mut self, url: &str) {
        // The same page with another fragment would not be loaded anew.
        self.ask("Page.navigate", json!({ "url": "about:blank" }));
        self.ask("Page.navigate", json!({ "url": url }));
        self.wait("document.readyState === 'complete' && location.href !== 'about:blank'");
    }

    /// Opens the page of a terminal's address, and does what it asks. What it says at the end.
    pub fn follow(&mut self, url: &str) -> String {
        self.open(url);
        let end = "document.getElementById('what').className === 'bad'";
        self.wait(&format!("!document.getElementById('go').hidden || {end}"));
        self.run("document.getElementById('go').hidden || document.getElementById('go').click()");
        let done = "document.getElementById('what').textContent.startsWith('Done')";
        self.wait(&format!("{done} || {end}"));
        self.run("document.getElementById('what').textContent").as_str().unwrap().to_owned()
    }

    /// What the key says to a challenge, asked by the page's own script with options that somebody may have bent.
    pub fn sign(&mut self, options: &Value) -> Value {
        let signed = self.run(&format!("sign({options})"));
        assert!(signed["response"].is_object(), "{signed}");
        signed
    }

    /// The value of an expression in the page.
    pub fn run(&mut self, expression: &str) -> Value {
        let ask = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true });
        let got = self.ask("Runtime.evaluate", ask);
        assert!(got["exceptionDetails"].is_null(), "{expression}: {}", got["exceptionDetails"]);
        got["result"]["value"].clone()
    }

    fn wait(&mut self, condition: &str) {
        #[expect(clippy::disallowed_methods, reason = "a test waits for another program by the real clock")]
        let began = Instant::now();
        while self.run(&format!("Boolean({condition})")) != json!(true) {
            assert!(
                began.elapsed() < PATIENCE,
                "{condition}: {}",
                self.run("document.body && document.body.innerText")
            );
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        let message = json!({ "id": self.last + 1, "method": "Browser.close" });
        let _ = self.asks.write_all(format!("{message}\0").as_bytes());
        std::thread::sleep(Duration::from_millis(300));
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
