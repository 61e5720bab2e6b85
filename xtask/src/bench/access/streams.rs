//! Watches that wait for news: memory for each.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::passage::Passage;
use super::{Sides, verdict};
use crate::bench::host;
use crate::say::Stopwatch;

const STREAMS: usize = 1000;
/// Memory of a stream, in kilobytes.
const EACH: f64 = 20.0;
/// What is given back is given back by then.
const REST: Duration = Duration::from_secs(2);

/// Connections of clients of HTTP/2.
const SHARED: usize = 20;

/// As controllers have them.
pub fn shared(sides: &Sides<'_, '_>) -> Result<String> {
    let path = path(sides)?;
    // nginx says nothing of a watch over HTTP/2 before its first news.
    table(&[&sides.ours], &format!("{SHARED} connections (HTTP/2)"), |passage| {
        (0..SHARED).map(|_| passage.http2.begin(&path, STREAMS / SHARED)).collect()
    })
}

/// As so many people have them.
pub fn alone(sides: &Sides<'_, '_>) -> Result<String> {
    let path = path(sides)?;
    table(&sides.passages(), "a connection each (HTTP/1.1)", |passage| {
        let begin = |_| {
            let mut line = passage.way.open()?;
            line.begin(&path)?;
            Ok(line)
        };
        (0..STREAMS).map(begin).collect()
    })
}

/// A watch of what does not change.
fn path(sides: &Sides<'_, '_>) -> Result<String> {
    let list = sides.ours.way.open()?.read("/api/v1/namespaces/shop/pods?limit=1")?;
    let list: Value = serde_json::from_slice(&list)?;
    let version = list["metadata"]["resourceVersion"].as_str().context("the list has no version")?;
    Ok(format!("/api/v1/namespaces/shop/pods?watch=1&timeoutSeconds=600&resourceVersion={version}"))
}

/// What the streams of such clients take.
fn table<C>(passages: &[&Passage], kind: &str, open: impl Fn(&Passage) -> Result<Vec<C>>) -> Result<String> {
    let mut text = format!(
        "| {STREAMS} watches, {kind} | opened in s | CPU µs to open one | in RAM before, with, after, MB | KB each | CPU while they wait | budget |\n\
         |---|---:|---:|---:|---:|---:|---|\n"
    );
    for passage in passages {
        text += &row(passage, || open(passage))?;
    }
    Ok(text)
}

fn row<C>(passage: &Passage, open: impl FnOnce() -> Result<Vec<C>>) -> Result<String> {
    sleep(REST);
    let (before, cpu) = (host::resident(passage.pid)?, host::cpu_micros(passage.pid)?);
    let clock = Stopwatch::start();
    let open = open()?;
    let (took, cpu) = (clock.elapsed(), host::cpu_micros(passage.pid)? - cpu);
    sleep(REST);
    let with = host::resident(passage.pid)?;
    let idle = host::cpu_micros(passage.pid)?;
    sleep(REST);
    let idle = host::cpu_micros(passage.pid)? - idle;
    drop(open);
    sleep(REST);
    let after = host::resident(passage.pid)?;
    let each = with.saturating_sub(before) as f64 / 1024.0 / STREAMS as f64;
    let mb = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(format!(
        "| {} | {:.2} | {:.0} | {:.1}, {:.1}, {:.1} | {each:.1} | {:.2} % | {} |\n",
        passage.name,
        took.as_secs_f64(),
        cpu as f64 / STREAMS as f64,
        mb(before),
        mb(with),
        mb(after),
        idle as f64 / REST.as_micros() as f64 * 100.0,
        passage.judged(verdict(each, EACH, "KB")),
    ))
}
