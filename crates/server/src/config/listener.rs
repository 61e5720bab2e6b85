//! `listener "tcp"` and `listener "unix"`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use super::fields::{Fields, Report, Rule, Unbuilt};
use super::headers::ResponseHeaders;
use super::tls::TlsFiles;
use super::tree::Block;
use super::{headers, tls, value};

/// One address that the server listens on.
#[derive(Debug, Clone, PartialEq)]
pub struct Listener {
    /// Where.
    pub bind: Bind,
    /// TLS; `None` for plain HTTP (`tls_disable`, or a unix socket).
    pub tls: Option<TlsFiles>,
    /// Time and size limits.
    pub limits: Limits,
    /// How a proxy's word about the client's address is taken.
    pub forwarded: Option<Forwarded>,
    /// Headers that are added to answers.
    pub headers: ResponseHeaders,
    /// What may be asked here.
    pub access: Access,
}

/// Where a listener is bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bind {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A unix socket.
    Unix {
        /// Its path.
        path: PathBuf,
        /// Permission bits; 0o600 unless set.
        mode: u32,
        /// Numeric owner, when it shall change.
        user: Option<u32>,
        /// Numeric group, when it shall change.
        group: Option<u32>,
    },
}

/// Time and size limits of a listener.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The TLS handshake must end in this time.
    pub handshake: Duration,
    /// From the first byte of a request to the end of its header.
    pub header: Duration,
    /// From the end of the header to the end of the body.
    pub body: Duration,
    /// A connection without a request is closed after this.
    pub idle: Duration,
    /// A client that takes nothing of an answer for this long is cut off.
    pub write: Duration,
    /// A request is answered with an error after this.
    pub request: Duration,
    /// Longest body in bytes; `None`: no limit.
    pub body_bytes: Option<u64>,
    /// Longest request line and header together, in bytes.
    pub header_bytes: u32,
    /// Most connections at a time.
    pub connections: u32,
    /// Most requests at a time on one HTTP/2 connection.
    pub streams: u32,
    /// Limits of JSON bodies.
    pub json: JsonLimits,
}

/// Limits of JSON bodies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JsonLimits {
    /// Most strings, keys and values together; `None`: no limit.
    pub strings: Option<u64>,
    /// Most memory in bytes that the parsed body may take; `None`: no limit.
    pub memory: Option<u64>,
}

/// How a proxy's word about the client's address is taken (`x_forwarded_for_*`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// Proxies that are believed.
    pub trusted: Vec<IpNet>,
    /// How many addresses are skipped from the end of the header.
    pub hop_skips: usize,
    /// Whether a header from any other address is refused (else it is ignored).
    pub reject_stranger: bool,
    /// Whether a request of a believed proxy without the header is refused (else the proxy's own address counts).
    pub reject_missing: bool,
}

/// What may be asked of a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// `sys/metrics` needs no token.
    pub metrics_without_token: bool,
    /// `sys/in-flight-req` needs no token.
    pub in_flight_without_token: bool,
    /// `sys/metrics` is refused.
    pub no_metrics: bool,
    /// Everything but `sys/metrics` is refused.
    pub metrics_only: bool,
    /// `sys/rekey/*` without a token is refused (the default, as in OpenBao since 2.4).
    pub no_open_rekey: bool,
    /// `sys/generate-root` needs a token (`disable_unauthed_generate_root_endpoints`).
    pub no_open_generate_root: bool,
    /// Requests must carry `X-Vault-Request: true`.
    pub require_request_header: bool,
    /// How many requests without a valid token may fail in a minute, for each address (`max_failures_per_minute`);
    /// 0: any number. Behind a proxy that hides the addresses, one stranger would use the number up for all logins.
    pub failures: u32,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            metrics_without_token: false,
            in_flight_without_token: false,
            no_metrics: false,
            metrics_only: false,
            no_open_rekey: true,
            no_open_generate_root: true,
            failures: 1000,
            require_request_header: false,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            handshake: seconds(10),
            header: seconds(10),
            body: seconds(30),
            idle: seconds(300),
            write: seconds(300),
            request: seconds(90),
            body_bytes: Some(32 << 20),
            header_bytes: 64 << 10,
            connections: 10_000,
            streams: 256,
            json: JsonLimits { strings: Some(1000), memory: Some((32 << 20) + (512 << 10)) },
        }
    }
}

const PROXY_PROTOCOL: &str = "the PROXY protocol is not built: let the proxy send X-Forwarded-For and set \
                              x_forwarded_for_authorized_addrs";
const ACME: &str =
    "certificates are not fetched by ACME: set tls_cert_file and tls_key_file (they are reread when they change)";
const CLIENT_CERT_HEADER: &str =
    "certificates that a proxy forwards are not taken: let clients speak TLS to this server";

const UNBUILT: &[Unbuilt] = &[
    Unbuilt { key: "proxy_protocol_behavior", rule: Rule::RefusedIfSet, why: PROXY_PROTOCOL },
    Unbuilt { key: "proxy_protocol_authorized_addrs", rule: Rule::RefusedIfSet, why: PROXY_PROTOCOL },
    Unbuilt { key: "proxy_protocol_authorized_clients", rule: Rule::RefusedIfSet, why: PROXY_PROTOCOL },
    Unbuilt { key: "x_forwarded_for_client_cert_header", rule: Rule::RefusedIfSet, why: CLIENT_CERT_HEADER },
    Unbuilt { key: "x_forwarded_for_client_cert_decoders", rule: Rule::RefusedIfSet, why: CLIENT_CERT_HEADER },
    Unbuilt {
        key: "x_forwarded_for_client_cert_keep_not_forwarded",
        rule: Rule::RefusedIfSet,
        why: CLIENT_CERT_HEADER,
    },
    Unbuilt { key: "x_forwarded_for_client_cert_keep_unauthorized", rule: Rule::RefusedIfSet, why: CLIENT_CERT_HEADER },
    Unbuilt { key: "tls_acme_ca_directory", rule: Rule::RefusedIfSet, why: ACME },
    Unbuilt { key: "tls_acme_test_ca_directory", rule: Rule::RefusedIfSet, why: ACME },
    Unbuilt { key: "tls_acme_cache_path", rule: Rule::RefusedIfSet, why: ACME },
    Unbuilt { key: "tls_acme_ca_root", rule: Rule::RefusedIfSet, why: ACME },
    Unbuilt { key: "tls_acme_eab_key_id", rule: Rule::RefusedIfSet, why: ACME },
    Unbuilt { key: "tls_acme_eab_mac_key", rule: Rule::RefusedIfSet, why: ACME },
    Unbuilt { key: "tls_acme_email", rule: Rule::RefusedIfSet, why: ACME },
    Unbuilt { key: "tls_acme_domains", rule: Rule::RefusedIfSet, why: ACME },
    Unbuilt { key: "tls_acme_disable_http_challenge", rule: Rule::Harmless, why: ACME },
    Unbuilt { key: "tls_acme_disable_alpn_challenge", rule: Rule::Harmless, why: ACME },
    Unbuilt {
        key: "tls_prefer_server_cipher_suites",
        rule: Rule::Harmless,
        why: "only safe suites are offered, so the order does not matter",
    },
    Unbuilt {
        key: "cluster_address",
        rule: Rule::Harmless,
        why: "servers do not speak to each other: they share the storage",
    },
    Unbuilt { key: "purpose", rule: Rule::Harmless, why: "every listener serves the API" },
    Unbuilt { key: "disable_request_limiter", rule: Rule::Harmless, why: "limits come from quotas" },
];

/// Reads one `listener` block.
pub(super) fn read(report: &Report<'_>, block: &Block<'_>, request: Duration) -> Option<Listener> {
    let kind = block.labels.first().map(|label| (label.name.as_str(), label.span));
    let mut fields = Fields::of(report, block, format!("listener {:?}", kind.map_or("", |k| k.0)));
    let typed = fields.spanned("type");
    let kind = kind.map(|(k, s)| (k.to_owned(), s)).or(typed);
    let Some((kind, span)) = kind else {
        report.lacking(
            block.key.span,
            "this listener has no type",
            "write listener \"tcp\" { } or listener \"unix\" { }",
        );
        return None;
    };
    let (bind, tls) = match kind.to_ascii_lowercase().as_str() {
        "tcp" => (tcp(&mut fields), tls::read(&mut fields)),
        "unix" => (unix(&mut fields), None),
        _ => {
            report.problem(span, format!("{kind:?} is no kind of listener"), "write \"tcp\" or \"unix\"");
            return None;
        }
    };
    let listener = Listener {
        bind: bind?,
        tls,
        limits: limits(&mut fields, request),
        forwarded: forwarded(&mut fields),
        headers: headers::read(&mut fields),
        access: access(&mut fields),
    };
    fields.unbuilt(UNBUILT);
    fields.finish();
    Some(listener)
}

fn tcp(fields: &mut Fields<'_>) -> Option<Bind> {
    let network = fields.spanned("network");
    if let Some((_, span)) = network.filter(|(network, _)| network != "tcp") {
        fields.report.problem(span, "\"network\" must be \"tcp\"", "leave it out");
    }
    let address = fields.socket("address").unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8200)));
    Some(Bind::Tcp(address))
}

fn unix(fields: &mut Fields<'_>) -> Option<Bind> {
    let path = fields.filled("address").or_else(|| fields.filled("path"));
    let mode = fields.read("socket_mode", |text| match u32::from_str_radix(text, 8) {
        _ if text.is_empty() => Ok(0o600),
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("write permission bits in octal: \"0660\"".into()),
    });
    let mut id = |key| {
        fields.read(key, |text| match text.parse().ok() {
            None if text.is_empty() => Ok(None),
            Some(id) => Ok(Some(id)),
            None => Err("write a numeric id (id -u NAME, getent group NAME)".into()),
        })
    };
    let (user, group) = (id("socket_user").flatten(), id("socket_group").flatten());
    let _ = fields.flag("tls_disable");
    let Some(path) = path else {
        fields.report.lacking(fields.span, "this listener has no path", "write address = \"/run/dewdrop.sock\"");
        return None;
    };
    Some(Bind::Unix { path: path.into(), mode: mode.unwrap_or(0o600), user, group })
}

fn limits(fields: &mut Fields<'_>, request: Duration) -> Limits {
    let usual = Limits { request, ..Limits::default() };
    // Zero means "the default" for sizes, "the next one" for times, as in OpenBao.
    let set = |time: Option<Duration>, usual: Duration| time.filter(|t| !t.is_zero()).unwrap_or(usual);
    let header = set(fields.duration("http_read_header_timeout"), usual.header);
    let body = set(fields.duration("http_read_timeout"), usual.body);
    let idle = match fields.duration("http_idle_timeout") {
        Some(time) if time.is_zero() => body,
        time => time.unwrap_or(usual.idle),
    };
    let bytes = |limit: Option<Option<u64>>, usual: Option<u64>| match limit {
        None | Some(Some(0)) => usual,
        Some(limit) => limit,
    };
    let mut whole = |key, usual: u32, range: std::ops::RangeInclusive<u32>| {
        fields
            .read(key, |text| match text.parse() {
                Ok(0) => Ok(usual),
                Ok(n) if range.contains(&n) => Ok(n),
                _ => Err(format!("write a number from {} to {}", range.start(), range.end())),
            })
            .unwrap_or(usual)
    };
    let connections = whole("max_connections", usual.connections, 1..=1_000_000);
    let streams = whole("max_concurrent_streams", usual.streams, 1..=10_000);
    let header_bytes = whole("max_header_size", usual.header_bytes, 8192..=1 << 20);
    Limits {
        handshake: set(fields.duration("tls_handshake_timeout"), usual.handshake),
        header,
        body,
        idle,
        write: set(fields.duration("http_write_timeout"), usual.write),
        request: set(fields.duration("max_request_duration"), usual.request),
        body_bytes: bytes(fields.limit("max_request_size"), usual.body_bytes),
        header_bytes,
        connections,
        streams,
        json: JsonLimits {
            strings: bytes(fields.limit("max_request_json_strings"), usual.json.strings),
            memory: bytes(fields.limit("max_request_json_memory"), usual.json.memory),
        },
    }
}

fn forwarded(fields: &mut Fields<'_>) -> Option<Forwarded> {
    let list = fields.list("x_forwarded_for_authorized_addrs").unwrap_or_default();
    let hops = fields.integer("x_forwarded_for_hop_skips");
    let stranger = fields.flag("x_forwarded_for_reject_not_authorized");
    let missing = fields.flag("x_forwarded_for_reject_not_present");
    let hop_skips = match hops.map(usize::try_from) {
        Some(Err(_)) => {
            fields.report.problem(fields.span, "\"x_forwarded_for_hop_skips\" is negative", "write 0 or more");
            0
        }
        Some(Ok(hops)) => hops,
        None => 0,
    };
    let mut trusted = Vec::new();
    for (text, span) in list {
        match network(&text) {
            Some(net) => trusted.push(net),
            None => {
                fields.report.problem(span, format!("{text:?} is no network"), "write \"10.0.0.0/8\" or an IP address")
            }
        }
    }
    (!trusted.is_empty()).then(|| Forwarded {
        trusted,
        hop_skips,
        // The defaults that OpenBao 2.7.2 shows (its manual says true). Safe: the connection's own address counts.
        reject_stranger: stranger.unwrap_or(false),
        reject_missing: missing.unwrap_or(false),
    })
}

fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    text.parse().ok().or_else(|| text.parse::<std::net::IpAddr>().ok().map(IpNet::from))
}

fn access(fields: &mut Fields<'_>) -> Access {
    let usual = Access::default();
    let mut metrics = fields.flag("unauthenticated_metrics_access").unwrap_or(false);
    let mut no_metrics = fields.flag("disallow_metrics").unwrap_or(false);
    let mut metrics_only = fields.flag("metrics_only").unwrap_or(false);
    if let Some(mut block) = fields.block("telemetry") {
        metrics |= block.flag("unauthenticated_metrics_access").unwrap_or(false);
        no_metrics |= block.flag("disallow_metrics").unwrap_or(false);
        metrics_only |= block.flag("metrics_only").unwrap_or(false);
        block.finish();
    }
    let mut in_flight = false;
    if let Some(mut block) = fields.block("inflight_requests_logging") {
        in_flight = block.flag("unauthenticated_in_flight_requests_access").unwrap_or(false);
        block.finish();
    }
    if let Some(mut block) = fields.block("profiling") {
        block.unbuilt(&[Unbuilt {
            key: "unauthenticated_pprof_access",
            rule: Rule::RefusedIfSet,
            why: "sys/pprof is not built",
        }]);
        block.finish();
    }
    Access {
        metrics_without_token: metrics,
        in_flight_without_token: in_flight,
        no_metrics,
        metrics_only,
        no_open_rekey: fields.flag("disable_unauthed_rekey_endpoints").unwrap_or(usual.no_open_rekey),
        no_open_generate_root: fields
            .flag("disable_unauthed_generate_root_endpoints")
            .unwrap_or(usual.no_open_generate_root),
        require_request_header: fields
            .read("require_request_header", |t| value::boolean(t).ok_or_else(|| "write true or false".into()))
            .unwrap_or(false),
        failures: fields
            .read("max_failures_per_minute", |t| t.parse().map_err(|_| "write a whole number; 0 is no limit".into()))
            .unwrap_or(usual.failures),
    }
}
