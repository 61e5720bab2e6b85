//! Writes tar archives (POSIX ustar), as much of it as an image needs. The same entries give the same bytes: no clock, no
//! user names.

use anyhow::{Context, Result};

/// All tar archives are made of these.
const BLOCK: usize = 512;

/// An archive in memory.
#[derive(Debug, Default)]
pub struct Tar(Vec<u8>);

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind<'a> {
    /// A file with its content.
    File(&'a [u8]),
    /// A symbolic link and where it leads.
    Link(&'a str),
    /// A folder.
    Folder,
}

impl Tar {
    /// Appends an entry. `path` is relative, without a slash at its end.
    pub fn add(&mut self, path: &str, mode: u32, kind: Kind<'_>) -> Result<()> {
        let header = header(path, mode, kind).with_context(|| format!("{path:?} does not fit into a tar archive"))?;
        self.0.extend(header);
        if let Kind::File(content) = kind {
            self.0.extend_from_slice(content);
            self.0.resize(self.0.len().next_multiple_of(BLOCK), 0);
        }
        Ok(())
    }

    /// The whole archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.0.resize(self.0.len() + 2 * BLOCK, 0);
        self.0
    }
}

/// None when a field is too small for what it should hold.
fn header(path: &str, mode: u32, kind: Kind<'_>) -> Option<[u8; BLOCK]> {
    let (typ, size, leads, path) = match kind {
        Kind::File(content) => (b'0', content.len(), "", path.to_owned()),
        Kind::Link(leads) => (b'2', 0, leads, path.to_owned()),
        Kind::Folder => (b'5', 0, "", format!("{path}/")),
    };
    let (prefix, name) = split(&path)?;
    let mut block = [0; BLOCK];
    put(&mut block, 0, 100, name.as_bytes())?;
    put(&mut block, 100, 7, octal(mode as usize, 7)?.as_bytes())?;
    put(&mut block, 108, 7, b"0000000")?;
    put(&mut block, 116, 7, b"0000000")?;
    put(&mut block, 124, 11, octal(size, 11)?.as_bytes())?;
    put(&mut block, 136, 11, b"00000000000")?;
    put(&mut block, 156, 1, &[typ])?;
    put(&mut block, 157, 100, leads.as_bytes())?;
    put(&mut block, 257, 8, b"ustar\x0000")?;
    put(&mut block, 345, 155, prefix.as_bytes())?;
    // The sum is taken as if its own field held spaces.
    put(&mut block, 148, 8, b"        ")?;
    let sum: usize = block.iter().map(|byte| usize::from(*byte)).sum();
    put(&mut block, 148, 8, format!("{}\0 ", octal(sum, 6)?).as_bytes())?;
    Some(block)
}

fn put(block: &mut [u8; BLOCK], at: usize, room: usize, what: &[u8]) -> Option<()> {
    if what.len() > room {
        return None;
    }
    block.get_mut(at..at + what.len())?.copy_from_slice(what);
    Some(())
}

fn octal(number: usize, digits: usize) -> Option<String> {
    let text = format!("{number:0digits$o}");
    (text.len() == digits).then_some(text)
}

/// A long path stands in two fields, parted at a slash.
fn split(path: &str) -> Option<(&str, &str)> {
    if path.is_empty() || path.starts_with('/') {
        return None;
    }
    if path.len() <= 100 {
        return Some(("", path));
    }
    let inner = path.len() - 1;
    let mut slashes = path.match_indices('/').map(|(at, _)| at).filter(|at| *at < inner);
    let at = slashes.find(|at| path.len() - at - 1 <= 100)?;
    (at <= 155).then(|| (path.get(..at), path.get(at + 1..))).and_then(|(a, b)| Some((a?, b?)))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;
    use crate::parts::{TempDir, output_of};

    fn deep() -> String {
        format!("{}/{}", "d".repeat(120), "f".repeat(90))
    }

    #[test]
    fn the_systems_tar_reads_it() {
        let mut tar = Tar::default();
        tar.add("bin", 0o755, Kind::Folder).expect("folder");
        tar.add("bin/sh", 0o755, Kind::Link("busybox")).expect("link");
        tar.add("bin/busybox", 0o755, Kind::File(b"program")).expect("file");
        tar.add(&deep(), 0o640, Kind::File(&[7; 1025])).expect("deep");
        let dir = TempDir::new("tar").expect("folder");
        std::fs::write(dir.path().join("x.tar"), tar.finish()).expect("write");
        output_of(Command::new("tar").args(["xpf", "x.tar"]).current_dir(dir.path())).expect("tar");
        assert_eq!(std::fs::read(dir.path().join("bin/sh")).expect("through the link"), b"program");
        assert_eq!(std::fs::read(dir.path().join(deep())).expect("deep"), vec![7; 1025]);
        let list = output_of(Command::new("tar").args(["tvf", "x.tar"]).current_dir(dir.path())).expect("list");
        assert!(list.contains("-rwxr-xr-x") && list.contains("-rw-r-----") && list.contains("drwxr-xr-x"), "{list}");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let mut tar = Tar::default();
        for path in ["", "/etc/passwd", &"f".repeat(101), &format!("{}/x", "d".repeat(156))] {
            let is_long_folder = path.len() > 150;
            let path = if is_long_folder { format!("{path}{}", "y".repeat(99)) } else { path.to_owned() };
            assert!(tar.add(&path, 0o644, Kind::File(b"")).is_err(), "{path:?}");
        }
        assert!(tar.add("l", 0o777, Kind::Link(&"x".repeat(101))).is_err());
        assert_eq!(tar.finish().len(), 2 * BLOCK);
    }

    #[test]
    fn contents_end_at_a_block() {
        let mut tar = Tar::default();
        tar.add("a", 0o644, Kind::File(&[1; BLOCK])).expect("one block");
        tar.add("b", 0o644, Kind::File(&[1; BLOCK + 1])).expect("two blocks");
        assert_eq!(tar.finish().len(), (2 + 3 + 2) * BLOCK);
    }
}
