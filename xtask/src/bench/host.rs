//! What the kernel knows: the processor time and the memory of a process, and which machine this is.

use std::process::Command;

use anyhow::{Context, Result};

use crate::parts::output_of;

/// User and system time of a process so far, all its threads, living and dead, in microseconds. Steps of a clock tick
/// (10 ms), so it is for loads of seconds.
pub fn cpu_micros(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).with_context(|| format!("no process {pid}"))?;
    // The second field is the program's name in parentheses and may hold anything.
    let (_, rest) = text.rsplit_once(") ").context("/proc/PID/stat has another form")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let ticks =
        |at: usize| fields.get(at).and_then(|field| field.parse::<u64>().ok()).context("/proc/PID/stat is short");
    Ok((ticks(11)? + ticks(12)?) * (1_000_000 / ticks_per_second()?))
}

fn ticks_per_second() -> Result<u64> {
    static TICKS: std::sync::OnceLock<u64> = std::sync::OnceLock::new();
    if let Some(ticks) = TICKS.get() {
        return Ok(*ticks);
    }
    let ticks: u64 = output_of(Command::new("getconf").arg("CLK_TCK"))?.trim().parse()?;
    Ok(*TICKS.get_or_init(|| ticks.max(1)))
}

/// Memory of a process that is in RAM now, in bytes.
pub fn resident(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).with_context(|| format!("no process {pid}"))?;
    Ok(field(&text, "VmRSS:").context("no VmRSS")? * 1024)
}

/// Bytes of all files below a folder, as `du` counts them.
pub fn disk(dir: &std::path::Path) -> Result<u64> {
    let told = output_of(Command::new("du").arg("-sk").arg(dir))?;
    Ok(told.split_whitespace().next().context("du said nothing")?.parse::<u64>()? * 1024)
}

/// Processor, cores, memory, kernel, in one line.
pub fn machine() -> Result<String> {
    let cpu = std::fs::read_to_string("/proc/cpuinfo")?;
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": ")).map_or("?", |(_, m)| m);
    let cores = std::thread::available_parallelism()?;
    let memory = field(&std::fs::read_to_string("/proc/meminfo")?, "MemTotal:").unwrap_or(0) >> 20;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    Ok(format!("{model}, {cores} cores, {memory} GiB, Linux {}", kernel.trim()))
}

/// How busy the machine was in the last minute: processes that wanted to run.
pub fn load() -> Result<String> {
    let text = std::fs::read_to_string("/proc/loadavg")?;
    Ok(text.split(' ').next().unwrap_or_default().to_owned())
}

/// The day, `2026-01-31`.
pub fn today() -> Result<String> {
    Ok(output_of(Command::new("date").args(["-u", "+%F"]))?.trim().to_owned())
}

/// The time of day as logs have it, `12:34:56.789`.
pub fn time_of_day() -> Result<String> {
    Ok(output_of(Command::new("date").args(["-u", "+%T.%3N"]))?.trim().to_owned())
}

fn field(text: &str, name: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}
