//! A session as asciicast v2 (the format of asciinema): a line of JSON for the header, then one for each event. Events are
//! `o` (what the person saw), `i` (what he typed) and `r` (the terminal's size). Bytes that are no text are written as
//! `o64` and `i64`, in base64, so that nothing is lost; players pass over what they do not know.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::json;

/// Channels of the remote command protocol.
const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const RESIZE: u8 = 4;
/// `v5.channel.k8s.io`: says that another channel is closed.
const CLOSE: u8 = 255;

/// Writes a session down.
#[derive(Debug, Default)]
pub struct Cast {
    /// Ends of characters that are still to come, by channel: in, out, err.
    tails: [Vec<u8>; 3],
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// The first line; `command` is empty where there is none.
#[must_use]
pub fn header(seconds: u64, title: &str, command: &str) -> String {
    let mut head = json!({ "version": 2, "width": 80, "height": 24, "timestamp": seconds, "title": title });
    if !command.is_empty() {
        head["command"] = command.into();
    }
    format!("{head}\n")
}

/// Whether a person may say something on a channel.
#[must_use]
pub fn is_typed(channel: u8) -> bool {
    matches!(channel, STDIN | RESIZE | CLOSE)
}

// === impl Cast ===

impl Cast {
    /// The lines for a piece of a channel; `at` counts from the beginning.
    pub fn piece(&mut self, at: Duration, channel: u8, bytes: &[u8]) -> String {
        match channel {
            STDIN => self.text(at, 0, "i", bytes),
            STDOUT => self.text(at, 1, "o", bytes),
            STDERR => self.text(at, 2, "o", bytes),
            RESIZE => serde_json::from_slice::<Size>(bytes)
                .map_or_else(|_| String::new(), |size| line(at, "r", &format!("{}x{}", size.width, size.height))),
            // The status at the end, and the closing of a channel.
            _ => String::new(),
        }
    }

    /// What was left unfinished.
    pub fn end(&mut self, at: Duration) -> String {
        let rest = [(0, "i64"), (1, "o64"), (2, "o64")].into_iter().filter_map(|(tail, code)| {
            let bytes = self.tails.get_mut(tail).map(std::mem::take).filter(|bytes| !bytes.is_empty())?;
            Some(line(at, code, &STANDARD.encode(bytes)))
        });
        rest.collect()
    }

    fn text(&mut self, at: Duration, tail: usize, code: &str, bytes: &[u8]) -> String {
        let Some(kept) = self.tails.get_mut(tail) else { return String::new() };
        kept.extend_from_slice(bytes);
        let whole = std::mem::take(kept);
        match std::str::from_utf8(&whole) {
            Ok(text) => line(at, code, text),
            // A character that is not whole yet, at most three bytes of it.
            Err(error) if error.error_len().is_none() => {
                let (text, rest) = whole.split_at(error.valid_up_to());
                kept.extend_from_slice(rest);
                if text.is_empty() { String::new() } else { line(at, code, &String::from_utf8_lossy(text)) }
            }
            Err(_) => line(at, &format!("{code}64"), &STANDARD.encode(&whole)),
        }
    }
}

fn line(at: Duration, code: &str, data: &str) -> String {
    let seconds = format!("{}.{:06}", at.as_secs(), at.subsec_micros());
    // Written by hand, since a JSON number of the library would not keep the zeros.
    format!("[{seconds}, {}, {}]\n", json!(code), json!(data))
}

/// What a session showed, byte for byte; and what was typed.
///
/// # Errors
/// A line is none of a cast.
#[cfg(test)]
fn replayed(cast: &str) -> (Vec<u8>, Vec<u8>) {
    let (mut out, mut typed) = (Vec::new(), Vec::new());
    for line in cast.lines() {
        let (_, code, data): (f64, String, String) = serde_json::from_str(line).unwrap();
        match code.as_str() {
            "o" => out.extend(data.bytes()),
            "i" => typed.extend(data.bytes()),
            "o64" => out.extend(STANDARD.decode(data).unwrap()),
            "i64" => typed.extend(STANDARD.decode(data).unwrap()),
            _ => {}
        }
    }
    (out, typed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_of_a_session() {
        let mut cast = Cast::default();
        let at = Duration::from_millis(1500);
        assert_eq!(cast.piece(at, STDOUT, b"a\"b\n"), "[1.500000, \"o\", \"a\\\"b\\n\"]\n");
        assert_eq!(cast.piece(at, STDIN, b"x"), "[1.500000, \"i\", \"x\"]\n");
        assert_eq!(cast.piece(at, RESIZE, br#"{"Width":120,"Height":40}"#), "[1.500000, \"r\", \"120x40\"]\n");
        assert_eq!(cast.piece(at, RESIZE, b"nonsense") + &cast.piece(at, 3, b"{}") + &cast.piece(at, 255, b"\x01"), "");
        assert_eq!(cast.piece(at, STDOUT, "é".as_bytes().split_at(1).0), "");
        assert_eq!(cast.piece(at, STDOUT, "é".as_bytes().split_at(1).1), "[1.500000, \"o\", \"é\"]\n");
        assert_eq!(cast.piece(at, STDERR, b"\xff"), "[1.500000, \"o64\", \"/w==\"]\n");
        assert_eq!(cast.piece(at, STDERR, b"\xe2\x82") + &cast.end(at), "[1.500000, \"o64\", \"4oI=\"]\n");
        let first: serde_json::Value = serde_json::from_str(&header(7, "exec web", "id")).unwrap();
        assert_eq!((&first["version"], &first["timestamp"], &first["command"]), (&json!(2), &json!(7), &json!("id")));
        assert!(!header(7, "attach web", "").contains("command"));
    }

    proptest! {
        #[test]
        fn a_recording_replays_byte_for_byte(pieces in proptest::collection::vec((0u8..2, proptest::collection::vec(any::<u8>(), 0..40)), 0..20)) {
            let mut cast = Cast::default();
            let (mut text, mut out, mut typed) = (String::new(), Vec::new(), Vec::new());
            for (channel, bytes) in &pieces {
                text += &cast.piece(Duration::ZERO, *channel, bytes);
                if *channel == STDOUT { out.extend(bytes) } else { typed.extend(bytes) }
            }
            text += &cast.end(Duration::ZERO);
            prop_assert_eq!(replayed(&text), (out, typed));
        }
    }
}
