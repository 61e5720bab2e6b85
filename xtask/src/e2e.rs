//! `cargo xtask e2e`: containers start and end on a real cluster, in every way there is; after each, the database has just
//! the users that it must have.

mod account;
mod acts;
mod admission;
mod agentless_ends;
mod agentless_scenes;
mod breaks;
mod cable;
mod ends;
mod env_scenes;
mod hook;
mod leak_scenes;
mod leak_search;
mod people;
mod pods;
mod proof;
mod scenes;
mod second_cluster;
mod stage;
mod watch;
mod watch_scenes;

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::say::{self, Stopwatch};
pub use people::Town;
pub use pods::{TestPod, WAIT};
pub use stage::Stage;
pub use watch::Mode;

const USAGE: &str = "cargo xtask e2e [--dewdrop PROGRAM] [--mode nri|watch] [--only TEXT[,TEXT...]] [--keep-going]";

/// Runs the command; an error when a scene fails.
pub fn run(args: &[String]) -> Result<()> {
    let (mut program, mut only, mut keep_going) = (None, String::new(), false);
    let mut mode = Mode::Nri;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match (arg.as_str(), arg == "--keep-going") {
            (_, true) => keep_going = true,
            // Each part is started in a folder of its own.
            ("--dewdrop", _) => program = args.next().map(std::path::absolute).transpose()?,
            ("--mode", _) => mode = Mode::parse(args.next())?,
            ("--only", _) => only = args.next().cloned().unwrap_or_default(),
            _ => bail!("usage: {USAGE}"),
        }
    }
    let program = match program {
        Some(program) => program,
        None => crate::demo::build()?,
    };
    play(program, mode, &only, keep_going)
}

fn play(program: PathBuf, mode: Mode, only: &str, keep_going: bool) -> Result<()> {
    say::heading("A real cluster, PostgreSQL, a server, and an agent on each node");
    let clock = Stopwatch::start();
    let mut stage = Stage::open(program, 2)?;
    stage.play_in(mode)?;
    say::good(&format!("everything runs ({})", say::time(clock.elapsed())));
    let mut failed = Vec::new();
    let mut played = 0;
    for (name, scene) in scenes_of(mode).iter().filter(|(name, _)| only.split(',').any(|part| name.contains(part))) {
        say::heading(name);
        let clock = Stopwatch::start();
        played += 1;
        match scene(&mut stage) {
            Ok(()) => say::good(&say::time(clock.elapsed())),
            Err(error) => {
                say::failed(&format!("{name}: {error:#}\n{}", stage.told()));
                failed.push(*name);
                if !keep_going {
                    break;
                }
                stage.tidy().context("what the scene left cannot be taken away")?;
            }
        }
    }
    if played == 0 {
        bail!("no scene has {only:?} in its name");
    }
    // As `cargo test` says it, so that scenes are counted, too.
    let (verdict, good) = (if failed.is_empty() { "ok" } else { "FAILED" }, played - failed.len());
    println!("test result: {verdict}. {good} passed; {} failed; scenes on a real cluster", failed.len());
    if !failed.is_empty() {
        bail!("{} of {played} scenes failed: {}", failed.len(), failed.join("; "));
    }
    Ok(())
}

/// All scenes of a mode, in order.
fn scenes_of(mode: Mode) -> Vec<scenes::Scene> {
    match mode {
        Mode::Nri => scenes::ALL
            .iter()
            .chain(env_scenes::ALL)
            .chain(agentless_scenes::ALL)
            .chain(agentless_ends::ALL)
            .chain(proof::ALL)
            .chain(leak_scenes::ALL)
            .chain(second_cluster::ALL)
            .chain(people::ALL)
            .copied()
            .collect(),
        Mode::Watch => {
            for (name, why) in watch_scenes::LEFT_OUT {
                say::line(&format!("left out: {name} ({why})"));
            }
            watch_scenes::all()
        }
    }
}
