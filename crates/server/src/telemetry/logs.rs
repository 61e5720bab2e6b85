//! The server's own log, in OpenBao's two forms: a line for people, or a JSON object with `@level`, `@message`, `@module` and
//! `@timestamp`. Fields of the spans around an event (`request_id`) stand on each line.
//!
//! Crates that are not ours never log below `warn`: at `trace` hyper and h2 print headers, and so tokens.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::sync::Arc;

use dewdrop_core::Clock;
use parking_lot::Mutex;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, reload};

use crate::config::{LogFormat, LogLevel, Logging};

/// Why the log cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The file cannot be opened.
    #[error("open the log file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: io::Error,
    },
    /// There is a log already.
    #[error("the log is set up twice")]
    Twice,
}

/// Changes the log while the server runs.
#[derive(Clone)]
pub struct LogHandle {
    filter: reload::Handle<Targets, Registry>,
    sink: Sink,
    levels: Arc<Mutex<Levels>>,
}

/// What the configuration says, and what counts.
struct Levels {
    configured: LogLevel,
    now: LogLevel,
}

impl fmt::Debug for LogHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LogHandle")
    }
}

impl LogHandle {
    /// The level that counts.
    #[must_use]
    pub fn level(&self) -> LogLevel {
        self.levels.lock().now
    }

    /// From now on the level of the configuration counts again.
    pub fn reset_level(&self) {
        let configured = self.levels.lock().configured;
        self.set_level(configured);
    }

    /// The configuration was read anew. A level that did not change there leaves what was set since.
    pub fn configure(&self, level: LogLevel) {
        let before = std::mem::replace(&mut self.levels.lock().configured, level);
        if before != level {
            self.set_level(level);
        }
    }

    /// From now on this level counts.
    pub fn set_level(&self, level: LogLevel) {
        self.levels.lock().now = level;
        // The subscriber lives as long as the process; when it is gone there is no log to change.
        let _ = self.filter.reload(filter(level));
    }

    /// Opens the file again, after it was moved away.
    ///
    /// # Errors
    /// It cannot be opened; lines go on into the old one.
    pub fn reopen(&self) -> Result<(), LogError> {
        if let Sink::File(path, file) = &self.sink {
            *file.lock() = open(path)?;
        }
        Ok(())
    }
}

/// Sets up the log of the process.
///
/// # Errors
/// The file cannot be opened, or there is a log already.
pub fn init_logs(logging: &Logging, clock: Arc<dyn Clock>) -> Result<LogHandle, LogError> {
    let sink = match &logging.file {
        None => Sink::Stderr,
        Some(path) => Sink::File(path.clone(), Arc::new(Mutex::new(open(path)?))),
    };
    let (layer, handle) = layer(logging, clock, sink);
    tracing_subscriber::registry().with(layer).try_init().map_err(|_| LogError::Twice)?;
    Ok(handle)
}

/// Panics are logged with their place and without their message, which may hold anything.
pub fn install_panic_hook() {
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map_or_else(|| "an unknown place".to_owned(), ToString::to_string);
        let thread = std::thread::current();
        tracing::error!(target: "dewdrop::panic", place, thread = thread.name().unwrap_or("?"), "a defect: the code panicked");
    }));
}

pub(super) fn layer(logging: &Logging, clock: Arc<dyn Clock>, sink: Sink) -> (impl Layer<Registry>, LogHandle) {
    let (filter, reload) = reload::Layer::new(filter(logging.level));
    let handle = LogHandle {
        filter: reload,
        sink: sink.clone(),
        levels: Arc::new(Mutex::new(Levels { configured: logging.level, now: logging.level })),
    };
    let lines = Lines { clock, json: logging.format == LogFormat::Json };
    let layer = tracing_subscriber::fmt::layer()
        .with_ansi(false)
        .fmt_fields(JsonFields::new())
        .event_format(lines)
        .with_writer(sink)
        .with_filter(filter);
    (layer, handle)
}

fn filter(level: LogLevel) -> Targets {
    let ours = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Trace => LevelFilter::TRACE,
    };
    Targets::new().with_default(ours.min(LevelFilter::WARN)).with_target("dewdrop", ours)
}

fn open(path: &PathBuf) -> Result<File, LogError> {
    let file = OpenOptions::new().append(true).create(true).mode(0o640).open(path);
    file.map_err(|cause| LogError::File { path: path.clone(), cause })
}

/// Where lines go.
#[derive(Clone)]
pub(super) enum Sink {
    Stderr,
    File(PathBuf, Arc<Mutex<File>>),
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stderr => io::stderr().write(bytes),
            Self::File(_, file) => file.lock().write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// Writes one line per event.
struct Lines {
    clock: Arc<dyn Clock>,
    json: bool,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> FormatEvent<S, JsonFields> for Lines {
    fn format_event(&self, ctx: &FmtContext<'_, S, JsonFields>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut found = Found::default();
        for span in ctx.event_scope().into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            let extensions = span.extensions();
            let fields = extensions.get::<FormattedFields<JsonFields>>();
            if let Some(Ok(Value::Object(fields))) = fields.map(|f| serde_json::from_str(&f.fields)) {
                found.fields.extend(fields);
            }
        }
        event.record(&mut found);
        let level = word(*event.metadata().level());
        let time = self.clock.now().rfc3339();
        let module = module(event.metadata().target());
        if self.json {
            let mut line = Map::new();
            line.insert("@level".into(), level.to_ascii_lowercase().into());
            line.insert("@message".into(), found.message.into());
            line.insert("@module".into(), module.into());
            line.insert("@timestamp".into(), time.into());
            line.extend(found.fields);
            return writeln!(out, "{}", Value::Object(line));
        }
        write!(out, "{time} {:<7} {module}: {}", format!("[{level}]"), one_line(&found.message))?;
        for (i, (name, value)) in found.fields.iter().enumerate() {
            let sign = if i == 0 { ":" } else { "" };
            write!(out, "{sign} {name}={}", plain(value))?;
        }
        writeln!(out)
    }
}

/// Texts without blanks or signs stand bare, all else as in JSON, so that it is plain where a value ends.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text)
            if !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || "-_./:@".contains(c)) =>
        {
            text.clone()
        }
        other => other.to_string(),
    }
}

fn word(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        Level::DEBUG => "DEBUG",
        Level::TRACE => "TRACE",
    }
}

/// `dewdrop_server::http::serve` is `http.serve` to an operator.
fn module(target: &str) -> String {
    let ours = target.strip_prefix("dewdrop_server::").or_else(|| target.strip_prefix("dewdrop::"));
    ours.unwrap_or(target).replace("::", ".")
}

/// A message cannot forge a second line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// The fields of an event.
#[derive(Default)]
struct Found {
    message: String,
    fields: Map<String, Value>,
}

impl Found {
    fn put(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => {
                self.fields.insert(name.to_owned(), value);
            }
        }
    }
}

impl Visit for Found {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }
}
