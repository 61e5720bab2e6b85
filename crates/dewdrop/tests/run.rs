//! `dewdrop run` from end to end: what the program gets, and that the session is gone when it should be.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use common::{Server, eventually, send};
use rustix::process::Signal;

/// Says that it is ready, then waits for a signal. `sh` reports the signal it gets by its exit code.
const WAITER: &str = "trap 'exit 44' TERM; trap 'exit 45' USR1; echo ready; while :; do sleep 0.05; done";

fn server() -> Server {
    let server = Server::start();
    server.ok(&["kv", "put", "secret/app", "username=u", "password=p w$"]);
    server
}

fn with_stdout(mut command: Command) -> (Child, BufReader<std::process::ChildStdout>) {
    let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let stdout = BufReader::new(process.stdout.take().unwrap());
    (process, stdout)
}

/// Starts a program that waits, and returns when it runs.
fn waiting(server: &Server, flags: &[&str]) -> (Child, BufReader<std::process::ChildStdout>) {
    let args: Vec<&str> =
        ["run", "-creds", "secret/data/app"].iter().chain(flags).chain(&["--", "sh", "-c", WAITER]).copied().collect();
    let (process, mut stdout) = with_stdout(server.dewdrop(&args));
    let mut line = String::new();
    stdout.read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    (process, stdout)
}

#[test]
fn the_program_gets_the_values_and_not_our_token() {
    let server = server();
    let before = server.accessors();
    let output = server.run(&[
        "run",
        "-creds",
        "secret/data/app",
        "--",
        "sh",
        "-c",
        "echo \"$APP_USERNAME/$APP_PASSWORD/${DEWDROP_TOKEN:-none}\"; exit 7",
    ]);
    assert_eq!(String::from_utf8_lossy(&output.stdout), "u/p w$/none\n");
    assert_eq!(output.status.code(), Some(7));
    assert_eq!(server.accessors(), before, "the session outlived the program");
}

#[test]
fn names_and_maps_are_followed() {
    let server = server();
    let shown = server.ok(&["run", "-creds=DB=secret/data/app", "--", "sh", "-c", "echo $DB_USERNAME"]);
    assert_eq!(shown, "u\n");
    let shown = server.ok(&[
        "run",
        "-creds",
        "secret/data/app",
        "-env-map",
        "PGUSER=secret/data/app.username",
        "--",
        "sh",
        "-c",
        "echo $PGUSER/${APP_PASSWORD:-unset}",
    ]);
    assert_eq!(shown, "u/unset\n");
}

#[test]
fn files_are_closed_and_gone_at_the_end() {
    let server = server();
    let dir = server.home().join("creds");
    let script = "stat -c %a \"$DEWDROP_CREDS_DIR\" \"$APP_PASSWORD_FILE\"; cat \"$APP_PASSWORD_FILE\"; echo; echo ${APP_PASSWORD:-unset}";
    let shown =
        server.ok(&["run", "-creds", "secret/data/app", "-file", dir.to_str().unwrap(), "--", "sh", "-c", script]);
    assert_eq!(shown, "700\n400\np w$\nunset\n");
    assert!(!dir.exists());
}

#[test]
fn a_program_that_dies_by_a_signal_is_told_as_shells_do() {
    let server = server();
    assert_eq!(
        server.run(&["run", "-creds", "secret/data/app", "--", "sh", "-c", "kill -9 $$"]).status.code(),
        Some(137)
    );
    let missing = server.run(&["run", "-creds", "secret/data/app", "--", "no-such-program"]);
    assert_eq!(missing.status.code(), Some(127));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no-such-program cannot be started"));
}

#[test]
fn no_program_starts_without_its_credentials() {
    let server = server();
    let before = server.accessors();
    let output = server.run(&[
        "run",
        "-creds",
        "secret/data/app",
        "-creds",
        "secret/data/nope",
        "--",
        "sh",
        "-c",
        "echo started",
    ]);
    assert_eq!(output.status.code(), Some(2));
    assert!(output.stdout.is_empty(), "the program ran");
    assert!(String::from_utf8_lossy(&output.stderr).contains("No value found at secret/data/nope"));
    assert_eq!(server.accessors(), before, "the session of the failed start is left");
}

#[test]
fn signals_reach_the_program() {
    let server = server();
    for (signal, code) in [(Signal::TERM, 44), (Signal::USR1, 45)] {
        let (mut process, _stdout) = waiting(&server, &[]);
        send(process.id(), signal);
        assert_eq!(process.wait().unwrap().code(), Some(code));
    }
}

#[test]
fn a_killed_run_takes_program_and_session_with_it() {
    let server = server();
    let before = server.accessors();
    let (mut process, mut stdout) = waiting(&server, &["-session-ttl=5s"]);
    assert_eq!(server.accessors().len(), before.len() + 1, "there is no session");
    process.kill().unwrap();
    process.wait().unwrap();
    // The program held the other end of the pipe: its end shows there.
    let mut rest = String::new();
    stdout.read_line(&mut rest).unwrap();
    assert_eq!(rest, "", "the program went on");
    eventually("the server ends the session", || server.accessors() == before);
}

#[test]
fn a_silent_server_does_not_stop_the_program() {
    let server = server();
    let (mut process, _stdout) = waiting(&server, &["-session-ttl=30s"]);
    let mut told = BufReader::new(process.stderr.take().unwrap());
    server.freeze(true);
    let mut line = String::new();
    told.read_line(&mut line).unwrap();
    assert!(line.contains("cannot be renewed just now"), "{line}");
    assert!(process.try_wait().unwrap().is_none(), "the program was stopped");
    server.freeze(false);
    line.clear();
    told.read_line(&mut line).unwrap();
    assert!(line.contains("is renewed again"), "{line}");
    send(process.id(), Signal::TERM);
    assert_eq!(process.wait().unwrap().code(), Some(44));
}

#[test]
fn a_lost_session_is_told_and_nothing_is_made_anew() {
    let mut server = server();
    let (mut process, _stdout) = waiting(&server, &["-session-ttl=5s", "-on-lost=stop"]);
    server.replace();
    assert_eq!(process.wait().unwrap().code(), Some(44));
    let mut told = String::new();
    std::io::Read::read_to_string(&mut process.stderr.take().unwrap(), &mut told).unwrap();
    assert!(told.contains("the session is lost"), "{told}");
    assert_eq!(server.accessors().len(), 1, "somebody made a token on the new server");
}

#[test]
fn an_approle_needs_no_other_right() {
    let server = server();
    std::fs::write(server.home().join("app.hcl"), "path \"secret/data/app\" { capabilities = [\"read\"] }").unwrap();
    server.ok(&["policy", "write", "app", "app.hcl"]);
    server.ok(&["auth", "enable", "approle"]);
    server.ok(&["write", "auth/approle/role/app", "token_policies=app", "token_ttl=1h"]);
    let role = server.ok(&["read", "-field=role_id", "auth/approle/role/app/role-id"]);
    let secret = server.ok(&["write", "-f", "-field=secret_id", "auth/approle/role/app/secret-id"]);
    let before = server.accessors();
    let mut command = server.dewdrop(&[
        "run",
        "-auth",
        "approle",
        "-creds",
        "secret/data/app",
        "--",
        "sh",
        "-c",
        "echo $APP_USERNAME${DEWDROP_SECRET_ID:-}",
    ]);
    let output = command
        .env_remove("DEWDROP_TOKEN")
        .env("DEWDROP_ROLE_ID", role)
        .env("DEWDROP_SECRET_ID", secret)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "u\n", "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(server.accessors(), before);
}

#[test]
fn a_token_without_children_is_used_itself_and_kept() {
    let server = server();
    std::fs::write(server.home().join("app.hcl"), "path \"secret/data/app\" { capabilities = [\"read\"] }").unwrap();
    server.ok(&["policy", "write", "app", "app.hcl"]);
    let token = server.ok(&["token", "create", "-policy=app", "-no-default-policy", "-field=token"]);
    let before = server.accessors();
    let output = server
        .dewdrop(&["run", "-creds", "secret/data/app", "--", "sh", "-c", "echo $APP_USERNAME"])
        .env("DEWDROP_TOKEN", token)
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "u\n");
    assert!(String::from_utf8_lossy(&output.stderr).contains("auth/token/create"));
    assert_eq!(server.accessors(), before, "the caller's own token was revoked");
}

#[test]
fn mistakes_are_named_before_anything_is_made() {
    let server = Server::start();
    let before = server.accessors();
    for (args, wanted) in [
        (vec!["run", "-creds", "a/x", "-creds", "b/x", "--", "true"], "both set X_"),
        (vec!["run", "-creds", "a/x", "-session-ttl=1s", "--", "true"], "out of range"),
        (vec!["run", "-creds", "a/x", "-env-map", "V=b/y.f", "--", "true"], "no -creds reads"),
        (vec!["run", "-creds", "a/x"], "PROGRAM"),
        (vec!["run", "-auth", "approle", "-creds", "a/x", "--", "true"], "DEWDROP_ROLE_ID"),
    ] {
        let output = server.run(&args);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(told.contains(wanted), "{args:?}: {told}");
    }
    assert_eq!(server.accessors(), before);
}
