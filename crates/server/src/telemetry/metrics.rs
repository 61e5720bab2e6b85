//! Counters, gauges and timers in the two forms of `sys/metrics`.
//!
//! Names and forms are those of OpenBao, whose dashboards shall go on working: `core.handle_request` is
//! `vault_core_handle_request` to Prometheus (a summary in milliseconds) and `vault.core.handle_request` in JSON. prometheus-client
//! writes OpenMetrics, which puts `_total` behind every counter, and cannot give the JSON form, hence this small registry.
//! Handles are atomics: using one costs a few nanoseconds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use dewdrop_core::Moment;
use parking_lot::{Mutex, RwLock};
use serde_json::{Value, json};

use crate::config::Metrics;

/// Label names and values, in their order.
type Labels = Vec<(&'static str, String)>;
type Collector = Box<dyn Fn(&mut Samples) + Send + Sync>;

/// All numbers of the server.
pub struct Registry {
    settings: Metrics,
    series: RwLock<BTreeMap<&'static str, BTreeMap<Labels, Series>>>,
    collectors: Mutex<Vec<Collector>>,
}

#[derive(Clone)]
enum Series {
    Counter(Counter),
    Gauge(Gauge),
    Timer(Timer),
}

/// Only goes up.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<AtomicU64>);

/// Goes up and down.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<AtomicI64>);

/// How long something takes.
#[derive(Debug, Clone, Default)]
pub struct Timer(Arc<TimerCells>);

/// Buckets grow by a quarter of a power of two from 1 µs: a quantile is at most 19 % off.
const BUCKETS: usize = 128;

#[derive(Debug)]
struct TimerCells {
    count: AtomicU64,
    nanos: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Default for TimerCells {
    fn default() -> Self {
        Self {
            count: AtomicU64::new(0),
            nanos: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }
}

impl Counter {
    /// One more.
    pub fn increment(&self) {
        self.add(1);
    }

    /// So many more.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// How many so far.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Gauge {
    /// It is this now.
    pub fn set(&self, value: i64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// So many more, or less.
    pub fn add(&self, n: i64) {
        self.0.fetch_add(n, Ordering::Relaxed);
    }

    /// What it is.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Timer {
    /// It took this long.
    pub fn record(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        let cells = &*self.0;
        cells.count.fetch_add(1, Ordering::Relaxed);
        cells.nanos.fetch_add(nanos, Ordering::Relaxed);
        cells.min.fetch_min(nanos, Ordering::Relaxed);
        cells.max.fetch_max(nanos, Ordering::Relaxed);
        cells.buckets[bucket(nanos)].fetch_add(1, Ordering::Relaxed);
    }

    /// How often so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// The time in milliseconds below which this share lies; `None` before the first.
    fn quantile(&self, share: f64) -> Option<f64> {
        let counts: Vec<u64> = self.0.buckets.iter().map(|b| b.load(Ordering::Relaxed)).collect();
        let total: u64 = counts.iter().sum();
        let rank = (total as f64 * share).ceil().max(1.0) as u64;
        let mut seen = 0;
        for (at, count) in counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                let most = self.0.max.load(Ordering::Relaxed);
                return Some(upper(at).min(most as f64) / 1e6);
            }
        }
        None
    }

    fn sum_millis(&self) -> f64 {
        self.0.nanos.load(Ordering::Relaxed) as f64 / 1e6
    }
}

fn bucket(nanos: u64) -> usize {
    let micros = nanos as f64 / 1e3;
    if micros <= 1.0 { 0 } else { ((micros.log2() * 4.0).ceil() as usize).min(BUCKETS - 1) }
}

/// Upper end of a bucket in nanoseconds.
fn upper(bucket: usize) -> f64 {
    (bucket as f64 / 4.0).exp2() * 1e3
}

impl Registry {
    /// A registry that shows itself as the configuration says.
    #[must_use]
    pub fn new(settings: &Metrics) -> Arc<Self> {
        let collectors: Vec<Collector> = vec![Box::new(super::process::collect)];
        Arc::new(Self { settings: settings.clone(), series: RwLock::default(), collectors: Mutex::new(collectors) })
    }

    /// The counter of a name (`core.handle_login_request`) and labels. Keep it where it is used often.
    pub fn counter(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Counter {
        match self.of(name, labels, || Series::Counter(Counter::default())) {
            Series::Counter(counter) => counter,
            // Two kinds under one name are a defect; it must not take the server down, and is not shown.
            _ => Counter::default(),
        }
    }

    /// The gauge of a name and labels.
    pub fn gauge(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Gauge {
        match self.of(name, labels, || Series::Gauge(Gauge::default())) {
            Series::Gauge(gauge) => gauge,
            _ => Gauge::default(),
        }
    }

    /// The timer of a name and labels.
    pub fn timer(&self, name: &'static str, labels: &[(&'static str, &str)]) -> Timer {
        match self.of(name, labels, || Series::Timer(Timer::default())) {
            Series::Timer(timer) => timer,
            _ => Timer::default(),
        }
    }

    /// Asked at each look for numbers that are known elsewhere.
    pub fn on_look(&self, collector: impl Fn(&mut Samples) + Send + Sync + 'static) {
        self.collectors.lock().push(Box::new(collector));
    }

    fn of(&self, name: &'static str, labels: &[(&'static str, &str)], make: impl FnOnce() -> Series) -> Series {
        let mut wanted: Labels = labels.iter().map(|(n, v)| (*n, (*v).to_owned())).collect();
        if let Some(found) = self.series.read().get(name).and_then(|family| family.get(&wanted)) {
            return found.clone();
        }
        let mut series = self.series.write();
        let family = series.entry(name).or_default();
        if family.len() >= self.settings.max_cardinality as usize && !family.contains_key(&wanted) {
            // Labels that come from outside must not fill the memory: the rest is counted together.
            wanted.iter_mut().for_each(|(_, value)| "other".clone_into(value));
        }
        family.entry(wanted).or_insert_with(make).clone()
    }

    fn look(&self) -> Samples {
        let mut out = Samples { prefix: self.settings.prefix.clone(), rows: Vec::new() };
        for (name, family) in &*self.series.read() {
            for (labels, series) in family {
                let reading = match series {
                    Series::Counter(counter) => Reading::Counter(counter.get() as f64),
                    Series::Gauge(gauge) => Reading::Gauge(gauge.get() as f64),
                    Series::Timer(timer) => Reading::Timer(timer.clone()),
                };
                out.push(name, labels.clone(), reading);
            }
        }
        self.collectors.lock().iter().for_each(|collect| collect(&mut out));
        out.rows.retain(|row| row.bare || self.shown(&row.name));
        out.rows.sort_by(|a, b| a.name.cmp(&b.name));
        out
    }

    /// The longest filter that fits decides; of two that are alike the one that hides.
    fn shown(&self, name: &str) -> bool {
        let fits = self.settings.filters.iter().filter(|(_, prefix)| name.starts_with(prefix.as_str()));
        fits.max_by_key(|(show, prefix)| (prefix.len(), !show)).map_or(self.settings.filter_default, |(show, _)| *show)
    }

    /// Prometheus' text form 0.0.4 (`text/plain; version=0.0.4; charset=utf-8`).
    #[must_use]
    pub fn prometheus(&self) -> String {
        let mut out = String::new();
        let mut last = "";
        let rows = self.look().rows;
        for row in &rows {
            let name = row.name.replace(['.', '-', ' ', '/'], "_");
            if row.name != last {
                let _ = writeln!(out, "# HELP {name} {name}\n# TYPE {name} {}", row.reading.kind());
                last = &row.name;
            }
            match &row.reading {
                Reading::Counter(value) | Reading::Gauge(value) => {
                    let _ = writeln!(out, "{name}{} {value}", braces(&row.labels, None));
                }
                Reading::Timer(timer) => {
                    for (share, text) in [(0.5, "0.5"), (0.9, "0.9"), (0.99, "0.99")] {
                        let value = timer.quantile(share).map_or_else(|| "NaN".to_owned(), |v| v.to_string());
                        let _ = writeln!(out, "{name}{} {value}", braces(&row.labels, Some(text)));
                    }
                    let labels = braces(&row.labels, None);
                    let _ = writeln!(
                        out,
                        "{name}_sum{labels} {}\n{name}_count{labels} {}",
                        timer.sum_millis(),
                        timer.count()
                    );
                }
            }
        }
        out
    }

    /// The JSON form that OpenBao gives by default.
    #[must_use]
    pub fn json(&self, now: Moment) -> Value {
        let (mut gauges, mut counters, mut samples) = (Vec::new(), Vec::new(), Vec::new());
        for row in self.look().rows.into_iter().filter(|row| !row.bare) {
            let labels: serde_json::Map<_, _> = row.labels.into_iter().map(|(n, v)| (n.to_owned(), v.into())).collect();
            match row.reading {
                Reading::Gauge(value) => gauges.push(json!({"Name": row.name, "Value": value, "Labels": labels})),
                Reading::Counter(value) => counters.push(json!({
                    "Name": row.name, "Count": value, "Rate": 0, "Sum": value, "Min": 0, "Max": 0, "Mean": 0, "Stddev": 0,
                    "Labels": labels,
                })),
                Reading::Timer(timer) => {
                    let count = timer.count();
                    let mean = if count == 0 { 0.0 } else { timer.sum_millis() / count as f64 };
                    let least = if count == 0 { 0 } else { timer.0.min.load(Ordering::Relaxed) };
                    samples.push(json!({
                        "Name": row.name, "Count": count, "Rate": 0, "Sum": timer.sum_millis(), "Min": least as f64 / 1e6,
                        "Max": timer.0.max.load(Ordering::Relaxed) as f64 / 1e6, "Mean": mean, "Stddev": 0, "Labels": labels,
                    }));
                }
            }
        }
        let time = now.rfc3339();
        let time = format!("{} {} +0000 UTC", time.get(..10).unwrap_or(""), time.get(11..19).unwrap_or(""));
        json!({"Timestamp": time, "Gauges": gauges, "Points": [], "Counters": counters, "Samples": samples})
    }
}

/// One look at all numbers.
pub struct Samples {
    prefix: String,
    rows: Vec<Row>,
}

struct Row {
    /// With dots.
    name: String,
    labels: Labels,
    reading: Reading,
    /// Not under our prefix, and only in Prometheus' form.
    bare: bool,
}

enum Reading {
    Counter(f64),
    Gauge(f64),
    Timer(Timer),
}

impl Reading {
    fn kind(&self) -> &'static str {
        match self {
            Self::Counter(_) => "counter",
            Self::Gauge(_) => "gauge",
            Self::Timer(_) => "summary",
        }
    }
}

impl Samples {
    /// A gauge under our prefix.
    pub fn gauge(&mut self, name: &str, labels: &[(&'static str, &str)], value: f64) {
        self.push(name, labels.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(), Reading::Gauge(value));
    }

    /// A counter under our prefix.
    pub fn counter(&mut self, name: &str, labels: &[(&'static str, &str)], value: f64) {
        self.push(name, labels.iter().map(|(n, v)| (*n, (*v).to_owned())).collect(), Reading::Counter(value));
    }

    /// A gauge under exactly this name.
    pub fn bare_gauge(&mut self, name: &str, value: f64) {
        self.rows.push(Row { name: name.to_owned(), labels: Vec::new(), reading: Reading::Gauge(value), bare: true });
    }

    /// A counter under exactly this name.
    pub fn bare_counter(&mut self, name: &str, value: f64) {
        self.rows.push(Row { name: name.to_owned(), labels: Vec::new(), reading: Reading::Counter(value), bare: true });
    }

    fn push(&mut self, name: &str, labels: Labels, reading: Reading) {
        self.rows.push(Row { name: format!("{}.{name}", self.prefix), labels, reading, bare: false });
    }
}

/// `{a="b",quantile="0.5"}`, or nothing.
fn braces(labels: &Labels, quantile: Option<&str>) -> String {
    let escaped = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
    let mut parts: Vec<String> = labels.iter().map(|(name, value)| format!("{name}=\"{}\"", escaped(value))).collect();
    parts.extend(quantile.map(|q| format!("quantile=\"{q}\"")));
    if parts.is_empty() { String::new() } else { format!("{{{}}}", parts.join(",")) }
}
