//! People at the command line: to ask and to wait, to know what one may do, to look at the record. `tests/golden/people` holds
//! what they see; `UPDATE_GOLDEN=1 cargo test -p dewdrop --test people` writes it anew.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;
#[path = "people/tokens.rs"]
mod tokens;
mod town;

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::Stdio;

use common::transcript::{difference, shield, words};
use rustix::process::Signal;
use serde_json::Value;
use town::Town;

#[test]
fn conversations_are_as_written() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/people");
    let mut wrong = String::new();
    for name in ["grant", "record", "direct"] {
        let file = folder.join(format!("{name}.txt"));
        let written = std::fs::read_to_string(&file).unwrap();
        let played = play(&written);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &played).unwrap();
        } else if played != written {
            writeln!(wrong, "{name}:\n{}", difference(&written, &played)).unwrap();
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// `$ ann dewdrop ...` runs as ann; `% ...` is something that happens beside.
fn play(conversation: &str) -> String {
    let town = Town::open();
    let mut transcript = String::new();
    for line in conversation.lines().filter(|line| line.starts_with(['$', '#', '%'])) {
        writeln!(transcript, "{line}").unwrap();
        if let Some(what) = line.strip_prefix("% ") {
            town.happens(what);
            writeln!(transcript).unwrap();
        }
        let Some(command) = line.strip_prefix("$ ") else { continue };
        let command = words(&town.unhide(command));
        let args: Vec<&str> = command.iter().skip(2).map(String::as_str).collect();
        let output = town.command(&command[0], &command[1], &args).output().unwrap();
        for (mark, bytes) in [("", &output.stdout), ("! ", &output.stderr)] {
            for line in town.hide(&String::from_utf8_lossy(bytes)).lines() {
                writeln!(transcript, "{}", format!("{mark}{}", shield(mark, line)).trim_end()).unwrap();
            }
        }
        match output.status.code() {
            Some(0) => {}
            code => writeln!(transcript, "exit code {}", code.unwrap_or(-1)).unwrap(),
        }
        writeln!(transcript).unwrap();
    }
    transcript
}

#[test]
fn a_request_waits_until_it_is_decided() {
    let town = Town::open();
    town.ok("ann", &["kube", "login", "-method=userpass", "username=ann", "password=of-ann", "-no-wait"], 2);
    town.ok("ben", &["login", "-no-print", "-method=userpass", "username=ben", "password=of-ben"], 0);
    for (verdict, code) in [("approve", 0), ("deny", 2)] {
        let mut command =
            town.command("ann", "dewdrop", &["access", "request", "shop", "-reason", "x", "-format=json"]);
        let mut asking = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut told = BufReader::new(asking.stderr.take().unwrap()).lines().map(Result::unwrap);
        let first = told.next().unwrap();
        let id = first.split(' ').nth(1).unwrap().to_owned();
        let waits = told.next().unwrap();
        assert!(first.contains("Ctrl-C leaves it standing"), "{first}");
        assert!(
            waits.starts_with("waits for approval by 1 of leads: 1 missing, ") && waits.ends_with(" left"),
            "{waits}"
        );
        assert!(!waits.contains('\x1b'), "a spinner, and no terminal: {waits:?}");
        town.ok("ben", &["access", verdict, &id], 0);
        let mut json = String::new();
        asking.stdout.take().unwrap().read_to_string(&mut json).unwrap();
        assert_eq!(asking.wait().unwrap().code(), Some(code));
        let case: Value = serde_json::from_str(&json).unwrap();
        assert_eq!(case["state"], if code == 0 { "granted" } else { "denied" });
    }
}

#[test]
fn ctrl_c_leaves_the_request_standing() {
    let town = Town::open();
    town.ok("ann", &["login", "-no-print", "-method=userpass", "username=ann", "password=of-ann"], 0);
    let mut command = town.command("ann", "dewdrop", &["access", "request", "shop", "-reason", "x"]);
    let mut asking = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut told = BufReader::new(asking.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains("missing") {
        line.clear();
        assert!(told.read_line(&mut line).unwrap() > 0, "it ended before it waited");
    }
    common::send(asking.id(), Signal::INT);
    assert_eq!(asking.wait().unwrap().code(), Some(130));
    let mut rest = String::new();
    told.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("stands") && rest.contains("dewdrop access withdraw"), "{rest}");
    let listed: Value = serde_json::from_str(&town.ok("ann", &["access", "list", "-format=json"], 0)).unwrap();
    let info = listed["key_info"].as_object().unwrap().values().next().unwrap();
    assert_eq!(info["state"], "pending");
}

#[test]
fn everything_about_access_is_json_when_that_is_asked_for() {
    let town = Town::open();
    for (name, password) in [("ann", "password=of-ann"), ("ben", "password=of-ben"), ("cleo", "password=of-cleo")] {
        town.ok(name, &["login", "-no-print", "-method=userpass", &format!("username={name}"), password], 0);
    }
    let json = |name: &str, args: &[&str], code: i32| -> Value {
        let args = [args, &["-format=json"]].concat();
        let told = town.ok(name, &args, code);
        serde_json::from_str(&told).unwrap_or_else(|e| panic!("{args:?}: {e}: {told:?}"))
    };
    assert_eq!(json("ann", &["access", "list"], 0)["keys"], serde_json::json!([]));
    assert_eq!(json("cleo", &["access", "recordings"], 0)["keys"], serde_json::json!([]));
    assert_eq!(json("cleo", &["access", "recordings", "-search", "x"], 1)["hits"], serde_json::json!([]));
    let mut ids = Vec::new();
    for _ in 0..4 {
        let asked = json("ann", &["access", "request", "shop", "-reason", "x", "-no-wait"], 0);
        ids.push(asked["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(json("ben", &["access", "approve", &ids[0]], 0)["state"], "granted");
    assert_eq!(json("ben", &["access", "deny", &ids[1]], 0)["state"], "denied");
    assert_eq!(json("ann", &["access", "withdraw", &ids[2]], 0)["state"], "withdrawn");
    assert_eq!(json("ann", &["access", "show", &ids[3]], 0)["state"], "pending");
    town.ok("ann", &["kube", "credential", "-cluster", "prod"], 0);
    assert_eq!(json("ann", &["access", "extend", &ids[0], "-no-wait"], 0)["extends"], ids[0].as_str());
    assert_eq!(json("ben", &["access", "revoke", &ids[0]], 0)["state"], "revoked");
    let glass = json("ben", &["access", "request", "shop", "-reason", "x", "-break-glass"], 0);
    assert_eq!(glass["state"], "granted");
    assert_eq!(json("cleo", &["access", "review", glass["id"].as_str().unwrap()], 0)["needs_review"], false);
    assert_eq!(json("ann", &["kube", "whoami"], 0)["person"], "ann");
    assert_eq!(json("ann", &["kube", "can-i", "get", "pods", "-n", "shop"], 1)["allowed"], false);
    town.happens("a session is recorded");
    let cast = town.ok("cleo", &["access", "replay", "session1", "-format=json"], 0);
    assert!(cast.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()) && cast.contains("\"version\""));
}

/// What a recording could do to the terminal of whoever looks at it.
#[test]
fn a_replay_is_a_picture_and_raw_is_everything() {
    let town = Town::open();
    town.ok("cleo", &["login", "-no-print", "-method=userpass", "username=cleo", "password=of-cleo"], 0);
    town.happens("a session is recorded");
    let shown = town.ok("cleo", &["access", "replay", "session1", "-speed=1000"], 0);
    assert!(shown.contains("\x1b[1;31mred\x1b[0m") && shown.ends_with("\x1b[?1049l"), "{shown:?}");
    assert!(!shown.contains("]52;") && !shown.contains("\x1b[6n") && !shown.contains("secret typed"), "{shown:?}");
    let raw = town.ok("cleo", &["access", "replay", "session1", "-speed=1000", "-raw"], 0);
    assert!(raw.contains("\x1b]52;c;ZXZpbA==\x07") && raw.contains("\x1b[6n") && raw.ends_with("bye\r\n"), "{raw:?}");
}

#[test]
fn who_may_not_is_refused() {
    let town = Town::open();
    for (name, password) in [("ann", "password=of-ann"), ("eve", "password=of-eve")] {
        town.ok(name, &["login", "-no-print", "-method=userpass", &format!("username={name}"), password], 0);
    }
    town.happens("a session is recorded");
    for args in
        [&["access", "recordings"][..], &["access", "recordings", "-search", "x"], &["access", "replay", "session1"]]
    {
        let told = town.fails("ann", args);
        assert!(told.contains("permission denied"), "{args:?}: {told}");
    }
    // Eve has a token and no policy.
    for args in [&["kube", "whoami"][..], &["kube", "can-i", "get", "pods"], &["kube", "login"]] {
        let told = town.fails("eve", args);
        assert!(told.contains("permission denied"), "{args:?}: {told}");
    }
    // A token that has ended is no sign-in, and says so.
    let mut command = town.command("ann", "dewdrop", &["kube", "login"]);
    let output = command.env("DEWDROP_TOKEN", "s.gone").output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && told.contains("unset DEWDROP_TOKEN"), "{told}");
}

#[test]
fn a_trace_for_programs_and_of_a_log_that_was_changed() {
    let town = Town::open();
    for (name, password) in [("ann", "password=of-ann"), ("ben", "password=of-ben")] {
        town.ok(name, &["login", "-no-print", "-method=userpass", &format!("username={name}"), password], 0);
    }
    town.ok("ann", &["access", "request", "shop", "-reason", "slow", "-no-wait"], 0);
    let id = town.unhide("REQUEST1");
    town.ok("ben", &["access", "approve", &id, "-comment", "fine"], 0);
    town.ok("ann", &["kube", "credential", "-cluster", "prod"], 0);
    town.ok("ann", &["access", "extend", &id, "-reason", "slower", "-no-wait"], 0);
    town.happens("the proxy records what ann does");
    let log = town.unhide("LOG");
    let extension = town.unhide("REQUEST2");
    for what in [id.as_str(), "session1", "kubectl exec web", extension.as_str(), "ann", "userpass-ben"] {
        let told: Value =
            serde_json::from_str(&town.ok("ben", &["audit", "trace", "-format=json", what, &log], 0)).unwrap();
        let grants = told["trace"]["access"]["grants"].as_array().unwrap();
        let of = |id: &str| grants.iter().find(|grant| grant["id"] == id).unwrap_or_else(|| panic!("{what}: {told}"));
        let grant = of(&id);
        let steps: Vec<&str> =
            grant["events"].as_array().unwrap().iter().map(|e| e["what"].as_str().unwrap()).collect();
        assert_eq!(steps, ["asked", "approve", "certificate", "extend", "request", "request", "stream"], "{what}");
        assert_eq!((&grant["requester"], &grant["reason"]), (&"ann".into(), &"slow".into()));
        assert_eq!((&grant["events"][1]["by"], &grant["events"][1]["comment"]), (&"ben".into(), &"fine".into()));
        assert_eq!(grant["events"][6]["command"]["recording"], "session1");
        assert_eq!((&of(&extension)["extends"], &of(&extension)["reason"]), (&id.as_str().into(), &"slower".into()));
        assert_eq!(told["log"]["ok"], true);
    }
    let changed = Path::new(&log).parent().unwrap().join("changed.log");
    let first = std::fs::read_dir(&log).unwrap().map(|entry| entry.unwrap().path());
    let first = first.filter(|path| path.extension().is_some_and(|e| e == "log")).min().unwrap();
    let text = std::fs::read_to_string(first).unwrap();
    std::fs::write(&changed, text.replacen("\"comment\":\"fine\"", "\"comment\":\"nope\"", 1)).unwrap();
    let told = town.ok("ben", &["audit", "trace", &id, changed.to_str().unwrap()], 2);
    assert!(told.contains("Do not rely on this"), "{told}");
}

#[test]
fn where_roles_are_not_shown_everything_else_works() {
    let town = Town::open();
    let told = town.ok("dave", &["kube", "login", "-method=userpass", "username=dave", "password=of-dave"], 2);
    assert!(told.contains("You have no access now. Ask for it: dewdrop access request ROLE"), "{told}");
    let told = town.ok("dave", &["kube", "can-i", "get", "pods", "-n", "shop"], 1);
    assert!(told.starts_with("no: ") && told.contains("a policy for `list` on access/offers is missing"), "{told}");
}

/// At a terminal, which util-linux plays.
#[test]
fn at_a_terminal_questions_are_asked_and_a_spinner_turns() {
    let town = Town::open();
    for (name, password) in [("ann", "password=of-ann"), ("ben", "password=of-ben")] {
        town.ok(name, &["login", "-no-print", "-method=userpass", &format!("username={name}"), password], 0);
    }
    let mut command = town.at_terminal("ann", "dewdrop kube login");
    let mut asking = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut answers = asking.stdin.take().unwrap();
    let mut screen = asking.stdout.take().unwrap();
    let mut seen = String::new();
    let mut until = |what: &str| {
        let mut bytes = [0; 4096];
        while !seen.contains(what) {
            let read = screen.read(&mut bytes).unwrap();
            assert!(read > 0, "it ended without {what:?}: {seen}");
            seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        }
        seen.clone()
    };
    until("Which role do you want");
    answers.write_all(b"shop\n").unwrap();
    until("Approvers read it: ");
    answers.write_all(b"slow\n").unwrap();
    let told = until("Ctrl-C leaves it standing");
    let id = town.unhide("REQUEST1");
    assert!(told.contains(&format!("request {id}: waits for approval by 1 of leads: 1 missing, ")), "{told}");
    assert!(told.contains("needs approval by 1 of leads"), "{told}");
    town.ok("ben", &["access", "approve", &id], 0);
    until(&format!("Grant {id} on cluster prod, by the role shop"));
    drop(answers);
    assert_eq!(asking.wait().unwrap().code(), Some(0));
}

/// kubectl says in `KUBERNETES_EXEC_INFO` what it wants; one that does not gets what its kubeconfig says.
#[test]
fn the_plug_in_answers_in_the_version_that_kubectl_asks_for() {
    let town = Town::open();
    for (name, password) in [("ann", "password=of-ann"), ("ben", "password=of-ben")] {
        town.ok(name, &["login", "-no-print", "-method=userpass", &format!("username={name}"), password], 0);
    }
    let asked = ["access", "request", "shop", "-reason", "x", "-no-wait", "-format=json"];
    let asked: Value = serde_json::from_str(&town.ok("ann", &asked, 0)).unwrap();
    town.ok("ben", &["access", "approve", asked["id"].as_str().unwrap()], 0);
    let answers = |info: Option<&str>, more: &[&str]| {
        let args = [&["kube", "credential", "-cluster", "prod"], more].concat();
        let mut command = town.command("ann", "dewdrop", &args);
        if let Some(info) = info {
            command.env("KUBERNETES_EXEC_INFO", info);
        }
        command.output().unwrap()
    };
    let info = |version: &str| {
        let api = format!("client.authentication.k8s.io/{version}");
        serde_json::json!({ "apiVersion": api, "kind": "ExecCredential", "spec": { "interactive": false } }).to_string()
    };
    let beta = "-exec-api=v1beta1";
    for (asks, flag, expected) in [
        (None, &[][..], "v1"),
        (None, &[beta], "v1beta1"),
        (Some("v1"), &[beta], "v1"),
        (Some("v1beta1"), &[], "v1beta1"),
    ] {
        let output = answers(asks.map(info).as_deref(), flag);
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(told["apiVersion"], format!("client.authentication.k8s.io/{expected}"), "{asks:?} {flag:?}");
        assert!(told["status"]["clientCertificateData"].as_str().unwrap().contains("BEGIN CERTIFICATE"));
    }
    for (info, words) in [(info("v1alpha1"), "-exec-api=v1beta1"), ("not JSON".to_owned(), "no ExecCredential")] {
        let output = answers(Some(&info), &[]);
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && output.stdout.is_empty() && told.contains(words), "{told}");
    }
    let config = |more: &[&str]| -> Value {
        let args = [&["kube", "config", "-cluster", "prod"], more].concat();
        serde_json::from_str(&town.ok("ann", &args, 0)).unwrap()
    };
    let (new, old) = (config(&[]), config(&[beta]));
    let exec = |config: &Value| config["users"][0]["user"]["exec"].clone();
    assert_eq!(exec(&new)["apiVersion"], "client.authentication.k8s.io/v1");
    assert_eq!(exec(&old)["apiVersion"], "client.authentication.k8s.io/v1beta1");
    assert!(exec(&old)["args"].as_array().unwrap().contains(&beta.into()), "one that does not say what it wants");
}
