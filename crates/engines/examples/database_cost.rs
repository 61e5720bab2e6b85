//! What a database credential costs beside the same SQL alone, on a real PostgreSQL that waits for its disk:
//! `cargo run --release -p dewdrop-engines --example database_cost`.
#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a measurement, not a part of the product")]
#![expect(clippy::disallowed_methods, reason = "it measures real time")]

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use dewdrop_core::SystemClock;
use dewdrop_core::mount::MountClass;
use dewdrop_testkit::harness::{Got, Harness};
use dewdrop_testkit::postgres::{PASSWORD, Postgres, SUPERUSER};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio_postgres::NoTls;

const CREATE: &str = r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"#;

#[tokio::main]
async fn main() {
    let count: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(400);
    let pg = Postgres::start_with(true);
    let h = Arc::new(harness());
    let config = json!({ "plugin_name": "postgresql-database-plugin", "connection_url": pg.url("postgres", "sslmode=disable"),
        "username": SUPERUSER, "password": PASSWORD, "allowed_roles": "*", "max_open_connections": 16 });
    for (name, authentication) in [("scram", "scram-sha-256"), ("plain", "password")] {
        let mut config = config.clone();
        config["password_authentication"] = authentication.into();
        h.write(&format!("config/{name}"), config).await.unwrap();
        h.write(&format!("roles/{name}"), json!({ "db_name": name, "creation_statements": CREATE })).await.unwrap();
    }
    let dsn =
        format!("host=127.0.0.1 port={} user={SUPERUSER} password={PASSWORD} dbname=postgres sslmode=disable", pg.port);
    for clients in [1, 4, 16] {
        // Others use the machine as well: the best of several rounds is the least disturbed.
        let mut best = BTreeMap::new();
        for _ in 0..4 {
            round(&pg, &h, &dsn, clients, count, &mut best).await;
        }
        for (what, each) in best {
            println!("{clients:>2} clients  {what:<24} {each:>7.3} ms each  {:>6.0} /s", 1000.0 / each);
        }
    }
}

async fn round(
    pg: &Postgres,
    h: &Arc<Harness>,
    dsn: &str,
    clients: usize,
    count: usize,
    best: &mut BTreeMap<String, f64>,
) {
    let mut note = |what: &str, each: f64| {
        let known = best.entry(what.to_owned()).or_insert(each);
        *known = known.min(each);
    };
    for (what, password) in [("make: SQL, plain", "x-Password-12345678901"), ("make: SQL, verifier", VERIFIER)] {
        note(what, raw_create(dsn, password, clients, count).await);
    }
    for role in ["plain", "scram"] {
        let credentials = Arc::default();
        note(&format!("make: creds, {role}"), creds(h, role, clients, count, &credentials).await);
        note("take: revoke", revoke(h, clients, count, credentials).await);
    }
    let names = pg.sql("SELECT rolname FROM pg_roles WHERE rolname LIKE 'raw-%'");
    let names: Vec<String> = names.lines().map(str::to_owned).collect();
    note("take: SQL, DROP ROLE", raw_drop(dsn, clients, names).await);
}

type Credentials = Arc<Mutex<Vec<Value>>>;

/// The same SQL alone, as pgbench would run it.
async fn raw_create(dsn: &str, password: &str, clients: usize, count: usize) -> f64 {
    timed(clients, count, || {
        let (dsn, password) = (dsn.to_owned(), password.to_owned());
        async move {
            let client = connect(&dsn).await;
            for _ in 0..count / clients {
                let name = uuid::Uuid::new_v4();
                let sql = format!("BEGIN; CREATE ROLE \"raw-{name}\" WITH LOGIN PASSWORD '{password}' VALID UNTIL '2030-01-01 00:00:00+0000'; COMMIT");
                client.simple_query(&sql).await.unwrap();
            }
        }
    })
    .await
}

async fn raw_drop(dsn: &str, clients: usize, names: Vec<String>) -> f64 {
    let (count, names) = (names.len(), Arc::new(Mutex::new(names)));
    timed(clients, count, || {
        let (dsn, names) = (dsn.to_owned(), names.clone());
        async move {
            let client = connect(&dsn).await;
            loop {
                let Some(name) = names.lock().pop() else { return };
                client.simple_query(&format!("DROP ROLE IF EXISTS \"{name}\"")).await.unwrap();
            }
        }
    })
    .await
}

async fn creds(h: &Arc<Harness>, role: &'static str, clients: usize, count: usize, into: &Credentials) -> f64 {
    timed(clients, count, || {
        let (h, into) = (h.clone(), into.clone());
        async move {
            for _ in 0..count / clients {
                let Got::Minted { internal, .. } = h.read(&format!("creds/{role}")).await.unwrap() else { return };
                into.lock().push(internal);
            }
        }
    })
    .await
}

async fn revoke(h: &Arc<Harness>, clients: usize, count: usize, credentials: Credentials) -> f64 {
    timed(clients, count, || {
        let (h, credentials) = (h.clone(), credentials.clone());
        async move {
            loop {
                let Some(internal) = credentials.lock().pop() else { return };
                h.room.revoke(&h.credential(&internal)).await.unwrap();
            }
        }
    })
    .await
}

async fn connect(dsn: &str) -> tokio_postgres::Client {
    let (client, connection) = tokio_postgres::connect(dsn, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

const VERIFIER: &str = "SCRAM-SHA-256$4096:2oQ6d4QSPcNRyTS8lEcHBA==$lKWWdKQOl8CWn0wJ2rHyZnGtkdp0IhHhGkAP7X9Tlr0=:qkRkMtMV3Wjb4BuMZl2bGmVUAJSDk9/wG1IEsDWHe2g=";

fn harness() -> Harness {
    let h = Harness::new(MountClass::Secret, &[], dewdrop_engines::database::open);
    h.clock.jump_to(SystemClock::shared().now());
    h
}

/// Milliseconds for each.
async fn timed<F: Future<Output = ()> + Send + 'static>(clients: usize, count: usize, one: impl Fn() -> F) -> f64 {
    let start = Instant::now();
    let running: Vec<_> = (0..clients).map(|_| tokio::spawn(one())).collect();
    for client in running {
        client.await.unwrap();
    }
    start.elapsed().as_secs_f64() * 1000.0 / count as f64
}
