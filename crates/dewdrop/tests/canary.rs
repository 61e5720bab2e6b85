//! Nothing secret is ever printed. Unique secrets go through every kind of operation, failing ones included; then all
//! that the server has written (output, logs, audit, data) and all that others were told is searched for them in every
//! form that a program would write them.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

#[path = "canary/access.rs"]
mod access;
#[path = "canary/acts.rs"]
mod acts;
mod common;
#[path = "canary/factors.rs"]
mod factors;
#[path = "canary/more.rs"]
mod more;
#[path = "canary/notices.rs"]
mod notices;
#[path = "canary/search.rs"]
mod search;
#[path = "canary/sweep.rs"]
mod sweep;

use std::os::unix::fs::MetadataExt;
use std::os::unix::process::ExitStatusExt;

use common::kept::{Kept, files, spawn};
use common::postgres::Postgres;
use search::Search;
use serde_json::json;

#[test]
fn no_secret_is_ever_written() {
    let postgres = Postgres::start();
    let mut server = Kept::with("", "");
    let mut search = Search::new();
    acts::unseal(&server, &mut search);
    acts::plain_secrets(&server, &mut search);
    acts::logins(&server, &mut search);
    factors::second_factors(&server, &mut search);
    acts::signed_tokens(&server, &mut search);
    acts::sign_in_by_browser(&server, &mut search);
    acts::tokens(&server, &mut search);
    acts::databases(&server, &mut search, postgres.port);
    acts::failures(&server, &mut search);
    notices::notices(&server, &mut search);
    access::access(&server, &mut search);
    more::ways_to_present_a_token(&server, &mut search);
    more::ceremonies(&server, &mut search);
    more::quoting_targets(&server, &mut search, &postgres);
    more::texts_that_do_not_parse(&server, &mut search);
    more::command_line(&server, &mut search);
    let others = acts::what_others_are_told(&server);
    let refused = sweep::sweep(&server, &mut search);
    assert!(refused > 1000, "only {refused} requests of the sweep were refused");
    assert!(server.is_alive());
    let (command, environment) = (proc(&server, "cmdline"), proc(&server, "environ"));
    // As good as a crash: what was in memory must not come to lie on the disk.
    server.signal(rustix::process::Signal::ABORT);
    assert!(!server.ended().core_dumped(), "a core was dumped");
    server.start_again_sealed();
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().success());

    let mut seen = 0;
    for file in files(server.folder()) {
        let bytes = std::fs::read(&file).unwrap();
        seen += bytes.len();
        search.assert_clean(&file.display().to_string(), &bytes);
    }
    search.assert_clean("the command line", &command);
    search.assert_clean("the environment", &environment);
    for (place, bytes) in &others {
        search.assert_clean(place, bytes);
    }
    for (place, bytes) in search.refusals() {
        search.assert_clean(&place, &bytes);
    }
    // The search has searched something: the log is talkative, the data is there, the audit log tells of every act.
    assert!(seen > 100_000, "only {seen} bytes were searched");
    assert_logs_are_kept(&server);
    access::assert_record(&server);
}

/// The same of people's access alone, in seconds: the log has in clear what it may, all of that, and nothing else.
#[test]
fn the_record_of_access_says_what_it_may() {
    let mut server = Kept::start();
    let mut search = Search::new();
    access::access(&server, &mut search);
    server.signal(rustix::process::Signal::TERM);
    assert!(server.ended().success());
    for file in files(server.folder()) {
        search.assert_clean(&file.display().to_string(), &std::fs::read(&file).unwrap());
    }
    access::assert_record(&server);
}

/// An empty log would hold no secret either.
fn assert_logs_are_kept(server: &Kept) {
    let holds = |name: &str, word: &[u8]| {
        files(server.folder())
            .iter()
            .filter(|file| file.display().to_string().contains(name))
            .any(|file| std::fs::read(file).unwrap().windows(word.len()).any(|w| w == word))
    };
    assert!(holds("stderr", b"refused"), "the log does not tell of refusals");
    assert!(holds("beside.log", b"kv2/data/app"), "the audit file does not tell of the acts");
    assert!(holds("/data/", b"kv2/data/app"), "the audit log does not tell of the acts");
}

#[test]
fn the_search_finds_every_form() {
    let secret = "C4\"n4ry/+&=\u{e9}x0123456789abcdef";
    let mut search = Search::new();
    search.add("secret", secret);
    let hex: String = secret.bytes().map(|b| format!("{b:02x}")).collect();
    let list = secret.bytes().map(|b| b.to_string()).collect::<Vec<_>>().join(", ");
    let url: String = secret.bytes().map(|b| format!("%{b:02X}")).collect();
    let mut forms =
        vec![secret.to_owned(), json!(secret).to_string(), format!("{secret:?}"), hex.to_uppercase(), hex, list, url];
    for lead in ["", "a", "ab"] {
        use base64::Engine as _;
        let text = format!("{lead}{secret}zz");
        forms.push(base64::engine::general_purpose::STANDARD.encode(&text));
        forms.push(base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&text));
    }
    for form in forms {
        assert!(search.find(format!("before {form} after").as_bytes()).is_some(), "not found: {form}");
    }
    assert!(search.find(b"nothing of the sort").is_none());
}

/// Neither a crash nor another process of the same user gets at the server's memory.
#[test]
fn the_process_is_shut_against_dumps() {
    let server = Kept::start();
    let limits = String::from_utf8(proc(&server, "limits")).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let words: Vec<&str> = core.split_whitespace().collect();
    assert_eq!(words[4..6], ["0", "0"], "{core}");
    // What an undumpable process has in /proc belongs to root, so only another user than root can see the difference.
    if !rustix::process::geteuid().is_root() {
        assert_eq!(std::fs::metadata(format!("/proc/{}/environ", server.pid())).unwrap().uid(), 0);
        return;
    }
    let mut other = as_nobody(&server);
    common::eventually("the process of another user is undumpable", || {
        assert!(other.try_wait().unwrap().is_none(), "it has ended");
        let of = |file: &str| std::fs::metadata(format!("/proc/{}/{file}", other.id())).unwrap().uid();
        let status = std::fs::read_to_string(format!("/proc/{}/status", other.id())).unwrap();
        status.contains("Uid:\t65534\t65534") && of("environ") == 0
    });
    other.kill().unwrap();
    other.wait().unwrap();
}

/// A second server, of the user nobody.
fn as_nobody(server: &Kept) -> std::process::Child {
    let program = server.folder().join("dewdrop");
    // Not copied by this process: another test's fork would hold the copy open for writing ("text file busy").
    let made = std::process::Command::new("cp").arg(common::server_program()).arg(&program).status();
    assert!(made.unwrap().success());
    std::os::unix::fs::chown(server.folder(), Some(65534), Some(65534)).unwrap();
    std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["server", "-dev", "-dev-listen-address=127.0.0.1:0"])
        .env("HOME", server.folder())
        .current_dir("/")
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap()
}

/// A mistake in the configuration is told without what the file holds.
#[test]
fn a_broken_configuration_is_told_without_its_secrets() {
    let secret = "c4n4ryOfTheConfiguration0123456789";
    let mut search = Search::new();
    search.add("a secret of the configuration", secret);
    for text in [
        format!("seal \"static\" {{\n  current_key_id = \"a\"\n  current_key = \"{secret}\"\n}}\n"),
        format!(
            "storage \"etcd\" {{\n  address = \"http://127.0.0.1:1\"\n  username = \"u\"\n  password = \"{secret}\"\n  wrong = 1\n}}\n"
        ),
        format!("seal \"static\" {{\n  current_key = \"{secret}\n}}\n"),
        format!("seal \"static\" {{\n  current_key_id = \"a\"\n  current_key = {secret}\n}}\n"),
        format!("seal \"static\" {{\n  current_key_id = \"a\"\n  current_key = [\"{secret}\"]\n}}\n"),
        format!("seal \"static\" {{\n  current_key_id = \"a\"\n  current_key \"{secret}\" {{}}\n}}\n"),
        format!("seal \"static\" {{\n  current_key_id = \"a\"\n  current_key {secret}\n}}\n"),
        format!("{{\"seal\": {{\"static\": {{\"current_key\": \"{secret}\""),
        format!("{{\"seal\": {{\"static\": {{\"current_key\" \"{secret}\"}}}}}}"),
        format!("{{\"seal\": {{\"static\": {{\"current_key\": {{\"{secret}\": 1}}}}}}}}"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("server.hcl"), &text).unwrap();
        let mut process = spawn(folder.path());
        assert!(!process.wait().unwrap().success());
        let told = std::fs::read(folder.path().join("stderr")).unwrap();
        assert!(!told.is_empty());
        search.assert_clean("what is told of a broken configuration", &told);
    }
}

fn proc(server: &Kept, file: &str) -> Vec<u8> {
    std::fs::read(format!("/proc/{}/{file}", server.pid())).unwrap()
}
