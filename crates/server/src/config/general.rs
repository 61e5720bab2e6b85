//! What stands at the top of a file: addresses, logs, lease times, metrics, and the switches.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::fields::{Fields, Rule, Unbuilt};
use super::value;

/// Where clients find this server.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Addresses {
    /// `api_addr`: the address that clients are sent to.
    pub api: Option<http::Uri>,
    /// `cluster_addr`: only shown in `sys/leader` and `sys/ha-status`.
    pub cluster: Option<http::Uri>,
    /// `cluster_name`: only shown in `sys/health`.
    pub cluster_name: Option<String>,
}

/// The server's own log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Logging {
    /// What is written.
    pub level: LogLevel,
    /// How.
    pub format: LogFormat,
    /// Where; `None`: standard error.
    pub file: Option<PathBuf>,
}

/// Levels of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Mistakes of ours and of the machine.
    Error,
    /// What an operator should look at.
    Warn,
    /// What happens.
    Info,
    /// Why.
    Debug,
    /// Every step.
    Trace,
}

/// Forms of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Standard,
    /// One JSON object per line.
    Json,
}

/// Times of leases and requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// A lease lives this long unless asked otherwise.
    pub default_lease: Duration,
    /// No lease lives longer, unless its mount is tuned so.
    pub max_lease: Duration,
    /// A request is answered with an error after this, unless its listener says otherwise.
    pub request: Duration,
}

/// How metrics are shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Metrics {
    /// First word of every name.
    pub prefix: String,
    /// Most label sets of one such gauge.
    pub max_cardinality: u32,
    /// Whether the Prometheus form is given (`prometheus_retention_time` is not 0).
    pub prometheus: bool,
    /// Names that are shown (`true`) or hidden, by prefix.
    pub filters: Vec<(bool, String)>,
    /// Whether names that no filter meets are shown.
    pub filter_default: bool,
}

/// Switches.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Switches {
    /// Answers carry `X-Vault-Hostname`.
    pub hostname_header: bool,
    /// The keys' memory need not be locked.
    pub disable_mlock: bool,
    /// The user interface is served.
    pub ui: bool,
    /// The process id is written here.
    pub pid_file: Option<PathBuf>,
}

/// Locks after failed logins, for one auth method or `all`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Lockout {
    /// Failed logins before the lock.
    pub threshold: Option<u32>,
    /// How long the lock lasts.
    pub duration: Option<Duration>,
    /// The count begins anew after this time without a failure.
    pub reset: Option<Duration>,
    /// No locks.
    pub disabled: Option<bool>,
}

impl Default for Logging {
    fn default() -> Self {
        Self { level: LogLevel::Info, format: LogFormat::Standard, file: None }
    }
}

impl Default for Times {
    fn default() -> Self {
        let month = Duration::from_secs(768 * 3600);
        Self { default_lease: month, max_lease: month, request: Duration::from_secs(90) }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            prefix: "vault".into(),
            max_cardinality: 500,
            prometheus: true,
            filters: Vec::new(),
            filter_default: true,
        }
    }
}

impl LogLevel {
    /// As the configuration has it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

impl std::str::FromStr for LogLevel {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "error" | "err" => Ok(Self::Error),
            "warn" | "warning" => Ok(Self::Warn),
            "info" | "notice" | "" => Ok(Self::Info),
            "debug" => Ok(Self::Debug),
            "trace" => Ok(Self::Trace),
            _ => Err("write \"error\", \"warn\", \"info\", \"debug\" or \"trace\"".into()),
        }
    }
}

impl std::str::FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.trim().to_ascii_lowercase().as_str() {
            "standard" | "" => Ok(Self::Standard),
            "json" => Ok(Self::Json),
            _ => Err("write \"standard\" or \"json\"".into()),
        }
    }
}

/// Reads a URL with scheme and host.
pub(super) fn url(text: &str) -> Result<http::Uri, String> {
    const HELP: &str = "write a whole URL: \"https://dewdrop.example.com:8200\"";
    let uri: http::Uri = text.trim().parse().map_err(|_| HELP)?;
    let whole = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some_and(|h| !h.is_empty());
    if whole { Ok(uri) } else { Err(HELP.into()) }
}

/// Addresses.
pub(super) fn addresses(top: &mut Fields<'_>) -> Addresses {
    let mut address = |key| top.read(key, |t| if t.is_empty() { Ok(None) } else { url(t).map(Some) }).flatten();
    Addresses { api: address("api_addr"), cluster: address("cluster_addr"), cluster_name: top.filled("cluster_name") }
}

/// The log.
pub(super) fn logging(top: &mut Fields<'_>) -> Logging {
    let usual = Logging::default();
    top.unbuilt(&[
        Unbuilt { key: "log_rotate_duration", rule: Rule::RefusedIfSet, why: ROTATE },
        Unbuilt { key: "log_rotate_bytes", rule: Rule::RefusedIfSet, why: ROTATE },
        Unbuilt { key: "log_rotate_max_files", rule: Rule::Harmless, why: ROTATE },
        Unbuilt { key: "log_requests_level", rule: Rule::Harmless, why: "requests are logged at level debug" },
    ]);
    Logging {
        level: top.read("log_level", str::parse).unwrap_or(usual.level),
        format: top.read("log_format", str::parse).unwrap_or(usual.format),
        file: top.filled("log_file").map(PathBuf::from),
    }
}

const ROTATE: &str = "use logrotate: the file is opened again on SIGHUP";

/// Times.
pub(super) fn times(top: &mut Fields<'_>) -> Times {
    let usual = Times::default();
    let mut time = |key, usual: Duration| top.duration(key).filter(|t| !t.is_zero()).unwrap_or(usual);
    let times = Times {
        max_lease: time("max_lease_ttl", usual.max_lease),
        default_lease: time("default_lease_ttl", usual.default_lease),
        request: time("default_max_request_duration", usual.request),
    };
    if times.default_lease > times.max_lease {
        top.report.at_large(
            "\"default_lease_ttl\" is longer than \"max_lease_ttl\"",
            "raise max_lease_ttl or lower default_lease_ttl (both are 768h unless set)",
        );
    }
    times
}

/// The `telemetry` block.
pub(super) fn metrics(top: &mut Fields<'_>) -> Metrics {
    let mut metrics = Metrics::default();
    let Some(mut fields) = top.block("telemetry") else { return metrics };
    metrics.prefix = fields.filled("metrics_prefix").unwrap_or(metrics.prefix);
    let _ = fields.read("usage_gauge_period", |t| if t == "none" { Ok(None) } else { value::duration(t).map(Some) });
    let most = fields.read("maximum_gauge_cardinality", |t| t.parse().map_err(|_| "write a whole number".into()));
    metrics.max_cardinality = most.unwrap_or(metrics.max_cardinality);
    metrics.prometheus = fields.duration("prometheus_retention_time").is_none_or(|time| !time.is_zero());
    metrics.filter_default = fields.flag("filter_default").unwrap_or(true);
    for (rule, span) in fields.list("prefix_filter").unwrap_or_default() {
        match (rule.strip_prefix('+'), rule.strip_prefix('-')) {
            (Some(name), _) => metrics.filters.push((true, name.to_owned())),
            (_, Some(name)) => metrics.filters.push((false, name.to_owned())),
            _ => fields.report.problem(span, format!("{rule:?} is no filter"), "begin it with + or -"),
        }
    }
    const PUSH: &str = "metrics are fetched (GET /v1/sys/metrics), not pushed: let a Prometheus agent fetch them";
    const COST: &str = "leases are counted by an index";
    let push = |key| Unbuilt { key, rule: Rule::RefusedIfSet, why: PUSH };
    let idle = |key, why| Unbuilt { key, rule: Rule::Harmless, why };
    fields.unbuilt(&[
        push("statsite_address"),
        push("statsd_address"),
        push("dogstatsd_addr"),
        push("dogstatsd_tags"),
        push("circonus_api_token"),
        push("stackdriver_project_id"),
        idle("disable_hostname", "names never carry the host's name"),
        Unbuilt {
            key: "enable_hostname_label",
            rule: Rule::RefusedIfSet,
            why: "Prometheus adds the label instance itself",
        },
        idle("usage_gauge_period", "gauges are counted whenever the metrics are fetched"),
        idle("lease_metrics_epsilon", COST),
        idle("num_lease_metrics_buckets", COST),
        idle("add_lease_metrics_namespace_labels", COST),
    ]);
    fields.finish();
    metrics
}

/// Locks, by auth method.
pub(super) fn lockouts(top: &mut Fields<'_>) -> BTreeMap<String, Lockout> {
    let mut lockouts = BTreeMap::new();
    for block in top.blocks("user_lockout", 1) {
        let Some(label) =
            block.labels.first().filter(|l| ["all", "userpass", "ldap", "approle"].contains(&l.name.as_str()))
        else {
            let span = block.labels.first().map_or(block.key.span, |l| l.span);
            top.report.problem(
                span,
                "\"user_lockout\" needs an auth method",
                "write \"all\", \"userpass\", \"ldap\" or \"approle\"",
            );
            continue;
        };
        let mut fields = Fields::of(top.report, &block, format!("user_lockout {:?}", label.name));
        let lockout = Lockout {
            threshold: fields.read("lockout_threshold", |t| t.parse().map_err(|_| "write a whole number".into())),
            duration: fields.duration("lockout_duration"),
            reset: fields.duration("lockout_counter_reset"),
            disabled: fields.flag("disable_lockout"),
        };
        fields.finish();
        lockouts.insert(label.name.clone(), lockout);
    }
    lockouts
}

/// Switches, and everything that is known and not built.
pub(super) fn switches(top: &mut Fields<'_>) -> Switches {
    const PLUGIN: &str = "plug-ins are not loaded: every engine and auth method is built in";
    const IDLE: &str = "it changes nothing here";
    let idle = |key, why| Unbuilt { key, rule: Rule::Harmless, why };
    let off = |key, why| Unbuilt { key, rule: Rule::RefusedIfSet, why };
    let never = |key, why| Unbuilt { key, rule: Rule::Refused, why };
    top.unbuilt(&[
        off("plugin_directory", PLUGIN),
        never("plugin", PLUGIN),
        idle("plugin_file_uid", PLUGIN),
        idle("plugin_file_permissions", PLUGIN),
        off("plugin_auto_download", PLUGIN),
        off("plugin_auto_register", PLUGIN),
        idle("plugin_download_behavior", PLUGIN),
        never(
            "initialize",
            "self-initialisation is not built yet: run dewdrop operator init, then apply your set-up over the API",
        ),
        never("ha_storage", "one storage serves all: use storage \"etcd\" for a cluster"),
        never("service_registration", "let a Kubernetes Service or a load balancer ask GET /v1/sys/health"),
        never("entropy", "random numbers come from aws-lc and the kernel"),
        never("kms_library", "PKCS#11 libraries are not loaded"),
        never("sentinel", "policies are written in HCL: see dewdrop policy"),
        off("raw_storage_endpoint", "sys/raw is not built: use operator snapshot for backups"),
        off("allow_unauthenticated_workflows", "workflows are not built"),
        off("enable_response_header_raft_node_id", "there is no Raft here"),
        off("introspection_endpoint", "the inside of a running server is not shown"),
        idle("cache_size", "the cache sizes itself"),
        idle("disable_cache", "caches follow the storage and cannot serve what is old"),
        idle("disable_clustering", "servers share the storage and do not speak to each other"),
        idle("disable_standby_reads", "every server answers reads and writes"),
        idle("disable_performance_standby", IDLE),
        idle("disable_sealwrap", IDLE),
        idle("disable_printable_check", IDLE),
        idle("disable_indexing", IDLE),
        idle("disable_ssct_tokens", "X-Vault-Index gives the same"),
        idle("imprecise_lease_role_tracking", "leases are counted exactly at no cost"),
        idle("detect_deadlocks", IDLE),
        idle("enable_ui", "write ui = true"),
        idle("default_lease_count", IDLE),
    ]);
    Switches {
        hostname_header: top.flag("enable_response_header_hostname").unwrap_or(false),
        disable_mlock: top.flag("disable_mlock").unwrap_or(false),
        ui: top.flag("ui").unwrap_or(false),
        pid_file: top.filled("pid_file").map(PathBuf::from),
    }
}
