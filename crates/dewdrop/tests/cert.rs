//! Logins by TLS certificate, from the real command line to the real server, and what must not stand in for a certificate.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use std::net::TcpListener;
use std::process::{Command, Output};

use common::kept::Kept;
use dewdrop_testkit::pki::Ca;
use serde_json::{Value, json};

const SEAL: &str = "seal \"static\" {\n  current_key_id = \"t\"\n  current_key = \"file://SEAL\"\n}\n";
const NONE: &str = "no client certificate found";
const UNKNOWN: &str = "invalid certificate or no client certificate supplied";

/// A server with listeners in plain text and three kinds of TLS, an authority that one role trusts, and another authority.
struct Scene {
    server: Kept,
    files: tempfile::TempDir,
    asks: u16,
    never_asks: u16,
    insists: u16,
    ca: Ca,
}

impl Scene {
    fn new() -> Self {
        let files = tempfile::tempdir().unwrap();
        let (ca, other) = (Ca::new("one"), Ca::new("two"));
        std::fs::write(files.path().join("ca.pem"), ca.pem()).unwrap();
        ca.server().write(files.path(), "server");
        for (file, ca, serial) in [("ada", &ca, 3u64), ("ada-again", &ca, 4), ("stranger", &other, 5)] {
            ca.issue("ada", |params| params.serial_number = Some(serial.into())).write(files.path(), file);
        }
        let ports = [(); 3].map(|()| free_port());
        let certificate_files = format!(
            "  tls_cert_file = \"{0}/server.pem\"\n  tls_key_file = \"{0}/server.key\"\n",
            files.path().display()
        );
        let more = [
            "",
            "  tls_disable_client_certs = true\n",
            &format!(
                "  tls_require_and_verify_client_cert = true\n  tls_client_ca_file = \"{}/ca.pem\"\n",
                files.path().display()
            ),
        ];
        let listeners: Vec<String> = ports
            .iter()
            .zip(more)
            .map(|(port, more)| {
                format!("}}\nlistener \"tcp\" {{\n  address = \"127.0.0.1:{port}\"\n{certificate_files}{more}")
            })
            .collect();
        let server = Kept::with(SEAL, &listeners.concat());
        let scene = Self { server, files, asks: ports[0], never_asks: ports[1], insists: ports[2], ca };
        scene.admin("sys/auth/cert", &json!({ "type": "cert" }));
        let role = json!({ "certificate": scene.ca.pem(), "allowed_common_names": "ada", "token_policies": "p" });
        scene.admin("auth/cert/certs/app", &role);
        scene
    }

    fn admin(&self, path: &str, body: &Value) {
        self.server.call("POST", path, body).ok();
    }

    /// The command line, at one listener.
    fn dewdrop(&self, port: u16, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dewdrop"));
        command.args(args).env_clear().current_dir(self.files.path()).env("HOME", self.files.path());
        command.env("DEWDROP_ADDR", format!("https://127.0.0.1:{port}")).env("DEWDROP_CACERT", "ca.pem");
        command.env("DEWDROP_MAX_RETRIES", "0");
        command
    }

    fn run(&self, port: u16, who: &str, args: &[&str]) -> Output {
        let (certificate, key) = (format!("-client-cert={who}.pem"), format!("-client-key={who}.key"));
        let shown = [certificate.as_str(), key.as_str()];
        let args = [args, if who.is_empty() { &[] } else { &shown }].concat();
        self.dewdrop(port, &args).output().unwrap()
    }

    /// A token of a login.
    fn token(&self, who: &str) -> String {
        let output = self.run(self.asks, who, &["login", "-method=cert", "-token-only"]);
        assert!(output.status.success(), "{}", told(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    fn refused(&self, port: u16, who: &str, args: &[&str], why: &str) {
        let output = self.run(port, who, args);
        assert!(!output.status.success() && told(&output).contains(why), "{who} {args:?}: {}", told(&output));
    }

    fn renew(&self, token: &str, who: &str) -> Output {
        let args = [format!("-client-cert={who}.pem"), format!("-client-key={who}.key")];
        let mut command = self.dewdrop(self.asks, &["token", "renew"]);
        if !who.is_empty() {
            command.args(args);
        }
        command.env("DEWDROP_TOKEN", token).output().unwrap()
    }
}

fn told(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

#[test]
fn a_login_by_flags_and_by_environment() {
    let scene = Scene::new();
    let output = scene.run(scene.asks, "ada", &["login", "-method=cert", "-no-store", "-format=json", "name=app"]);
    assert!(output.status.success(), "{}", told(&output));
    let auth = serde_json::from_slice::<Value>(&output.stdout).unwrap()["auth"].clone();
    assert_eq!(auth["token_policies"], json!(["default", "p"]));
    assert_eq!((&auth["metadata"]["common_name"], &auth["metadata"]["serial_number"]), (&json!("ada"), &json!("3")));
    let mut command = scene.dewdrop(scene.asks, &["login", "-method=cert", "-token-only"]);
    let output = command.env("VAULT_CLIENT_CERT", "ada.pem").env("VAULT_CLIENT_KEY", "ada.key").output().unwrap();
    assert!(output.status.success(), "{}", told(&output));
    // Where a certificate is a must, the same login works, and no connection comes about without one.
    assert!(scene.run(scene.insists, "ada", &["login", "-method=cert", "-no-store"]).status.success());
    for who in ["", "stranger"] {
        assert!(!scene.run(scene.insists, who, &["status"]).status.success(), "{who}");
    }
    // What the token does needs no certificate.
    let token = scene.token("ada");
    let mut command = scene.dewdrop(scene.asks, &["token", "lookup"]);
    assert!(command.env("DEWDROP_TOKEN", &token).output().unwrap().status.success());
}

#[test]
fn nothing_stands_in_for_a_certificate() {
    let scene = Scene::new();
    let login = ["login", "-method=cert", "-no-store"];
    scene.refused(scene.asks, "", &login, NONE);
    scene.refused(scene.asks, "stranger", &login, UNKNOWN);
    scene.refused(scene.never_asks, "ada", &login, NONE);
    // Proxies hand certificates on in such headers; nobody vouches for them here.
    let pem = std::fs::read_to_string(scene.files.path().join("ada.pem")).unwrap();
    let one_line = pem.replace('\n', "%0A");
    let names =
        ["Forwarded-Client-Cert", "Ssl-Client-Cert", "Ssl-Client-Verify", "Client-Cert", "Forwarded-Tls-Client-Cert"];
    let headers: Vec<String> = names
        .iter()
        .flat_map(|name| [format!("-header=X-{name}={one_line}"), format!("-header={name}={one_line}")])
        .collect();
    let certificate = format!("certificate={pem}");
    let mut args: Vec<&str> = vec!["write"];
    args.extend(headers.iter().map(String::as_str));
    args.extend(["auth/cert/login", "name=app", &certificate]);
    for port in [scene.asks, scene.never_asks] {
        scene.refused(port, "", &args, NONE);
    }
    scene.refused(scene.asks, "stranger", &args, UNKNOWN);
    // Without TLS there is no certificate, whatever is sent.
    let plain = scene.server.http().json("POST", "auth/cert/login", "", &json!({ "name": "app", "certificate": pem }));
    assert_eq!((plain.status, plain.text().contains(NONE)), (400, true), "{}", plain.text());
}

#[test]
fn a_renewal_needs_the_same_certificate() {
    let scene = Scene::new();
    let token = scene.token("ada");
    assert!(scene.renew(&token, "ada").status.success());
    for (who, why) in [("", NONE), ("ada-again", "client identity"), ("stranger", "client identity")] {
        let output = scene.renew(&token, who);
        assert!(!output.status.success() && told(&output).contains(why), "{who}: {}", told(&output));
    }
    scene.admin("auth/cert/config", &json!({ "disable_binding": true }));
    assert!(scene.renew(&token, "").status.success());
}

#[test]
fn a_revoked_certificate_opens_nothing_across_a_restart() {
    let mut scene = Scene::new();
    let token = scene.token("ada");
    scene.admin("auth/cert/crls/list", &json!({ "crl": scene.ca.crl(&[3]) }));
    for round in ["before", "after"] {
        scene.refused(scene.asks, "ada", &["login", "-method=cert", "-no-store"], "no chain matching all constraints");
        assert!(told(&scene.renew(&token, "ada")).contains("revoked"), "{round}");
        scene.token("ada-again");
        if round == "before" {
            scene.server.kill();
            scene.server.start_again();
        }
    }
}
