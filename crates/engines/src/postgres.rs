//! A PostgreSQL server as a target: a lazy pool of connections, bounded in every wait, which recovers by itself. It runs
//! SQL and tells apart what went wrong; what the SQL is for is its callers' business.
//!
//! Guarantees:
//! - A batch is one message and one transaction: one round trip, all or nothing.
//! - Every call ends: [`Limits`] bounds the wait for a free connection, connecting and the SQL.
//! - A batch of [`Target::run_in_time`] that was given up here is not carried out later by a server that was paused: it
//!   holds a deadline in the server's own time.
//! - No password is in an error: texts come from the server or are our own, and callers cut out what they sent.

pub(crate) mod conn_string;
mod connect;
mod fault;
pub mod fill;
pub mod scram;
pub mod sql;
mod tls;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use deadpool_postgres::{Object, Pool, PoolError, TimeoutType};
use dewdrop_core::{Clock, Secret, SystemClock};
use tokio_postgres::SimpleQueryMessage;

pub use conn_string::hide_password;
pub use fault::TargetError;

/// How a target is reached.
pub struct Settings<'a> {
    /// URL or `key=value` pairs, with `{{username}}` and `{{password}}`.
    pub url: &'a str,
    /// What `{{username}}` stands for; also used when the URL names no user.
    pub username: &'a str,
    /// What `{{password}}` stands for; also used when the URL has no password.
    pub password: &'a str,
    /// Both are already percent-encoded.
    pub disable_escaping: bool,
    /// PEM of the authorities that may vouch for the server.
    pub tls_ca: &'a str,
    /// PEM of our certificate chain.
    pub tls_certificate: &'a str,
    /// PEM of our key.
    pub private_key: &'a str,
    /// Most connections at a time.
    pub max_open: usize,
    /// Another database of the same server instead of the one in the URL.
    pub database: Option<&'a str>,
}

/// Bounds of one call.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// For a free connection of the pool.
    pub wait: Duration,
    /// For a new connection, with its login.
    pub connect: Duration,
    /// For the SQL; the server itself gives up a little earlier.
    pub run: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { wait: Duration::from_secs(10), connect: Duration::from_secs(5), run: Duration::from_secs(15) }
    }
}

impl Limits {
    /// After this time, nothing that a call began can still happen at the target.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.wait + self.connect + self.run + Duration::from_secs(5)
    }
}

/// A target. Dropping it closes its connections.
pub struct Target {
    pool: Pool,
    place: String,
    limits: Limits,
    /// The machine's own: servers live in real time, whatever clock the rest is tested with.
    clock: Arc<dyn Clock>,
    /// The server's wall clock minus our steady clock, in milliseconds, as of the newest connection.
    offset: Arc<AtomicI64>,
}

/// Rows of a batch's results, in text form.
pub type Rows = Vec<Vec<Option<String>>>;

// === impl Target ===

impl Target {
    /// Reads the settings. Does not connect.
    ///
    /// # Errors
    /// A sentence on what is wrong with the settings.
    pub fn open(settings: &Settings<'_>, limits: Limits) -> Result<Self, String> {
        let clock = SystemClock::shared();
        let offset = Arc::new(AtomicI64::new(0));
        let (pool, place) = connect::pool(settings, limits, clock.clone(), offset.clone())?;
        Ok(Self { pool, place, limits, clock, offset })
    }

    /// User, host and database, for messages.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// The bounds of its calls.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Proves that the target can be reached and lets us in.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub async fn verify(&self) -> Result<(), TargetError> {
        self.run("SELECT 1").await.map(drop)
    }

    /// Runs a batch of statements in one message and one transaction.
    ///
    /// # Errors
    /// See [`TargetError`]; after [`TargetError::Unknown`] the batch may have been carried out or not.
    pub async fn run(&self, sql: &str) -> Result<Rows, TargetError> {
        self.twice_at_most(sql, false).await
    }

    /// As [`run`](Self::run), but the server itself refuses to begin once this call has given up.
    ///
    /// # Errors
    /// See [`TargetError`].
    pub async fn run_in_time(&self, sql: &str) -> Result<Rows, TargetError> {
        self.twice_at_most(sql, true).await
    }

    /// A second time on a new connection, when the first one was to blame.
    async fn twice_at_most(&self, sql: &str, in_time: bool) -> Result<Rows, TargetError> {
        let (first, is_stale) = self.try_once(sql, in_time).await;
        if !is_stale {
            return first;
        }
        self.pool.retain(|_, _| false);
        self.try_once(sql, in_time).await.0
    }

    /// Closes connections that are older than `lifetime` (zero: any age is fine), were not used for `idle`, or are more
    /// than `most` idle ones.
    pub fn tidy(&self, lifetime: Duration, idle: Duration, most: usize) {
        let mut kept = 0usize;
        self.pool.retain(|_, metrics| {
            let keep = (lifetime.is_zero() || metrics.age() < lifetime) && metrics.last_used() < idle && kept < most;
            kept += usize::from(keep);
            keep
        });
    }

    /// The outcome, and whether the connection is to blame: it was dead (the server was restarted), or it knew a time that
    /// is no longer so (a clock was set, a machine slept).
    async fn try_once(&self, sql: &str, in_time: bool) -> (Result<Rows, TargetError>, bool) {
        let connection = match self.connection().await {
            Ok(connection) => connection,
            Err(error) => return (Err(error), false),
        };
        let is_pooled = Object::metrics(&connection).recycle_count > 0;
        let begun = self.clock.steady();
        let guard = if in_time { self.guard(begun) } else { String::new() };
        let batch = Secret::new(format!("{guard}{sql}"));
        match tokio::time::timeout(self.limits.run, connection.simple_query(batch.expose())).await {
            Ok(Ok(messages)) => (Ok(rows(messages)), false),
            Ok(Err(error)) => {
                let lost = error.is_closed();
                let error = TargetError::of_query(&error);
                let too_late = error == TargetError::TooLate && self.clock.steady() - begun < self.limits.run / 2;
                (Err(error), is_pooled && (lost || too_late))
            }
            Err(_) => {
                // Nobody waits for its answer any more, so nobody else may use it.
                drop(Object::take(connection));
                let seconds = self.limits.run.as_secs();
                (Err(TargetError::Unknown(format!("no answer within {seconds} s"))), false)
            }
        }
    }

    /// SQL that fails once the time of this call is up.
    fn guard(&self, now: Duration) -> String {
        let deadline = self.offset.load(Ordering::Relaxed) + millis(now) + millis(self.limits.run);
        let (seconds, rest) = (deadline / 1000, deadline % 1000);
        sql::in_time(&format!("{seconds}.{rest:03}")) + "\n"
    }

    async fn connection(&self) -> Result<Object, TargetError> {
        self.pool.get().await.map_err(|error| match error {
            PoolError::Timeout(TimeoutType::Wait) => TargetError::Down("all connections of the pool are in use".into()),
            PoolError::Timeout(_) => {
                let seconds = self.limits.connect.as_secs();
                TargetError::Down(format!("failed to connect to {}: no answer within {seconds} s", self.place))
            }
            PoolError::Backend(error) | PoolError::PostCreateHook(deadpool_postgres::HookError::Backend(error)) => {
                TargetError::of_connect(&self.place, &error)
            }
            _ => TargetError::Down("the pool was closed".into()),
        })
    }
}

fn rows(messages: Vec<SimpleQueryMessage>) -> Rows {
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
        _ => None,
    });
    rows.collect()
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX / 4)
}
