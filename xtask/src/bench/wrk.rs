//! The load: `wrk` with a script of our own, for a time or for a number of answers.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::host;
use crate::parts::output_of;

/// How long or how many.
#[derive(Debug, Clone, Copy)]
pub enum Until {
    /// Seconds.
    Seconds(u64),
    /// Good answers.
    Answers(u64),
}

/// A load.
pub struct Load<'a> {
    /// `http://host:port`.
    pub address: &'a str,
    /// `X-Vault-Token`; empty for none.
    pub token: &'a str,
    /// Lua: defines `request`, which returns `wrk.format(...)`. `n` counts from 0.
    pub request: &'a str,
    /// Connections that are kept alive; each has one request under way at any time.
    pub clients: u32,
    /// When it ends.
    pub until: Until,
}

/// What came of it. Times in microseconds.
#[derive(Debug, Clone, Copy, Default)]
pub struct Measured {
    /// Answers.
    pub requests: u64,
    /// Wall time of the load.
    pub micros: u64,
    /// Processor time of the server.
    pub cpu: u64,
    /// Half of the requests took at most this.
    pub p50: u64,
    /// 99 of 100 took at most this.
    pub p99: u64,
}

impl Measured {
    /// Of several runs: sums, and the means of their percentiles.
    pub fn of_all(runs: &[Self]) -> Self {
        let count = (runs.len() as u64).max(1);
        let sum = |of: fn(&Self) -> u64| runs.iter().map(of).sum::<u64>();
        Self {
            requests: sum(|r| r.requests),
            micros: sum(|r| r.micros),
            cpu: sum(|r| r.cpu),
            p50: sum(|r| r.p50) / count,
            p99: sum(|r| r.p99) / count,
        }
    }

    /// Requests in a second.
    pub fn per_second(&self) -> f64 {
        self.requests as f64 * 1e6 / self.micros.max(1) as f64
    }

    /// Processor time of the server per request.
    pub fn cpu_each(&self) -> f64 {
        self.cpu as f64 / self.requests.max(1) as f64
    }
}

/// The head of each script. A number of answers is counted in `response`, which wrk calls only when it is there.
const HEAD: &str = r#"
math.randomseed(os.time())
n = 0
"#;
const COUNT: &str = r#"
local good, bad = 0, 0
function response(status)
  if status < 300 then good = good + 1 else bad = bad + 1 end
  if good == ANSWERS or bad == 100 then
    io.write("ENOUGH\n")
    io.flush()
    wrk.thread:stop()
  end
end
"#;
const TAIL: &str = r#"
function done(summary, latency)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\n", summary.requests, summary.duration, e.status,
    e.connect + e.read + e.write + e.timeout, latency:percentile(50), latency:percentile(99)))
end
"#;
/// More than any number of answers takes.
const HOURS: u64 = 6 * 3600;

/// Runs a load against the server with this process id. Refused or lost requests are an error: their cost would be
/// measured as that of good ones.
pub fn run(load: &Load<'_>, pid: u32, dir: &Path) -> Result<Measured> {
    let mut script = HEAD.to_owned();
    if !load.token.is_empty() {
        script.push_str(&format!("wrk.headers[\"X-Vault-Token\"] = \"{}\"\n", load.token));
    }
    script.push_str(load.request);
    let seconds = match load.until {
        Until::Seconds(seconds) => seconds,
        Until::Answers(answers) => {
            script.push_str(&COUNT.replace("ANSWERS", &answers.to_string()));
            HOURS
        }
    };
    script.push_str(TAIL);
    let file = dir.join("load.lua");
    std::fs::write(&file, script)?;
    let mut command = Command::new("wrk");
    command.args(["-t1", &format!("-c{}", load.clients), &format!("-d{seconds}s"), "--timeout", "60s", "-s"]);
    command.arg(&file).arg(load.address);
    let before = host::cpu_micros(pid)?;
    let told = told_by(command)?;
    let cpu = host::cpu_micros(pid)?.saturating_sub(before);
    let result =
        told.lines().find_map(|line| line.strip_prefix("RESULT ")).with_context(|| format!("wrk says:\n{told}"))?;
    let numbers: Vec<u64> = result.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let [requests, micros, refused, lost, p50, p99] = numbers[..] else { bail!("wrk says: {result}") };
    if refused + lost > 0 || requests == 0 {
        bail!("of {requests} requests {refused} were refused and {lost} lost");
    }
    Ok(Measured { requests, micros, cpu, p50, p99 })
}

/// Runs wrk. It sleeps for its whole time even when its thread has stopped, so it is woken when it says so.
fn told_by(mut command: Command) -> Result<String> {
    let mut wrk = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("cannot start wrk")?;
    let mut told = String::new();
    for line in BufReader::new(wrk.stdout.take().context("wrk has no output")?).lines() {
        let line = line?;
        if line == "ENOUGH" {
            output_of(Command::new("kill").args(["-INT", &wrk.id().to_string()]))?;
        }
        told.push_str(&line);
        told.push('\n');
    }
    let status = wrk.wait()?;
    if !status.success() {
        bail!("wrk ended with {status}: {told}");
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_add_up() {
        let one = Measured { requests: 100, micros: 1_000_000, cpu: 5_000, p50: 10, p99: 20 };
        let two = Measured { requests: 300, micros: 1_000_000, cpu: 15_000, p50: 30, p99: 40 };
        let all = Measured::of_all(&[one, two]);
        assert_eq!((all.per_second(), all.cpu_each(), all.p50, all.p99), (200.0, 50.0, 20, 30));
    }
}
