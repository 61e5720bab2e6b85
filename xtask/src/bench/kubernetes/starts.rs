//! The same pod with our volume and without, by turns, one at a time.

use std::fmt::Write as _;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use super::publish;
use super::session::Session;
use super::{Wish, ms, percentile, verdict};
use crate::e2e::{Stage, TestPod};
use crate::parts::output_of;
use crate::say::{self, Stopwatch};

/// Milliseconds that we may add to the time of the SQL.
const BUDGET: f64 = 20.0;
/// The first line on stdout is the container's first act.
pub const SCRIPT: &str = "echo up; trap 'exit 0' TERM; while :; do sleep 0.5; done";

pub fn measure(stage: &mut Stage, wish: &Wish) -> Result<String> {
    let sql = sql_alone(stage, wish.pods)?;
    let known = publish::times(stage)?.len();
    let (mut with, mut without, mut empty) = (Vec::new(), Vec::new(), Vec::new());
    for n in 0..wish.pods {
        without.push(start(stage, &TestPod::new(&format!("plain-{n}")).beside("app", SCRIPT, &[]))?);
        empty.push(start(stage, &with_a_folder(&format!("folder-{n}")))?);
        with.push(start(stage, &TestPod::new(&format!("ours-{n}")).with("app", SCRIPT))?);
    }
    with.sort();
    without.sort();
    empty.sort();
    let mut ours = publish::times(stage)?.split_off(known);
    ours.sort();
    let mut text = String::new();
    writeln!(text, "| start of a container | starts | p50 ms | p99 ms | budget |\n|---|---:|---:|---:|---|")?;
    let mut row = |title: &str, times: &[Duration], budget: &str| {
        let (p50, p99) = (ms(percentile(times, 50)), ms(percentile(times, 99)));
        say::line(&format!("{title}: p50 {p50:.1} ms, p99 {p99:.1} ms"));
        writeln!(text, "| {title} | {} | {p50:.1} | {p99:.1} | {budget} |", times.len())
    };
    row("create to first line, without us", &without, "")?;
    row("create to first line, without us, with an emptyDir", &empty, "")?;
    row("create to first line, with a database credential", &with, "")?;
    row("the SQL of the credential alone", &sql, "")?;
    let over = ms(percentile(&ours, 50)) - ms(percentile(&sql, 50));
    row("our driver's NodePublishVolume, of that start", &ours, &verdict(over, BUDGET, "ms over the SQL"))?;
    let added = |percent| ms(percentile(&with, percent)) - ms(percentile(&without, percent));
    writeln!(
        text,
        "| added to the pod without a volume (difference of the rows) | | {:.1} | {:.1} | |",
        added(50),
        added(99)
    )?;
    let beside = ms(percentile(&with, 50)) - ms(percentile(&empty, 50));
    writeln!(text, "| added to the pod with an emptyDir | | {beside:.1} | | |")?;
    writeln!(
        text,
        "\nFrom just before `kubectl apply` starts to the time that containerd wrote beside the container's first line; the kinds by \
         turns, one pod at a time, so kubectl and the scheduler are in all. kubelet looks for mounted volumes at intervals, so any \
         volume costs; the emptyDir shows how much. The difference of two percentiles is no percentile: p99 \
         is a hint. NodePublishVolume is the whole of what we do before the container may start, from kubelet's call to our answer (times of \
         the agent's log, in whole ms): the login, the lease, the SQL, the files. What is left of the difference is kubelet's: it \
         asks the API server for the pod's token, and calls the driver. The SQL: `create role` with a plain password (PostgreSQL hashes it) over a kept connection."
    )?;
    Ok(text)
}

/// The same pod with a volume that nobody has to make.
fn with_a_folder(name: &str) -> TestPod {
    TestPod::new(name)
        .beside("app", SCRIPT, &[])
        .patched("/spec/volumes", json!([{ "name": "folder", "emptyDir": {} }]))
        .patched("/spec/containers/0/volumeMounts", json!([{ "name": "folder", "mountPath": "/secrets" }]))
}

fn start(stage: &Stage, pod: &TestPod) -> Result<Duration> {
    let manifest = pod.manifest();
    let name = manifest.pointer("/metadata/name").and_then(serde_json::Value::as_str).context("a pod without name")?;
    let before = nanoseconds(&["+%s%N"])?;
    stage.apply(pod)?;
    stage.kubectl(&["wait", "--for=condition=Ready", &format!("pod/{name}"), "--timeout=90s"])?;
    let mut log = String::new();
    stage.wait("the first line", Duration::from_secs(30), || {
        log = stage.kubectl(&["logs", name, "-c", "app", "--timestamps"])?;
        Ok(!log.trim().is_empty())
    })?;
    let at = log.split_whitespace().next().context("a line without its time")?;
    let up = nanoseconds(&["-d", at, "+%s%N"])?;
    stage.delete(name)?;
    Ok(Duration::from_nanos(up.checked_sub(before).context("it was up before it was made")?))
}

fn nanoseconds(args: &[&str]) -> Result<u64> {
    Ok(output_of(Command::new("date").args(args))?.trim().parse()?)
}

/// The statement of the roles `app` and `worker`, each time in its own transaction.
fn sql_alone(stage: &Stage, count: usize) -> Result<Vec<Duration>> {
    let mut session = Session::open(&stage.postgres)?;
    let mut times = Vec::new();
    for n in 0..count {
        let clock = Stopwatch::start();
        session.send(&format!(
            "create role \"alone-{n}\" with login password 'a-plain-password-{n}' valid until '2099-01-01';\nselect 'made';"
        ))?;
        session.expect("made")?;
        times.push(clock.elapsed());
        session.send(&format!("drop role \"alone-{n}\";"))?;
    }
    times.sort();
    Ok(times)
}
