//! No credential, no command.

use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixListener;

use super::agent::{Stage, USER};

const MARK: &[&str] = &["--timeout", "300ms", "--", "sh", "-c", "echo started"];

fn told(stage: &Stage) -> String {
    let out = stage.exec(MARK).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&out.stdout), "", "the command ran");
    assert_eq!(out.status.code(), Some(125));
    let told = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(told.starts_with("dewdrop-exec: the command was not started: "), "{told}");
    told
}

#[test]
fn nobody_listens() {
    let stage = Stage::new("env");
    let told = told(&stage);
    assert!(
        told.contains("the agent of this node (dewdrop node) does not run") && told.contains("within 0.3 s"),
        "{told}"
    );
}

#[test]
fn an_agent_that_died() {
    let stage = Stage::new("gate");
    drop(UnixListener::bind(stage.socket()).unwrap());
    assert!(told(&stage).contains("does not run"));
}

#[test]
fn a_refusal_is_final() {
    let stage = Stage::new("env");
    let agent = stage.agent(&["{\"v\":1,\"refused\":true}\n", USER]);
    assert!(told(&stage).contains("not for this container"));
    assert_eq!(agent.asked().len(), 1);
}

#[test]
fn the_agents_reason_is_passed_on() {
    let stage = Stage::new("env");
    let _agent = stage.agent(&["{\"v\":1,\"wait\":\"the server is sealed\"}\n"]);
    assert!(told(&stage).contains("the server is sealed"));
}

#[test]
fn half_an_answer_starts_nothing() {
    let stage = Stage::new("env");
    let _agent = stage.agent(&["{\"v\":1,\"env\":{\"DB_PASSWORD\":\"hunter2\""]);
    let told = told(&stage);
    assert!(told.contains("cannot be read") && !told.contains("hunter2"), "{told}");
}

#[test]
fn an_agent_that_is_slow_or_comes_later_is_waited_for() {
    let stage = Stage::new("env");
    let mut child = stage.exec(&["--", "sh", "-c", "echo user=$DB_USERNAME"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(
        line.starts_with("dewdrop-exec: waiting for this container's credential (") && line.contains("of 60 s"),
        "{line}"
    );
    let _agent = stage.agent(&["{\"v\":1,\"wait\":\"soon\"}\n", "{\"v\":1,\"wait\":\"soon\"}\n", USER]);
    let out = child.wait_with_output().unwrap();
    assert_eq!((String::from_utf8_lossy(&out.stdout).as_ref(), out.status.code()), ("user=v-canary-1\n", Some(0)));
}

#[test]
fn a_volume_that_is_not_ours() {
    let stage = Stage::new("something");
    let out = stage.exec(&["true"]).output().unwrap();
    assert_eq!(out.status.code(), Some(125));
    std::fs::remove_file(stage.path().join(".dewdrop/mode")).unwrap();
    let out = stage.exec(&["true"]).output().unwrap();
    assert_eq!(out.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&out.stderr).contains("this program works in a volume of csi.dewdrop.dev"));
}
