//! `kubectl exec`: how fast its output goes through, not recorded and recorded.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Sides;
use crate::bench::host;
use crate::say::Stopwatch;

/// Lines of the output, of 100 bytes each.
const LINES: u64 = 200_000;
const RUNS: u32 = 3;

/// What came of the runs of a kind.
#[derive(Default)]
struct Took {
    bytes: u64,
    wall: Duration,
    proxy: u64,
    server: u64,
}

pub fn measure(sides: &Sides<'_, '_>) -> Result<String> {
    let town = sides.town;
    let mut direct = Took::default();
    let mut plain = Took::default();
    let mut recorded = Took::default();
    for _ in 0..RUNS {
        let mut command = Command::new(town.stage.cluster()?.bin.join("kubectl"));
        command.env("KUBECONFIG", &town.stage.cluster()?.kubeconfig).args(["-n", "shop"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        run(sides, command, &mut direct).context("straight")?;
        run(sides, town.kubectl_command("ann", &[])?, &mut plain).context("not recorded")?;
    }
    let id = town.only("recorded", &["-ttl=30m"])?;
    let before = recordings(sides)?;
    for _ in 0..RUNS {
        let ran = run(sides, town.kubectl_command("ann", &[])?, &mut recorded);
        if let Err(error) = ran {
            // The record has the reason, a moment later.
            std::thread::sleep(Duration::from_secs(2));
            let end = town.lines(&id)?.pop().unwrap_or_default();
            bail!("recorded: {error:#}; the record says {}", end["refused"]);
        }
    }
    ensure!(recordings(sides)? == before + RUNS as usize, "the sessions were recorded");
    let mut text = format!(
        "| output of `kubectl exec`, {} MB of text, {RUNS} times | MB/s | proxy's CPU s/GB | server's CPU s/GB |\n|---|---:|---:|---:|\n",
        LINES / 10_000
    );
    for (name, took) in [
        ("straight to the API server", &direct),
        ("through the proxy, not recorded", &plain),
        ("through the proxy, recorded", &recorded),
    ] {
        let each = |micros: u64| micros as f64 / 1e6 / (took.bytes as f64 / 1e9);
        let cells = if name.starts_with('s') {
            " | ".to_owned()
        } else {
            format!("{:.2} | {:.2}", each(took.proxy), each(took.server))
        };
        text += &format!("| {name} | {:.1} | {cells} |\n", took.bytes as f64 / 1e6 / took.wall.as_secs_f64());
    }
    text += "\nkubectl's start is in the time; it, the container, containerd and kubelet use the same processors.\n";
    Ok(text)
}

/// How many sessions there are on record.
fn recordings(sides: &Sides<'_, '_>) -> Result<usize> {
    let listed = sides.town.stage.vault.caller().send("GET", "access/recordings?list=true", None)?.1;
    Ok(listed["data"]["keys"].as_array().map_or(0, Vec::len))
}

fn run(sides: &Sides<'_, '_>, mut command: Command, sum: &mut Took) -> Result<()> {
    let line = "x".repeat(99);
    let script = format!("yes {line} | head -n {LINES}");
    command.args(["exec", "web", "--", "/bin/busybox", "sh", "-c", &script]);
    let server = sides.town.stage.vault.pid()?;
    let (proxy_before, server_before) = (host::cpu_micros(sides.ours.pid)?, host::cpu_micros(server)?);
    let clock = Stopwatch::start();
    let mut child = command.stderr(Stdio::inherit()).spawn().context("cannot start kubectl")?;
    let mut output = child.stdout.take().context("no output")?;
    let (mut buffer, mut bytes) = (vec![0; 256 << 10], 0);
    loop {
        let read = output.read(&mut buffer)?;
        bytes += read as u64;
        if read == 0 {
            break;
        }
    }
    ensure!(child.wait()?.success() && bytes == LINES * 100, "kubectl exec gave {bytes} bytes");
    sum.wall += clock.elapsed();
    sum.bytes += bytes;
    sum.proxy += host::cpu_micros(sides.ours.pid)? - proxy_before;
    sum.server += host::cpu_micros(server)? - server_before;
    Ok(())
}
