//! Watches that wait for news: the proxy's memory for each.

use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::Value;

use super::{Sides, verdict};
use crate::bench::host;
use crate::say::{self, Stopwatch};

const STREAMS: usize = 1000;
/// Memory of a stream, in kilobytes.
const EACH: f64 = 20.0;
/// What is given back is given back by then.
const REST: Duration = Duration::from_secs(2);

pub fn measure(sides: &Sides<'_, '_>) -> Result<String> {
    let list = sides.proxy.open()?.read("/api/v1/namespaces/shop/pods?limit=1")?;
    let list: Value = serde_json::from_slice(&list)?;
    let version = list["metadata"]["resourceVersion"].as_str().context("the list has no version")?;
    let path = format!("/api/v1/namespaces/shop/pods?watch=1&timeoutSeconds=600&resourceVersion={version}");
    sleep(REST);
    let (before, cpu) = (host::resident(sides.pid)?, host::cpu_micros(sides.pid)?);
    let clock = Stopwatch::start();
    let mut open = Vec::with_capacity(STREAMS);
    for _ in 0..STREAMS {
        let mut line = sides.proxy.open()?;
        line.begin(&path)?;
        open.push(line);
    }
    let (took, cpu) = (clock.elapsed(), host::cpu_micros(sides.pid)? - cpu);
    sleep(REST);
    let with = host::resident(sides.pid)?;
    let idle = host::cpu_micros(sides.pid)?;
    sleep(REST);
    let idle = host::cpu_micros(sides.pid)? - idle;
    drop(open);
    sleep(REST);
    let after = host::resident(sides.pid)?;
    let each = with.saturating_sub(before) as f64 / 1024.0 / STREAMS as f64;
    let mb = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(format!(
        "| {STREAMS} watches, a connection each | |\n|---|---:|\n| opened in | {} |\n| the proxy's processor time to open one | {:.0} µs |\n\
         | the proxy in RAM: before, with, after | {:.1}, {:.1}, {:.1} MB |\n| each | {each:.1} KB; {} |\n\
         | processor time while they wait | {:.2} % |\n",
        say::time(took),
        cpu as f64 / STREAMS as f64,
        mb(before),
        mb(with),
        mb(after),
        verdict(each, EACH, "KB"),
        idle as f64 / REST.as_micros() as f64 * 100.0
    ))
}
