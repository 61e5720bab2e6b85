//! `cargo xtask rooms`: the house rules of `design.md`, section 2, that a program can check. Who may use whom; how large
//! files, functions, traits and structs may grow; what must not occur in a room.
//!
//! Exceptions stand by name and with a reason in `xtask/rooms.txt`. One that is not needed any more is a fault, so the
//! list can only shrink.

mod exceptions;
mod map;
mod proofs;
mod scan;
mod size;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::parts::repo_root;
use crate::say::{self, Look};
use exceptions::Exceptions;
use scan::Source;

/// Something that the house rules do not like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Whether it stops the merge; otherwise it is a warning.
    pub stops: bool,
    /// Where: a path, with a line where there is one.
    pub place: String,
    /// What is wrong.
    pub what: String,
    /// What to do.
    pub todo: String,
}

impl Finding {
    /// One that stops.
    pub fn stop(place: impl Into<String>, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { stops: true, place: place.into(), what: what.into(), todo: todo.into() }
    }

    /// One that warns.
    pub fn warn(place: impl Into<String>, what: impl Into<String>, todo: impl Into<String>) -> Self {
        Self { stops: false, ..Self::stop(place, what, todo) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (look, word) = if self.stops { (Look::Red, "stop") } else { (Look::Yellow, "warn") };
        write!(f, "{} {}: {}\n     {}", say::dye(look, word), say::dye(Look::Cyan, &self.place), self.what, self.todo)
    }
}

/// Runs the command; an error when something stops.
pub fn run(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("rooms takes no `{arg}`");
    }
    let root = repo_root();
    let mut findings = check_files(&root)?;
    findings.extend(map::check(&root)?);
    findings.extend(proofs::check(&root)?);
    findings.sort_by_key(|finding| (finding.stops, finding.place.clone()));
    findings.iter().for_each(|finding| println!("{finding}"));
    let stops = findings.iter().filter(|finding| finding.stops).count();
    let told = format!("rooms: {stops} stop, {} warn", findings.len() - stops);
    if stops > 0 {
        bail!("{told}");
    }
    say::good(&told);
    Ok(())
}

fn check_files(root: &Path) -> Result<Vec<Finding>> {
    let mut exceptions = Exceptions::read(&root.join("xtask/rooms.txt"))?;
    let mut findings = Vec::new();
    let files = files(root)?;
    for file in &files {
        let name = file.strip_prefix(root).unwrap_or(file).to_string_lossy().into_owned();
        let bytes = std::fs::read(file).with_context(|| format!("cannot read {name}"))?;
        // What is no text is nobody's room.
        let Ok(text) = String::from_utf8(bytes) else { continue };
        findings.extend(words::check_text(&name, &text, &mut exceptions));
        if name.ends_with(".rs") {
            let source = Source::new(name, text);
            findings.extend(size::check(&source, &mut exceptions));
            findings.extend(words::check_code(&source, &mut exceptions));
        }
    }
    findings.extend(exceptions.unused());
    Ok(findings)
}

/// Every file of ours: what git knows, and what is new and not ignored.
fn files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut git = std::process::Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(root);
    let list = crate::parts::output_of(&mut git).context("rooms asks git which files are ours")?;
    let mut files: Vec<PathBuf> =
        list.split('\0').filter(|name| !name.is_empty()).map(|name| root.join(name)).collect();
    // A file that is removed but not yet committed is in git's list still.
    files.retain(|file| file.is_file());
    files.sort();
    files.dedup();
    Ok(files)
}

#[cfg(test)]
mod tests;
