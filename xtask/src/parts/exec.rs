//! The wrapper `dewdrop-exec`: built static and small, so that it runs in an image that holds nothing else. Kept by a hash of
//! its sources; a second run starts at once. There are two of it: for node agents, and the whole one, which signs in itself.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::repo_root;

const TARGET: &str = "x86_64-unknown-linux-gnu";

/// One of the two.
struct Form {
    name: &'static str,
    /// What it is made from, beside what all is.
    sources: &'static [&'static str],
    features: &'static [&'static str],
    /// It may not be larger.
    most: u64,
}

const FOR_AGENTS: Form =
    Form { name: "dewdrop-exec", sources: &["crates/exec"], features: &["--no-default-features"], most: 2 << 20 };
const WHOLE: Form = Form {
    name: "dewdrop-exec-whole",
    sources: &["crates/exec", "crates/api", "crates/core"],
    features: &[],
    most: 4 << 20,
};

/// The program for node agents, built when it is not there.
pub fn ensure() -> Result<PathBuf> {
    build(&FOR_AGENTS)
}

/// The whole program, with agentless mode, built when it is not there.
pub fn ensure_whole() -> Result<PathBuf> {
    build(&WHOLE)
}

fn build(form: &Form) -> Result<PathBuf> {
    let root = repo_root();
    let kept = root.join("target/exec").join(format!("{}-{}", form.name, sources(&root, form)?));
    if kept.is_file() {
        return Ok(kept);
    }
    let mut cargo = Command::new("cargo");
    cargo.args([
        "build",
        "--package",
        "dewdrop-exec",
        "--profile",
        "tiny",
        "--target",
        TARGET,
        "--target-dir",
        "target/exec",
    ]);
    cargo.args(form.features);
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").current_dir(&root);
    if !cargo.status().context("cannot start cargo")?.success() {
        bail!("dewdrop-exec does not build");
    }
    let built = root.join("target/exec").join(TARGET).join("tiny/dewdrop-exec");
    let size = std::fs::metadata(&built).with_context(|| format!("cargo has built no {}", built.display()))?.len();
    if size > form.most {
        bail!("dewdrop-exec has {size} bytes; at most {}", form.most);
    }
    // Whole or not at all: another run may look at the same moment.
    let new = kept.with_extension(std::process::id().to_string());
    std::fs::copy(&built, &new)?;
    std::fs::rename(&new, &kept)?;
    Ok(kept)
}

/// A hash of all that it is made from.
fn sources(root: &Path, form: &Form) -> Result<String> {
    let mut files = vec![root.join("Cargo.toml"), root.join("Cargo.lock"), root.join("rust-toolchain.toml")];
    for part in form.sources {
        files.push(root.join(part).join("Cargo.toml"));
        collect(&root.join(part).join("src"), &mut files)?;
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(file.strip_prefix(root).unwrap_or(&file).to_string_lossy().bytes());
        all.extend(std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))?);
    }
    Ok(crate::cluster::image::hash(&all).chars().take(16).collect())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sources_have_one_hash() {
        let root = repo_root();
        let hash = sources(&root, &WHOLE).unwrap();
        assert_eq!((hash.len(), sources(&root, &WHOLE).unwrap()), (16, hash.clone()));
        assert_ne!(sources(&root, &FOR_AGENTS).unwrap(), hash);
    }
}
