//! What people and scripts see: tables, JSON, YAML, one field. The tables look as `bao` prints them.

pub mod shown;
pub mod table;
pub mod value;
pub mod yaml;

use std::io::{IsTerminal, Write};

use dewdrop_api::Envelope;
use serde::Serialize;
use serde_json::Value;

use crate::failure::{Failure, Result};
use crate::terminal::harmless_json;

/// How replies are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Table,
    /// For scripts.
    Json,
    /// The same as YAML.
    Yaml,
    /// The server's own bytes (`read` only).
    Raw,
}

impl std::str::FromStr for Format {
    type Err = Failure;

    fn from_str(text: &str) -> Result<Self> {
        match text.to_ascii_lowercase().as_str() {
            "table" | "" => Ok(Self::Table),
            "json" | "pretty" => Ok(Self::Json),
            "yaml" | "yml" => Ok(Self::Yaml),
            "raw" => Ok(Self::Raw),
            _ => Err(Failure::usage(format!("Invalid output format: {text}"))
                .hint("use table, json, yaml or (for read) raw")),
        }
    }
}

/// Where and how to print.
#[derive(Debug, Clone)]
pub struct Out {
    /// The format asked for.
    pub format: Format,
    /// The one field asked for.
    pub field: Option<String>,
}

impl Out {
    /// Prints a whole reply, and its warnings on stderr.
    pub fn envelope(&self, envelope: &Envelope) -> Result<u8> {
        if let Some(name) = &self.field {
            return self.field(name, &shown::fields(envelope));
        }
        match self.format {
            Format::Table | Format::Raw => {
                let rows = shown::rows(envelope);
                if !rows.is_empty() {
                    say(&table::key_value(&rows));
                }
                warn_all(envelope);
                Ok(0)
            }
            Format::Json | Format::Yaml => self.structured(&shown::ordered(envelope)),
        }
    }

    /// Prints one field out of those there are.
    pub fn field(&self, name: &str, fields: &serde_json::Map<String, Value>) -> Result<u8> {
        let Some(found) = fields.get(name) else {
            let mut known: Vec<&str> = fields.keys().map(String::as_str).collect();
            known.sort_unstable();
            return Err(Failure::usage(format!("Field {name:?} not present in secret"))
                .hint(format!("its fields are: {}", known.join(", "))));
        };
        let text = match self.format {
            Format::Json => pretty(found)?,
            Format::Yaml => yaml::emit(found),
            Format::Table | Format::Raw => value::plain(found),
        };
        print!("{text}");
        if std::io::stdout().is_terminal() && !text.ends_with('\n') {
            println!();
        }
        flush()
    }

    /// Prints anything that is JSON, as JSON or YAML; as a table of keys and values otherwise.
    pub fn structured<T: Serialize>(&self, what: &T) -> Result<u8> {
        match self.format {
            Format::Json | Format::Raw => say(&format!("{}\n", pretty(what)?)),
            Format::Yaml => say(&yaml::emit(&to_value(what)?)),
            Format::Table => {
                let value = to_value(what)?;
                let rows: Vec<(String, String)> =
                    value.as_object().into_iter().flatten().map(|(k, v)| (k.clone(), value::cell(k, v))).collect();
                say(&table::key_value(&rows));
            }
        }
        Ok(0)
    }

    /// Prints rows of our own making, or the structure behind them.
    pub fn rows_or<T: Serialize>(&self, rows: &[(String, String)], what: &T) -> Result<u8> {
        match self.format {
            Format::Table => {
                say(&table::key_value(rows));
                Ok(0)
            }
            _ => self.structured(what),
        }
    }

    /// Prints one sentence, in table format only: scripts read the exit code.
    pub fn done(&self, sentence: &str) -> Result<u8> {
        if self.format == Format::Table && self.field.is_none() {
            say(&format!("{sentence}\n"));
        }
        Ok(0)
    }

    /// Whether the output is for people.
    #[must_use]
    pub fn is_table(&self) -> bool {
        self.format == Format::Table
    }
}

/// Prints to stdout. A reader that has gone away (`| head`) ends the program in silence.
pub fn say(text: &str) {
    if std::io::stdout().lock().write_all(text.as_bytes()).is_err() {
        std::process::exit(0);
    }
}

/// Prints to stderr, wrapped at 78 columns as sentences are.
pub fn note(text: &str) {
    // A closed stderr is no reason to stop.
    let _ = writeln!(std::io::stderr().lock(), "{}", table::wrap(text, 78, ""));
}

/// Prints a line to stderr as it is: an address must stay whole.
pub fn line(text: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

/// The warnings of a reply.
pub fn warn_all(envelope: &Envelope) {
    let Some(warnings) = envelope.warnings.as_ref().filter(|w| !w.is_empty()) else { return };
    let mut text = String::from("WARNING! The following warnings were returned by the server:\n");
    for warning in warnings {
        text.push_str(&format!("\n{}\n", table::wrap(&format!("* {warning}"), 78, "  ")));
    }
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}

fn pretty<T: Serialize>(what: &T) -> Result<String> {
    let text = serde_json::to_string_pretty(what);
    let text = text.map_err(|e| Failure::usage(format!("the reply cannot be written as JSON: {e}")))?;
    Ok(harmless_json(&text))
}

fn to_value<T: Serialize>(what: &T) -> Result<Value> {
    serde_json::to_value(what).map_err(|e| Failure::usage(format!("the reply cannot be written as YAML: {e}")))
}

fn flush() -> Result<u8> {
    let _ = std::io::stdout().flush();
    Ok(0)
}
