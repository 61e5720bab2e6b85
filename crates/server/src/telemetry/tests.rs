//! Both forms of the log and of the metrics.

use std::time::Duration;

use dewdrop_core::{FakeClock, Moment};
use serde_json::Value;
use tracing_subscriber::layer::SubscriberExt;

use super::logs::{Sink, layer};
use super::*;
use crate::config::{LogFormat, LogLevel, Logging, Metrics};

/// What is written while `act` runs.
fn logged(format: LogFormat, level: LogLevel, act: impl FnOnce(&LogHandle)) -> String {
    let file = tempfile::NamedTempFile::new().unwrap();
    let logging = Logging { level, format, file: None };
    let clock = FakeClock::at(Moment(1_700_000_000_123));
    let sink = Sink::File(file.path().to_owned(), std::sync::Arc::new(parking_lot::Mutex::new(file.reopen().unwrap())));
    let (layer, handle) = layer(&logging, clock, sink);
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || act(&handle));
    std::fs::read_to_string(file.path()).unwrap()
}

fn speak() {
    let span = tracing::info_span!(target: "dewdrop_server::pipeline", "request", request_id = "r-1");
    let _in = span.enter();
    tracing::info!(target: "dewdrop_server::core::seal", count = 3, who = "a b", "unsealed\nfake line");
    tracing::debug!(target: "dewdrop_server::core", "detail");
    tracing::debug!(target: "hyper", "x-vault-token: hunter2");
    tracing::warn!(target: "rustls", "odd");
}

#[test]
fn lines_for_people_carry_the_request_and_cannot_be_forged() {
    let text = logged(LogFormat::Standard, LogLevel::Info, |_| speak());
    assert_eq!(
        text,
        "2023-11-14T22:13:20.123Z [INFO]  core.seal: unsealed fake line: count=3 request_id=r-1 who=\"a b\"\n\
         2023-11-14T22:13:20.123Z [WARN]  rustls: odd: request_id=r-1\n"
    );
}

#[test]
fn lines_for_machines_are_json() {
    let text = logged(LogFormat::Json, LogLevel::Info, |_| speak());
    let first: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["@level"], &first["@module"], &first["request_id"], &first["count"]),
        (&"info".into(), &"core.seal".into(), &"r-1".into(), &3.into())
    );
    assert_eq!(text.lines().count(), 2);
}

#[test]
fn the_level_changes_while_running_and_others_stay_quiet_even_at_trace() {
    let text = logged(LogFormat::Standard, LogLevel::Error, |handle| {
        speak();
        handle.set_level(LogLevel::Trace);
        speak();
    });
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.contains("detail") && !text.contains("hunter2"), "{text}");
}

#[tokio::test]
async fn the_level_is_changed_over_the_api() {
    let server = crate::testing::TestServer::open(1, 1).await;
    assert_eq!(server.root("GET", "sys/loggers", Value::Null).await.0, 400, "the log is not the server's own");
    let logging = Logging { level: LogLevel::Warn, format: LogFormat::Standard, file: None };
    let (_layer, handle) = layer(&logging, FakeClock::at(Moment(0)), Sink::Stderr);
    server.server.telemetry.logs.set(handle.clone()).unwrap();
    let shown = async |path: &str| server.root("GET", path, Value::Null).await.1["data"].clone();
    let set = async |path: &str, level: &str| server.root("POST", path, serde_json::json!({ "level": level })).await.0;
    assert_eq!(shown("sys/loggers").await, serde_json::json!({ "core": "warn" }));
    assert_eq!((set("sys/loggers", "odd").await, set("sys/loggers", "").await), (400, 400));
    assert_eq!((set("sys/loggers/nosuch", "debug").await, handle.level()), (404, LogLevel::Warn));
    assert_eq!((set("sys/loggers/core", "debug").await, handle.level()), (204, LogLevel::Debug));
    assert_eq!(shown("sys/loggers/core").await, serde_json::json!({ "core": "debug" }));
    assert_eq!(shown("sys/loggers/nosuch").await, serde_json::json!({}));
    assert_eq!((server.root("DELETE", "sys/loggers", Value::Null).await.0, handle.level()), (204, LogLevel::Warn));
    assert_eq!(server.ask("POST", "sys/loggers", None, serde_json::json!({ "level": "trace" })).await.0, 403);
}

fn registry(settings: &Metrics) -> std::sync::Arc<Registry> {
    let registry = Registry::new(settings);
    registry.counter("audit.log_request_failure", &[]).add(2);
    registry.gauge("core.unsealed", &[("cluster", "a\"b")]).set(1);
    let timer = registry.timer("core.handle_request", &[]);
    (1..=100).for_each(|ms| timer.record(Duration::from_millis(ms)));
    registry.on_look(|out| out.gauge("expire.num_leases", &[], 7.0));
    registry
}

#[test]
fn prometheus_reads_openbao_s_names() {
    let text = registry(&Metrics::default()).prometheus();
    for line in [
        "# TYPE vault_audit_log_request_failure counter",
        "vault_audit_log_request_failure 2",
        "vault_core_unsealed{cluster=\"a\\\"b\"} 1",
        "# TYPE vault_core_handle_request summary",
        "vault_core_handle_request_sum 5050",
        "vault_core_handle_request_count 100",
        "vault_expire_num_leases 7",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is not in\n{text}");
    }
    let value = |start: &str| -> f64 {
        text.lines()
            .find_map(|l| l.strip_prefix(start))
            .unwrap_or_else(|| panic!("{start} in {text}"))
            .trim()
            .parse()
            .unwrap()
    };
    let median = value("vault_core_handle_request{quantile=\"0.5\"}");
    assert!((50.0..60.0).contains(&median), "{median}");
    assert!((99.0..=100.0).contains(&value("vault_core_handle_request{quantile=\"0.99\"}")));
    assert!(value("process_resident_memory_bytes") > 1e6 && value("process_open_fds") > 2.0);
    assert!(value("process_start_time_seconds") > 1.6e9 && value("process_threads") >= 1.0);
}

#[test]
fn the_json_form_is_openbao_s() {
    let json = registry(&Metrics::default()).json(Moment(1_700_000_000_123));
    assert_eq!(json["Timestamp"], "2023-11-14 22:13:20 +0000 UTC");
    assert_eq!(json["Counters"][0]["Name"], "vault.audit.log_request_failure");
    assert_eq!(json["Counters"][0]["Count"], 2.0);
    assert_eq!((&json["Samples"][0]["Count"], &json["Samples"][0]["Max"]), (&100.into(), &100.0.into()));
    assert!(json["Gauges"].as_array().unwrap().iter().all(|g| g["Name"].as_str().unwrap().starts_with("vault.")));
}

#[test]
fn filters_and_the_bound_on_labels_hold() {
    let filters = vec![(false, "vault.core".to_owned()), (true, "vault.core.unsealed".to_owned())];
    let text = registry(&Metrics { filters, ..Metrics::default() }).prometheus();
    assert!(text.contains("vault_core_unsealed") && !text.contains("vault_core_handle_request"), "{text}");
    let bounded = registry(&Metrics { max_cardinality: 3, ..Metrics::default() });
    (0..100).for_each(|i| bounded.counter("route.x", &[("path", &i.to_string())]).increment());
    let text = bounded.prometheus();
    assert!(text.contains("vault_route_x{path=\"other\"} 97"), "{text}");
}
