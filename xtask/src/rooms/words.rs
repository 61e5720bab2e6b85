//! Words that must not occur in a room.

use super::Finding;
use super::exceptions::Exceptions;
use super::scan::{Source, words};

/// The one module that may be unsafe: it locks keys in memory.
const UNSAFE_ROOM: &str = "crates/store/src/locked.rs";

/// What ring 0 may not touch: sockets, files, processes, threads, the time of day.
const NOT_IN_CORE: &[&str] = &[
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "UnixStream",
    "UnixListener",
    "ToSocketAddrs",
    "tokio",
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "Instant::now",
    "SystemTime::now",
];

/// Hosts that serve packages and images, in pieces so that this file does not name them either. What we ship must not
/// depend on one place of the world; users bring their mirrors.
const HOSTS: &[&[&str]] = &[
    &["crates", "io"],
    &["pypi", "org"],
    &["pythonhosted", "org"],
    &["registry", "npmjs", "org"],
    &["proxy", "golang", "org"],
    &["docker", "io"],
    &["quay", "io"],
    &["ghcr", "io"],
    &["gcr", "io"],
    &["registry", "k8s", "io"],
    &["deb", "debian", "org"],
];

/// Checks the code of one file.
pub fn check_code(source: &Source, exceptions: &mut Exceptions) -> Vec<Finding> {
    let mut findings = Vec::new();
    let unsafe_at = words(&source.code).find(|(_, word)| *word == "unsafe").map(|(at, _)| at);
    if let Some(at) = unsafe_at.filter(|_| source.name != UNSAFE_ROOM) {
        let what = format!("`unsafe` lives in {UNSAFE_ROOM} alone");
        findings.push(Finding::stop(place(source, at), what, "use a safe crate, or put it there"));
    }
    if source.name.starts_with("crates/core/src/") {
        for word in NOT_IN_CORE {
            let Some(at) = find_whole(&source.code, word) else { continue };
            if !exceptions.allow("word", &format!("{}:{word}", source.name)) {
                let what = format!("`{word}` in core: ring 0 decides and never acts");
                findings.push(Finding::stop(
                    place(source, at),
                    what,
                    "take it in as an argument, or act in a room of ring 1",
                ));
            }
        }
    }
    findings
}

/// Checks the text of one file, of whatever kind.
pub fn check_text(name: &str, text: &str, exceptions: &mut Exceptions) -> Vec<Finding> {
    // Cargo writes it, and cannot leave the registry out.
    if name.ends_with("Cargo.lock") {
        return Vec::new();
    }
    let hosts = HOSTS.iter().map(|parts| parts.join("."));
    let found = hosts.filter_map(|host| find_whole(text, &host).map(|at| (host, at)));
    let found = found.filter(|(host, _)| !exceptions.allow("host", &format!("{name}:{host}")));
    found
        .map(|(host, at)| {
            let line = text.get(..at).unwrap_or_default().matches('\n').count() + 1;
            Finding::stop(
                format!("{name}:{line}"),
                format!("names the registry host {host}"),
                "leave it to the user's own settings",
            )
        })
        .collect()
}

fn place(source: &Source, at: usize) -> String {
    format!("{}:{}", source.name, source.code.get(..at).unwrap_or_default().matches('\n').count() + 1)
}

/// Where `needle` occurs and is not a part of a longer word.
fn find_whole(text: &str, needle: &str) -> Option<usize> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    text.match_indices(needle).map(|(at, _)| at).find(|at| {
        let before = text.get(..*at).and_then(|t| t.chars().next_back());
        let after = text.get(at + needle.len()..).and_then(|t| t.chars().next());
        !before.is_some_and(is_word) && !after.is_some_and(is_word)
    })
}
