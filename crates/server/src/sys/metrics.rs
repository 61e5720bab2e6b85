//! `sys/metrics`, and the numbers that the server itself adds to it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dewdrop_core::call::{Call, Outcome, Raw, Reply};
use dewdrop_core::mount::MountClass;
use dewdrop_core::route::Routes;
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::Deserialize;

use super::Sys;
use crate::config::Metrics;
use crate::http::Stats;
use crate::pipeline::Running;
use crate::server::Server;
use crate::telemetry::{Registry, Samples, Timer};

/// The server's numbers.
pub struct ServerMetrics {
    /// All of them.
    pub registry: Arc<Registry>,
    /// The requests under way.
    pub running: Running,
    requests: Timer,
    prometheus: bool,
}

/// How the numbers are wanted.
#[derive(Deserialize, JsonSchema)]
pub struct MetricsFields {
    /// Empty for JSON, or `prometheus`.
    #[serde(default)]
    format: Text,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("").at("metrics", "Numbers for monitoring.", |r| r.read("Shows the numbers", Sys::metrics))
}

impl ServerMetrics {
    /// The numbers of a server, shown as the configuration says.
    #[must_use]
    pub fn new(server: &Weak<Server>, settings: &Metrics) -> Self {
        let registry = Registry::new(settings);
        let server = server.clone();
        registry.on_look(move |out| {
            if let Some(server) = server.upgrade() {
                look(&server, out);
            }
        });
        Self {
            requests: registry.timer("core.handle_request", &[]),
            registry,
            running: Running::default(),
            prometheus: settings.prometheus,
        }
    }

    /// Counts a request that took so long.
    pub fn request(&self, took: Duration) {
        self.requests.record(took);
    }

    /// Shows the counts of the edge as well.
    pub fn watch_edge(&self, stats: &Arc<Stats>) {
        let stats = stats.clone();
        self.registry.on_look(move |out| look_at_edge(&stats, out));
    }

    /// The answer to a caller.
    ///
    /// # Errors
    /// 400: a format that is not known, or not switched on.
    pub fn show(&self, fields: &MetricsFields, now: Moment) -> Result<Reply, Fault> {
        let raw = match fields.format.0.as_str() {
            "" => Raw { content_type: "application/json", body: format!("{}\n", self.registry.json(now)).into() },
            "prometheus" if !self.prometheus => {
                return Err(Fault::bad_request(
                    "prometheus is not enabled: set telemetry { prometheus_retention_time = \"24h\" }",
                ));
            }
            "prometheus" => Raw {
                content_type: "text/plain; version=0.0.4; charset=utf-8",
                body: self.registry.prometheus().into(),
            },
            _ => return Err(Fault::bad_request("metric response format unknown; leave it out or use prometheus")),
        };
        Ok(Outcome::Raw(raw).into())
    }
}

impl Sys {
    async fn metrics(self: Arc<Self>, call: Call, fields: MetricsFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        self.server()?.metrics.show(&fields, call.now)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts stay below 2^52")]
fn look_at_edge(stats: &Stats, out: &mut Samples) {
    let read = |number: &AtomicU64| number.load(Ordering::Relaxed) as f64;
    out.gauge("core.in_flight_requests", &[], read(&stats.in_flight));
    out.gauge("http.connections", &[], read(&stats.open));
    let counters = [
        ("http.connections_accepted", &stats.accepted),
        ("http.connections_refused", &stats.overflowed),
        ("http.failed_handshakes", &stats.failed_handshakes),
        ("http.requests", &stats.requests),
        ("http.requests_refused", &stats.refused),
        ("http.requests_abandoned", &stats.abandoned),
        ("http.requests_overdue", &stats.overdue),
        ("http.panics", &stats.panics),
    ];
    for (name, number) in counters {
        out.counter(name, &[], read(number));
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of mounts and leases are far below 2^52")]
fn look(server: &Server, out: &mut Samples) {
    let vault = server.vault().ok();
    out.gauge("core.unsealed", &[], if vault.is_some() { 1.0 } else { 0.0 });
    let Some(vault) = vault else { return };
    out.gauge("core.active", &[], 1.0);
    let mounts = vault.mounts.all();
    for (class, kind) in [(MountClass::Auth, "auth"), (MountClass::Secret, "logical")] {
        for local in [false, true] {
            let count = mounts.iter().filter(|m| m.mount.class == class && m.mount.local == local).count();
            let labels = [("local", if local { "true" } else { "false" }), ("type", kind)];
            out.gauge("core.mount_table.num_entries", &labels, count as f64);
        }
    }
    let waiting = vault.leases.waiting();
    out.gauge("expire.revocations_waiting", &[], waiting.iter().map(|target| target.waiting).sum::<usize>() as f64);
    out.gauge("expire.revocations_running", &[], waiting.iter().map(|target| target.running).sum::<usize>() as f64);
}
