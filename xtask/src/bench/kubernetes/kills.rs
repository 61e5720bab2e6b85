//! From SIGKILL of a container's process to its user gone.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};

use super::session::Session;
use super::{Wish, ms, percentile, verdict};
use crate::bench::host;
use crate::e2e::{Stage, TestPod, WAIT};
use crate::say::{self, Stopwatch};

/// Milliseconds from the kill to the user gone.
const BUDGET: f64 = 100.0;
/// Pods that are up at the same time; one after the other is killed.
const BATCH: usize = 10;

pub fn measure(stage: &mut Stage, wish: &Wish) -> Result<String> {
    let mut session = Session::open(&stage.postgres)?;
    let mut times = Vec::new();
    while times.len() < wish.kills {
        let names: Vec<String> =
            (times.len()..wish.kills.min(times.len() + BATCH)).map(|n| format!("kill-{n}")).collect();
        for name in &names {
            stage.apply(&TestPod::new(name).restart("Never").with("app", WAIT))?;
        }
        for name in &names {
            times.push(kill(stage, &mut session, name)?);
        }
        stage.tidy()?;
    }
    times.sort();
    let [p50, p99, max] = [50, 99, 100].map(|percent| ms(percentile(&times, percent)));
    say::line(&format!("p50 {p50:.1} ms, p99 {p99:.1} ms, max {max:.1} ms"));
    let mut text = String::new();
    writeln!(text, "| SIGKILL to user gone | kills | p50 ms | p99 ms | max ms | budget (p99) |")?;
    writeln!(text, "|---|---:|---:|---:|---:|---|")?;
    let budget = verdict(p99, BUDGET, "ms");
    writeln!(text, "| one container | {} | {p50:.1} | {p99:.1} | {max:.1} | {budget} |", times.len())?;
    writeln!(
        text,
        "\nFrom before the `kill` system call to the answer of PostgreSQL, which looks into `pg_roles` every 2 ms in one statement over \
         a kept connection; so up to 2 ms are the look's own. One kill at a time, up to {BATCH} pods run."
    )?;
    Ok(text)
}

fn kill(stage: &Stage, session: &mut Session, name: &str) -> Result<Duration> {
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
    if ms(took) > BUDGET {
        let at = host::time_of_day()?;
        say::line(&format!("{name}: {:.1} ms, gone at {at}; the agents:\n{}", ms(took), stage.agent_log()));
    }
    Ok(took)
}
