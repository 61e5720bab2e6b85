//! `cargo xtask crash`: a real server on redb and a real PostgreSQL, under load of writes, logins and database
//! credentials; `kill -9` at a random moment; a new start; and then everything that was acknowledged must be there, and
//! nothing may be left that nobody answers for.
//!
//! `--postgres-down SECONDS` instead stops PostgreSQL in the middle of issuing and revoking, and brings it back.

mod check;
mod load;
mod outage;
mod stage;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::PathBuf;
use std::thread::{scope, sleep};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::{parts, say, tools};
use check::Expected;
use load::Notes;
use stage::Stage;

const USAGE: &str = "\
cargo xtask crash [options]
  --rounds N                kills (default 1000)
  --seconds N               ends after so many seconds, even when there are rounds left
  --postgres-down SECONDS   stops PostgreSQL for so long instead
  --dewdrop PROGRAM         a binary that is there (default: cargo build -p dewdrop)";

const ROUNDS: u64 = 1000;
/// Rounds after which the slow checks are made: what must be gone is gone, and the audit log's chain holds.
const BLOCK: u64 = 100;
/// The server is killed between these many milliseconds of load.
const KILL_AFTER: std::ops::Range<u64> = 30..500;
/// Problems of one round that are printed; more say the same.
const SHOWN: usize = 5;

/// What the command line asks for.
#[derive(Debug)]
struct Wish {
    rounds: u64,
    seconds: Option<u64>,
    down: Option<u64>,
    dewdrop: Option<PathBuf>,
}

impl Wish {
    fn parse(args: &[String]) -> Result<Self> {
        let mut wish = Self { rounds: ROUNDS, seconds: None, down: None, dewdrop: None };
        let mut args = args.iter();
        while let Some(arg) = args.next() {
            let value =
                args.next().with_context(|| format!("crash does not know `{arg}`, or it needs a value\n{USAGE}"))?;
            let number = || value.parse::<u64>().with_context(|| format!("{arg} takes a number, not {value:?}"));
            match arg.as_str() {
                "--rounds" => wish.rounds = number()?,
                "--seconds" => wish.seconds = Some(number()?),
                "--postgres-down" => wish.down = Some(number()?),
                "--dewdrop" => wish.dewdrop = Some(value.into()),
                _ => bail!("crash does not know `{arg}`\n{USAGE}"),
            }
        }
        Ok(wish)
    }
}

/// Runs the command; an error when something was lost or left over.
pub fn run(args: &[String]) -> Result<()> {
    let wish = Wish::parse(args)?;
    let program = match &wish.dewdrop {
        Some(program) => program.canonicalize().with_context(|| format!("no program {}", program.display()))?,
        None => {
            tools::ensure()?;
            parts::build(&[])?
        }
    };
    say::heading("a server on redb, and a PostgreSQL");
    let mut stage = Stage::open(&program)?;
    say::good(&format!("{} on PostgreSQL {}", stage.vault.address, stage.postgres.port));
    match wish.down {
        Some(seconds) => outage::run(&mut stage, Duration::from_secs(seconds)),
        None => rounds(&mut stage, &wish),
    }
}

/// What the rounds brought.
#[derive(Default)]
struct Tally {
    passed: u64,
    failed: u64,
    writes: u64,
    logins: u64,
    credentials: u64,
    revoked: u64,
    slowest_start: Duration,
}

impl Tally {
    fn count(&mut self, notes: &[Notes]) {
        for notes in notes {
            self.writes += notes.writes;
            self.logins += notes.tokens.len() as u64;
            self.credentials += notes.users.len() as u64;
            self.revoked += (notes.ended_tokens.len() + notes.ended_users.len()) as u64;
        }
    }

    /// Counts a round, and says what was wrong with it.
    fn judge(&mut self, round: u64, problems: &[String]) {
        if problems.is_empty() {
            self.passed += 1;
            return;
        }
        self.failed += 1;
        problems.iter().take(SHOWN).for_each(|problem| say::failed(&format!("round {round}: {problem}")));
        if problems.len() > SHOWN {
            say::failed(&format!("round {round}: and {} more", problems.len() - SHOWN));
        }
    }
}

fn rounds(stage: &mut Stage, wish: &Wish) -> Result<()> {
    let clock = say::Stopwatch::start();
    let (mut tally, mut expected) = (Tally::default(), Expected::default());
    let last_moment = wish.seconds.map_or(Duration::MAX, Duration::from_secs);
    say::heading(&format!("{} rounds: load, kill -9, start, check", wish.rounds));
    for round in 1..=wish.rounds {
        let out_of_time = clock.elapsed() >= last_moment;
        let mut problems = one_round(stage, &mut expected, &mut tally)?;
        let last = round == wish.rounds || out_of_time;
        if last || round.is_multiple_of(BLOCK) {
            problems.extend(check::settled(stage)?);
            problems.extend(check::audit(stage)?);
        }
        if last {
            problems.extend(check::nothing_left(stage)?);
        }
        tally.judge(round, &problems);
        if last || round.is_multiple_of(BLOCK) {
            progress(round, &tally, clock);
        }
        if out_of_time {
            break;
        }
    }
    println!("{} passed, {} failed", tally.passed, tally.failed);
    if tally.failed > 0 {
        bail!("{} of {} rounds lost or left something", tally.failed, tally.passed + tally.failed);
    }
    Ok(())
}

/// Load, kill, start, check. Problems are returned; an error means that the test itself cannot go on.
fn one_round(stage: &mut Stage, expected: &mut Expected, tally: &mut Tally) -> Result<Vec<String>> {
    let workers = load::workers(stage, expected);
    let notes = scope(|threads| -> Result<Vec<Notes>> {
        let running: Vec<_> = workers.into_iter().map(|worker| threads.spawn(move || worker.work())).collect();
        sleep(Duration::from_millis(KILL_AFTER.start + random() % (KILL_AFTER.end - KILL_AFTER.start)));
        stage.vault.kill9();
        running.into_iter().map(|thread| thread.join().map_err(|_| anyhow::anyhow!("a client failed"))).collect()
    })?;
    tally.count(&notes);
    let mut problems: Vec<String> = notes.iter().flat_map(|notes| notes.refusals.clone()).collect();
    let started = stage.vault.start().context("the start after a kill -9")?;
    tally.slowest_start = tally.slowest_start.max(started);
    expected.learn(notes);
    problems.extend(check::acknowledged(stage, expected)?);
    Ok(problems)
}

fn progress(round: u64, tally: &Tally, clock: say::Stopwatch) {
    say::line(&format!(
        "round {round:>4}: {} passed, {} failed; acknowledged so far: {} writes, {} logins, {} credentials, {} revocations; slowest start {} ms ({})",
        tally.passed,
        tally.failed,
        tally.writes,
        tally.logins,
        tally.credentials,
        tally.revoked,
        tally.slowest_start.as_millis(),
        say::time(clock.elapsed())
    ));
}

/// The standard library's own randomness: moments of a kill need no better.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
