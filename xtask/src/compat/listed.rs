//! The differences that are meant: the table of `docs/compat.md`.
//!
//! The document is the allow-list, so it cannot drift from the truth: a difference that is not in it fails the run,
//! and so does a line that no difference needs any more.

use std::path::Path;

use anyhow::{Context, Result, bail};

/// One line of the table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Glob over `area/conversation#step`.
    pub step: String,
    /// Glob over the place: `status 500 -> 400`, `header cache-control`, `body data.keys`.
    pub place: String,
    /// Why it differs, in a sentence.
    pub reason: String,
    /// Line of the document.
    pub line: usize,
}

impl Listed {
    /// True when this line speaks of that difference.
    pub fn covers(&self, step: &str, place: &str) -> bool {
        glob(&self.step, step) && glob(&self.place, place)
    }
}

/// Reads the document; only the table below `## Listed differences` counts.
pub fn load(file: &Path) -> Result<Vec<Listed>> {
    let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    parse(&text).with_context(|| format!("in {}", file.display()))
}

fn parse(text: &str) -> Result<Vec<Listed>> {
    let mut out = Vec::new();
    let mut inside = false;
    for (index, line) in text.lines().enumerate() {
        if line.starts_with("## ") {
            inside = line.trim() == "## Listed differences";
        }
        if !inside || !line.starts_with('|') {
            continue;
        }
        let cells: Vec<&str> = line.trim().trim_matches('|').split('|').map(str::trim).collect();
        let heading =
            cells.first().is_some_and(|cell| *cell == "Step" || cell.starts_with("---") || cell.starts_with(":--"));
        if heading {
            continue;
        }
        let [step, place, reason] = cells.as_slice() else {
            bail!("line {}: a line of the table has three cells: step, what differs, reason", index + 1);
        };
        if reason.is_empty() {
            bail!("line {}: a difference needs a reason", index + 1);
        }
        let plain = |cell: &str| cell.trim_matches('`').to_owned();
        out.push(Listed { step: plain(step), place: plain(place), reason: (*reason).to_owned(), line: index + 1 });
    }
    Ok(out)
}

/// `*` stands for any text.
pub fn glob(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => text.strip_prefix(before).is_some_and(|rest| {
            (0..=rest.len()).filter(|at| rest.is_char_boundary(*at)).any(|at| glob(after, &rest[at..]))
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "# x\n| a | b | c |\n## Listed differences\n\n| Step | What differs | Why |\n|---|---|---|\n\
        | `kv2/read#*` | `body data.*` | because |\n## Other\n| d | e | f |\n";

    #[test]
    fn only_the_table_of_its_section_counts() {
        let listed = parse(DOCUMENT).unwrap();
        assert_eq!(listed.len(), 1);
        assert_eq!(listed[0].line, 7);
        assert!(listed[0].covers("kv2/read#3", "body data.x"));
        assert!(!listed[0].covers("kv2/read#3", "status"));
        assert!(!listed[0].covers("kv2/write#3", "body data.x"));
    }

    #[test]
    fn a_line_without_a_reason_or_with_two_cells_is_an_error() {
        assert!(parse("## Listed differences\n| `a` | `b` |  |\n").is_err());
        assert!(parse("## Listed differences\n| `a` | `b` |\n").is_err());
    }

    #[test]
    fn globs() {
        assert!(glob("*", "") && glob("a*c", "abc") && glob("a*", "a") && glob("*#*.1", "x/y#kv2.1"));
        assert!(!glob("a", "ab") && !glob("a*d", "abc"));
    }
}
