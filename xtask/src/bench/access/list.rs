//! A list of 10,000 pods: bytes of body for processor time, and memory while they flow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Sides;
use crate::bench::host;
use crate::parts::client::{Line, Way};
use crate::say::{self, Stopwatch};

const PODS: u64 = 10_000;
const CLIENTS: u64 = 8;
/// How often each side is asked.
const LISTS: u32 = 5;
const PATH: &str = "/api/v1/namespaces/bank/pods";
/// Bytes of body for a second of our processor time, in GB.
const RATE: f64 = 1.0;

/// What lists of one side took.
#[derive(Default)]
struct Took {
    bytes: u64,
    wall: Duration,
    cpu: u64,
    /// Memory over what there was before.
    more: u64,
}

pub fn measure(sides: &Sides<'_, '_>) -> Result<String> {
    let clock = Stopwatch::start();
    fill(sides)?;
    say::line(&format!("{PODS} pods made in {}", say::time(clock.elapsed())));
    let (plain, packed) = (by_turns(sides, Line::get)?, by_turns(sides, Line::get_packed)?);
    let whole = plain[0].bytes;
    let mut text = format!(
        "| list of {PODS} pods, {:.1} MB, {LISTS} times by turns | MB/s | s each | CPU s/GB | GB of body per CPU s | more in RAM, MB | budget |\n\
         |---|---:|---:|---:|---:|---:|---|\n",
        mb(whole) / f64::from(LISTS),
    );
    for (took, suffix) in [(&plain, String::new()), (&packed, packed_as(&packed))] {
        let [direct, passed @ ..] = took;
        text += &format!(
            "| straight to the API server{suffix} | {:.0} | {:.2} | | | | |\n",
            direct.rate(whole),
            direct.each()
        );
        for (passage, took) in sides.passages().into_iter().zip(passed) {
            let figure = whole as f64 / 1000.0 / took.cpu.max(1) as f64;
            let word = if figure >= RATE { "met" } else { "**missed**" };
            let is_plain = suffix.is_empty();
            let budget = if is_plain { passage.judged(format!("{RATE} GB/s: {word}")) } else { String::new() };
            text += &format!(
                "| {}{suffix} | {:.0} | {:.2} | {:.2} | {figure:.2} | {:.1} | {budget} |\n",
                passage.name,
                took.rate(whole),
                took.each(),
                1.0 / figure,
                mb(took.more),
            );
        }
    }
    Ok(text)
}

/// How lists are asked for.
type Ask = fn(&mut Line, &str) -> Result<u64>;

/// Straight, then through each passage, and so on.
fn by_turns(sides: &Sides<'_, '_>, ask: Ask) -> Result<[Took; 3]> {
    let mut sum = [Took::default(), Took::default(), Took::default()];
    for _ in 0..LISTS {
        let [direct, passed @ ..] = &mut sum;
        direct.add(list(&sides.direct, None, ask)?);
        for (passage, sum) in sides.passages().into_iter().zip(passed) {
            sum.add(list(&passage.way, Some(passage.pid), ask)?);
        }
    }
    Ok(sum)
}

fn packed_as([direct, ..]: &[Took; 3]) -> String {
    format!(", compressed as kubectl asks for it ({:.1} MB)", mb(direct.bytes) / f64::from(LISTS))
}

fn mb(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}

impl Took {
    fn add(&mut self, took: Self) {
        self.bytes += took.bytes;
        self.wall += took.wall;
        self.cpu += took.cpu;
        self.more = self.more.max(took.more);
    }

    /// In MB/s of what is uncompressed.
    fn rate(&self, whole: u64) -> f64 {
        mb(whole) / self.wall.as_secs_f64()
    }

    /// Seconds of a list.
    fn each(&self) -> f64 {
        self.wall.as_secs_f64() / f64::from(LISTS)
    }
}

/// Asks for it once; what it took of the process that it went through.
fn list(way: &Way, pid: Option<u32>, ask: Ask) -> Result<Took> {
    let mut line = way.open()?;
    let cpu = || pid.map_or(Ok(0), host::cpu_micros);
    let resident = || pid.map_or(Ok(0), host::resident);
    let (before, cpu_before) = (resident()?, cpu()?);
    let is_done = AtomicBool::new(false);
    let clock = Stopwatch::start();
    let (bytes, most) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = before;
            while !is_done.load(Ordering::Relaxed) {
                most = most.max(resident().unwrap_or(0));
                std::thread::sleep(Duration::from_millis(3));
            }
            most
        });
        let bytes = ask(&mut line, PATH);
        is_done.store(true, Ordering::Relaxed);
        (bytes, watch.join().unwrap_or(u64::MAX))
    });
    Ok(Took { bytes: bytes?, wall: clock.elapsed(), cpu: cpu()? - cpu_before, more: most - before })
}

/// Pods that no scheduler takes: only their objects are wanted.
fn fill(sides: &Sides<'_, '_>) -> Result<()> {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        let work = || -> Result<()> {
            let mut line = sides.direct.open()?;
            loop {
                let n = next.fetch_add(1, Ordering::Relaxed);
                if n >= PODS {
                    return Ok(());
                }
                line.post(PATH, &pod(n))?;
            }
        };
        let threads: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(work)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<()>>| {
            thread.join().map_err(|_| anyhow::anyhow!("a thread broke"))?
        };
        threads.into_iter().try_for_each(join)
    })
}

fn pod(n: u64) -> String {
    let (name, note) = (format!("crowd-{n:05}"), "x".repeat(500));
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": { "name": name, "labels": { "app": "crowd", "shard": format!("{}", n % 16) }, "annotations": { "note": note } },
        "spec": {
            "schedulerName": "none", "automountServiceAccountToken": false,
            "containers": [{ "name": "app", "image": "dewdrop.test/busybox:1", "command": ["/bin/busybox", "sleep", "1000"] }],
        },
    })
    .to_string()
}
