//! `cargo xtask test`: everything that must hold before a change is merged, in the order in which it fails fastest.

mod count;

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context, Result, bail};

use crate::parts::{output_of, repo_root, which};
use crate::{has_chore, say, tools};
use count::Counted;

const USAGE: &str = "usage: cargo xtask test [--quick] [--keep-going]";

/// Rounds of the short crash test.
const CRASH_ROUNDS: &str = "20";

/// One step: a heading and the arguments of `cargo`.
struct Step {
    title: &'static str,
    cargo: Vec<&'static str>,
}

/// What a step brought.
struct Outcome {
    title: &'static str,
    good: bool,
    counted: Counted,
}

/// Runs the command; an error when a step fails.
pub fn run(args: &[String]) -> Result<()> {
    let (mut quick, mut keep_going) = (false, false);
    for arg in args {
        match arg.as_str() {
            "--quick" => quick = true,
            "--keep-going" => keep_going = true,
            _ => bail!("test does not know `{arg}`\n{USAGE}"),
        }
    }
    let clock = say::Stopwatch::start();
    say::heading("tools");
    tools::ensure()?;
    say::good("all there");
    let steps = steps(quick);
    let mut outcomes = Vec::new();
    for step in &steps {
        let outcome = run_step(step)?;
        let stop = !outcome.good && !keep_going;
        outcomes.push(outcome);
        if stop {
            break;
        }
    }
    summary(&outcomes, steps.len() - outcomes.len(), clock)
}

fn steps(quick: bool) -> Vec<Step> {
    let step = |title, cargo: &[&'static str]| Step { title, cargo: cargo.to_vec() };
    let mut steps = vec![
        step("format", &["fmt", "--all", "--check"]),
        step("rooms", &["xtask", "rooms"]),
        step("clippy", &["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]),
    ];
    if output_of(Command::new("cargo").args(["nextest", "--version"])).is_ok() {
        steps.push(step("tests", &["nextest", "run", "--workspace", "--no-fail-fast"]));
        steps.push(step("examples in the documentation", &["test", "--workspace", "--doc", "--no-fail-fast"]));
    } else {
        steps.push(step("tests", &["test", "--workspace", "--no-fail-fast"]));
    }
    if !quick {
        for (name, cargo) in
            [("compat", vec!["xtask", "compat"]), ("crash", vec!["xtask", "crash", "--rounds", CRASH_ROUNDS])]
        {
            if has_chore(name) {
                steps.push(Step { title: name, cargo });
            } else {
                say::warning(&format!("`{name}` is not built yet and is left out"));
            }
        }
        if which("go").is_some() {
            let peer = ["test", "-p", "dewdrop-node", "--test", "nri_peer", "--", "--ignored"];
            steps.push(step("the runtime's own half of NRI, in Go", &peer));
            let provider = ["test", "-p", "dewdrop", "--test", "oidc", "--", "--ignored"];
            steps.push(step("people sign in at a real OpenID provider, in Go", &provider));
        } else {
            say::warning("the runtime's own half of NRI and the real OpenID provider are left out: they need Go");
        }
        match tools::bring("chromium", "chromium", "testing security keys in a real browser") {
            Ok(()) => {
                let keys = ["test", "-p", "dewdrop", "--test", "passkeys", "--", "--ignored", "--test-threads=1"];
                steps.push(step("security keys in a real browser", &keys));
            }
            Err(why) => say::warning(&format!("security keys in a real browser are left out: {why:#}")),
        }
        match crate::cluster::possible() {
            Ok(()) => steps.extend([
                step("real cluster", &["xtask", "e2e", "--keep-going"]),
                step("real cluster without NRI", &["xtask", "e2e", "--mode", "watch", "--keep-going"]),
                step("chart on a real cluster", &["xtask", "install-test"]),
            ]),
            Err(why) => say::warning(&format!("the real cluster is left out: {why:#}")),
        }
    }
    steps
}

/// Runs a step, with its output shown as it comes and its test results counted.
fn run_step(step: &Step) -> Result<Outcome> {
    say::heading(&format!("{}: cargo {}", step.title, step.cargo.join(" ")));
    let clock = say::Stopwatch::start();
    let mut command = Command::new("cargo");
    command.args(&step.cargo).current_dir(repo_root());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if say::has_colour() {
        command.env("CARGO_TERM_COLOR", "always");
    }
    let mut child = command.spawn().context("cannot start cargo")?;
    let (tell, lines) = mpsc::channel();
    let readers = [
        child.stdout.take().map(|pipe| read_lines(pipe, false, tell.clone())),
        child.stderr.take().map(|pipe| read_lines(pipe, true, tell)),
    ];
    let mut counted = Counted::default();
    for (is_error, line) in lines {
        counted.see(&String::from_utf8_lossy(&line));
        // Whoever reads us may have gone; that does not change the result.
        let _ = if is_error { std::io::stderr().write_all(&line) } else { std::io::stdout().write_all(&line) };
    }
    for reader in readers.into_iter().flatten() {
        reader.join().map_err(|_| anyhow::anyhow!("a reader of cargo's output failed"))?;
    }
    let good = child.wait()?.success();
    let told = format!("{} ({})", step.title, say::time(clock.elapsed()));
    if good {
        say::good(&told)
    } else {
        say::failed(&told)
    }
    Ok(Outcome { title: step.title, good, counted })
}

fn read_lines(
    pipe: impl Read + Send + 'static,
    is_error: bool,
    tell: mpsc::Sender<(bool, Vec<u8>)>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut line = Vec::new();
        while pipe.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if tell.send((is_error, std::mem::take(&mut line))).is_err() {
                return;
            }
        }
    })
}

/// The tests' own result lines once more, what failed, and one line for all. A step that failed without a failed test
/// counts as one.
fn summary(outcomes: &[Outcome], not_run: usize, clock: say::Stopwatch) -> Result<()> {
    say::heading("summary");
    outcomes.iter().flat_map(|o| &o.counted.lines).for_each(|line| println!("{line}"));
    let passed: u64 = outcomes.iter().map(|o| o.counted.passed).sum();
    let failed: u64 = outcomes.iter().map(|o| o.counted.failed.max(u64::from(!o.good))).sum();
    let bad: Vec<&str> = outcomes.iter().filter(|o| !o.good).map(|o| o.title).collect();
    for outcome in outcomes.iter().filter(|o| !o.good) {
        outcome.counted.failures.iter().for_each(|told| println!("{}: {told}", outcome.title));
    }
    let good_steps = outcomes.len() - bad.len();
    let left = if not_run > 0 { format!(", {not_run} not run") } else { String::new() };
    println!("steps: {good_steps} good, {} failed{left}; {}", bad.len(), say::time(clock.elapsed()));
    println!("{passed} passed, {failed} failed");
    if bad.is_empty() {
        return Ok(());
    }
    bail!("{}", bad.join(", "))
}
