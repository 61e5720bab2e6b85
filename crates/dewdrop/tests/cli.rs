//! What golden files cannot show: files, stdin, environment, exit codes of states.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use common::Server;

#[test]
fn a_sign_in_is_kept_closed_and_found_again() {
    let server = Server::start();
    let file = server.home().join(".vault-token");
    server.ok(&["login", "root"]);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "root");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let shown = server.dewdrop(&["print", "token"]).env_remove("DEWDROP_TOKEN").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stdout), "root\n");
}

#[test]
fn a_token_file_that_others_can_read_is_refused() {
    let server = Server::start();
    let file = server.home().join(".vault-token");
    std::fs::write(&file, "root").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    let output = server.dewdrop(&["token", "lookup"]).env_remove("DEWDROP_TOKEN").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("chmod 600"));
}

#[test]
fn the_strongest_variable_wins() {
    let server = Server::start();
    let shown = |pairs: &[(&str, &str)]| {
        let mut command = server.dewdrop(&["print", "token"]);
        command.env_remove("DEWDROP_TOKEN").envs(pairs.iter().copied());
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    assert_eq!(shown(&[("VAULT_TOKEN", "v")]), "v\n");
    assert_eq!(shown(&[("VAULT_TOKEN", "v"), ("BAO_TOKEN", "b")]), "b\n");
    assert_eq!(shown(&[("VAULT_TOKEN", "v"), ("BAO_TOKEN", "b"), ("DEWDROP_TOKEN", "d")]), "d\n");
    assert_eq!(shown(&[("VAULT_TOKEN", "v"), ("DEWDROP_TOKEN", "")]), "v\n");
}

#[test]
fn data_comes_from_stdin() {
    let server = Server::start();
    let feed = |args: &[&str], text: &str| {
        let mut process = server.dewdrop(args).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        process.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        assert!(process.wait_with_output().unwrap().status.success(), "{args:?}");
    };
    feed(&["write", "cubbyhole/a", "-"], r#"{"n": 1, "t": "x"}"#);
    assert_eq!(server.ok(&["read", "-field=n", "cubbyhole/a"]), "1");
    feed(&["write", "cubbyhole/a", "key=-"], "line\n");
    assert_eq!(server.ok(&["read", "-field=key", "cubbyhole/a"]), "line\n");
    feed(&["policy", "write", "p", "-"], "path \"x\" { capabilities = [\"read\"] }");
    feed(&["login", "-"], "root\n");
}

#[test]
fn status_tells_by_its_exit_code_and_shares_unseal() {
    let server = Server::start();
    assert_eq!(server.run(&["status"]).status.code(), Some(0));
    server.ok(&["operator", "seal"]);
    let sealed = server.run(&["status", "-format=json"]);
    assert_eq!(sealed.status.code(), Some(2));
    let state: serde_json::Value = serde_json::from_slice(&sealed.stdout).unwrap();
    assert_eq!(state["sealed"], true);
    let refused = server.run(&["read", "cubbyhole/a"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("dewdrop operator unseal"));
    assert_eq!(server.run(&["status", "-address=http://127.0.0.1:1"]).status.code(), Some(1));
}

#[test]
fn a_wrapped_reply_unwraps_once() {
    let server = Server::start();
    server.ok(&["write", "cubbyhole/a", "k=v"]);
    let token = server.ok(&["read", "-wrap-ttl=60s", "-field=wrapping_token", "cubbyhole/a"]);
    assert_eq!(server.ok(&["unwrap", "-field=k", &token]), "v");
    assert_eq!(server.run(&["unwrap", &token]).status.code(), Some(2));
}

#[test]
fn namespaces_are_a_flag_and_a_variable() {
    let server = Server::start();
    server.ok(&["namespace", "create", "team"]);
    server.ok(&["secrets", "enable", "-ns=team", "-path=kv", "kv"]);
    server.ok(&["write", "-namespace=team", "kv/a", "k=v"]);
    let mut command = server.dewdrop(&["read", "-field=k", "kv/a"]);
    let output = command.env("DEWDROP_NAMESPACE", "team").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stdout), "v");
    assert_eq!(server.run(&["read", "kv/a"]).status.code(), Some(2));
    assert!(server.ok(&["namespace", "list"]).contains("team/"));
}

#[test]
fn every_shell_gets_a_completion_script() {
    let server = Server::start();
    for (shell, mark) in [("bash", "complete -F"), ("zsh", "#compdef dewdrop"), ("fish", "complete -c dewdrop")] {
        assert!(server.ok(&["completion", shell]).contains(mark), "{shell}");
    }
}

#[test]
fn a_root_token_is_made_from_shares() {
    let server = Server::start();
    let begun = server.ok(&["operator", "generate-root", "-init", "-format=json"]);
    let begun: serde_json::Value = serde_json::from_str(&begun).unwrap();
    assert_eq!(begun["started"], true);
    assert_eq!(begun["otp"].as_str().unwrap().len() as u64, begun["otp_length"].as_u64().unwrap());
    server.ok(&["operator", "generate-root", "-cancel"]);
    let state: serde_json::Value =
        serde_json::from_str(&server.ok(&["operator", "generate-root", "-status", "-format=json"])).unwrap();
    assert_eq!(state["started"], false);
}
