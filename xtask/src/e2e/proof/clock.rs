//! A node whose clock is wrong.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::e2e::pods::{TestPod, WAIT};
use crate::e2e::stage::Stage;
use crate::parts::output_of;
use crate::{say, tools};

/// Five minutes behind, then before: pods begin and end as ever, and what runs keeps what it has.
pub fn off(stage: &mut Stage) -> Result<()> {
    tools::bring("faketime", "faketime", "the scene in which the agent's clock is off")?;
    let library = library()?;
    let node = stage.node(0)?;
    for (name, shift) in [("behind", "-5 minutes"), ("ahead", "+5 minutes")] {
        stage.apply(&TestPod::new(name).on(&node).with("app", WAIT))?;
        let before = stage.user_of(name, "app")?;
        stage.kill_agent(0);
        let env = [
            ("LD_PRELOAD", library.display().to_string()),
            ("FAKETIME", fake(shift)),
            ("DONT_FAKE_MONOTONIC", "1".to_owned()),
        ];
        stage.start_agent_with(0, &env)?;
        stage.until_linked(0)?;
        ensure!(stage.users()? == [before.as_str()], "the clock took a user: {:?} instead of {before}", stage.users()?);
        is_off(stage, shift)?;
        let fresh = format!("{name}-fresh");
        stage.apply(&TestPod::new(&fresh).on(&node).with("app", WAIT))?;
        let first = stage.user_of(&fresh, "app")?;
        stage.kill(&fresh, "app")?;
        let took = stage.until_gone(&first)?;
        say::line(&format!("{name}: user gone {} after the kill", say::time(took)));
        let next = stage.next_user_of(&fresh, "app", &first)?;
        let users = stage.users()?;
        ensure!(
            users.len() == 2 && users.contains(&before) && users.contains(&next),
            "{users:?} instead of {before} and {next}"
        );
        stage.delete(&fresh)?;
        stage.delete(name)?;
        stage.until_empty()?;
    }
    stage.kill_agent(0);
    stage.start_agent(0)?;
    stage.until_linked(0)
}

fn fake(shift: &str) -> String {
    shift.replace(" minutes", "m")
}

/// The agent's log is the witness that the trick works: else the scene would show nothing.
fn is_off(stage: &Stage, shift: &str) -> Result<()> {
    let log = stage.agent_log();
    let minute = |less: &str| {
        let when = format!("{shift} {less}");
        output_of(Command::new("date").args(["-u", "-d", when.trim(), "+%FT%H:%M"])).map(|text| text.trim().to_owned())
    };
    let near = [minute("")?, minute("-1 minutes")?];
    ensure!(near.iter().any(|minute| log.contains(minute)), "the agent's clock is not off by {shift}: {log}");
    Ok(())
}

fn library() -> Result<PathBuf> {
    let folders = std::fs::read_dir("/usr/lib")?.filter_map(|entry| entry.ok().map(|entry| entry.path()));
    let mut found = folders.map(|folder| folder.join("faketime/libfaketimeMT.so.1")).filter(|file| file.exists());
    found.next().context("the package faketime is there, but not its library")
}
