//! How somebody signed in last, by server: the method and what it was told that is no secret. `dewdrop kube login` signs in
//! the same way when nothing else is said.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use dewdrop_api::Config;
use serde::{Deserialize, Serialize};

/// What may be kept. Passwords, tokens and codes never are.
const KEPT: [&str; 3] = ["username", "role", "name"];

/// A way to sign in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remembered {
    /// The type of the auth method.
    pub method: String,
    /// Where it is mounted, when not at its type.
    pub path: Option<String>,
    /// `username=ann`
    pub data: Vec<String>,
}

type All = BTreeMap<String, Remembered>;

/// The last way at this server.
#[must_use]
pub fn load(config: &Config) -> Option<Remembered> {
    all()?.remove(&server(config))
}

/// Keeps the way. What cannot be kept is only asked again, so that no sign-in fails by it.
pub fn keep(config: &Config, method: &str, path: Option<&str>, data: &[String]) {
    if method.eq_ignore_ascii_case("token") {
        return;
    }
    let is_kept =
        |pair: &&String| pair.split_once('=').is_some_and(|(name, value)| KEPT.contains(&name) && is_plain(value));
    let way = Remembered {
        method: method.to_lowercase(),
        path: path.map(str::to_owned),
        data: data.iter().filter(is_kept).cloned().collect(),
    };
    let mut known = all().unwrap_or_default();
    if known.insert(server(config), way.clone()) != Some(way) {
        let _ = store(&known);
    }
}

/// `@file` and `-` are sources, and not the value.
fn is_plain(value: &str) -> bool {
    !value.starts_with(['@', '-'])
}

fn server(config: &Config) -> String {
    format!("{} {}", config.address, config.namespace).trim_end().to_owned()
}

fn file() -> Option<PathBuf> {
    let folder = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")))?;
    Some(config.join("dewdrop").join("login.json"))
}

fn all() -> Option<All> {
    serde_json::from_slice(&fs::read(file()?).ok()?).ok()
}

fn store(all: &All) -> std::io::Result<()> {
    let Some(file) = file() else { return Ok(()) };
    if let Some(folder) = file.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    let new = file.with_extension(format!("{}.new", std::process::id()));
    let mut out = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    out.write_all(&serde_json::to_vec_pretty(all)?)?;
    fs::rename(&new, &file)
}
