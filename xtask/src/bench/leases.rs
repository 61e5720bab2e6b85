//! `--leases N`: what N live leases cost, to make, to keep, to start with, to take back, and what others feel of it.

use std::fmt::Write as _;
use std::path::Path;
use std::thread::{scope, sleep};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::json;

use super::host;
use super::rows::{self, one_line};
use super::side::Side;
use super::wrk::{self, Load, Measured, Until};
use crate::parts::vault::{Kind, Vault};
use crate::say;

/// Clients that make tokens.
const MAKERS: u32 = 64;
/// Clients that read secrets while leases end.
const READERS: u32 = 16;
/// Seconds of reading.
const WATCH: u64 = 10;
/// Pause between two looks at what is left. Each look lists, so it is not done more often.
const LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The longest that ending a batch may take.
const LIMIT: Duration = Duration::from_secs(1800);

/// Rows of the table: title, figure.
struct Table(Vec<(String, String)>);

impl Table {
    fn row(&mut self, title: &str, figure: String) {
        say::line(&format!("{title:<62} {figure}"));
        self.0.push((title.into(), figure));
    }
}

/// What ending a batch was like.
struct Ended {
    took: Duration,
    reads: Measured,
}

/// Measures, prints, and returns the section of `docs/performance.md`.
pub fn measure(count: u64, dewdrop: &Path) -> Result<String> {
    if count < 100 {
        bail!("at least 100 leases, to take a tenth of them back");
    }
    let batch = count / 10;
    let mut table = Table(Vec::new());
    say::heading(&format!("{count} live leases of tokens"));
    let mut side = Side::prepare(Vault::open(Kind::Dewdrop, dewdrop)?)?;
    side.fill()?;
    for role in ["gone", "soon"] {
        side.vault.ask("POST", &format!("auth/token/roles/{role}"), Some(json!({ "renewable": true })))?;
    }
    let empty = restart(&mut side)?;
    table.row("start to first answer, without leases", ms(empty.0));
    let calm = read(&side)?;
    table.row("reads (16 clients) without leases", one_line(&calm));

    let made = make(&side, "", count - batch, 24 * 3600)?;
    make(&side, "/gone", batch, 24 * 3600)?;
    table.row("making them (64 clients)", format!("{:.0}/s, {:.0} µs of CPU each", made.per_second(), made.cpu_each()));
    let full = host::resident(side.vault.pid()?)?;
    table.row("memory after making them", format!("{} MB", full >> 20));
    table.row("on disk, audit log included", format!("{} MB", host::disk(&side.vault.dir().join("data"))? >> 20));

    side.vault.kill9();
    let after_kill = restart_memory(&mut side)?;
    let again = restart(&mut side)?;
    table.row(
        &format!("start to first answer, {count} leases"),
        format!("{}; after a kill -9 {}", ms(again.0), ms(after_kill.0)),
    );
    let each = again.1.saturating_sub(empty.1) as f64 / count as f64;
    table.row(
        "memory after that start",
        format!("{} MB; without leases {} MB: {each:.0} B a lease", again.1 >> 20, empty.1 >> 20),
    );
    table.row(&format!("reads (16 clients) with {count} leases"), one_line(&read(&side)?));

    let ended = end_by_prefix(&side)?;
    table.row(&format!("revoking {batch} by prefix"), rate(batch, ended.took));
    table.row("reads meanwhile", one_line(&ended.reads));

    let ended = expire_at_once(&side, batch, made.per_second())?;
    table.row(&format!("{batch} expire in the same second: none left"), rate(batch, ended.took));
    table.row("reads meanwhile", one_line(&ended.reads));
    markdown(count, &table)
}

fn markdown(count: u64, table: &Table) -> Result<String> {
    let mut text = format!(
        "{}, {}. {count} leases of service tokens, children of one token.\n\n",
        host::today()?,
        host::machine()?
    );
    writeln!(text, "| {count} leases | Dewdrop |\n|---|---|")?;
    for (title, figure) in &table.0 {
        writeln!(text, "| {title} | {figure} |")?;
    }
    Ok(text)
}

/// Makes tokens; `below` is `/ROLE` or nothing.
fn make(side: &Side, below: &str, count: u64, ttl: u64) -> Result<Measured> {
    let request = format!(
        "function request() return wrk.format('POST', '/v1/auth/token/create{below}', nil, '{{\"ttl\":\"{ttl}s\"}}') end\n"
    );
    load(side, &side.work, &request, MAKERS, Until::Answers(count))
}

/// Makes tokens that all end at the same second, `ahead` seconds from now.
fn make_until(side: &Side, below: &str, count: u64, ahead: u64) -> Result<Measured> {
    let request = format!(
        "local last = os.time() + {ahead}\nfunction request()\n  local body = '{{\"ttl\":\"' .. (last - os.time()) .. 's\"}}'\n  \
         return wrk.format('POST', '/v1/auth/token/create{below}', nil, body)\nend\n"
    );
    load(side, &side.work, &request, MAKERS, Until::Answers(count))
}

fn read(side: &Side) -> Result<Measured> {
    load(side, &side.kv, &rows::kv_read(side), READERS, Until::Seconds(WATCH))
}

fn load(side: &Side, token: &str, request: &str, clients: u32, until: Until) -> Result<Measured> {
    let load = Load { address: &side.vault.address, token, request, clients, until };
    wrk::run(&load, side.vault.pid()?, side.vault.dir()).with_context(|| side.vault.log_tail())
}

/// Stops and starts: time to the first answer, and memory a little later.
fn restart(side: &mut Side) -> Result<(Duration, u64)> {
    side.vault.stop();
    restart_memory(side)
}

fn restart_memory(side: &mut Side) -> Result<(Duration, u64)> {
    let time = side.vault.start()?;
    sleep(Duration::from_secs(2));
    Ok((time, host::resident(side.vault.pid()?)?))
}

fn end_by_prefix(side: &Side) -> Result<Ended> {
    watch(side, "gone", || {
        side.vault.ask("POST", "sys/leases/revoke-prefix/auth/token/create/gone", Some(json!({}))).map(drop)
    })
}

fn expire_at_once(side: &Side, count: u64, per_second: f64) -> Result<Ended> {
    let ahead = (count as f64 / per_second.max(1.0) * 1.5) as u64 + 15;
    let clock = say::Stopwatch::start();
    make_until(side, "/soon", count, ahead)?;
    let left = Duration::from_secs(ahead).saturating_sub(clock.elapsed());
    watch(side, "soon", || {
        sleep(left);
        Ok(())
    })
}

/// Runs `begin`, then waits until the role has no token left; readers read from the moment when `begin` is done.
fn watch(side: &Side, role: &str, begin: impl FnOnce() -> Result<()>) -> Result<Ended> {
    begin()?;
    let clock = say::Stopwatch::start();
    scope(|threads| {
        let reader = threads.spawn(|| read(side));
        let caller = side.vault.caller();
        let path = format!("sys/leases/lookup/auth/token/create/{role}?list=true&limit=1");
        loop {
            let (status, answer) = caller.send("GET", &path, None)?;
            match status {
                404 => break,
                200 => {}
                _ => bail!("{path}: {status} {answer}"),
            }
            if clock.elapsed() > LIMIT {
                bail!("after {} there are still leases of {role}", say::time(LIMIT));
            }
            sleep(LOOK_AGAIN);
        }
        let took = clock.elapsed();
        let reads = reader.join().map_err(|_| anyhow!("the reader failed"))??;
        Ok(Ended { took, reads })
    })
}

fn rate(count: u64, took: Duration) -> String {
    format!("{} ({:.0}/s)", say::time(took), count as f64 / took.as_secs_f64().max(0.001))
}

fn ms(time: Duration) -> String {
    format!("{} ms", time.as_millis())
}
