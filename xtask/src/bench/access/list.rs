//! A list of 10,000 pods: bytes of body for the proxy's processor time, and its memory while they flow.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use super::Sides;
use crate::bench::host;
use crate::say::{self, Stopwatch};

const PODS: u64 = 10_000;
const CLIENTS: u64 = 8;
/// How often each side is asked.
const LISTS: u32 = 5;
const PATH: &str = "/api/v1/namespaces/bank/pods";
/// Bytes of body for a second of the proxy's processor, in GB.
const RATE: f64 = 1.0;

/// What lists of one side took.
#[derive(Default)]
struct Took {
    bytes: u64,
    wall: Duration,
    cpu: u64,
    /// Memory of the proxy over what it had before.
    more: u64,
}

pub fn measure(sides: &Sides<'_, '_>) -> Result<String> {
    let clock = Stopwatch::start();
    fill(sides)?;
    say::line(&format!("{PODS} pods made in {}", say::time(clock.elapsed())));
    let mut sum = [Took::default(), Took::default()];
    for _ in 0..LISTS {
        for (way, sum) in [&sides.direct, &sides.proxy].into_iter().zip(&mut sum) {
            let took = list(sides, way)?;
            sum.bytes += took.bytes;
            sum.wall += took.wall;
            sum.cpu += took.cpu;
            sum.more = sum.more.max(took.more);
        }
    }
    let [direct, proxy] = &sum;
    let mb = |bytes: u64| bytes as f64 / 1e6;
    let rate = |took: &Took| mb(took.bytes) / took.wall.as_secs_f64();
    let figure = proxy.bytes as f64 / 1000.0 / proxy.cpu.max(1) as f64;
    let word = if figure >= RATE { "met" } else { "**missed**" };
    let held = mb(proxy.more);
    Ok(format!(
        "| list of {PODS} pods, {:.1} MB, {LISTS} times by turns | MB/s | s each | proxy's CPU s/GB | proxy's GB of body per CPU s | budget |\n\
         |---|---:|---:|---:|---:|---|\n| straight to the API server | {:.0} | {:.2} | | | |\n\
         | through the proxy | {:.0} | {:.2} | {:.2} | {figure:.2} | {RATE} GB/s: {word} |\n\n\
         The proxy's memory grew by {held:.1} MB at most while one of these lists went through.\n",
        mb(proxy.bytes) / f64::from(LISTS),
        rate(direct),
        direct.wall.as_secs_f64() / f64::from(LISTS),
        rate(proxy),
        proxy.wall.as_secs_f64() / f64::from(LISTS),
        1.0 / figure
    ))
}

fn list(sides: &Sides<'_, '_>, way: &super::Way) -> Result<Took> {
    let mut line = way.open()?;
    let (before, cpu) = (host::resident(sides.pid)?, host::cpu_micros(sides.pid)?);
    let is_done = AtomicBool::new(false);
    let clock = Stopwatch::start();
    let (bytes, most) = std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = before;
            while !is_done.load(Ordering::Relaxed) {
                most = most.max(host::resident(sides.pid).unwrap_or(0));
                std::thread::sleep(Duration::from_millis(3));
            }
            most
        });
        let bytes = line.get(PATH);
        is_done.store(true, Ordering::Relaxed);
        (bytes, watch.join().unwrap_or(u64::MAX))
    });
    Ok(Took { bytes: bytes?, wall: clock.elapsed(), cpu: host::cpu_micros(sides.pid)? - cpu, more: most - before })
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
