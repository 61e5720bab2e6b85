//! What the agent counts.

use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::Agent;
use super::life::Phase;
use super::nets::Net;
use crate::metrics::Numbers;

/// Counters, from the agent's start.
#[derive(Default)]
pub struct Meters {
    mints: AtomicU64,
    failures: AtomicU64,
    beat: Mutex<Option<Instant>>,
}

// === impl Meters ===

impl Meters {
    /// A start was made, or was not.
    pub fn minted(&self, has_worked: bool) {
        let count = if has_worked { &self.mints } else { &self.failures };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// The server heard the node.
    pub fn beat(&self) {
        *self.beat.lock() = Some(Instant::now());
    }
}

impl Numbers for Agent {
    fn text(&self) -> String {
        let mut text = String::new();
        let leading = self.nets.leading();
        head(&mut text, "net", "gauge", "The net that catches the ends of containers now.");
        for net in Net::ALL {
            line(&mut text, &format!("net{{net=\"{}\"}}", net.name()), u64::from(net == leading));
        }
        let is_live = |phase: Phase| matches!(phase, Phase::Taken(_));
        let live = self.holds.lock().values().filter(|hold| is_live(hold.phase())).count();
        let (mints, failures) =
            (self.meters.mints.load(Ordering::Relaxed), self.meters.failures.load(Ordering::Relaxed));
        for (name, kind, help, value) in [
            ("volumes", "gauge", "Volumes that are published.", self.volumes() as u64),
            ("starts_live", "gauge", "Starts whose container has its credential.", live as u64),
            ("starts_followed", "gauge", "Containers whose process is held by a handle.", self.followed.count() as u64),
            ("mints_total", "counter", "Starts that were made.", mints),
            ("mint_failures_total", "counter", "Tries to make a start that failed.", failures),
            ("ends_waiting", "gauge", "Ends that the server has not heard yet.", self.ender.waiting() as u64),
        ] {
            head(&mut text, name, kind, help);
            line(&mut text, name, value);
        }
        if let Some(beat) = *self.meters.beat.lock() {
            head(&mut text, "beat_age_seconds", "gauge", "Since the server last heard the node.");
            line(&mut text, "beat_age_seconds", beat.elapsed().as_secs());
        }
        text
    }
}

fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // A String takes everything.
    let _ = writeln!(text, "# HELP dewdrop_node_{name} {help}\n# TYPE dewdrop_node_{name} {kind}");
}

fn line(text: &mut String, name: &str, value: u64) {
    let _ = writeln!(text, "dewdrop_node_{name} {value}");
}
