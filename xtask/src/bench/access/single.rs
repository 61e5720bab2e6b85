//! `get pod`: what the proxy adds to the time of a request, and its processor time.

use std::time::Duration;

use anyhow::Result;

use super::{Sides, verdict};
use crate::bench::host;
use crate::bench::kubernetes::{ms, percentile};
use crate::say::Stopwatch;

const POD: &str = "/api/v1/namespaces/shop/pods/web";
/// Connections of the load that shows the processor time.
const CLIENTS: usize = 4;
/// Requests of a client of HTTP/2 that wait at once.
const AT_ONCE: usize = 8;
/// So many it asks before its time is looked at: a new connection each.
const A_RUN: usize = 2000;
/// The longest time added to half of the requests, in milliseconds.
const ADDED: f64 = 0.3;
/// Processor time of the proxy for one request, in microseconds.
const CPU: f64 = 60.0;

pub fn measure(sides: &Sides<'_, '_>) -> Result<String> {
    let [direct, proxy] = by_turns(sides)?;
    let (alone, mixed) = (together(sides)?, multiplexed(sides)?);
    let at = |times: &[Duration], percent| ms(percentile(times, percent));
    let added = at(&proxy, 50) - at(&direct, 50);
    let mut text = String::from(
        "| `get pod`, by turns, one connection each | requests | p50 ms | p99 ms | budget |\n|---|---:|---:|---:|---|\n",
    );
    for (name, times) in [("straight to the API server", &direct), ("through the proxy", &proxy)] {
        text += &format!("| {name} | {} | {:.3} | {:.3} | |\n", times.len(), at(times, 50), at(times, 99));
    }
    text += &format!(
        "| added (difference of the rows) | | {added:.3} | {:.3} | +{} |\n\n",
        at(&proxy, 99) - at(&direct, 99),
        verdict(added, ADDED, "ms at p50")
    );
    text += "| the proxy's processor time for each `get pod`, its lines for the record in it | requests | requests/s | µs | budget |\n\
             |---|---:|---:|---:|---|\n";
    for (name, load) in [
        (format!("{CLIENTS} connections, one request at a time on each (HTTP/1.1)"), alone),
        (format!("{CLIENTS} connections, {AT_ONCE} requests at a time on each (HTTP/2)"), mixed),
    ] {
        let each = load.cpu as f64 / load.requests.max(1) as f64;
        let rate = load.requests as f64 / load.took.as_secs_f64();
        text += &format!("| {name} | {} | {rate:.0} | {each:.1} | {} |\n", load.requests, verdict(each, CPU, "µs"));
    }
    Ok(text)
}

/// One request straight, one through the proxy, and so on: what else the machine does falls on both alike.
fn by_turns(sides: &Sides<'_, '_>) -> Result<[Vec<Duration>; 2]> {
    let mut lines = [sides.direct.open()?, sides.proxy.open()?];
    for line in &mut lines {
        (0..200).try_for_each(|_| line.get(POD).map(drop))?;
    }
    let mut times = [Vec::new(), Vec::new()];
    let clock = Stopwatch::start();
    while clock.elapsed() < sides.time {
        for (line, times) in lines.iter_mut().zip(&mut times) {
            let clock = Stopwatch::start();
            line.get(POD)?;
            times.push(clock.elapsed());
        }
    }
    times.iter_mut().for_each(|times| times.sort());
    Ok(times)
}

/// Work of several clients of the proxy at once.
struct Load {
    requests: u64,
    /// The proxy's processor time, in microseconds.
    cpu: u64,
    took: Duration,
}

fn together(sides: &Sides<'_, '_>) -> Result<Load> {
    let clock = Stopwatch::start();
    loaded(sides, || {
        let mut line = sides.proxy.open()?;
        let mut count = 0;
        while clock.elapsed() < sides.time {
            line.get(POD)?;
            count += 1;
        }
        Ok(count)
    })
}

fn multiplexed(sides: &Sides<'_, '_>) -> Result<Load> {
    let clock = Stopwatch::start();
    loaded(sides, || {
        let mut count = 0;
        while clock.elapsed() < sides.time {
            sides.http2.get(POD, A_RUN, AT_ONCE)?;
            count += A_RUN as u64;
        }
        Ok(count)
    })
}

/// What all clients did together, each of which answers how often it asked.
fn loaded(sides: &Sides<'_, '_>, client: impl Fn() -> Result<u64> + Sync) -> Result<Load> {
    let before = host::cpu_micros(sides.pid)?;
    let clock = Stopwatch::start();
    let requests = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(&client)).collect();
        threads.into_iter().try_fold(0, |sum, thread| {
            let count = thread.join().map_err(|_| anyhow::anyhow!("a thread of the load broke"))??;
            anyhow::Ok(sum + count)
        })
    })?;
    Ok(Load { requests, cpu: host::cpu_micros(sides.pid)? - before, took: clock.elapsed() })
}
