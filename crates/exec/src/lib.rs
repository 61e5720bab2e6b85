//! `dewdrop-exec`: stands before a container's own command and waits until the credential of this start is there
//! (docs/decisions/0018). It lies in the container's volume beside the agent's socket, so it exists only where the agent
//! has published.
//!
//! With variables there are two processes: this one passes signals on and reaps; a second stage of the same program asks
//! for the variables and becomes the command. So the one that stays never has a secret, in its memory or elsewhere. With
//! a gate only, this one waits and becomes the command itself. Where there is no agent this one signs in itself.

#[cfg(feature = "agentless")]
mod agentless;
#[cfg(not(feature = "agentless"))]
#[path = "without.rs"]
mod agentless;
mod args;
mod ask;
mod clock;
mod fail;
#[doc(hidden)]
pub mod fuzzing;
mod install;
mod place;
mod search;
mod stage;
mod supervise;

use std::process::ExitCode;

use args::Args;
use fail::Fail;
use place::{Mode, Place};

/// The program; answers its exit code.
#[must_use]
pub fn main() -> ExitCode {
    match run() {
        Ok(code) => ExitCode::from(code),
        Err(why) => {
            eprintln!("dewdrop-exec: {why}");
            ExitCode::from(why.code())
        }
    }
}

fn run() -> Result<u8, Fail> {
    let mut given = std::env::args_os().skip(1).peekable();
    if given.next_if(|arg| arg == install::FLAG).is_some() {
        return install::run(given).map(|()| 0);
    }
    let args = Args::parse(given)?;
    let place = Place::find()?;
    place::no_core_dumps();
    match (place.mode()?, args.second) {
        (Mode::Env, false) => supervise::run(&args),
        (Mode::Env, true) | (Mode::Gate, _) => Err(stage::run(&args, &place)),
        (Mode::Agentless, false) => agentless::run(&args),
        (Mode::Agentless, true) => Err(agentless::second_stage(&args)),
    }
}
