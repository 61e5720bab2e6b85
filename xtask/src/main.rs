//! The chores of this repository: `cargo xtask CHORE`. Plain words, honest exit codes, nothing left running.

mod bench;
mod cluster;
mod compat;
mod crash;
mod demo;
mod e2e;
mod fuzz;
mod image;
mod install;
mod parts;
mod rooms;
mod say;
mod test;
mod tools;

use std::process::ExitCode;

use anyhow::{Result, bail};

/// One chore. `about` is one line.
struct Chore {
    name: &'static str,
    about: &'static str,
    run: fn(&[String]) -> Result<()>,
}

/// All of them. `cargo xtask test` runs `compat` and `crash` when they are in this list.
const CHORES: &[Chore] = &[
    Chore { name: "demo", about: "shows Dewdrop at work: two programs, a database, a kill -9", run: demo::run },
    Chore {
        name: "test",
        about: "all checks and tests (--quick: without compat and crash; --keep-going)",
        run: test::run,
    },
    Chore { name: "compat", about: "plays the same conversations against OpenBao and against us", run: compat::run },
    Chore { name: "bench", about: "OpenBao and us side by side; writes docs/performance.md", run: bench::run },
    Chore {
        name: "crash",
        about: "kill -9 at random moments under load: nothing lost, nothing orphaned",
        run: crash::run,
    },
    Chore {
        name: "e2e",
        about: "containers start and end on a real cluster: the database has just their users",
        run: e2e::run,
    },
    Chore { name: "cluster", about: "a real Kubernetes on this machine: up, down, status, env", run: cluster::run },
    Chore { name: "image", about: "the program as a container image, an OCI archive made by hand", run: image::run },
    Chore {
        name: "install-test",
        about: "the chart on a real cluster: installed, used, upgraded, removed",
        run: install::run,
    },
    Chore { name: "fuzz", about: "searches the parsers of outside bytes for inputs that break them", run: fuzz::run },
    Chore { name: "rooms", about: "checks who may use whom, and how large things may grow", run: rooms::run },
    Chore { name: "tools", about: "installs what the other chores need, or says what is missing", run: tools::run },
];

/// Whether there is such a chore.
fn has_chore(name: &str) -> bool {
    CHORES.iter().any(|chore| chore.name == name)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say::failed(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn dispatch(args: &[String]) -> Result<()> {
    let Some((name, rest)) = args.split_first() else {
        bail!("which chore?\n{}", usage());
    };
    if matches!(name.as_str(), "help" | "--help" | "-h") {
        println!("{}", usage());
        return Ok(());
    }
    match CHORES.iter().find(|chore| chore.name == name) {
        Some(chore) => (chore.run)(rest),
        None => bail!("there is no chore `{name}`\n{}", usage()),
    }
}

fn usage() -> String {
    let lines: Vec<String> = CHORES.iter().map(|chore| format!("  {:<8} {}", chore.name, chore.about)).collect();
    format!("usage: cargo xtask CHORE [options]\n{}", lines.join("\n"))
}
