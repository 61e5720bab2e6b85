//! `get pod`: what the proxy adds to the time of a request, and its processor time.

use std::time::Duration;

use anyhow::Result;

use super::passage::Passage;
use super::{Sides, verdict};
use crate::bench::host;
use crate::bench::kubernetes::{ms, percentile};
use crate::say::Stopwatch;

const POD: &str = "/api/v1/namespaces/shop/pods/web";
/// Connections of the load that shows the processor time.
const CLIENTS: usize = 4;
/// Of each load.
const TURNS: u32 = 2;
/// Requests of a client of HTTP/2 that wait at once.
const AT_ONCE: usize = 8;
/// So many it asks before its time is looked at: a new connection each.
const A_RUN: usize = 2000;
/// The longest time added to half of the requests, in milliseconds.
const ADDED: f64 = 0.3;
/// Processor time of the proxy for one request, in microseconds.
const CPU: f64 = 60.0;

pub fn measure(sides: &Sides<'_, '_>) -> Result<String> {
    let [direct, ours, nginx] = by_turns(sides)?;
    let at = |times: &[Duration], percent| ms(percentile(times, percent));
    let mut text = String::from(
        "| `get pod`, by turns, one connection each | requests | p50 ms | p99 ms | added at p50 | at p99 | budget |\n\
         |---|---:|---:|---:|---:|---:|---|\n",
    );
    text += &format!(
        "| straight to the API server | {} | {:.3} | {:.3} | | | |\n",
        direct.len(),
        at(&direct, 50),
        at(&direct, 99)
    );
    for (passage, times) in sides.passages().into_iter().zip([&ours, &nginx]) {
        let (p50, p99) = (at(times, 50), at(times, 99));
        let (added, slowest) = (p50 - at(&direct, 50), p99 - at(&direct, 99));
        let budget = passage.judged(verdict(added, ADDED, "ms at p50"));
        let name = passage.name;
        text += &format!("| {name} | {} | {p50:.3} | {p99:.3} | {added:.3} | {slowest:.3} | {budget} |\n", times.len());
    }
    text += "\n| processor time for each `get pod`; the proxy's lines for the record are in it | requests | requests/s | µs | budget |\n\
             |---|---:|---:|---:|---|\n";
    let kinds: [(String, Ask); 2] = [
        (format!("{CLIENTS} connections, one request at a time on each (HTTP/1.1)"), one_by_one),
        (format!("{CLIENTS} connections, {AT_ONCE} requests at a time on each (HTTP/2)"), multiplexed),
    ];
    for (kind, ask) in kinds {
        for (passage, load) in sides.passages().into_iter().zip(loads(sides, ask)?) {
            let each = load.cpu as f64 / load.requests.max(1) as f64;
            let rate = load.requests as f64 / load.took.as_secs_f64();
            let budget = passage.judged(verdict(each, CPU, "µs"));
            text += &format!("| {}: {kind} | {} | {rate:.0} | {each:.1} | {budget} |\n", passage.name, load.requests);
        }
    }
    Ok(text)
}

/// One request straight, one through each, and so on: what else the machine does falls on all alike.
fn by_turns(sides: &Sides<'_, '_>) -> Result<[Vec<Duration>; 3]> {
    let mut lines = [sides.direct.open()?, sides.ours.way.open()?, sides.nginx.way.open()?];
    for line in &mut lines {
        (0..200).try_for_each(|_| line.get(POD).map(drop))?;
    }
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
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

/// Work of several clients at once.
#[derive(Default)]
struct Load {
    requests: u64,
    /// Processor time of what they went through, in microseconds.
    cpu: u64,
    took: Duration,
}

/// One client asks for so long; how often.
type Ask = fn(&Passage, Duration) -> Result<u64>;

fn one_by_one(passage: &Passage, time: Duration) -> Result<u64> {
    let (clock, mut line, mut count) = (Stopwatch::start(), passage.way.open()?, 0);
    while clock.elapsed() < time {
        line.get(POD)?;
        count += 1;
    }
    Ok(count)
}

fn multiplexed(passage: &Passage, time: Duration) -> Result<u64> {
    let (clock, mut count) = (Stopwatch::start(), 0);
    while clock.elapsed() < time {
        passage.http2.get(POD, A_RUN, AT_ONCE)?;
        count += A_RUN as u64;
    }
    Ok(count)
}

/// What all clients did together, by turns.
fn loads(sides: &Sides<'_, '_>, ask: Ask) -> Result<[Load; 2]> {
    let mut sum = [Load::default(), Load::default()];
    for _ in 0..TURNS {
        for (passage, sum) in sides.passages().into_iter().zip(&mut sum) {
            let (before, clock) = (host::cpu_micros(passage.pid)?, Stopwatch::start());
            sum.requests += std::thread::scope(|scope| {
                let client = || ask(passage, sides.time / TURNS);
                let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(client)).collect();
                threads.into_iter().try_fold(0, |sum, thread| {
                    let count = thread.join().map_err(|_| anyhow::anyhow!("a thread of the load broke"))??;
                    anyhow::Ok(sum + count)
                })
            })?;
            sum.took += clock.elapsed();
            sum.cpu += host::cpu_micros(passage.pid)? - before;
        }
    }
    Ok(sum)
}
