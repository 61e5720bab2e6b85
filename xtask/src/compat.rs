//! `cargo xtask compat`: plays the same conversations against a real OpenBao and against Dewdrop, and compares status,
//! headers that matter, and the JSON.
//!
//! The conversations are in `tests/compat/*.convo`; what may differ, and why, is the table of `docs/compat.md`. Both
//! servers run live in the same run, so nothing recorded can grow old. `--self-check` plays OpenBao against a second
//! OpenBao and must find nothing: it proves that what we report as a difference is one.

mod coverage;
mod diff;
mod http;
mod listed;
mod normal;
mod pki;
mod play;
mod report;
mod script;
mod side;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, mpsc};

use anyhow::{Context, Result, bail};

use crate::parts::{openbao, repo_root};
use play::Transcript;
use report::Report;
use script::{Conversation, ServerKind};
use side::{Program, Side};

const USAGE: &str = "\
cargo xtask compat [options]
  --only TEXT           only conversations whose area/name contains TEXT (several: any of them)
  --dewdrop PATH        the dewdrop binary (default: cargo build -p dewdrop)
  --dewdrop-addr URL    a running server in dev mode; with --token T
  --token T             a root token of that server (default: root)
  --self-check          OpenBao against a second OpenBao: must show 0 differences
  --record              OpenBao only; writes what it said to .cache/compat/*.txt, to read
  --list                the names of the conversations
  --verbose             wording that differs, and operations that no step brought to a success";

/// What the command line asks for.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wish {
    only: Vec<String>,
    dewdrop: Option<PathBuf>,
    addr: Option<String>,
    token: Option<String>,
    self_check: bool,
    record: bool,
    list: bool,
    verbose: bool,
}

impl Wish {
    fn parse(args: &[String]) -> Result<Self> {
        let mut wish = Self::default();
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let mut value = || args.next().cloned().with_context(|| format!("{arg} needs a value\n{USAGE}"));
            match arg.as_str() {
                "--only" => wish.only.push(value()?),
                "--dewdrop" => wish.dewdrop = Some(value()?.into()),
                "--dewdrop-addr" => wish.addr = Some(value()?),
                "--token" => wish.token = Some(value()?),
                "--self-check" => wish.self_check = true,
                "--record" => wish.record = true,
                "--list" => wish.list = true,
                "--verbose" | "-v" => wish.verbose = true,
                _ => bail!("compat does not know `{arg}`\n{USAGE}"),
            }
        }
        Ok(wish)
    }

    fn wants(&self, conversation: &Conversation) -> bool {
        self.only.is_empty() || self.only.iter().any(|text| conversation.id().contains(text))
    }
}

/// Runs the command; an error when a difference is not listed, or the conversations do not cover the API.
pub fn run(args: &[String]) -> Result<()> {
    let wish = Wish::parse(args)?;
    let data = repo_root().join("tests/compat");
    let all = script::load(&data)?;
    let operations = coverage::load(&data.join("operations.csv"))?;
    let missing = coverage::missing(&operations, &all);
    if !missing.is_empty() {
        let names: Vec<String> =
            missing.iter().map(|operation| format!("{} {}", operation.method, operation.path)).collect();
        bail!("no conversation has a step for:\n  {}", names.join("\n  "));
    }
    println!("{} conversations cover {} operations", all.len(), operations.len());
    let mut chosen: Vec<Conversation> = all.into_iter().filter(|conversation| wish.wants(conversation)).collect();
    if wish.list {
        chosen.iter().for_each(|conversation| println!("{}", conversation.id()));
        return Ok(());
    }
    if wish.addr.is_some() {
        chosen.retain(|conversation| conversation.server == ServerKind::Dev);
    }
    if chosen.is_empty() {
        bail!("no conversation is called like that (`--list` shows them)");
    }
    let bao = openbao::ensure()?;
    let pki = Arc::new(pki::Pki::default());
    let theirs = Side::new(Program::OpenBao(bao.clone()), pki.clone());
    if wish.record {
        return record(theirs, &chosen, &bao);
    }
    let ours = Side::new(our_program(&wish, &bao)?, pki);
    let listed = if wish.self_check { Vec::new() } else { listed::load(&repo_root().join("docs/compat.md"))? };
    let whole_run = wish.only.is_empty() && wish.addr.is_none();
    let mut report = Report::new(listed, operations, wish.verbose, whole_run && !wish.self_check);
    play_both(theirs, ours, &chosen, &bao, &mut report)?;
    report.finish()
}

fn our_program(wish: &Wish, bao: &Path) -> Result<Program> {
    if wish.self_check {
        return Ok(Program::OpenBao(bao.to_path_buf()));
    }
    if let Some(addr) = &wish.addr {
        let token = wish.token.clone().unwrap_or_else(|| "root".into());
        return Ok(Program::Running { addr: addr.clone(), token });
    }
    if let Some(path) = &wish.dewdrop {
        let path = path.canonicalize().with_context(|| format!("there is no {}", path.display()))?;
        return Ok(Program::Dewdrop(path));
    }
    build_dewdrop().map(Program::Dewdrop)
}

/// Builds `dewdrop` and finds out from cargo where it put it.
fn build_dewdrop() -> Result<PathBuf> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let built = Command::new(cargo)
        .args(["build", "--package", "dewdrop", "--message-format=json-render-diagnostics"])
        .current_dir(repo_root())
        .stderr(std::process::Stdio::inherit())
        .output()
        .context("cannot start cargo")?;
    if !built.status.success() {
        bail!("cargo build -p dewdrop failed");
    }
    let out = String::from_utf8_lossy(&built.stdout);
    out.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == "dewdrop")
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .context("cargo built dewdrop, but named no program")
}

/// Each side plays on a thread of its own; answers are compared as soon as both have said theirs.
fn play_both(mut theirs: Side, mut ours: Side, chosen: &[Conversation], bao: &Path, report: &mut Report) -> Result<()> {
    let play_all = |side: &mut Side, end: mpsc::Sender<Transcript>| {
        for conversation in chosen {
            if end.send(play::play(side, conversation, bao)).is_err() {
                break;
            }
        }
        side.panics()
    };
    std::thread::scope(|scope| {
        let (their_end, their_answers) = mpsc::channel::<Transcript>();
        let (our_end, our_answers) = mpsc::channel::<Transcript>();
        scope.spawn(move || play_all(&mut theirs, their_end));
        let our_side = scope.spawn(move || play_all(&mut ours, our_end));
        for (index, conversation) in chosen.iter().enumerate() {
            let (theirs, ours) = (their_answers.recv()?, our_answers.recv()?);
            report.add(conversation, &theirs, &ours);
            let last = chosen.get(index + 1).is_none_or(|next| next.area != conversation.area);
            if last {
                report.area_done(&conversation.area);
            }
        }
        report.panics(our_side.join().unwrap_or_default());
        Ok(())
    })
}

/// OpenBao's answers as text files, for people who build the other side.
fn record(mut side: Side, chosen: &[Conversation], bao: &Path) -> Result<()> {
    let dir = repo_root().join(".cache/compat");
    std::fs::create_dir_all(&dir)?;
    let mut text = String::new();
    for (index, conversation) in chosen.iter().enumerate() {
        text.push_str(&report::transcript_text(conversation, &play::play(&mut side, conversation, bao)));
        if chosen.get(index + 1).is_none_or(|next| next.area != conversation.area) {
            let file = dir.join(format!("{}.txt", conversation.area));
            std::fs::write(&file, std::mem::take(&mut text))?;
            println!("{}", file.display());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Vec<String> {
        line.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn the_command_line_is_read_and_mistakes_are_named() {
        let wish = Wish::parse(&args("--only kv2/ --only sys/ --dewdrop x --verbose")).unwrap();
        assert_eq!(wish.only, ["kv2/", "sys/"]);
        assert!(wish.verbose && wish.dewdrop == Some("x".into()));
        assert!(Wish::parse(&args("--only")).is_err());
        assert!(Wish::parse(&args("--nope")).is_err());
    }

    #[test]
    fn every_operation_has_a_step_and_there_are_enough_conversations() {
        let data = repo_root().join("tests/compat");
        let all = script::load(&data).unwrap();
        let operations = coverage::load(&data.join("operations.csv")).unwrap();
        assert_eq!(coverage::missing(&operations, &all), Vec::new());
        assert!(all.len() >= 400, "{} conversations", all.len());
        assert!(operations.len() >= 190, "{} operations", operations.len());
    }
}
