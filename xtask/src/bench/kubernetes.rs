//! `cargo xtask bench --kubernetes`: what a container's secrets cost on a real cluster, and how soon they are gone.

mod crowd;
mod kills;
mod publish;
mod session;
mod starts;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use super::{Wish, host};
use crate::e2e::Stage;
use crate::say;

/// Answers the section of `docs/performance.md`.
pub fn measure(dewdrop: &Path, wish: &Wish) -> Result<String> {
    say::heading("A real cluster, PostgreSQL, a server, and an agent on each node");
    let load = host::load()?;
    let mut stage = Stage::open(dewdrop.to_path_buf(), 2)?;
    let mut text = String::new();
    writeln!(text, "{}, {}; load of the machine before: {load}.", host::today()?, host::machine()?)?;
    writeln!(
        text,
        "{}, {} bytes; two nodes, server, PostgreSQL and the measuring program share the machine; agents log at level debug.\n",
        super::version(dewdrop)?,
        std::fs::metadata(dewdrop)?.len()
    )?;
    for (name, part) in PARTS {
        say::heading(name);
        match part(&mut stage, wish) {
            Ok(section) => {
                println!("{section}");
                writeln!(text, "{section}")?;
            }
            Err(error) => {
                say::failed(&format!("{error:#}"));
                writeln!(text, "**No figure** for this part of the run: {name}.\n")?;
            }
        }
        stage.tidy()?;
    }
    Ok(text)
}

type Part = (&'static str, fn(&mut Stage, &Wish) -> Result<String>);

const PARTS: &[Part] = &[
    ("from the kill of a container to its user gone", kills::measure),
    ("what a container's start takes longer", starts::measure),
    ("many at once; processor time and memory", crowd::measure),
];

/// The value below which `percent` of the sorted values are.
pub fn percentile(sorted: &[Duration], percent: usize) -> Duration {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).copied().unwrap_or_default()
}

/// Milliseconds.
pub fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn verdict(figure: f64, budget: f64, unit: &str) -> String {
    let word = if figure <= budget { "met" } else { "**missed**" };
    format!("{budget} {unit}: {word}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let values: Vec<Duration> = (1..=50).map(Duration::from_millis).collect();
        assert_eq!(percentile(&values, 50), Duration::from_millis(25));
        assert_eq!(percentile(&values, 99), Duration::from_millis(50));
        assert_eq!(percentile(&values, 100), Duration::from_millis(50));
        assert_eq!(percentile(&values[..1], 50), Duration::from_millis(1));
    }
}
