//! The conversation files (`tests/compat/*.convo`): what they may say, and how they are read.
//!
//! One line is one step. `tests/compat/README.md` is the guide for those who write them; in short:
//!
//! ```text
//! == name : kv2 approle            a conversation, on fresh mounts of these kinds ($KV2, $APPROLE)
//! @server bare                     on a server of its own (default: the shared dev server)
//! each TTL: "1h" :: 3600           one conversation per value
//! with | as $T | ns team/          options for all steps that follow
//! policy T path "a/*" { ... }      a policy and an ordinary token with it, as $T
//! POST $KV2/data/a {"data":{}} | > V = data.version | cas-like options
//! SQL select 1                     asks the side's own PostgreSQL
//! WAIT 1.2                         seconds; only where nothing can be polled
//! ```

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

mod read;

pub use read::{parse_area, parse_fixtures};

/// A named list of steps, played in order against each server.
#[derive(Debug, Clone)]
pub struct Conversation {
    /// File stem, e.g. `kv2`.
    pub area: String,
    /// Unique within the area.
    pub name: String,
    /// Which server it is played on.
    pub server: ServerKind,
    /// Fixture steps, then its own.
    pub steps: Vec<Step>,
    /// Played at the end and not compared: they give the next conversation a clean server.
    pub after: Vec<Step>,
}

impl Conversation {
    /// `area/name`: what `--only` and `docs/compat.md` go by.
    pub fn id(&self) -> String {
        format!("{}/{}", self.area, self.name)
    }
}

/// Which server a conversation needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerKind {
    /// The dev server that all conversations without `@server` share.
    Dev,
    /// One of its own: in-memory storage, not initialised.
    Bare,
    /// One of its own: in-memory storage, initialised with one share, unsealed; its root token is the default.
    Ready,
    /// One of its own on disk (OpenBao: raft, Dewdrop: redb), initialised and unsealed as above.
    Disk,
    /// As `Ready`, with a second listener that speaks TLS, and certificates to show to it.
    Tls,
}

/// One line of a conversation.
#[derive(Debug, Clone)]
pub struct Step {
    /// `3`, or `kv2.1` for the first step of a fixture.
    pub id: String,
    /// What to do.
    pub act: Act,
    /// How to ask and what to look at.
    pub options: Options,
    /// Values to take out of the answer: name and where to find it.
    pub captures: Vec<Capture>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// An HTTP request; path and body still have their `$NAMES`.
    Http {
        /// The verb, as it goes on the wire.
        method: String,
        /// With a leading `/`: the target as it is; else below `/v1/`.
        path: String,
        /// `None`: no body and no length.
        body: Option<String>,
    },
    /// A statement for the side's PostgreSQL; its rows are compared.
    Sql(String),
    /// A run of the real `bao` command line against the server; exit code and output are compared.
    Cli(String),
    /// Pause, in seconds.
    Wait(f64),
}

/// Take a value out of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capture {
    /// The name it gets.
    pub name: String,
    /// A path such as `auth.client_token`, `keys.0`; `xor encoded_token $OTP` for generate-root, or
    /// `totp data.url 0`: the code of an authenticator, so many steps from now.
    pub from: String,
}

/// Everything after the first ` | ` of a line.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Options {
    /// `as $T`: the token; `as none`: none. Default: the server's root token.
    pub token: Option<String>,
    /// `ns team/`: the namespace header.
    pub namespace: Option<String>,
    /// `h Name: value`: more headers. `wrap 60s` is `h X-Vault-Wrap-TTL: 60s`.
    pub headers: Vec<(String, String)>,
    /// `until 200` or `until data.state=done`: ask again (up to five seconds) until that is so.
    pub until: Option<Until>,
    /// What is compared.
    pub compare: Compare,
    /// `loose data.a,data.b`: only the types of these are compared.
    pub loose: Vec<String>,
    /// `exact errors`: the wording counts, too.
    pub exact_errors: bool,
    /// `unordered`: lists of strings are compared as sets.
    pub unordered: bool,
    /// `stdin text` of a `BAO` step.
    pub stdin: Option<String>,
}

/// What a step waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Until {
    /// This status.
    Status(u16),
    /// This value at this path of the body.
    Value(String, String),
}

/// How closely answers are compared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Compare {
    /// Status, headers, keys, types, and values after normalising.
    #[default]
    Values,
    /// No values; arrays by the shape of their elements, whatever their length.
    Shape,
    /// Only the keys and types of the first level.
    Top,
    /// Only status and headers.
    Status,
    /// Nothing: a step that only prepares.
    Nothing,
}

/// Named sets of steps that conversations start with, from `fixtures.convo`.
pub type Fixtures = BTreeMap<String, Fixture>;

/// What a fixture does before and after.
#[derive(Debug, Clone, Default)]
pub struct Fixture {
    /// Played first, and compared.
    pub before: Vec<Step>,
    /// Played last, not compared.
    pub after: Vec<Step>,
}

/// Reads `fixtures.convo` and all other `*.convo` files of a folder, areas in alphabetical order.
pub fn load(dir: &Path) -> Result<Vec<Conversation>> {
    let read = |file: &Path| std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()));
    let fixtures_file = dir.join("fixtures.convo");
    let fixtures = parse_fixtures(&read(&fixtures_file)?).context("in fixtures.convo")?;
    let mut files: Vec<_> = std::fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "convo") && *path != fixtures_file)
        .collect();
    files.sort();
    let mut all = Vec::new();
    for file in files {
        let area = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        all.extend(parse_area(&area, &read(&file)?, &fixtures).with_context(|| format!("in {}", file.display()))?);
    }
    Ok(all)
}

/// May stand in a `$NAME`.
pub fn is_name_char(c: char) -> bool {
    c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'
}

/// Replaces `$NAME` (and not `$NAME2`) by a value.
fn replace_name(text: &str, name: &str, value: &str) -> String {
    substitute(text, |found| (found == name).then(|| value.to_owned()))
}

/// Replaces each `$NAME` that `known` knows; leaves the others as they are.
pub fn substitute(text: &str, known: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        let after = &rest[at + 1..];
        let length = after.find(|c| !is_name_char(c)).unwrap_or(after.len());
        match known(&after[..length]) {
            Some(value) if length > 0 => out.push_str(&value),
            _ => out.push_str(&rest[at..=at + length]),
        }
        rest = &after[length..];
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests;
