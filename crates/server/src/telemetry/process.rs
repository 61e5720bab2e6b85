//! Numbers of the process, under the names that every Prometheus library uses.

use super::metrics::Samples;

/// Ticks per second in `/proc`: the kernel's USER_HZ, which is 100 on every architecture that we build for.
const TICKS: f64 = 100.0;

/// Adds what `/proc/self` tells. What cannot be read is left out.
pub(super) fn collect(out: &mut Samples) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The second field is the program's name in brackets, and may hold anything.
    let fields: Vec<f64> = stat
        .rsplit_once(')')
        .map(|(_, rest)| rest.split_whitespace().map(|n| n.parse().unwrap_or(0.0)).collect())
        .unwrap_or_default();
    // Numbered from the third field of proc(5): utime 14, stime 15, threads 20, start 22, vsize 23.
    let field = |number: usize| fields.get(number - 3).copied();
    if let (Some(user), Some(system)) = (field(14), field(15)) {
        out.bare_counter("process_cpu_seconds_total", (user + system) / TICKS);
    }
    for (name, value) in [
        ("process_threads", field(20)),
        ("process_virtual_memory_bytes", field(23)),
        ("process_resident_memory_bytes", resident()),
        ("process_start_time_seconds", field(22).and_then(|start| Some(boot_time()? + start / TICKS))),
        ("process_open_fds", std::fs::read_dir("/proc/self/fd").ok().map(|dir| dir.count() as f64)),
        ("process_max_fds", rustix::process::getrlimit(rustix::process::Resource::Nofile).current.map(|n| n as f64)),
    ] {
        if let Some(value) = value {
            out.bare_gauge(name, value);
        }
    }
}

/// Seconds since 1970 at which the machine was started.
fn boot_time() -> Option<f64> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}

/// Bytes of memory that are really in use.
fn resident() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok().map(|kib: f64| kib * 1024.0)
}
