//! `cargo xtask image`: the one program as a container image, by hand: no registry, no builder. It holds the program, what
//! it needs to run, the wrapper of environment mode, and nothing else: no shell.

mod needs;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cluster::image::{Entry, Image};
use crate::parts::{TempDir, exec, output_of, repo_root};
use crate::say;

const USAGE: &str = "\
cargo xtask image [--dewdrop PROGRAM] [--out FILE]
  --dewdrop PROGRAM   takes this program, with the shared libraries that it asks for, instead of building a static one
  --out FILE          where the OCI archive goes (default target/dewdrop-VERSION.tar)";

/// The image's name with its tag: that of the chart's default values.
pub const NAME: &str = concat!("dewdrop.dev/dewdrop:", env!("CARGO_PKG_VERSION"));
/// Where the program is in it.
const PROGRAM: &str = "usr/local/bin/dewdrop";
/// Where the wrapper is: beside the program, where the agent looks for it.
const WRAPPER: &str = "usr/local/bin/dewdrop-exec";
/// The server's user; the node agent's pod says that it is root.
const USER: &str = "65532:65532";
/// Where TLS looks for public authorities.
const AUTHORITIES: &str = "etc/ssl/certs/ca-certificates.crt";

/// Runs the command.
pub fn run(args: &[String]) -> Result<()> {
    let (program, out) = parse(args)?;
    let program = match program {
        Some(program) => program,
        None => build_static()?,
    };
    let out =
        out.unwrap_or_else(|| repo_root().join("target").join(format!("dewdrop-{}.tar", env!("CARGO_PKG_VERSION"))));
    let archive = of(&program, &exec::ensure()?)?.archive()?;
    std::fs::write(&out, &archive).with_context(|| format!("cannot write {}", out.display()))?;
    say::good(&format!("{NAME} is in {} ({} MB)", out.display(), archive.len() >> 20));
    say::line(&format!("on a node with containerd: ctr -n k8s.io images import {}", out.display()));
    say::line("to a registry, with any tool that knows OCI archives (skopeo, crane, oras)");
    Ok(())
}

fn parse(args: &[String]) -> Result<(Option<PathBuf>, Option<PathBuf>)> {
    let (mut program, mut out) = (None, None);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().map(PathBuf::from).with_context(|| format!("{arg} needs a value\n{USAGE}"));
        match arg.as_str() {
            "--dewdrop" => program = Some(value()?),
            "--out" => out = Some(value()?),
            _ => bail!("image does not know `{arg}`\n{USAGE}"),
        }
    }
    Ok((program, out))
}

/// The image of a program and of the wrapper, which needs no library.
pub fn of(program: &Path, wrapper: &Path) -> Result<Image> {
    let mut entries = vec![
        Entry::folder("tmp", 0o1777),
        Entry::file(
            "etc/passwd",
            "root:x:0:0:root:/:/sbin/nologin\ndewdrop:x:65532:65532:dewdrop:/tmp:/sbin/nologin\n",
        ),
        Entry::file("etc/group", "root:x:0:\ndewdrop:x:65532:\n"),
        // Without it glibc would not look into /etc/hosts first.
        Entry::file("etc/nsswitch.conf", "hosts: files dns\n"),
        Entry::file(AUTHORITIES, &std::fs::read_to_string(Path::new("/").join(AUTHORITIES)).unwrap_or_default()),
    ];
    entries.extend(needs::libraries(program)?);
    entries.push(Entry::program(PROGRAM, slim(program)?));
    let wrapper = std::fs::read(wrapper).with_context(|| format!("cannot read {}", wrapper.display()))?;
    entries.push(Entry::program(WRAPPER, wrapper));
    Ok(Image {
        name: NAME.to_owned(),
        entries,
        entrypoint: vec![format!("/{PROGRAM}")],
        user: USER.to_owned(),
        env: vec!["PATH=/usr/local/bin".to_owned(), "HOME=/tmp".to_owned()],
        ..Image::default()
    })
}

/// The program without what only a debugger reads; as it is where there is no `strip`.
fn slim(program: &Path) -> Result<Vec<u8>> {
    let dir = TempDir::new("dewdrop-image")?;
    let slim = dir.path().join("dewdrop");
    let stripped = output_of(Command::new("strip").arg("-o").arg(&slim).arg(program)).map(|_| slim);
    let file = stripped.unwrap_or_else(|_| program.to_owned());
    std::fs::read(&file).with_context(|| format!("cannot read {}", file.display()))
}

/// One file that needs no library of the system.
fn build_static() -> Result<PathBuf> {
    // Naming the target keeps the flag away from build scripts and macros, which cannot be static.
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let folder = repo_root().join("target/static");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--release", "--package", "dewdrop", "--target", &target, "--target-dir"]).arg(&folder);
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static").current_dir(repo_root());
    if !cargo.status().context("cannot start cargo")?.success() {
        bail!("a static dewdrop does not build");
    }
    Ok(folder.join(target).join("release/dewdrop"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::image::What;

    fn words(args: &[&str]) -> Vec<String> {
        args.iter().map(|arg| (*arg).to_owned()).collect()
    }

    #[test]
    fn wrong_options_are_named() {
        assert!(parse(&words(&["--dewdrop", "/x", "--out", "/y"])).is_ok());
        for wrong in [&["--dewdrop"][..], &["--push"], &["x"]] {
            let error = parse(&words(wrong)).expect_err("wrong").to_string();
            assert!(error.contains(wrong.first().expect("one")), "{error}");
        }
    }

    /// Any program of this machine does.
    #[test]
    fn the_program_comes_with_its_loader_and_not_as_root() {
        let image = of(Path::new("/bin/ls"), Path::new("/bin/true")).expect("image");
        let has = |path: &str| image.entries.iter().any(|entry| entry.path == path);
        assert!(has(PROGRAM) && has(WRAPPER) && has(AUTHORITIES) && has("tmp"));
        let loader = image.entries.iter().find(|entry| entry.path.contains("ld-linux")).expect("a loader");
        assert!(loader.mode == 0o755 && matches!(&loader.what, What::File(bytes) if bytes.len() > 1000));
        assert_eq!(image.user, USER);
        assert!(image.name.starts_with("dewdrop.dev/dewdrop:") && !image.name.ends_with("latest"));
    }

    #[test]
    fn what_is_no_program_is_refused() {
        assert!(of(Path::new("/nowhere/dewdrop"), Path::new("/bin/true")).is_err());
        assert!(of(Path::new("/bin/ls"), Path::new("/nowhere/dewdrop-exec")).is_err());
    }
}
