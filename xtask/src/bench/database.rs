//! Database credentials: both servers, and the same SQL alone, against one PostgreSQL.

use std::process::Command;

use anyhow::{Context, Result};

use super::Wish;
use super::side::Side;
use super::wrk::{self, Load, Measured, Until};
use crate::parts::output_of;
use crate::parts::postgres::{self, CREATE_ROLE, PASSWORD, Postgres, SUPERUSER};
use crate::say;

/// Times per credential with so many clients, in microseconds; a client waits for its credential.
pub struct Credentials {
    /// Clients.
    pub clients: u32,
    /// `pgbench` with the statement alone.
    pub alone: f64,
    /// OpenBao.
    pub openbao: Result<Measured>,
    /// Dewdrop.
    pub dewdrop: Result<Measured>,
}

impl Credentials {
    /// Mean time that a client waits, in microseconds.
    pub fn wait(&self, measured: &Measured) -> f64 {
        measured.micros as f64 * f64::from(self.clients) / measured.requests.max(1) as f64
    }
}

const REQUEST: &str = "function request() return wrk.format('GET', '/v1/database/creds/app') end\n";

/// Measures with one and with four clients, by turns.
pub fn measure(openbao: &Side, dewdrop: &Side, wish: &Wish) -> Result<Vec<Credentials>> {
    let postgres = postgres::start()?;
    for side in [openbao, dewdrop] {
        side.connect(&postgres).with_context(|| format!("connect {} with PostgreSQL", side.kind().name()))?;
    }
    [1, 4].into_iter().map(|clients| with_clients(clients, &postgres, openbao, dewdrop, wish)).collect()
}

fn with_clients(clients: u32, postgres: &Postgres, openbao: &Side, dewdrop: &Side, wish: &Wish) -> Result<Credentials> {
    let (mut alone, mut theirs, mut ours) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..wish.turns {
        alone.push(pgbench(postgres, dewdrop, clients, wish.seconds_a_turn())?);
        theirs.push(one(openbao, clients, wish.seconds_a_turn()));
        ours.push(one(dewdrop, clients, wish.seconds_a_turn()));
    }
    let sum = |runs: Vec<Result<Measured>>| Ok(Measured::of_all(&runs.into_iter().collect::<Result<Vec<_>>>()?));
    let row = Credentials {
        clients,
        alone: alone.iter().sum::<f64>() / alone.len().max(1) as f64,
        openbao: sum(theirs),
        dewdrop: sum(ours),
    };
    let title = format!("database credential, {clients} client(s)");
    say::line(&format!("{title:<34} SQL alone {:.2} ms", row.alone / 1000.0));
    for (name, measured) in [("OpenBao", &row.openbao), ("Dewdrop", &row.dewdrop)] {
        match measured {
            Ok(m) => say::line(&format!(
                "{title:<34} {name:<8} {:.2} ms, {}",
                row.wait(m) / 1000.0,
                super::rows::one_line(m)
            )),
            Err(error) => say::failed(&format!("{title}, {name}: {error:#}")),
        }
    }
    Ok(row)
}

fn one(side: &Side, clients: u32, seconds: u64) -> Result<Measured> {
    let load = Load {
        address: &side.vault.address,
        token: &side.work,
        request: REQUEST,
        clients,
        until: Until::Seconds(seconds),
    };
    wrk::run(&load, side.vault.pid()?, side.vault.dir()).with_context(|| side.vault.log_tail())
}

/// The statement alone, in a transaction, as the servers run it: mean latency in microseconds.
fn pgbench(postgres: &Postgres, beside: &Side, clients: u32, seconds: u64) -> Result<f64> {
    // The same statement that makes the credentials, timed alone.
    let statement = CREATE_ROLE.replace("{{name}}", "bench-:a-:b").replace("{{password}}", "Aa1-:a-:b");
    let statement = statement.replace("{{expiration}}", "2099-01-01 00:00:00+0000");
    let script =
        format!("\\set a random(1, 1000000000)\n\\set b random(1, 1000000000)\nBEGIN;\n{statement};\nCOMMIT;\n");
    let file = beside.vault.dir().join("pgbench.sql");
    std::fs::write(&file, script)?;
    let mut command = Command::new(postgres::ensure()?.join("pgbench"));
    command.args(["-n", "-h", "127.0.0.1", "-p", &postgres.port.to_string(), "-U", SUPERUSER]);
    command.args(["-c", &clients.to_string(), "-T", &seconds.to_string(), "-f"]).arg(&file).arg("postgres");
    let told = output_of(command.env("PGPASSWORD", PASSWORD))?;
    let latency = told.lines().find_map(|line| line.strip_prefix("latency average = ")?.strip_suffix(" ms"));
    Ok(latency.with_context(|| format!("pgbench says:\n{told}"))?.trim().parse::<f64>()? * 1000.0)
}
