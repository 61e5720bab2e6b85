//! `docs/performance.md`: tables that are written by runs, between marks, and words of people around them.

use std::fmt::Write as _;
use std::time::Duration;

use anyhow::{Context, Result};

use super::database::Credentials;
use super::host;
use super::rows::Compared;
use super::wrk::Measured;
use crate::parts::{openbao, repo_root};
use crate::say;

const FILE: &str = "docs/performance.md";

/// A credential may take this many times as long as its SQL alone.
const CREDENTIAL_BUDGET: f64 = 1.15;
/// Idle memory that we aim at.
const IDLE_BUDGET: u64 = 15 << 20;
/// Start to first answer that we aim at.
const START_BUDGET: Duration = Duration::from_millis(50);

/// What a server is like without load.
pub struct Shape {
    /// Bytes in RAM of a new server that nobody asked anything.
    pub idle: u64,
    /// The same after all rows.
    pub loaded: u64,
    /// From the start of a new server to its first answer, unsealed.
    pub first: Duration,
    /// From the start on what the rows left to the first answer.
    pub again: Duration,
    /// Its audit log grew.
    pub audit: bool,
}

/// One run.
pub struct Report {
    /// nginx.
    pub floor: Option<Measured>,
    /// Work.
    pub rows: Vec<Compared>,
    /// Database credentials.
    pub credentials: Vec<Credentials>,
    /// OpenBao, Dewdrop.
    pub shapes: [Shape; 2],
    /// Of load, for each row and side.
    pub seconds: u64,
    /// The machine's load before the run.
    pub load: String,
    /// What was measured.
    pub program: String,
}

/// A budget and what came of it.
struct Verdicts(Vec<String>);

impl Verdicts {
    /// The cell of the table; a miss is noted.
    fn of(&mut self, title: &str, figure: f64, budget: f64, unit: &str) -> String {
        if figure <= budget {
            return format!("{budget} {unit}: met");
        }
        self.0.push(format!("- **{title}**: {figure:.1} {unit}, budget {budget} {unit}"));
        format!("{budget} {unit}: **missed**")
    }
}

impl Report {
    /// Tables and verdicts.
    pub fn markdown(&self) -> Result<String> {
        let mut text = String::new();
        let mut verdicts = Verdicts(Vec::new());
        let audit = |on: bool| if on { "on" } else { "NOT THERE" };
        let [theirs, ours] = &self.shapes;
        writeln!(text, "{}, {}; load of the machine before: {}.", host::today()?, host::machine()?, self.load)?;
        writeln!(
            text,
            "OpenBao {} (raft storage, audit {}) and {} (redb, audit {}), by turns, {} s of load for each row and side, TLS off, ordinary tokens.\n",
            openbao::VERSION,
            audit(theirs.audit),
            self.program,
            audit(ours.audit),
            self.seconds
        )?;
        self.work(&mut text, &mut verdicts)?;
        if !self.credentials.is_empty() {
            self.databases(&mut text, &mut verdicts)?;
        }
        self.standing(&mut text, &mut verdicts)?;
        if verdicts.0.is_empty() {
            writeln!(text, "\nNo budget was missed.")?;
        } else {
            writeln!(text, "\nBudgets missed in this run (why: below):\n\n{}", verdicts.0.join("\n"))?;
        }
        Ok(text)
    }

    fn work(&self, text: &mut String, verdicts: &mut Verdicts) -> Result<()> {
        writeln!(text, "| work | | CPU µs/request | requests/s | p50 ms | p99 ms | OpenBao's CPU / ours | budget |")?;
        writeln!(text, "|---|---|---:|---:|---:|---:|---:|---|")?;
        if let Some(floor) = &self.floor {
            writeln!(text, "| the floor: a constant | nginx | {} | | |", cells(floor))?;
        }
        for row in &self.rows {
            let (mut ratio, mut budget) = (String::new(), String::new());
            if let (Ok(theirs), Ok(ours)) = (&row.openbao, &row.dewdrop) {
                ratio = format!("{:.1}", theirs.cpu_each() / ours.cpu_each());
            }
            if let (Some(aim), Ok(ours)) = (row.budget, &row.dewdrop) {
                budget = match self.shapes[1].audit {
                    true => verdicts.of(row.title, ours.cpu_each(), aim, "µs"),
                    false => format!("{aim} µs: no verdict without audit"),
                };
            }
            let side = |measured: &Result<Measured>| measured.as_ref().map_or("no figure | | |".into(), cells);
            writeln!(text, "| {} | OpenBao | {} | | |", row.title, side(&row.openbao))?;
            writeln!(text, "| | Dewdrop | {} | {ratio} | {budget} |", side(&row.dewdrop))?;
        }
        Ok(())
    }

    fn databases(&self, text: &mut String, verdicts: &mut Verdicts) -> Result<()> {
        writeln!(
            text,
            "\n| database credential, PostgreSQL | ms each | x the SQL alone | CPU µs/request | requests/s | p50 ms | p99 ms | budget |"
        )?;
        writeln!(text, "|---|---:|---:|---:|---:|---:|---:|---|")?;
        for row in &self.credentials {
            let clients = format!("{} client(s)", row.clients);
            writeln!(text, "| {clients}: SQL alone (pgbench) | {:.2} | 1 | | | | | |", row.alone / 1000.0)?;
            for (name, measured) in [("OpenBao", &row.openbao), ("Dewdrop", &row.dewdrop)] {
                let Ok(measured) = measured else {
                    writeln!(text, "| {clients}: {name} | no figure | | | | | | |")?;
                    continue;
                };
                let times = row.wait(measured) / row.alone;
                let budget = match name {
                    "Dewdrop" => verdicts.of(
                        &format!("database credential, {clients}"),
                        times,
                        CREDENTIAL_BUDGET,
                        "x the SQL alone",
                    ),
                    _ => String::new(),
                };
                let wait = row.wait(measured) / 1000.0;
                writeln!(text, "| {clients}: {name} | {wait:.2} | {times:.2} | {} | {budget} |", cells(measured))?;
            }
        }
        Ok(())
    }

    fn standing(&self, text: &mut String, verdicts: &mut Verdicts) -> Result<()> {
        let [theirs, ours] = &self.shapes;
        let mb = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let ms = |time: Duration| time.as_secs_f64() * 1000.0;
        writeln!(text, "\n| standing | OpenBao | Dewdrop | OpenBao / ours | budget |\n|---|---:|---:|---:|---|")?;
        let mut row = |title: &str, theirs: f64, ours: f64, unit: &str, budget: Option<f64>| {
            let verdict = budget.map_or(String::new(), |aim| verdicts.of(title, ours, aim, unit));
            let ratio = theirs / ours.max(0.001);
            writeln!(text, "| {title} | {theirs:.1} {unit} | {ours:.1} {unit} | {ratio:.1} | {verdict} |")
        };
        row("idle memory, new", mb(theirs.idle), mb(ours.idle), "MB", Some(mb(IDLE_BUDGET)))?;
        row("memory after all rows", mb(theirs.loaded), mb(ours.loaded), "MB", None)?;
        row("new store, made and unsealed", ms(theirs.first), ms(ours.first), "ms", None)?;
        row("start to first answer, after all rows", ms(theirs.again), ms(ours.again), "ms", Some(ms(START_BUDGET)))?;
        Ok(())
    }
}

fn cells(measured: &Measured) -> String {
    let ms = |micros: u64| micros as f64 / 1000.0;
    let (cpu, rate) = (measured.cpu_each(), measured.per_second());
    format!("{cpu:.1} | {rate:.0} | {:.2} | {:.2}", ms(measured.p50), ms(measured.p99))
}

/// Puts a section between its marks in the file; what people wrote around it stays.
pub fn write(name: &str, section: &str) -> Result<()> {
    let path = repo_root().join(FILE);
    let old =
        std::fs::read_to_string(&path).with_context(|| format!("{FILE} has the marks that figures go between"))?;
    std::fs::write(&path, replace(&old, name, section)?)?;
    say::good(&format!("{FILE}: section {name} is new"));
    Ok(())
}

fn replace(old: &str, name: &str, section: &str) -> Result<String> {
    let (begin, end) = (format!("<!-- figures: {name} -->"), format!("<!-- end: {name} -->"));
    let (head, rest) = old.split_once(&begin).with_context(|| format!("{FILE} has no {begin}"))?;
    let (_, tail) = rest.split_once(&end).with_context(|| format!("{FILE} has no {end}"))?;
    Ok(format!("{head}{begin}\n\n{}\n\n{end}{tail}", section.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_changes() {
        let old = "words\n<!-- figures: a -->\nold\n<!-- end: a -->\nmore words\n";
        let new = replace(old, "a", "| new |").unwrap();
        assert_eq!(new, "words\n<!-- figures: a -->\n\n| new |\n\n<!-- end: a -->\nmore words\n");
        assert!(replace(old, "b", "x").is_err());
    }

    #[test]
    fn misses_are_told() {
        let mut verdicts = Verdicts(Vec::new());
        assert_eq!(verdicts.of("read", 20.0, 25.0, "µs"), "25 µs: met");
        assert_eq!(verdicts.of("write", 70.0, 60.0, "µs"), "60 µs: **missed**");
        assert_eq!(verdicts.0, ["- **write**: 70.0 µs, budget 60 µs"]);
    }
}
