//! Against a real PostgreSQL.

mod lease_life;
mod outage;
mod proofs;
mod rotating;
mod setup;

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::{Caller, Outcome};
use dewdrop_core::engine::{Credential, KnownLease, Place};
use dewdrop_core::mount::MountClass;
use dewdrop_core::token::TokenRecord;
use dewdrop_core::{Clock, Fault, Moment, Operation, SystemClock};
use dewdrop_testkit::harness::Harness;
use dewdrop_testkit::postgres::{PASSWORD, Postgres, SUPERUSER};
use serde_json::{Value, json};

use crate::postgres::Limits;

const CREATE: &str = r#"CREATE ROLE "{{name}}" WITH LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';"#;

/// A mount of its own on a cluster, with a connection `pg` to a database of its own.
struct Bench {
    h: Harness,
    pg: Arc<Postgres>,
    database: String,
    place: Place,
    limits: Limits,
}

/// A credential as its caller and its lease have it.
struct Made {
    username: String,
    password: String,
    data: Value,
    internal: Value,
    issued: Moment,
}

impl Bench {
    async fn new(pg: Arc<Postgres>) -> Self {
        Self::with_limits(pg, Limits::default()).await
    }

    async fn with_limits(pg: Arc<Postgres>, limits: Limits) -> Self {
        let bench = Self::bare(pg, limits);
        bench.pg.sql(&format!("CREATE DATABASE {}", bench.database));
        bench.connect(json!({})).await.expect("the connection");
        bench
    }

    fn bare(pg: Arc<Postgres>, limits: Limits) -> Self {
        let id = uuid::Uuid::new_v4().simple().to_string();
        let mut kept = None;
        let h = Harness::new(MountClass::Secret, &[], |mut place| {
            place.mount_uuid.clone_from(&id);
            kept = Some(place.clone());
            super::open_with(place, limits)
        });
        // Targets live in real time.
        h.clock.jump_to(SystemClock::shared().now());
        Self { h, pg, database: format!("db_{id}"), place: kept.expect("a place"), limits }
    }

    /// Writes the connection `pg`, with more fields.
    async fn connect(&self, more: Value) -> Result<(), Fault> {
        let mut fields = json!({
            "plugin_name": "postgresql-database-plugin",
            "connection_url": self.pg.url(&self.database, "sslmode=disable"),
            "username": SUPERUSER,
            "password": PASSWORD,
            "allowed_roles": "*",
        });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.h.write("config/pg", fields).await.map(drop)
    }

    async fn role(&self, name: &str, more: Value) -> Result<Vec<String>, Fault> {
        let mut fields =
            json!({ "db_name": "pg", "creation_statements": [CREATE], "default_ttl": "1h", "max_ttl": "24h" });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.h.reply(Operation::Update, &format!("roles/{name}"), fields).await.map(|(_, warnings)| warnings)
    }

    /// Asks for a credential as the server does: the lease first. The failure comes with what the lease holds.
    async fn ask(&self, role: &str) -> Result<Made, (Fault, Option<Value>)> {
        let reply =
            self.h.answer(Operation::Read, &format!("creds/{role}"), Value::Null).await.map_err(|e| (e, None))?;
        let Outcome::Mint(mint) = reply.outcome else { panic!("no credential") };
        let internal = mint.internal;
        let lease_id = internal["username"].as_str().unwrap().to_owned();
        self.h.house.leases.lock().push(KnownLease { lease_id, internal: internal.clone() });
        let issued = self.h.clock.now();
        let data: Value = mint.create.await.map_err(|fault| (fault, Some(internal.clone())))?.data.into();
        let text = |key: &str| data[key].as_str().unwrap_or_default().to_owned();
        Ok(Made { username: text("username"), password: text("password"), data, internal, issued })
    }

    async fn creds(&self, role: &str) -> Made {
        self.ask(role).await.map_err(|(fault, _)| fault).expect("a credential")
    }

    /// Takes it back as the lease keeper does.
    async fn revoke(&self, internal: &Value, issued: Moment) -> Result<(), Fault> {
        let credential = Credential { issued, ..self.h.credential(internal) };
        self.h.room.revoke(&credential).await?;
        self.h.house.leases.lock().retain(|lease| lease.internal != *internal);
        Ok(())
    }

    /// The process dies and starts again on the same store.
    fn restart(&mut self) {
        self.h.room = super::open_with(self.place.clone(), self.limits);
    }

    fn exists(&self, username: &str) -> bool {
        self.pg.sql(&format!("SELECT 1 FROM pg_roles WHERE rolname = '{}'", username.replace('\'', "''"))) == "1"
    }

    fn login(&self, made: &Made, sql: &str) -> Result<String, String> {
        self.pg.sql_as(&made.username, &made.password, &self.database, sql)
    }

    fn called(&mut self, display_name: &str) {
        let token: TokenRecord = serde_json::from_value(json!({
            "accessor": "a", "kind": "service", "policies": [], "path": "auth/token/create", "display_name": display_name,
            "created": 0, "ttl": { "secs": 0, "nanos": 0 }, "renewable": false, "namespace": "root",
        }))
        .unwrap();
        self.h.caller = Arc::new(Caller { token: Some(Arc::new(token)), ..Caller::default() });
    }
}

/// Asks again and again until it is so; a test that hangs says where.
async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    for _ in 0..600 {
        if is_so().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("waited in vain: {what}");
}

fn short() -> Limits {
    Limits { wait: Duration::from_secs(2), connect: Duration::from_secs(1), run: Duration::from_secs(2) }
}
