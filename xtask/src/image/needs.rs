//! The shared libraries that a program asks for, its loader among them.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::cluster::image::Entry;

/// They go where the loader of this machine looks for them.
pub fn libraries(program: &Path) -> Result<Vec<Entry>> {
    let out = Command::new("ldd").arg(program).output().context("cannot start ldd")?;
    // A static program makes ldd fail; one that is not there fails when it is read.
    let mut entries = Vec::new();
    for path in paths(&String::from_utf8_lossy(&out.stdout)) {
        let content = std::fs::read(path).with_context(|| format!("cannot read {path}"))?;
        entries.push(Entry::program(path.trim_start_matches('/'), content));
    }
    Ok(entries)
}

/// The files in what `ldd` says: `libc.so.6 => /lib/libc.so.6 (0x7f)` or `/lib64/ld.so (0x7f)`.
fn paths(told: &str) -> impl Iterator<Item = &str> {
    told.lines().filter_map(|line| {
        let line = line.trim();
        let file = line.split_once(" => ").map_or(line, |(_, file)| file);
        file.split_whitespace().next().filter(|file| file.starts_with('/'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_and_the_rest_is_not_taken_for_files() {
        let told = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld-linux.so.2 (0x3)\n\tx => not found\n";
        assert_eq!(paths(told).collect::<Vec<_>>(), ["/lib/x/libc.so.6", "/lib64/ld-linux.so.2"]);
        assert_eq!(paths("\tstatically linked\n").count(), 0);
    }
}
