//! `cargo xtask fuzz`: searches each parser of outside bytes for inputs that make it panic, hang or eat memory.
//!
//! libFuzzer and LLVM's counters alone: safe Rust needs no sanitizer here, so stable Rust will do. The program is
//! `fuzz/fuzz_targets/parsers.rs`; the seeds are `fuzz/corpus/TARGET`, which the ordinary tests replay.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::parts::repo_root;
use crate::{say, tools};

const USAGE: &str = "usage: cargo xtask fuzz [--seconds N] [TARGET...]";

/// For each target, where nothing else is said.
const SECONDS: u64 = 30;

/// What `cargo fuzz` would set, without a sanitizer.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
                     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
                     -Cllvm-args=-sanitizer-coverage-trace-compares";

/// Only with a target named are flags kept from build scripts and macros.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

/// Runs the command; an error when a target fails.
pub fn run(args: &[String]) -> Result<()> {
    let (seconds, wanted) = read(args)?;
    let fuzz = repo_root().join("fuzz");
    let all = targets(&fuzz)?;
    if let Some(unknown) = wanted.iter().find(|name| !all.contains(name)) {
        bail!("there is no target `{unknown}`; there are: {}", all.join(" "));
    }
    let chosen = if wanted.is_empty() { all } else { wanted };
    tools::bring("c++", "g++", "building libFuzzer")?;
    build(&fuzz)?;
    let mut failed = Vec::new();
    for name in &chosen {
        if !search(&fuzz, name, seconds)? {
            failed.push(name.as_str());
        }
    }
    if failed.is_empty() {
        say::good(&format!("{} targets, {seconds} s each: nothing found", chosen.len()));
        return Ok(());
    }
    bail!("{} of {} targets failed: {}", failed.len(), chosen.len(), failed.join(" "))
}

fn read(args: &[String]) -> Result<(u64, Vec<String>)> {
    let (mut seconds, mut wanted) = (SECONDS, Vec::new());
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--seconds" => {
                let text = args.next().map(String::as_str).unwrap_or_default();
                seconds = text.parse().with_context(|| format!("--seconds wants a number, not `{text}`\n{USAGE}"))?;
            }
            flag if flag.starts_with('-') => bail!("fuzz does not know `{flag}`\n{USAGE}"),
            name => wanted.push(name.to_owned()),
        }
    }
    Ok((seconds, wanted))
}

/// A target is what has seeds.
fn targets(fuzz: &Path) -> Result<Vec<String>> {
    let entries = std::fs::read_dir(fuzz.join("corpus")).context("fuzz/corpus")?;
    let mut names = Vec::new();
    for entry in entries {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn build(fuzz: &Path) -> Result<()> {
    say::heading("building with the fuzzer's counters");
    let mut cargo = Command::new("cargo");
    cargo.args(["build", "--target", TRIPLE, "--bin", "parsers"]).current_dir(fuzz).env("RUSTFLAGS", FLAGS);
    if cargo.status().context("cargo build")?.success() { Ok(()) } else { bail!("the fuzzer does not build") }
}

fn program(fuzz: &Path) -> PathBuf {
    fuzz.join("target").join(TRIPLE).join("debug/parsers")
}

/// Whether nothing was found. What is new goes to `fuzz/found`, failing inputs to `fuzz/artifacts`; neither is checked in.
fn search(fuzz: &Path, name: &str, seconds: u64) -> Result<bool> {
    let (found, artifacts) = (fuzz.join("found").join(name), fuzz.join("artifacts").join(name));
    std::fs::create_dir_all(&found)?;
    std::fs::create_dir_all(&artifacts)?;
    let mut fuzzer = Command::new(program(fuzz));
    fuzzer.env("DEWDROP_FUZZ", name).arg(&found).arg(fuzz.join("corpus").join(name));
    fuzzer.arg(format!("-max_total_time={seconds}")).arg(format!("-artifact_prefix={}/", artifacts.display()));
    fuzzer.args(["-timeout=5", "-rss_limit_mb=1024", "-max_len=4096", "-print_final_stats=1", "-verbosity=1"]);
    let output = fuzzer.output().with_context(|| format!("run {}", program(fuzz).display()))?;
    let told = String::from_utf8_lossy(&output.stderr);
    let runs = told.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:")).unwrap_or("?").trim();
    if output.status.success() && runs != "?" {
        say::good(&format!("{name}: {runs} inputs"));
        return Ok(true);
    }
    let lines: Vec<&str> = told.lines().filter(|line| !line.starts_with('#')).collect();
    say::failed(&format!("{name}: after {runs} inputs\n{}", lines[lines.len().saturating_sub(30)..].join("\n")));
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_read() {
        let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(read(&[]).unwrap(), (SECONDS, vec![]));
        assert_eq!(read(&words("--seconds 5 ttl cron")).unwrap(), (5, words("ttl cron")));
        assert!(read(&words("--seconds x")).is_err() && read(&words("--minutes 5")).is_err());
    }
}
