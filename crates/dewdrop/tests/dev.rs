//! `dewdrop server -dev`: what it says, and where it leaves its root token.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

use common::eventually;

/// What a development server prints until it serves; it is ended then.
fn told(home: &Path, more: &[&str]) -> String {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (out, log) = (home.join("out"), home.join("log"));
    let mut process = Command::new(common::server_program())
        .args(["server", "-dev", &format!("-dev-listen-address=127.0.0.1:{port}")])
        .args(more)
        .env("HOME", home)
        .stdin(Stdio::null())
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(std::fs::File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let read = || std::fs::read_to_string(&out).unwrap();
    eventually("it says how to use it", || read().contains("Development mode should NOT"));
    process.kill().unwrap();
    process.wait().unwrap();
    read()
}

fn root_token(told: &str) -> &str {
    told.lines().find_map(|line| line.strip_prefix("Root Token: ")).unwrap()
}

#[test]
fn the_root_token_is_where_the_command_line_looks_for_it() {
    let home = tempfile::tempdir().unwrap();
    let told = told(home.path(), &[]);
    assert_eq!(std::fs::read_to_string(home.path().join(".vault-token")).unwrap(), root_token(&told));
    assert!(told.contains("already authenticated to the CLI"), "{told}");
}

#[test]
fn it_is_left_out_on_request() {
    let home = tempfile::tempdir().unwrap();
    let told = told(home.path(), &["-dev-no-store-token", "-dev-root-token-id=mine"]);
    assert_eq!(root_token(&told), "mine");
    assert!(!home.path().join(".vault-token").exists() && !told.contains("already authenticated"), "{told}");
}

#[test]
fn the_log_goes_where_the_flags_say() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("server.log");
    // What cannot be kept is one thing that is logged.
    std::fs::create_dir(home.path().join(".vault-token")).unwrap();
    let told = told(home.path(), &["-log-format=json", "-log-level=debug", &format!("-log-file={}", file.display())]);
    let log = std::fs::read_to_string(&file).unwrap();
    assert!(log.contains("was not kept") && log.lines().all(|line| line.starts_with("{\"@level\":")), "{log}");
    assert!(!told.contains("already authenticated"), "{told}");
    let mistake = Command::new(common::server_program()).args(["server", "-dev", "-log-format=odd"]).output().unwrap();
    assert!(String::from_utf8_lossy(&mistake.stderr).contains("-log-format: write \"standard\" or \"json\""));
}
