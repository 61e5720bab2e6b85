//! What a container asks for, in lines of `name = path`, as a volume's attributes and a pod's annotations say it.

use std::collections::BTreeSet;

/// The most credentials of one container.
const MOST: usize = 64;
/// The folder of the wrapper in a volume: no credential may be called so.
const OURS: &str = ".dewdrop";

/// One thing that is read from the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// Its name for the container.
    pub name: String,
    /// How it is asked for.
    pub verb: Verb,
    /// The server's path.
    pub path: String,
}

/// How a credential is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// It is read: `database/creds/app`.
    Get,
    /// It is made by a write without fields: `PUT pki/issue/app`.
    Put,
}

// === impl Credential ===

impl Credential {
    /// Reads the lines; answers what they ask for and every mistake that they hold.
    #[must_use]
    pub fn read_all(text: &str) -> (Vec<Self>, Vec<String>) {
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let (mut found, mut wrong, mut names) = (Vec::new(), Vec::new(), BTreeSet::new());
        for line in lines {
            match Self::read(line) {
                Ok(one) if !names.insert(one.name.clone()) => {
                    wrong.push(format!("`credentials` has {:?} twice", one.name));
                }
                Ok(one) => found.push(one),
                Err(why) => wrong.push(why),
            }
        }
        if found.len() > MOST {
            wrong.push(format!("`credentials` has {} lines; at most {MOST}", found.len()));
        }
        (found, wrong)
    }

    /// `name = path` or `name = PUT path`.
    fn read(line: &str) -> Result<Self, String> {
        let Some((name, path)) = line.split_once('=').map(|(name, path)| (name.trim(), path.trim())) else {
            return Err(format!("`credentials` has the line {:?}, which is not `name = path`", cut(line)));
        };
        if !is_file_name(name) {
            return Err(format!("`credentials` has the name {:?}: use letters, digits, `.`, `-`, `_`", cut(name)));
        }
        let (verb, path) = match path.split_once(' ') {
            Some(("GET", path)) => (Verb::Get, path.trim()),
            Some(("PUT", path)) => (Verb::Put, path.trim()),
            _ => (Verb::Get, path),
        };
        let path = path.trim_matches('/');
        let is_path = !path.is_empty()
            && path.len() <= 1024
            && !path.contains(|c: char| c.is_control() || c.is_whitespace() || matches!(c, '?' | '#'))
            && path.split('/').all(|part| !matches!(part, "" | "." | ".."));
        if !is_path {
            return Err(format!("`credentials` has no path of the server for {name:?}"));
        }
        Ok(Self { name: name.to_owned(), verb, path: path.to_owned() })
    }
}

/// A name that can be a file's in the volume, and can hide nothing of ours (`..data`, `.dewdrop`).
#[must_use]
pub fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 253
        && !matches!(name, "." | OURS)
        && !name.starts_with("..")
        && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
}

/// The beginning of a text that came from outside.
#[must_use]
pub fn cut(text: &str) -> String {
    text.chars().take(40).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mistake_is_told_at_once() {
        let (found, wrong) =
            Credential::read_all("a = x/y\n# no\n\nb = PUT /p/q/\n../c = x\na = z\nd = x?y\nnothing\n");
        assert_eq!(
            found.iter().map(|one| (one.name.as_str(), one.path.as_str())).collect::<Vec<_>>(),
            [("a", "x/y"), ("b", "p/q")]
        );
        assert_eq!((found[1].verb, wrong.len()), (Verb::Put, 4), "{wrong:?}");
    }
}
