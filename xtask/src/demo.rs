//! `cargo xtask demo`: Dewdrop at work, in half a minute. A throw-away PostgreSQL, a server, programs started by
//! `dewdrop run`: each gets a database user of its own, and loses it when it ends, however it ends.
//!
//! Everything runs on 127.0.0.1 and in one temporary folder, and is gone afterwards. Each claim is checked: the exit code
//! is honest.

mod access;
mod kubernetes;
mod scene;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::say::{self, Look};
pub use scene::build;
use scene::{Program, Scene};

/// How long a user may outlive its program.
const PROMISE: Duration = Duration::from_secs(1);
/// And when `dewdrop run` itself is killed: its session of 5 s is no longer renewed.
const UNNOTICED: Duration = Duration::from_secs(6);
/// How long the demo waits for what has no promise.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the command; an error when a claim does not hold.
pub fn run(args: &[String]) -> Result<()> {
    let (mut dewdrop, mut show): (_, fn(PathBuf) -> Result<()>) = (None, on_this_machine);
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--kubernetes" => show = kubernetes::run,
            "--access" => show = access::run,
            "--dewdrop" => dewdrop = args.next().map(PathBuf::from),
            _ => bail!("usage: cargo xtask demo [--kubernetes | --access] [--dewdrop PROGRAM]"),
        }
    }
    let dewdrop = match dewdrop {
        Some(program) => program,
        None => {
            say::heading("Building dewdrop");
            build()?
        }
    };
    say::good(&dewdrop.display().to_string());
    show(dewdrop)
}

fn on_this_machine(dewdrop: PathBuf) -> Result<()> {
    let clock = say::Stopwatch::start();

    say::heading("A throw-away PostgreSQL, and a Dewdrop server");
    let mut scene = Scene::open(dewdrop)?;
    say::good(&format!("PostgreSQL on port {}, Dewdrop on {}", scene.postgres.port, scene.address));
    scene.configure()?;
    say::good("Dewdrop may make users in that database, for whoever reads database/creds/app");

    let (mut one, two) = two_programs(&scene)?;
    kill_program(&scene, &mut one, &two)?;
    kill_wrapper(&scene, &two)?;
    end_well(&scene, two)?;
    audit(&mut scene)?;
    println!();
    say::good(&format!("every secret was born with its program and gone with it ({})", say::time(clock.elapsed())));
    Ok(())
}

fn two_programs(scene: &Scene) -> Result<(Program, Program)> {
    say::heading("Two programs, started with `dewdrop run --session-ttl 5s --creds database/creds/app --env -- ...`");
    let (one, two) = (scene.start("one")?, scene.start("two")?);
    for program in [&one, &two] {
        say::good(&format!("program {} (pid {}) works as {}", program.name, program.pid, user(&program.user)));
    }
    ensure!(one.user != two.user, "both programs have the same user {}", one.user);
    show_users(scene)?;
    let mut expected = [one.user.clone(), two.user.clone()];
    expected.sort();
    let users = scene.users()?;
    ensure!(users == expected, "the database has the users {users:?}, and the programs have {expected:?}");
    Ok((one, two))
}

fn kill_program(scene: &Scene, one: &mut Program, two: &Program) -> Result<()> {
    say::heading("kill -9 program one");
    scene::kill9(one.pid)?;
    gone(scene, one, PROMISE)?;
    show_users(scene)?;
    works_on(scene, two)?;
    let status = one.wrapper_ended(PATIENCE)?;
    say::good(&format!("`dewdrop run` of program one has ended, too ({status})"));
    Ok(())
}

fn kill_wrapper(scene: &Scene, two: &Program) -> Result<()> {
    say::heading("A third program; this time kill -9 `dewdrop run` itself");
    let mut three = scene.start("three")?;
    say::good(&format!("program three (pid {}) works as {}", three.pid, user(&three.user)));
    let wrapper = three.wrapper.pid();
    three.wrapper.kill9();
    say::line(&format!("killed pid {wrapper}: nobody is left to clean up, but the server notices"));
    gone(scene, &three, UNNOTICED)?;
    works_on(scene, two)
}

fn end_well(scene: &Scene, mut two: Program) -> Result<()> {
    say::heading("Program two is asked to stop");
    two.wrapper.stop("-TERM", PATIENCE);
    let took = scene.until_gone(&two.user, PATIENCE)?;
    say::good(&format!("{} is gone after {}", user(&two.user), say::time(took)));
    let left = scene.users()?;
    ensure!(left.is_empty(), "the database still has {left:?}");
    say::good("the database has no user left but its superuser");
    Ok(())
}

fn audit(scene: &mut Scene) -> Result<()> {
    say::heading("The audit log: chained, signed, checked offline");
    scene.stop_server();
    let told = scene.verify_audit(&scene.audit_path())?;
    told.lines().take(5).for_each(say::line);
    say::good("no line was changed, dropped or reordered");
    let forged = scene.forge_audit()?;
    ensure!(scene.verify_audit(&forged).is_err(), "a copy with one changed byte was not noticed");
    say::good("a copy with one changed byte is refused");
    Ok(())
}

/// Waits until a program's user is gone; an error when that takes longer than is promised.
fn gone(scene: &Scene, program: &Program, promise: Duration) -> Result<()> {
    let took = scene.until_gone(&program.user, PATIENCE)?;
    ensure!(
        took <= promise,
        "{} was gone only after {}, promised are {}",
        program.user,
        say::time(took),
        say::time(promise)
    );
    say::good(&format!("{} is gone after {}", user(&program.user), say::time(took)));
    Ok(())
}

fn works_on(scene: &Scene, program: &Program) -> Result<()> {
    let beats = scene.beats(&program.name)?;
    scene.wait("the other program to write", PATIENCE, || Ok(scene.beats(&program.name)? > beats))?;
    say::good(&format!("program {} works on ({} rows so far)", program.name, scene.beats(&program.name)?));
    Ok(())
}

fn show_users(scene: &Scene) -> Result<()> {
    say::line(&say::dye(Look::Dim, "select rolname, rolvaliduntil from pg_roles:"));
    for line in scene.postgres.psql(scene::USERS_FOR_PEOPLE)?.lines() {
        say::line(&format!("  {}", say::dye(Look::Cyan, line)));
    }
    Ok(())
}

fn user(name: &str) -> String {
    say::dye(Look::Cyan, name)
}
