//! The programs that the chores need beside Rust and a C compiler. On Debian as root they are installed; elsewhere it is
//! said what is missing and what would bring it.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::parts::{TempDir, openbao, output_of, postgres, repo_root, which};
use crate::say;

/// Something that must be there, and the Debian package that brings it.
struct Tool {
    name: &'static str,
    package: &'static str,
    used_for: &'static str,
    is_there: fn(&Tool) -> bool,
}

/// A program on the PATH.
const fn program(name: &'static str, package: &'static str, used_for: &'static str) -> Tool {
    Tool { name, package, used_for, is_there: |tool| which(tool.name).is_some() }
}

const TOOLS: &[Tool] = &[
    program("cc", "gcc", "building the cryptography"),
    program("protoc", "protobuf-compiler", "building the etcd client"),
    Tool {
        name: "google/protobuf/*.proto",
        package: "libprotobuf-dev",
        used_for: "building the etcd client",
        is_there: |_| protoc_knows_the_common_types(),
    },
    program("etcd", "etcd-server", "testing the etcd store"),
    program("gpg", "gnupg", "testing PGP-encrypted shares"),
];

/// Runs the command: everything, with the oracle.
pub fn run(args: &[String]) -> Result<()> {
    if let Some(arg) = args.first() {
        bail!("tools takes no `{arg}`");
    }
    ensure()?;
    openbao::ensure().context("the OpenBao binary that `compat` and `bench` compare with")?;
    say::good("everything is there");
    Ok(())
}

/// Brings what builds and tests need. Everything that is missing is named at once.
pub fn ensure() -> Result<()> {
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| !(tool.is_there)(tool)).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    postgres::ensure().context("PostgreSQL, for the tests of the database engine")?;
    Ok(())
}

/// Brings one more program, for a chore that alone needs it.
pub fn bring(name: &'static str, package: &'static str, used_for: &'static str) -> Result<()> {
    let tool = program(name, package, used_for);
    if (tool.is_there)(&tool) { Ok(()) } else { install(&[&tool]) }
}

/// Brings a library with what C needs to build with it.
pub fn bring_library(name: &'static str, package: &'static str, used_for: &'static str) -> Result<()> {
    let known = |tool: &Tool| output_of(Command::new("pkg-config").arg("--exists").arg(tool.name)).is_ok();
    let tool = Tool { name, package, used_for, is_there: known };
    if (tool.is_there)(&tool) { Ok(()) } else { install(&[&tool]) }
}

/// A program of a Debian package, unpacked beside everything else: what is installed may be another version.
pub fn unpacked(package: &str, program: &str) -> Result<PathBuf> {
    let dir = repo_root().join("target/unpacked").join(package);
    let file = dir.join(program.trim_start_matches('/'));
    if file.is_file() {
        return Ok(file);
    }
    let fresh = TempDir::new("unpacked")?;
    let fetch = || {
        let mut apt = Command::new("apt-get");
        output_of(apt.args(["download", package]).current_dir(fresh.path()))
    };
    say::line(&format!("fetching {package}"));
    if fetch().is_err() {
        output_of(Command::new("apt-get").arg("update")).context("apt-get update failed")?;
        fetch().with_context(|| format!("Debian's package {package} cannot be fetched"))?;
    }
    let mut names = std::fs::read_dir(fresh.path())?.filter_map(|entry| Some(entry.ok()?.path()));
    let archive = names.find(|name| name.extension().is_some_and(|ext| ext == "deb"));
    let archive = archive.with_context(|| format!("apt-get download brought no {package}"))?;
    std::fs::create_dir_all(&dir)?;
    output_of(Command::new("dpkg-deb").arg("-x").arg(archive).arg(&dir))?;
    if file.is_file() { Ok(file) } else { bail!("the package {package} has no {program}") }
}

fn install(missing: &[&Tool]) -> Result<()> {
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let names: Vec<String> =
        missing.iter().map(|t| format!("  {} (Debian: {}), for {}", t.name, t.package, t.used_for)).collect();
    let told = format!("missing:\n{}", names.join("\n"));
    if !is_root()? || which("apt-get").is_none() {
        bail!("{told}\nInstall them; as root on Debian: apt-get install {}", packages.join(" "));
    }
    say::line(&format!("installing {}", packages.join(", ")));
    if apt_install(&packages).is_err() {
        output_of(Command::new("apt-get").arg("update")).context("apt-get update failed")?;
        apt_install(&packages).with_context(|| told.clone())?;
    }
    match missing.iter().find(|tool| !(tool.is_there)(tool)) {
        Some(tool) => bail!("the package {} is installed, but there is no {}", tool.package, tool.name),
        None => Ok(()),
    }
}

fn apt_install(packages: &[&str]) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.args(["install", "-y", "--no-install-recommends"]).args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    output_of(&mut apt).map(|_| ())
}

/// Debian's compiler comes without them: `protoc` alone is not enough.
fn protoc_knows_the_common_types() -> bool {
    let asks = || -> Result<()> {
        let dir = TempDir::new("protoc")?;
        std::fs::write(dir.path().join("probe.proto"), "import \"google/protobuf/descriptor.proto\";\n")?;
        let mut protoc = Command::new("protoc");
        protoc.arg("-I").arg(dir.path()).args(["-o", "/dev/null", "probe.proto"]);
        output_of(&mut protoc).map(drop)
    };
    asks().is_ok()
}

/// Whether we may do everything.
pub fn is_root() -> Result<bool> {
    Ok(output_of(Command::new("id").arg("-u"))?.trim() == "0")
}
