//! What the configuration says of the process itself, and what SIGHUP reads of it anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use common::eventually;
use common::kept::Kept;
use rustix::process::Signal;
use serde_json::json;

/// Changes the configuration file.
fn rewrite(server: &Kept, from: &str, to: &str) {
    let file = server.folder().join("server.hcl");
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{text}");
    std::fs::write(file, text.replace(from, to)).unwrap();
}

fn level(server: &Kept) -> String {
    server.call("GET", "sys/loggers/core", &json!({})).at("/data/core")
}

fn log(server: &Kept) -> String {
    std::fs::read_to_string(server.folder().join("stderr")).unwrap()
}

#[test]
fn sighup_reads_the_log_level_anew() {
    let server = Kept::start();
    assert_eq!(level(&server), "trace");
    rewrite(&server, "log_level = \"trace\"", "log_level = \"info\"");
    server.signal(Signal::HUP);
    eventually("the level of the file counts", || level(&server) == "info");

    server.call("POST", "sys/loggers", &json!({ "level": "debug" })).ok();
    rewrite(&server, "log_level = \"info\"", "log_level = \"silent\"");
    server.signal(Signal::HUP);
    eventually("the mistake is on the log", || log(&server).contains("the log level was not read anew"));
    assert_eq!(level(&server), "debug", "a file with mistakes changes nothing");
    server.call("DELETE", "sys/loggers", &json!({})).ok();
    assert_eq!(level(&server), "info");
}

#[test]
fn the_process_says_who_it_is_where_the_configuration_wants_it() {
    let seal = "seal \"static\" {\n  current_key_id = \"t\"\n  current_key = \"file://SEAL\"\n}\n";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let more = format!(
        "{seal}pid_file = {file:?}\ncluster_name = \"orchard\"\nenable_response_header_hostname = true\nui = true\n"
    );
    let mut server = Kept::with(&more, "");
    assert_eq!(std::fs::read_to_string(&file).unwrap().trim(), server.pid().to_string());
    let health = server.call("GET", "sys/health", &json!({}));
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    let head = String::from_utf8_lossy(&health.whole).to_ascii_lowercase();
    assert!(head.contains(&format!("x-vault-hostname: {}", name.trim().to_ascii_lowercase())), "{head}");
    assert_eq!(health.at("/cluster_name"), "orchard");
    assert!(log(&server).contains("ui = true has no effect"));
    server.signal(Signal::TERM);
    assert!(server.ended().success());
    assert!(!file.exists(), "the file goes with the process");
}
