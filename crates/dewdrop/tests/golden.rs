//! What users see. Each file in `tests/golden` is a conversation with a fresh server: commands, and what they print.
//! `UPDATE_GOLDEN=1 cargo test -p dewdrop --test golden` writes them anew; read the difference before you commit it.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use common::Server;
use common::transcript::{difference, hide, shield, words};

/// What lies in the folder where the commands run.
const FILES: [(&str, &str); 5] = [
    ("policy.hcl", "path \"secret/data/app/*\" { capabilities = [\"read\",\"list\"] }\n"),
    ("data.json", r#"{"nested": {"list": [1, 2.5, null, true]}, "ttl": 3600, "empty": ""}"#),
    ("cases.hcl", CASES),
    ("ca.pem", CA),
    ("wrong.hcl", "case \"x\" { policies = [\"policy\"] }\n"),
];

/// An authority whose key nobody has any more; good until 2126.
const CA: &str = "-----BEGIN CERTIFICATE-----\n\
MIIBDDCBv6ADAgECAgEBMAUGAytlcDANMQswCQYDVQQDDAJjYTAgFw0yNjExMjgy\n\
MzMzNTdaGA8yMTI2MTEwNDIzMzM1N1owDTELMAkGA1UEAwwCY2EwKjAFBgMrZXAD\n\
IQBTGYKcczg0dVXc/mIaaZcPO6wf15sL1xpnkJTMPfGEGqNCMEAwDwYDVR0TAQH/\n\
BAUwAwEB/zAOBgNVHQ8BAf8EBAMCAQYwHQYDVR0OBBYEFI9Y92tDBDwaZkMYCu5Y\n\
UFEodqasMAUGAytlcANBAKj89mfQBZVJtzw+v7rA3ywG2IabsrxSP7mZiv7s0nTE\n\
QJECQSynXv/nYZoVfDjL2uh/wY6x0XnRsOTuNUeVAwc=\n\
-----END CERTIFICATE-----\n";

const CASES: &str = r#"
case "the app reads its own secrets" {
  policies = ["policy"]
  path = "secret/data/app/db"
  capabilities = ["read"]
  allow = true
}
case "this one is wrong on purpose" {
  policies = ["policy"]
  path = "secret/data/app/db"
  capabilities = ["update"]
  allow = true
}
"#;

#[test]
fn conversations_are_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty(), "no conversations in {}", folder.display());
    let mut wrong = String::new();
    for file in files {
        let written = std::fs::read_to_string(&file).unwrap();
        let played = play(&written);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &played).unwrap();
        } else if played != written {
            writeln!(wrong, "{}:\n{}", file.display(), difference(&written, &played)).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Runs the commands of a conversation (`$ ...`; comments begin with `#`) and writes down what they print.
fn play(conversation: &str) -> String {
    let server = Server::start();
    for (name, text) in FILES {
        std::fs::write(server.home().join(name), text).unwrap();
    }
    let mut transcript = String::new();
    for line in conversation.lines().filter(|l| l.starts_with('$') || l.starts_with('#')) {
        writeln!(transcript, "{line}").unwrap();
        let Some(command) = line.strip_prefix("$ dewdrop ") else { continue };
        let output = server.run(&words(command).iter().map(String::as_str).collect::<Vec<_>>());
        for (mark, bytes) in [("", &output.stdout), ("! ", &output.stderr)] {
            let text = hide(&String::from_utf8_lossy(bytes), &server.address());
            text.lines()
                .for_each(|l| writeln!(transcript, "{}", format!("{mark}{}", shield(mark, l)).trim_end()).unwrap());
        }
        match output.status.code() {
            Some(0) => {}
            code => writeln!(transcript, "exit code {}", code.unwrap_or(-1)).unwrap(),
        }
        writeln!(transcript).unwrap();
    }
    transcript
}
