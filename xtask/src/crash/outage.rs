//! PostgreSQL goes away in the middle of issuing and revoking, and comes back. Nobody helps; nothing may be left.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{scope, sleep};
use std::time::Duration;

use anyhow::{Result, bail};

use super::check::wait;
use super::stage::{SHORT, Stage};
use crate::parts::vault::Caller;
use crate::say;

/// Clients that ask for credentials.
const CLIENTS: usize = 4;
/// Issuing before and after the outage.
const BUSY: Duration = Duration::from_secs(5);
/// From PostgreSQL's return until all is clean: more than the longest pause between two tries of a revocation.
const LIMIT: Duration = Duration::from_secs(300);

/// What the clients were told.
#[derive(Default)]
struct Told {
    issued: AtomicU64,
    refused: AtomicU64,
    over: AtomicBool,
}

/// Runs it.
pub fn run(stage: &mut Stage, down: Duration) -> Result<()> {
    let told = Told::default();
    say::heading(&format!(
        "{CLIENTS} clients ask for credentials of {SHORT} s; PostgreSQL goes away for {}",
        say::time(down)
    ));
    let clients: Vec<Caller> = (0..CLIENTS).map(|_| stage.client()).collect();
    scope(|threads| -> Result<()> {
        for client in clients {
            threads.spawn(|| ask_until_over(client, &told));
        }
        let outcome = outage(stage, down, &told);
        told.over.store(true, Ordering::Relaxed);
        outcome
    })?;
    let clock = say::Stopwatch::start();
    let clean = wait(LIMIT, || Ok(stage.leases("short")?.is_empty() && stage.users("short")?.is_empty()))?;
    let (leases, users) = (stage.leases("short")?.len(), stage.users("short")?.len());
    if !clean {
        println!("0 passed, 1 failed");
        bail!("{} after the last request there are {leases} leases and {users} database users", say::time(LIMIT));
    }
    say::good(&format!(
        "{} after the last request: 0 leases, 0 database users, and nobody helped",
        say::time(clock.elapsed())
    ));
    println!("1 passed, 0 failed");
    Ok(())
}

fn outage(stage: &mut Stage, down: Duration, told: &Told) -> Result<()> {
    sleep(BUSY);
    let before = told.issued.load(Ordering::Relaxed);
    stage.postgres.kill9();
    say::good(&format!(
        "{before} credentials issued; PostgreSQL is killed, with {} leases alive",
        stage.leases("short")?.len()
    ));
    sleep(down);
    say::line(&format!(
        "{} requests were refused; {} leases wait",
        told.refused.load(Ordering::Relaxed),
        stage.leases("short")?.len()
    ));
    stage.postgres.start_again()?;
    let back = say::Stopwatch::start();
    let issued_again = || Ok(told.issued.load(Ordering::Relaxed) > before + CLIENTS as u64);
    if !wait(LIMIT, issued_again)? {
        bail!("{} after PostgreSQL's return no credential is issued", say::time(LIMIT));
    }
    say::good(&format!("PostgreSQL is back; credentials are issued again after {}", say::time(back.elapsed())));
    // And once more with a clean stop, which ends sessions in another way.
    sleep(BUSY);
    stage.postgres.stop();
    sleep(Duration::from_secs(3));
    stage.postgres.start_again()?;
    sleep(BUSY);
    Ok(())
}

fn ask_until_over(client: Caller, told: &Told) {
    while !told.over.load(Ordering::Relaxed) {
        match client.send("GET", "database/creds/short", None) {
            Ok((200, _)) => told.issued.fetch_add(1, Ordering::Relaxed),
            _ => {
                sleep(Duration::from_millis(50));
                told.refused.fetch_add(1, Ordering::Relaxed)
            }
        };
    }
}
