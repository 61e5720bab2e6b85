//! Copies of the chain: what hangs slows nobody, what was down catches up.

use std::io::{BufRead as _, BufReader};
use std::net::{TcpListener, UdpSocket};

use super::*;
use crate::config::{AuditDevice, AuditSink, SocketKind};

fn device(path: &str, sink: AuditSink) -> AuditDevice {
    AuditDevice {
        path: path.into(),
        description: String::new(),
        sink,
        hmac_accessor: false,
        elide_list_responses: false,
        prefix: String::new(),
        options: BTreeMap::new(),
    }
}

fn socket(kind: SocketKind, address: String) -> AuditSink {
    AuditSink::Socket { kind, address, timeout: Duration::from_millis(200) }
}

/// Waits until something is so.
fn until(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("never: {what}");
}

fn seqs(text: &str) -> Vec<u64> {
    text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()["seq"].as_u64().unwrap()).collect()
}

#[test]
fn a_file_device_has_every_line_across_files_and_restarts() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.json");
    let mut config = config(&folder.path().join("audit"));
    config.log.file_bytes = 8192;
    config.devices = vec![device("f/", AuditSink::File { path: copy.clone(), mode: Some(0o600) })];
    for _ in 0..3 {
        let rig = open(&config).unwrap();
        rig.write(30);
        let last = rig.audit.standing().unwrap().seq;
        until("all is copied", || rig.audit.device_standings()["f/"].seq >= last);
    }
    let copied = seqs(&std::fs::read_to_string(&copy).unwrap());
    let expected: Vec<u64> = (copied[0]..copied[0] + copied.len() as u64).collect();
    assert_eq!(copied, expected, "each line once, in order");
    assert!(copied[0] <= 2 && copied.len() > 180);
    assert!(check(&folder.path().join("audit")).files.len() > 3);
}

#[test]
fn a_hung_tcp_sink_slows_nobody_and_catches_up_when_it_is_replaced() {
    let folder = tempfile::tempdir().unwrap();
    // Listens, and never reads.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = config(folder.path());
    config.devices = vec![device("t/", socket(SocketKind::Tcp, address.to_string()))];
    let rig = open(&config).unwrap();
    let big = "k".repeat(100_000);
    for _ in 0..100 {
        rig.play(Story { fields: json!({ &big: 1 }), ..Story::default() }).unwrap();
    }
    until("the sink is seen to hang", || !rig.audit.device_standings()["t/"].error.is_empty());
    assert!(rig.audit.device_standings()["t/"].lag > 0);
    rig.write(5);
    let last = rig.audit.standing().unwrap().seq;
    // Now somebody reads: connections that were given up first, then one that brings everything.
    let reader = std::thread::spawn(move || {
        let mut got = std::collections::BTreeSet::new();
        loop {
            let (stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream);
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap_or(0) > 0 && line.ends_with('\n') {
                got.insert(serde_json::from_str::<Value>(&line).unwrap()["seq"].as_u64().unwrap());
                if got.contains(&last) {
                    return got;
                }
                line.clear();
            }
        }
    });
    let got = reader.join().unwrap();
    let first = *got.first().unwrap();
    assert_eq!(got.len() as u64, last - first + 1, "none is missing");
    until("it is well again", || rig.audit.device_standings()["t/"].error.is_empty());
}

#[test]
fn a_sink_that_restarts_misses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let mut config = config(folder.path());
    config.devices = vec![device("t/", socket(SocketKind::Tcp, address.to_string()))];
    let rig = open(&config).unwrap();
    rig.write(20);
    let mut got = std::collections::BTreeSet::new();
    {
        // Reads one line and dies with the rest unread.
        let (stream, _) = listener.accept().unwrap();
        let mut line = String::new();
        BufReader::with_capacity(64, stream).read_line(&mut line).unwrap();
        got.extend(seqs(&line));
    }
    drop(listener);
    rig.write(20);
    let last = rig.audit.standing().unwrap().seq;
    let listener = TcpListener::bind(address).unwrap();
    while !got.contains(&last) {
        let (stream, _) = listener.accept().unwrap();
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            got.extend(seqs(&line));
            if got.contains(&last) {
                break;
            }
        }
    }
    assert_eq!(got.len() as u64, last - got.first().unwrap() + 1, "none is missing");
}

#[test]
fn a_datagram_sink_gets_a_short_form_of_what_is_too_large() {
    let folder = tempfile::tempdir().unwrap();
    let socket_in = UdpSocket::bind("127.0.0.1:0").unwrap();
    let mut config = config(folder.path());
    config.devices = vec![device("u/", socket(SocketKind::Udp, socket_in.local_addr().unwrap().to_string()))];
    let rig = open(&config).unwrap();
    rig.play(Story { fields: json!({ "k".repeat(100_000): 1 }), ..Story::default() }).unwrap();
    rig.write(1);
    let mut found = Vec::new();
    while found.len() < 5 {
        let mut bytes = vec![0; 1 << 16];
        let count = socket_in.recv(&mut bytes).unwrap();
        found.push(serde_json::from_slice::<Value>(&bytes[..count]).unwrap());
    }
    let short = found.iter().find(|line| line.get("truncated_bytes").is_some()).unwrap();
    assert!(short["truncated_bytes"].as_u64() > Some(100_000));
    assert_eq!(short["request"]["id"], "request-1");
}

#[test]
fn a_device_hides_accessors_and_shortens_lists() {
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("copy.json");
    let mut hiding = device("f/", AuditSink::File { path: copy.clone(), mode: None });
    hiding.hmac_accessor = true;
    hiding.elide_list_responses = true;
    hiding.prefix = "P: ".into();
    let mut config = config(&folder.path().join("audit"));
    config.devices = vec![hiding];
    let rig = open(&config).unwrap();
    rig.play(Story { operation: Operation::List, reply: Some(json!({ "keys": ["a", "b"] })), ..Story::default() })
        .unwrap();
    let last = rig.audit.standing().unwrap().seq;
    until("it is copied", || rig.audit.device_standings()["f/"].seq >= last);
    let text = std::fs::read_to_string(&copy).unwrap();
    assert!(!text.contains("ACCESSOR") && all_text(&folder.path().join("audit")).contains("ACCESSOR"));
    let line: Value = serde_json::from_str(text.lines().last().unwrap().strip_prefix("P: ").unwrap()).unwrap();
    assert_eq!(line["auth"]["accessor"], rig.audit.hash("ACCESSOR").unwrap());
    assert_eq!(line["response"]["data"]["keys"], 2);
}
