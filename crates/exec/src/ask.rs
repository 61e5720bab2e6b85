//! Asks the agent for this start's credential: one line of JSON each way on each connection (docs/decisions/0018), again
//! and again until it is there or the time is up.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde::Deserialize;

use crate::clock::now;
use crate::fail::Fail;
use crate::place::Place;

/// Of the protocol.
const VERSION: u32 = 1;
/// The longest answer.
const MOST: u64 = 1 << 20;
/// The agent answers within some seconds, if only that we shall ask again.
const SILENCE: Duration = Duration::from_secs(20);
/// Between two tries.
const LEAST: Duration = Duration::from_millis(10);
const LONGEST: Duration = Duration::from_millis(500);
/// How often a person is told what is waited for.
const TELL: Duration = Duration::from_secs(3);

/// What the agent gives.
#[derive(Default, Deserialize)]
#[serde(default)]
pub struct Given {
    v: u32,
    /// Why it is not there yet.
    wait: Option<String>,
    /// Whether it never will be.
    refused: bool,
    /// Variables for the command.
    pub env: BTreeMap<String, String>,
    /// What the image starts.
    pub entrypoint: Vec<String>,
    /// Its arguments, unless others are given.
    pub cmd: Vec<String>,
}

/// One try.
pub enum Tried {
    /// It is there.
    Given(Given),
    /// Ask again.
    NotYet(String),
    /// Do not.
    Never(String),
}

/// Waits for the credential.
pub fn until_given(place: &Place, image: bool, timeout: Duration) -> Result<Given, Fail> {
    let began = now();
    let (mut pause, mut told) = (LEAST, Duration::ZERO);
    loop {
        let why = match once(place, image) {
            Tried::Given(given) => return Ok(given),
            Tried::Never(why) => return Err(Fail::Credential(format!("the command was not started: {why}"))),
            Tried::NotYet(why) => why,
        };
        let gone = now().saturating_sub(began);
        if gone >= timeout {
            let waited = timeout.as_secs_f64();
            return Err(Fail::Credential(format!(
                "the command was not started: no credential for this container within {waited} s; {why}"
            )));
        }
        if gone.saturating_sub(told) >= TELL {
            told = gone;
            eprintln!(
                "dewdrop-exec: waiting for this container's credential ({} s of {} s): {why}",
                gone.as_secs(),
                timeout.as_secs()
            );
        }
        std::thread::sleep(pause.min(timeout - gone));
        pause = (pause * 2).min(LONGEST);
    }
}

fn once(place: &Place, image: bool) -> Tried {
    let talked = place.connect().and_then(|stream| talk(stream, image));
    match talked {
        Ok(line) => read(&line),
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            Tried::NotYet("the agent of this node (dewdrop node) does not run".into())
        }
        Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
            Tried::Never(format!("the agent's socket beside this program may not be used: {e}"))
        }
        Err(e) => Tried::NotYet(format!("the agent of this node does not answer: {e}")),
    }
}

fn talk(mut stream: UnixStream, image: bool) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(SILENCE))?;
    stream.set_write_timeout(Some(SILENCE))?;
    stream.write_all(format!("{{\"v\":{VERSION},\"image\":{image}}}\n").as_bytes())?;
    let mut line = Vec::new();
    stream.take(MOST).read_to_end(&mut line)?;
    Ok(line)
}

/// What an answer says.
pub fn read(line: &[u8]) -> Tried {
    if line.is_empty() {
        return Tried::NotYet("the agent of this node hung up".into());
    }
    // What cannot be read is not quoted: a credential may be in it.
    let Ok(given) = serde_json::from_slice::<Given>(line) else {
        return Tried::NotYet("the agent's answer cannot be read".into());
    };
    match given {
        Given { v, .. } if v != VERSION => {
            Tried::Never("the agent of this node speaks another version than this program".into())
        }
        Given { refused: true, .. } => {
            Tried::Never("the agent says that this volume is not for this container, or that this start is over".into())
        }
        Given { wait: Some(why), .. } => Tried::NotYet(why),
        given => Tried::Given(given),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(line: &str) -> String {
        match read(line.as_bytes()) {
            Tried::Given(given) => format!("given {:?} {:?} {:?}", given.env, given.entrypoint, given.cmd),
            Tried::NotYet(why) => format!("not yet: {why}"),
            Tried::Never(why) => format!("never: {why}"),
        }
    }

    #[test]
    fn what_the_agent_can_say() {
        assert_eq!(kind(r#"{"v":1,"env":{"A":"1"},"cmd":["x"]}"#), r#"given {"A": "1"} [] ["x"]"#);
        assert_eq!(kind(r#"{"v":1,"wait":"the server is down"}"#), "not yet: the server is down");
        assert!(kind(r#"{"v":1,"refused":true,"env":{"A":"1"}}"#).starts_with("never"));
        assert!(kind(r#"{"v":2,"env":{"A":"1"}}"#).starts_with("never"));
        assert!(kind(r#"{"env":{"A":"1"}}"#).starts_with("never"), "no version is another version");
    }

    #[test]
    fn half_an_answer_is_none_and_is_not_quoted() {
        for line in ["", "{", r#"{"v":1,"env":{"PASSWORD":"hunter2""#, r#"{"v":1,"env":["hunter2"]}"#, "hunter2"] {
            let said = kind(line);
            assert!(said.starts_with("not yet") && !said.contains("hunter2"), "{said}");
        }
    }
}
