//! Recordings of sessions: which there are, and what was seen, at the pace at which it was seen.

use std::io::Write;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use dewdrop_api::Call;
use serde_json::{Map, Value};

use super::{Mount, data_of, told};
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::{say, table};

/// `dewdrop access recordings`.
#[derive(Debug, Args)]
pub struct Recordings {
    #[command(flatten)]
    mount: Mount,
}

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
    /// Print the recording itself, for asciinema and other players
    #[arg(long)]
    cast: bool,
}

/// What an event of a recording shows.
#[derive(Debug, PartialEq)]
struct Event {
    at: f64,
    shown: Vec<u8>,
}

impl Recordings {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let call = Call::list(&self.mount.path("recordings")?)?;
        let envelope = ctx.call(call).await.map_err(|e| e.doing("Error listing recordings"))?;
        let Some(data) = envelope.and_then(|envelope| envelope.data) else {
            return ctx.out.done("There are no recordings.");
        };
        if !ctx.out.is_table() {
            return ctx.out.structured(data.expose());
        }
        let info = data.expose().get("key_info").and_then(Value::as_object);
        let keys = data.expose().get("keys").and_then(Value::as_array);
        let mut rows = Vec::new();
        for id in keys.into_iter().flatten().filter_map(Value::as_str) {
            let Some(line) = info.and_then(|info| info.get(id)).and_then(Value::as_object) else { continue };
            let row = ["began_at", "ended_at", "user", "grant", "target", "namespace", "name"]
                .map(|name| told::text(line, name));
            rows.push(std::iter::once(id.to_owned()).chain(row).collect());
        }
        let heads = ["Recording", "Began", "Ended", "Who", "Grant", "What", "Namespace", "Pod"];
        say(&table::columns(Some(&heads), &rows));
        Ok(0)
    }
}

impl Replay {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        if !(self.speed > 0.0 && self.idle >= 0.0) {
            return Err(Failure::usage("-speed must be above 0, -idle 0 or more"));
        }
        let (mut from, mut before) = (Some(0), 0.0);
        while let Some(number) = from {
            let part = self.part(ctx, number).await?;
            let cast = told::text(&part, "cast");
            if self.cast {
                write(cast.as_bytes())?;
            } else {
                for event in cast.lines().filter_map(event) {
                    let pause = ((event.at - before) / self.speed).clamp(0.0, self.idle);
                    before = event.at;
                    tokio::time::sleep(Duration::try_from_secs_f64(pause).unwrap_or_default()).await;
                    write(&event.shown)?;
                }
            }
            from = part.get("next").and_then(Value::as_u64);
        }
        Ok(0)
    }

    async fn part(&self, ctx: &Ctx, number: u64) -> Result<Map<String, Value>> {
        let path = self.mount.path(&format!("recordings/{}", self.id))?;
        let envelope = ctx.call(Call::read(&path)?.with_query("from", &number.to_string())).await;
        let envelope = envelope.map_err(|e| e.doing(&format!("Error reading the recording {}", self.id)))?;
        if envelope.is_none() {
            return Err(Failure::server(format!("there is no recording {}", self.id)));
        }
        data_of(envelope)
    }
}

fn write(bytes: &[u8]) -> Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).map_err(|e| Failure::usage(format!("print the recording: {e}")))
}

/// What the person saw, of a line of a cast.
fn event(line: &str) -> Option<Event> {
    let (at, code, data): (f64, String, String) = serde_json::from_str(line).ok()?;
    let shown = match code.as_str() {
        "o" => data.into_bytes(),
        "o64" => STANDARD.decode(data).ok()?,
        _ => return None,
    };
    Some(Event { at, shown })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_seen_and_nothing_else() {
        let seen = |at, shown: &[u8]| Some(Event { at, shown: shown.to_vec() });
        assert_eq!(event("[1.500000, \"o\", \"a\\n\"]"), seen(1.5, b"a\n"));
        assert_eq!(event("[2.000000, \"o64\", \"/w==\"]"), seen(2.0, b"\xff"));
        for line in
            ["{\"version\": 2}", "[1.0, \"i\", \"typed\"]", "[1.0, \"r\", \"80x24\"]", "", "[1.0, \"o64\", \"?\"]"]
        {
            assert_eq!(event(line), None, "{line}");
        }
    }
}
