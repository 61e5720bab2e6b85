//! A recording of a session: what was seen, at the pace at which it was seen. A session could make the terminal of whoever
//! sat there do things; whoever looks later is shown the picture and nothing else, unless he says `-raw`.

use std::io::Write;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use dewdrop_api::Call;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Mount, data_of, told};
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::terminal::harmless_json;
use crate::terminal::safe::Safe;

/// `dewdrop access replay`.
#[derive(Debug, Args)]
pub struct Replay {
    #[command(flatten)]
    mount: Mount,
    /// Name of the recording
    id: String,
    /// So many times faster
    #[arg(long, default_value_t = 1.0)]
    speed: f64,
    /// No pause is longer than so many seconds
    #[arg(long, default_value_t = 2.0)]
    idle: f64,
    /// Print the recording itself, for asciinema and other players (so does -format=json); its lines are JSON
    #[arg(long)]
    cast: bool,
    /// Byte for byte: what the session did to its terminal, it does to yours
    #[arg(long, conflicts_with = "cast")]
    raw: bool,
}

/// What an event of a recording shows.
#[derive(Debug, PartialEq)]
pub struct Event {
    /// Seconds since the beginning.
    pub at: f64,
    /// Whether it was typed, and not seen.
    pub typed: bool,
    /// The bytes.
    pub bytes: Vec<u8>,
}

/// What is read of the first line.
#[derive(Deserialize)]
struct Head {
    command: String,
}

impl Replay {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        if !(self.speed > 0.0 && self.idle >= 0.0) {
            return Err(Failure::usage("-speed must be above 0, -idle 0 or more"));
        }
        let is_cast = self.cast || !ctx.out.is_table();
        let (mut from, mut before, mut safe) = (Some(0), 0.0, Safe::default());
        while let Some(number) = from {
            let part = part(ctx, &self.mount, &self.id, number).await?;
            let cast = part.get("cast").and_then(Value::as_str).unwrap_or_default();
            if is_cast {
                write(harmless_json(cast).as_bytes())?;
            } else {
                for event in cast.lines().filter_map(event).filter(|event| !event.typed) {
                    let pause = ((event.at - before) / self.speed).clamp(0.0, self.idle);
                    before = event.at;
                    tokio::time::sleep(Duration::try_from_secs_f64(pause).unwrap_or_default()).await;
                    write(if self.raw { event.bytes } else { safe.pass(&event.bytes) }.as_slice())?;
                }
            }
            from = part.get("next").and_then(Value::as_u64);
        }
        write(safe.end().as_bytes())?;
        Ok(0)
    }
}

/// Some pieces of a recording, from a number on.
pub async fn part(ctx: &Ctx, mount: &Mount, id: &str, number: u64) -> Result<Map<String, Value>> {
    let path = mount.path(&format!("recordings/{id}"))?;
    let envelope = ctx.ask(Call::read(&path)?.with_query("from", &number.to_string())).await;
    let envelope = envelope.map_err(|e| e.doing(&format!("Error reading the recording {}", told::clean(id))))?;
    if envelope.is_none() {
        return Err(Failure::server(format!("there is no recording {}", told::clean(id))));
    }
    data_of(envelope)
}

fn write(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| Failure::usage(format!("print the recording: {e}")))
}

/// What was seen or typed, of a line of a cast. The command that the session ran stands in its head, and counts as typed.
pub fn event(line: &str) -> Option<Event> {
    if let Ok(Head { command }) = serde_json::from_str(line) {
        return Some(Event { at: 0.0, typed: true, bytes: format!("{command}\n").into_bytes() });
    }
    let (at, code, data): (f64, String, String) = serde_json::from_str(line).ok()?;
    let (typed, bytes) = match code.as_str() {
        "o" | "i" => (code == "i", data.into_bytes()),
        "o64" | "i64" => (code == "i64", STANDARD.decode(data).ok()?),
        _ => return None,
    };
    Some(Event { at, typed, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_and_typed_and_nothing_else() {
        let told = |at, typed, bytes: &[u8]| Some(Event { at, typed, bytes: bytes.to_vec() });
        assert_eq!(event("[1.500000, \"o\", \"a\\n\"]"), told(1.5, false, b"a\n"));
        assert_eq!(event("[2.000000, \"o64\", \"/w==\"]"), told(2.0, false, b"\xff"));
        assert_eq!(event("[2.000000, \"i\", \"x\"]"), told(2.0, true, b"x"));
        assert_eq!(event("{\"version\": 2, \"command\": \"rm -rf /\"}"), told(0.0, true, b"rm -rf /\n"));
        for line in ["{\"version\": 2}", "[1.0, \"r\", \"80x24\"]", "", "[1.0, \"o64\", \"?\"]"] {
            assert_eq!(event(line), None, "{line}");
        }
    }
}
