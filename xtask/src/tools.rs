//! The programs that the chores need beside Rust and a C compiler. On Debian as root they are installed; elsewhere it is
//! said what is missing and what would bring it.

use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::parts::{openbao, output_of, postgres, which};
use crate::say;

/// A program and the Debian package that brings it.
struct Tool {
    program: &'static str,
    package: &'static str,
    used_for: &'static str,
}

const TOOLS: &[Tool] = &[
    Tool { program: "cc", package: "gcc", used_for: "building the cryptography" },
    Tool { program: "protoc", package: "protobuf-compiler", used_for: "building the etcd client" },
    Tool { program: "etcd", package: "etcd-server", used_for: "testing the etcd store" },
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
    let missing: Vec<&Tool> = TOOLS.iter().filter(|tool| which(tool.program).is_none()).collect();
    if !missing.is_empty() {
        install(&missing)?;
    }
    postgres::ensure().context("PostgreSQL, for the tests of the database engine")?;
    Ok(())
}

/// Brings one more program, for a chore that alone needs it.
pub fn bring(program: &'static str, package: &'static str, used_for: &'static str) -> Result<()> {
    if which(program).is_some() {
        return Ok(());
    }
    install(&[&Tool { program, package, used_for }])
}

fn install(missing: &[&Tool]) -> Result<()> {
    let packages: Vec<&str> = missing.iter().map(|tool| tool.package).collect();
    let names: Vec<String> =
        missing.iter().map(|t| format!("  {} (Debian: {}), for {}", t.program, t.package, t.used_for)).collect();
    let told = format!("missing programs:\n{}", names.join("\n"));
    if !is_root()? || which("apt-get").is_none() {
        bail!("{told}\nInstall them; as root on Debian: apt-get install {}", packages.join(" "));
    }
    say::line(&format!("installing {}", packages.join(", ")));
    if apt_install(&packages).is_err() {
        output_of(Command::new("apt-get").arg("update")).context("apt-get update failed")?;
        apt_install(&packages).with_context(|| told.clone())?;
    }
    match missing.iter().find(|tool| which(tool.program).is_none()) {
        Some(tool) => bail!("the package {} is installed, but there is no program {}", tool.package, tool.program),
        None => Ok(()),
    }
}

fn apt_install(packages: &[&str]) -> Result<()> {
    let mut apt = Command::new("apt-get");
    apt.args(["install", "-y", "--no-install-recommends"]).args(packages).env("DEBIAN_FRONTEND", "noninteractive");
    output_of(&mut apt).map(|_| ())
}

fn is_root() -> Result<bool> {
    Ok(output_of(Command::new("id").arg("-u"))?.trim() == "0")
}
