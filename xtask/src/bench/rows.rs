//! What is measured under load: the rows of the design's table that exist.

use anyhow::{Context, Result};

use super::Wish;
use super::side::{KEYS, Side, value};
use super::wrk::{self, Load, Measured, Until};
use crate::parts::vault::Kind;
use crate::say;

/// One kind of work.
pub struct Row {
    /// For `--only` and `--profile`.
    pub name: &'static str,
    /// In the table.
    pub title: &'static str,
    /// Connections.
    pub clients: u32,
    /// Processor time of the server per request that we aim at, in microseconds.
    pub budget: Option<f64>,
    /// Lua `request`.
    request: fn(&Side) -> String,
    /// Who asks.
    token: fn(&Side) -> &str,
}

/// All of them; the database has a table of its own.
pub const ROWS: &[Row] = &[
    Row {
        name: "kv-read",
        title: "KV v2 read, 10,000 keys",
        clients: 16,
        budget: Some(25.0),
        request: kv_read,
        token: kv,
    },
    Row {
        name: "kv-write-16",
        title: "KV v2 write, durable, 16 clients",
        clients: 16,
        budget: Some(60.0),
        request: kv_write,
        token: kv,
    },
    Row {
        name: "kv-write-64",
        title: "KV v2 write, durable, 64 clients",
        clients: 64,
        budget: Some(60.0),
        request: kv_write,
        token: kv,
    },
    Row {
        name: "approle-login",
        title: "AppRole login, service token",
        clients: 16,
        budget: Some(60.0),
        request: login,
        token: nobody,
    },
    Row {
        name: "token-create",
        title: "token create, service",
        clients: 16,
        budget: None,
        request: token_create,
        token: work,
    },
    Row { name: "lookup-self", title: "token lookup-self", clients: 16, budget: None, request: lookup_self, token: kv },
];

/// A row on both sides.
pub struct Compared {
    /// In the table.
    pub title: &'static str,
    /// What we aim at.
    pub budget: Option<f64>,
    /// What OpenBao did, or why there is no figure.
    pub openbao: Result<Measured>,
    /// What we did.
    pub dewdrop: Result<Measured>,
}

/// Runs a row on both sides, by turns, so that both meet the same noise.
pub fn compare(row: &Row, openbao: &Side, dewdrop: &Side, wish: &Wish) -> Compared {
    let (mut theirs, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..wish.turns {
        theirs.push(run(row, openbao, wish.seconds_a_turn()));
        ours.push(run(row, dewdrop, wish.seconds_a_turn()));
    }
    let sum = |runs: Vec<Result<Measured>>| Ok(Measured::of_all(&runs.into_iter().collect::<Result<Vec<_>>>()?));
    let compared = Compared { title: row.title, budget: row.budget, openbao: sum(theirs), dewdrop: sum(ours) };
    for (kind, measured) in [(Kind::OpenBao, &compared.openbao), (Kind::Dewdrop, &compared.dewdrop)] {
        match measured {
            Ok(m) => say::line(&format!("{:<34} {:<8} {}", row.title, kind.name(), one_line(m))),
            Err(error) => say::failed(&format!("{}, {}: {error:#}", row.title, kind.name())),
        }
    }
    compared
}

/// Runs a row on one side.
pub fn run(row: &Row, side: &Side, seconds: u64) -> Result<Measured> {
    let load = Load {
        address: &side.vault.address,
        token: (row.token)(side),
        request: &(row.request)(side),
        clients: row.clients,
        until: Until::Seconds(seconds),
    };
    wrk::run(&load, side.vault.pid()?, side.vault.dir()).with_context(|| side.vault.log_tail())
}

/// A result for people.
pub fn one_line(measured: &Measured) -> String {
    let ms = |micros: u64| micros as f64 / 1000.0;
    format!(
        "{:>7.0} µs of CPU each {:>8.0}/s  p50 {:>7.2} ms  p99 {:>7.2} ms",
        measured.cpu_each(),
        measured.per_second(),
        ms(measured.p50),
        ms(measured.p99)
    )
}

// === tokens ===

fn kv(side: &Side) -> &str {
    &side.kv
}

fn work(side: &Side) -> &str {
    &side.work
}

fn nobody(_: &Side) -> &str {
    ""
}

// === requests ===

/// Reads of keys at random. Also used to see what others feel while leases end.
pub fn kv_read(_: &Side) -> String {
    format!("function request() return wrk.format('GET', '/v1/secret/data/k' .. math.random(0, {KEYS} - 1)) end\n")
}

fn kv_write(_: &Side) -> String {
    let path = format!("'/v1/secret/data/k' .. math.random(0, {KEYS} - 1)");
    format!("function request() return wrk.format('POST', {path}, nil, {}) end\n", value())
}

fn login(side: &Side) -> String {
    format!("function request() return wrk.format('POST', '/v1/auth/approle/login', nil, '{}') end\n", side.login)
}

fn token_create(_: &Side) -> String {
    r#"function request() return wrk.format('POST', '/v1/auth/token/create', nil, '{"ttl":"1h"}') end
"#
    .into()
}

fn lookup_self(_: &Side) -> String {
    "function request() return wrk.format('GET', '/v1/auth/token/lookup-self') end\n".into()
}
