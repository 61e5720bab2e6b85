//! Secrets, the forms in which a program might write them, and the search for them in bytes and folders.

use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

/// Length of the piece by which a form is looked up.
const HEAD: usize = 8;

/// What must be nowhere.
#[derive(Default)]
pub struct Search {
    forms: HashMap<[u8; HEAD], Vec<(Vec<u8>, String)>>,
    /// Cheap first test: a bit for each of the heads' hashes.
    filter: Vec<bool>,
    /// How many bytes were looked through.
    pub seen: u64,
}

impl Search {
    /// Adds a secret; `what` is its name in what is told, for the secret itself is told nowhere.
    pub fn add(&mut self, what: &str, secret: &str) -> Result<()> {
        ensure!(secret.len() >= 2 * HEAD, "{what} is too short to be searched for ({} bytes)", secret.len());
        self.filter.resize(1 << 16, false);
        for form in forms(secret) {
            let Some(head) = form.first_chunk::<HEAD>().copied() else { continue };
            if let Some(place) = self.filter.get_mut(spot(&head)) {
                *place = true;
            }
            self.forms.entry(head).or_default().push((form, what.to_owned()));
        }
        Ok(())
    }

    /// Which secret the bytes hold.
    pub fn find(&mut self, bytes: &[u8]) -> Option<&str> {
        self.seen += bytes.len() as u64;
        for (at, piece) in bytes.windows(HEAD).enumerate() {
            // Much of a database is empty, and no form begins so.
            if piece.first() == Some(&0) {
                continue;
            }
            let Some(head) = piece.first_chunk::<HEAD>() else { continue };
            if self.filter.get(spot(head)) != Some(&true) {
                continue;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let same = self.forms.get(head).into_iter().flatten().find(|(form, _)| rest.starts_with(form));
            if let Some((_, what)) = same {
                return Some(what);
            }
        }
        None
    }

    /// The files below a folder that hold a secret, with which. It stays on the folder's own file system, so it goes neither
    /// into a tmpfs nor into a container's root, whose layers lie elsewhere below it.
    pub fn walk(&mut self, folder: &Path, skip: &[PathBuf]) -> Result<Vec<(PathBuf, String)>> {
        let device = std::fs::symlink_metadata(folder)?.dev();
        let (mut found, mut todo) = (Vec::new(), vec![folder.to_owned()]);
        while let Some(path) = todo.pop() {
            // What goes away meanwhile is gone.
            let Ok(about) = std::fs::symlink_metadata(&path) else { continue };
            if about.dev() != device || skip.contains(&path) {
                continue;
            }
            if about.is_dir() {
                todo.extend(std::fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
            } else if about.is_file()
                && let Ok(bytes) = std::fs::read(&path)
                && let Some(what) = self.find(&bytes)
            {
                found.push((path, what.to_owned()));
            }
        }
        Ok(found)
    }
}

fn spot(head: &[u8; HEAD]) -> usize {
    let number = u64::from_le_bytes(*head).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    usize::try_from(number >> 48).unwrap_or_default()
}

/// Plain, as JSON and Debug escape it, in URLs, hex, lists of numbers, and base64 from each of its three places.
fn forms(secret: &str) -> Vec<Vec<u8>> {
    let bytes = secret.as_bytes();
    let each = |form: &dyn Fn(&u8) -> String| bytes.iter().map(form).collect::<Vec<_>>();
    let url = |byte: &u8| match byte {
        byte if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) => char::from(*byte).to_string(),
        byte => format!("%{byte:02X}"),
    };
    let hex = each(&|byte| format!("{byte:02x}")).concat();
    let mut all = vec![
        secret.to_owned(),
        serde_json::Value::from(secret).to_string().trim_matches('"').to_owned(),
        format!("{secret:?}").trim_matches('"').to_owned(),
        each(&url).concat(),
        each(&url).concat().to_lowercase(),
        each(&|byte| format!("%{byte:02X}")).concat(),
        each(&u8::to_string).join(","),
        each(&u8::to_string).join(", "),
        each(&u8::to_string).join(" "),
        hex.to_uppercase(),
        hex,
    ];
    // Within longer text the pieces at both ends depend on the neighbours.
    for skip in 0..3 {
        let whole = bytes.get(skip..skip + (bytes.len() - skip) / 3 * 3).unwrap_or_default();
        all.push(base64(whole));
        all.push(base64(whole).replace('+', "-").replace('/', "_"));
    }
    all.sort();
    all.dedup();
    all.into_iter().map(String::into_bytes).collect()
}

/// Of whole threes.
pub fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |number: u32| char::from(DIGITS.get(number as usize % 64).copied().unwrap_or_default());
    let three = |three: &[u8]| three.iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
    bytes.chunks_exact(3).map(three).flat_map(|n| [18, 12, 6, 0].map(|shift| digit(n >> shift))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parts::TempDir;

    const SECRET: &str = "C4\"n4ry/+&=\u{e9}x0123456789abcdef";

    fn search() -> Search {
        let mut search = Search::default();
        search.add("canary", SECRET).expect("long enough");
        search
    }

    #[test]
    fn every_form_is_found() {
        let hex: String = SECRET.bytes().map(|byte| format!("{byte:02x}")).collect();
        let url: String = SECRET.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let mut all = vec![SECRET.to_owned(), serde_json::json!(SECRET).to_string(), hex.to_uppercase(), hex, url];
        all.push(format!("{SECRET:?}"));
        all.push(format!("{:?}", SECRET.as_bytes()));
        for lead in ["", "a", "ab"] {
            let text = format!("{lead}{SECRET}");
            all.push(base64(format!("{text}{}", "z".repeat(3 - text.len() % 3)).as_bytes()));
        }
        for form in all {
            assert_eq!(search().find(format!("before {form} after").as_bytes()), Some("canary"), "{form}");
        }
        assert!(search().find(b"nothing of the sort").is_none());
        assert!(Search::default().find(SECRET.as_bytes()).is_none());
    }

    #[test]
    fn base64_is_as_everywhere() {
        assert_eq!(base64(b"\xfb\xff\xbfabc"), "+/+/YWJj");
    }

    #[test]
    fn one_that_is_planted_in_a_folder_is_found() {
        let dir = TempDir::new("leak").expect("folder");
        let deep = dir.path().join("a/b");
        std::fs::create_dir_all(&deep).expect("folder");
        std::fs::write(dir.path().join("clean"), "nothing").expect("write");
        assert!(search().walk(dir.path(), &[]).expect("walk").is_empty());
        std::fs::write(deep.join("meta.db"), format!("\0\x01{SECRET}\0")).expect("write");
        let found = search().walk(dir.path(), &[]).expect("walk");
        assert_eq!(found, [(deep.join("meta.db"), "canary".to_owned())]);
        assert!(search().walk(dir.path(), &[deep]).expect("walk").is_empty());
    }

    #[test]
    fn what_is_too_short_to_be_told_from_chance_is_refused() {
        assert!(Search::default().add("pin", "1234").is_err());
    }
}
