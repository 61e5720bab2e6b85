//! The command: its variables, its status, how it is found.

use std::os::unix::fs::PermissionsExt;
use std::process::Output;

use super::agent::{Stage, USER};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn run(stage: &Stage, args: &[&str]) -> Output {
    stage.exec(args).output().unwrap()
}

#[test]
fn the_command_has_the_variables_and_its_status_is_ours() {
    let stage = Stage::new("env");
    let agent = stage.agent(&[USER]);
    let out = run(&stage, &["--", "sh", "-c", "echo user=$DB_USERNAME; exit 7"]);
    assert_eq!(
        (out.status.code(), text(&out.stdout).as_str()),
        (Some(7), "user=v-canary-1\n"),
        "{}",
        text(&out.stderr)
    );
    assert_eq!(text(&out.stderr), "");
    assert_eq!(agent.asked(), ["{\"v\":1,\"image\":false}\n"]);
}

#[test]
fn what_was_there_stays_and_the_credential_wins() {
    let stage = Stage::new("env");
    let _agent = stage.agent(&[USER]);
    let out = stage
        .exec(&["sh", "-c", "echo $DB_USERNAME $OTHER"])
        .env("DB_USERNAME", "old")
        .env("OTHER", "o")
        .output()
        .unwrap();
    assert_eq!(text(&out.stdout), "v-canary-1 o\n");
}

#[test]
fn a_command_that_dies_by_a_signal() {
    let stage = Stage::new("env");
    let _agent = stage.agent(&[USER]);
    assert_eq!(run(&stage, &["sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    assert_eq!(run(&stage, &["sh", "-c", "kill -TERM $$"]).status.code(), Some(143));
}

#[test]
fn the_command_is_found_in_the_path_that_it_will_have() {
    let stage = Stage::new("env");
    let bin = stage.path().join("bin");
    std::fs::create_dir(&bin).unwrap();
    let script = bin.join("greet");
    std::fs::write(&script, "#!/bin/sh\necho hello $0\n").unwrap();
    let answer = format!("{{\"v\":1,\"env\":{{\"PATH\":\"{}\"}}}}\n", bin.display());
    let _agent = stage.agent(&[&answer]);
    assert_eq!(run(&stage, &["greet"]).status.code(), Some(126), "it may not be run yet");
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    assert!(text(&run(&stage, &["greet"]).stdout).starts_with("hello "));
    // Without a first line it is the shell's, as with execvp(3).
    std::fs::write(&script, "echo plain $1\n").unwrap();
    assert_eq!(text(&run(&stage, &["greet", "x"]).stdout), "plain x\n");
}

#[test]
fn no_such_command() {
    for mode in ["env", "gate"] {
        let stage = Stage::new(mode);
        let _agent = stage.agent(&[USER]);
        let out = run(&stage, &["no-such-command-at-all"]);
        assert_eq!(out.status.code(), Some(127), "{mode}");
        assert!(
            text(&out.stderr).contains("no-such-command-at-all: there is no such command"),
            "{}",
            text(&out.stderr)
        );
        assert_eq!(run(&stage, &["/"]).status.code(), Some(126), "{mode}");
    }
}

#[test]
fn the_image_says_the_command() {
    let stage = Stage::new("env");
    let answer = "{\"v\":1,\"env\":{\"A\":\"1\"},\"entrypoint\":[\"/bin/sh\",\"-c\"],\"cmd\":[\"echo cmd $A\"]}\n";
    let agent = stage.agent(&[answer]);
    assert_eq!(text(&run(&stage, &["--image"]).stdout), "cmd 1\n");
    assert_eq!(text(&run(&stage, &["--image", "--", "echo args $A"]).stdout), "args 1\n");
    assert_eq!(agent.asked()[1], "{\"v\":1,\"image\":true}\n");
}

#[test]
fn a_gate_leaves_no_process_behind() {
    let stage = Stage::new("gate");
    let _agent = stage.agent(&["{\"v\":1}\n"]);
    let child = stage.exec(&["sh", "-c", "echo $$; exit 3"]).spawn().unwrap();
    let pid = child.id();
    let out = child.wait_with_output().unwrap();
    assert_eq!((text(&out.stdout), out.status.code()), (format!("{pid}\n"), Some(3)));
}

#[test]
fn sigpipe_kills_the_command_as_it_would_without_us() {
    for mode in ["env", "gate"] {
        let stage = Stage::new(mode);
        let _agent = stage.agent(&[USER]);
        let out = run(&stage, &["sh", "-c", "grep SigIgn /proc/self/status"]);
        let said = text(&out.stdout);
        let mask = u64::from_str_radix(said.split_whitespace().last().unwrap(), 16).unwrap();
        assert_eq!(mask & 1 << 12, 0, "{mode}: SIGPIPE is ignored: {said}");
    }
}
