//! The wrapper that signs in by itself.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::Output;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::server::{Container, FETCH, LOGIN, REVOKE, Server, good};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Fails before the command, with a sentence.
fn refused(out: &Output) -> String {
    assert_eq!((out.status.code(), text(&out.stdout).as_str()), (Some(125), ""), "{}", text(&out.stderr));
    text(&out.stderr)
}

#[test]
fn it_is_put_where_all_may_start_it() {
    let container = Container::new();
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&container.program()), 0o555);
    assert_eq!(std::fs::read_to_string(container.program().with_file_name("mode")).unwrap(), "agentless");
    // The init container may come twice.
    let again = std::process::Command::new(env!("CARGO_BIN_EXE_dewdrop-exec"))
        .arg("--install")
        .arg(container.program())
        .status();
    assert!(again.unwrap().success());
}

#[test]
fn signs_in_runs_and_takes_back() {
    let (server, container) = (Server::new(|asked, _| good(asked)), Container::new());
    let out = container.script(server.address, "echo $DB_USERNAME:$DB_PASSWORD; exit 7").output().unwrap();
    let told = (out.status.code(), text(&out.stdout), text(&out.stderr));
    assert_eq!(told, (Some(7), "v-canary-1:p\n".into(), String::new()));
    let asked = server.asked();
    let lines: Vec<(&str, &str)> = asked.iter().map(|one| (one.line.as_str(), one.token.as_str())).collect();
    assert_eq!(lines, [(LOGIN, ""), (FETCH, "token-1"), (REVOKE, "token-1")]);
    assert_eq!(asked[0].body, r#"{"jwt":"pod-jwt","role":"app"}"#);
}

#[test]
fn variables_by_other_names() {
    let (server, container) = (Server::new(|asked, _| good(asked)), Container::new());
    let mut command = container.script(server.address, "echo $DSN $DB_USERNAME.");
    let out = command.env("DEWDROP_VARIABLES", "DSN = pg://{{db.username}}:{{db.password | url}}@h").output().unwrap();
    assert_eq!(text(&out.stdout), "pg://v-canary-1:p@h .\n", "{}", text(&out.stderr));
}

#[test]
fn the_command_gets_nothing_of_ours() {
    let (server, container) = (Server::new(|asked, _| good(asked)), Container::new());
    let out = container.script(server.address, "env").env("OTHER", "stays").output().unwrap();
    let env = text(&out.stdout);
    assert!(env.contains("OTHER=stays\n") && env.contains("DB_PASSWORD=p\n"), "{env}");
    assert!(!env.contains("DEWDROP_") && !env.contains("token-1"), "{env}");
}

#[test]
fn a_refusal_is_final_and_the_command_is_not_started() {
    let container = Container::new();
    let denied = Server::new(|_, _| (403, r#"{"errors":["permission denied"]}"#.into()));
    let why = refused(&container.script(denied.address, "echo ran").output().unwrap());
    assert!(why.contains("the command was not started: the server answers 403 to POST auth/kubernetes/login"), "{why}");
    assert_eq!(denied.asked().len(), 1);
    // The token is taken back when what it was for cannot be had.
    let half = Server::new(|asked, _| if asked.line == FETCH { (403, "{}".into()) } else { good(asked) });
    let why = refused(&container.script(half.address, "echo ran").output().unwrap());
    assert!(why.contains("403 to GET database/creds/app"), "{why}");
    assert_eq!(half.count(REVOKE), 1);
}

#[test]
fn it_waits_while_the_server_is_away() {
    let container = Container::new();
    let server = Server::new(|asked, before| if before < 3 { (503, "{}".into()) } else { good(asked) });
    let out = container.script(server.address, "echo $DB_USERNAME").output().unwrap();
    assert_eq!(text(&out.stdout), "v-canary-1\n", "{}", text(&out.stderr));
    assert_eq!(server.count(LOGIN), 4);
}

#[test]
fn nobody_answers_for_too_long() {
    let container = Container::new();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = std::process::Command::new(container.program());
    command.args(["--timeout", "300ms", "--", "true"]).env("DEWDROP_ADDR", format!("http://{closed}"));
    command
        .env("DEWDROP_ROLE", "app")
        .env("DEWDROP_CREDENTIALS", "a = b/c")
        .env("DEWDROP_TOKEN_FILE", container.token());
    let why = refused(&command.output().unwrap());
    assert!(why.contains("no credential for this container within 0.3 s"), "{why}");
}

#[test]
fn what_it_is_not_told() {
    let container = Container::new();
    let run = |args: &[&str]| std::process::Command::new(container.program()).args(args).env_clear().output().unwrap();
    let why = refused(&run(&["--", "true"]));
    assert!(why.contains("DEWDROP_ADDR is not set; DEWDROP_ROLE is not set"), "{why}");
    let why = refused(&run(&["--image", "--"]));
    assert!(why.contains("write its ENTRYPOINT"), "{why}");
    let server = Server::new(|asked, _| good(asked));
    std::fs::remove_file(container.token()).unwrap();
    let why = refused(&container.script(server.address, "echo ran").output().unwrap());
    assert!(why.contains("cannot be read") && server.asked().is_empty(), "{why}");
}

#[test]
fn a_signal_before_the_command_ends_it_and_leaves_nothing() {
    let container = Container::new();
    let server = Server::new(|asked, _| {
        if asked.line == FETCH {
            std::thread::sleep(Duration::from_millis(500));
        }
        good(asked)
    });
    let mut child = container.script(server.address, "echo ran").spawn().unwrap();
    while server.count(FETCH) == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(143));
    assert_eq!(server.count(REVOKE), 1);
}

#[test]
fn a_signal_reaches_the_command_and_its_end_is_the_tokens() {
    let (server, container) = (Server::new(|asked, _| good(asked)), Container::new());
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = container.script(server.address, script).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next().unwrap().unwrap(), "ready");
    kill_process(Pid::from_raw(child.id().try_into().unwrap()).unwrap(), Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));
    assert_eq!(server.count(REVOKE), 1);
}

/// The token lives for 3 s, and the lease for 2: both are renewed while the command runs.
#[test]
fn what_hangs_on_the_command_is_renewed() {
    let container = Container::new();
    let server = Server::new(|asked, _| match asked.line.as_str() {
        LOGIN => (200, r#"{"auth":{"client_token":"token-1","lease_duration":3,"renewable":true}}"#.into()),
        FETCH => (200, r#"{"lease_id":"l-1","lease_duration":2,"renewable":true,"data":{"username":"u"}}"#.into()),
        "POST /v1/auth/token/renew-self" => (200, r#"{"auth":{"client_token":"token-1","lease_duration":3}}"#.into()),
        "POST /v1/sys/leases/renew" => (200, r#"{"lease_id":"l-1","lease_duration":2}"#.into()),
        _ => good(asked),
    });
    let out = container.script(server.address, "sleep 2.5").output().unwrap();
    assert_eq!((out.status.code(), text(&out.stderr).as_str()), (Some(0), ""));
    assert_eq!((server.count("POST /v1/auth/token/renew-self"), server.count("POST /v1/sys/leases/renew")), (2, 2));
    let renewed = server.asked().into_iter().find(|one| one.line == "POST /v1/sys/leases/renew").unwrap();
    assert_eq!((renewed.token.as_str(), renewed.body.as_str()), ("token-1", r#"{"increment":2,"lease_id":"l-1"}"#));
}

/// What can be renewed no further ends the command where the pod says so, and is told where not.
#[test]
fn near_a_ceiling_the_command_is_told() {
    let container = Container::new();
    let server = Server::new(|asked, _| match asked.line.as_str() {
        LOGIN => (200, r#"{"auth":{"client_token":"token-1","lease_duration":3,"renewable":true}}"#.into()),
        "POST /v1/auth/token/renew-self" => (403, r#"{"errors":["permission denied"]}"#.into()),
        _ => good(asked),
    });
    let script = "trap 'exit 5' TERM; i=0; while [ $i -lt 40 ]; do sleep 0.05; i=$((i+1)); done";
    let out = container.script(server.address, script).env("DEWDROP_SIGNAL", "TERM").output().unwrap();
    assert_eq!(out.status.code(), Some(5));
    assert!(text(&out.stderr).contains("the command is told to end"), "{}", text(&out.stderr));
    let out = container.script(server.address, script).output().unwrap();
    assert_eq!(out.status.code(), Some(0));
    assert!(text(&out.stderr).contains("this container's token cannot be renewed"), "{}", text(&out.stderr));
}

#[test]
fn the_server_proves_itself() {
    let container = Container::new();
    let (server, authority) = Server::tls(|asked, _| good(asked));
    let address = format!("https://{}", server.address);
    let run = |pem: &str| {
        let mut command = container.script(server.address, "echo $DB_USERNAME");
        command.env("DEWDROP_ADDR", &address).env("DEWDROP_CACERT_PEM", pem).output().unwrap()
    };
    let out = run(&authority);
    assert_eq!(text(&out.stdout), "v-canary-1\n", "{}", text(&out.stderr));
    assert_eq!(server.count(REVOKE), 1);
    let before = server.asked().len();
    let (_, other) = Server::tls(|asked, _| good(asked));
    let why = refused(&run(&other));
    assert!(why.contains("certificate") && server.asked().len() == before, "{why}");
    assert!(refused(&run("no PEM")).contains("holds no certificate"));
}
