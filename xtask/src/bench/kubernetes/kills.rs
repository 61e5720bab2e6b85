//! From SIGKILL of a container's process to its user gone.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::session::Session;
use super::{Wish, ms, percentile, verdict};
use crate::bench::host;
use crate::e2e::{Mode, Stage, TestPod, WAIT};
use crate::say::{self, Stopwatch};

/// By which net an agent hears of the end, and milliseconds from the kill to the user gone.
const NETS: [(&str, Mode, f64); 2] = [("with NRI", Mode::Nri, 100.0), ("with the watch", Mode::Watch, 3000.0)];
/// Pods that are up at the same time; one after the other is killed.
const BATCH: usize = 10;

pub fn measure(stage: &mut Stage, wish: &Wish) -> Result<String> {
    let mut text = String::new();
    writeln!(text, "| SIGKILL to user gone | kills | p50 ms | p99 ms | max ms | budget (p99) |")?;
    writeln!(text, "|---|---:|---:|---:|---:|---|")?;
    for (net, mode, budget) in NETS {
        stage.play_in(mode)?;
        let times = kills(stage, wish.kills, budget)?;
        let [p50, p99, max] = [50, 99, 100].map(|percent| ms(percentile(&times, percent)));
        let verdict = verdict(p99, budget, "ms");
        let row = format!("| {net} | {} | {p50:.1} | {p99:.1} | {max:.1} | {verdict} |", times.len());
        say::line(&row);
        writeln!(text, "{row}")?;
    }
    stage.play_in(Mode::Nri)?;
    writeln!(
        text,
        "\nFrom before the `kill` system call to the answer of PostgreSQL, which looks into `pg_roles` every 2 ms in one statement over \
         a kept connection; so up to 2 ms are the look's own. One kill at a time, up to {BATCH} pods run. With either net the agent holds a \
         handle of each process, whose end the kernel tells; the net has named the process."
    )?;
    Ok(text)
}

/// So many kills, the quickest first.
fn kills(stage: &mut Stage, count: usize, budget: f64) -> Result<Vec<Duration>> {
    let mut session = Session::open(&stage.postgres)?;
    let mut times = Vec::new();
    while times.len() < count {
        let names: Vec<String> = (times.len()..count.min(times.len() + BATCH)).map(|n| format!("kill-{n}")).collect();
        for name in &names {
            stage.apply(&TestPod::new(name).restart("Never").with("app", WAIT))?;
        }
        for name in &names {
            times.push(kill(stage, &mut session, name, budget)?);
        }
        stage.tidy()?;
    }
    times.sort();
    Ok(times)
}

fn kill(stage: &Stage, session: &mut Session, name: &str, budget: f64) -> Result<Duration> {
    let user = stage.user_of(name, "app")?;
    let pid = stage.pid_in(name, "app")?.parse().ok().and_then(rustix::process::Pid::from_raw).context("no pid")?;
    // What is looked for must be there first: a name that is wrong would be gone at once.
    session.send(&format!("select count(*) from pg_roles where rolname = '{user}';"))?;
    session.expect("1").with_context(|| {
        let users = stage.users().unwrap_or_default().join(", ");
        format!("pod {name}, which says that it is {user:?}; the database has {users}\n{}", stage.agent_log())
    })?;
    session.send(&format!(
        "do $$ begin while exists (select from pg_roles where rolname = '{user}') loop perform pg_sleep(0.002); end loop; end $$;\n\
         select 'gone';"
    ))?;
    // The loop runs by then.
    sleep(Duration::from_millis(50));
    let clock = Stopwatch::start();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL)?;
    session.expect("gone")?;
    let took = clock.elapsed();
    if ms(took) > budget {
        let at = host::time_of_day()?;
        say::line(&format!("{name}: {:.1} ms, gone at {at}; the agents:\n{}", ms(took), stage.agent_log()));
    }
    Ok(took)
}
