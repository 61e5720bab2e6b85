//! Many pods at once, and what agents and server spend on them.

use std::fmt::Write as _;
use std::thread::sleep;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::starts::SCRIPT;
use super::{Wish, verdict};
use crate::bench::host;
use crate::e2e::{Stage, TestPod};
use crate::say::{self, Stopwatch};

/// Megabytes of an agent.
const BUDGET: f64 = 25.0;
const IDLE: Duration = Duration::from_secs(10);

pub fn measure(stage: &mut Stage, wish: &Wish) -> Result<String> {
    let mut text = String::new();
    writeln!(
        text,
        "| pods at once, two nodes | wall s without | wall s with | agents' CPU ms/start | server's CPU ms/start and end | larger agent's MB | idle CPU of both agents | budget (memory) |"
    )?;
    writeln!(text, "|---:|---:|---:|---:|---:|---:|---:|---|")?;
    for count in &wish.crowds {
        let without = rise(stage, *count, false)?;
        stage.tidy()?;
        let (agents, server) = (agents_cpu(stage)?, host::cpu_micros(stage.vault.pid()?)?);
        let with = rise(stage, *count, true)?;
        let up = agents_cpu(stage)? - agents;
        let pids = stage.agent_pids();
        let memory = pids.iter().map(|pid| host::resident(*pid)).collect::<Result<Vec<_>>>()?;
        let memory = memory.into_iter().max().unwrap_or(0) as f64 / f64::from(1 << 20);
        let before = agents_cpu(stage)?;
        sleep(IDLE);
        let idle = (agents_cpu(stage)? - before) as f64 / IDLE.as_micros() as f64 * 100.0;
        stage.tidy()?;
        let server = host::cpu_micros(stage.vault.pid()?)? - server;
        let each = |micros: u64| micros as f64 / 1000.0 / *count as f64;
        let row = format!(
            "| {count} | {:.2} | {:.2} | {:.1} | {:.1} | {memory:.1} | {idle:.2} % | {} |",
            without.as_secs_f64(),
            with.as_secs_f64(),
            each(up),
            each(server),
            verdict(memory, BUDGET, "MB")
        );
        say::line(&row);
        writeln!(text, "{row}")?;
    }
    writeln!(
        text,
        "\nWall: from just before one `kubectl apply` of all to all Ready. CPU: user and system time of `/proc/PID/stat` (steps of 10 ms, so one \
         pod says little). The server's is from before the first start to after the last end, {} s of idle between included: login, \
         credential, lease, beats, end. The pods share two nodes, so an agent has about half of them: of 200 those 100 that the budget is for.",
        IDLE.as_secs()
    )?;
    Ok(text)
}

fn rise(stage: &Stage, count: usize, ours: bool) -> Result<Duration> {
    let pod = |n: usize| {
        let pod = TestPod::new(&format!("crowd-{n}"));
        if ours { pod.with("app", SCRIPT).manifest() } else { pod.beside("app", SCRIPT, &[]).manifest() }
    };
    let all = json!({ "apiVersion": "v1", "kind": "List", "items": (0..count).map(pod).collect::<Vec<_>>() });
    let clock = Stopwatch::start();
    stage.apply_json(&all)?;
    stage.kubectl(&["wait", "--for=condition=Ready", "pods", "--all", "--timeout=300s"])?;
    Ok(clock.elapsed())
}

fn agents_cpu(stage: &Stage) -> Result<u64> {
    stage.agent_pids().into_iter().map(host::cpu_micros).sum()
}
