//! What an operator sees, as golden files; HCL and JSON say the same; nothing makes the reader panic.

use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

fn good(text: &str) -> Config {
    Config::parse("t.hcl", text).unwrap_or_else(|problems| panic!("{}", shown(&problems)))
}

fn bad(text: &str) -> String {
    shown(&Config::parse("t.hcl", text).expect_err("this must be refused"))
}

fn shown(problems: &[Problem]) -> String {
    problems.iter().map(|p| format!("{p}\n")).collect()
}

/// Each file in `tests/golden` has a `.txt` beside it that holds the report. `UPDATE_GOLDEN=1` writes them anew.
#[test]
fn reports_are_as_recorded() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/config/tests/golden");
    let mut seen = 0;
    for entry in std::fs::read_dir(&dir).expect("the golden files").filter_map(Result::ok) {
        let path = entry.path();
        if path.extension().is_none_or(|e| e == "txt") {
            continue;
        }
        let name = path.file_name().and_then(|n| n.to_str()).expect("a name");
        let text = std::fs::read_to_string(&path).expect("a golden input");
        let report = shown(&Config::parse(name, &text).expect_err(name));
        let golden = dir.join(format!("{name}.txt"));
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&golden, &report).expect("write the golden report");
        }
        let recorded = std::fs::read_to_string(&golden).unwrap_or_default();
        assert_eq!(report, recorded, "the report of {name} changed; UPDATE_GOLDEN=1 records it");
        assert!(
            !report.contains("hunter") && !report.contains("c2Vjcm") && !report.contains("5ecre7"),
            "a secret in {report}"
        );
        seen += 1;
    }
    assert!(seen >= 8, "only {seen} golden files were found");
}

const FULL_HCL: &str = r#"
# OpenBao's language
ui = true, cluster_name = "one"
"api_addr" = "https://a.example:8200"
default_lease_ttl = 3600
max_lease_ttl = "30d" // two days more would do
disable_mlock = 1
listener "tcp" {
  address = ":8300"
  tls_cert_file = "/c.pem" tls_key_file = "/k.pem"
  tls_client_ca_file = "/ca.pem"
  tls_require_and_verify_client_cert = "true"
  tls_min_version = "tls13"
  max_request_size = 1048576
  http_idle_timeout = "1m30s"
  x_forwarded_for_authorized_addrs = "10.0.0.0/8, 192.168.1.1"
  telemetry { unauthenticated_metrics_access = true }
  custom_response_headers { "default" = { "X-A" = ["1", "2"] } "4xx" = { "X-B" = ["3"] } }
}
listener "unix" { address = "/run/d.sock" socket_mode = "0660" socket_user = "1000" }
storage "etcd" {
  address = "https://e1:2379,https://e2:2379"
  username = "u" password = "p"
}
seal "static" { current_key_id = "k1" current_key = "file:///k" previous_key_id = "k0" previous_key = "env://OLD" }
seal "shamir" {}
audit_log { path = "/a" reserve = "1MiB" checkpoint = "5s" }
audit "file" "to-file" { description = "d" options { file_path = "/f" mode = "0640" hmac_accessor = "false" } }
audit "syslog" "s" {}
telemetry { prometheus_retention_time = "0" prefix_filter = ["-vault.x"] }
user_lockout "all" { lockout_duration = "10m" }
"#;

const FULL_JSON: &str = r#"{
"ui": true, "cluster_name": "one", "api_addr": "https://a.example:8200",
"default_lease_ttl": "1h", "max_lease_ttl": "720h", "disable_mlock": true,
"listener": [
  {"tcp": {"address": ":8300", "tls_cert_file": "/c.pem", "tls_key_file": "/k.pem", "tls_client_ca_file": "/ca.pem",
    "tls_require_and_verify_client_cert": true, "tls_min_version": "tls13", "max_request_size": "1MiB",
    "http_idle_timeout": 90, "x_forwarded_for_authorized_addrs": ["10.0.0.0/8", "192.168.1.1"],
    "telemetry": {"unauthenticated_metrics_access": "1"},
    "custom_response_headers": {"default": {"X-A": ["1", "2"]}, "4xx": {"X-B": ["3"]}}}},
  {"unix": [{"address": "/run/d.sock", "socket_mode": "0660", "socket_user": 1000}]}
],
"storage": {"etcd": {"address": ["https://e1:2379", "https://e2:2379"], "username": "u", "password": "p"}},
"seal": {"static": {"current_key_id": "k1", "current_key": "file:///k", "previous_key_id": "k0", "previous_key": "env://OLD"},
         "shamir": {}},
"audit_log": {"path": "/a", "reserve": 1048576, "checkpoint": "5s"},
"audit": [{"file": {"to-file": {"description": "d", "options": {"file_path": "/f", "mode": "0640", "hmac_accessor": false}}}},
          {"syslog": {"s": {}}}],
"telemetry": {"prometheus_retention_time": 0, "prefix_filter": ["-vault.x"]},
"user_lockout": {"all": {"lockout_duration": "600s"}}
}"#;

#[test]
fn hcl_and_json_say_the_same() {
    let (hcl, json) = (good(FULL_HCL), good(FULL_JSON));
    assert_eq!(format!("{hcl:?}"), format!("{json:?}"));
    assert!(hcl.warnings.is_empty(), "{}", shown(&hcl.warnings));
}

#[test]
fn every_field_lands_where_it_belongs() {
    let config = good(FULL_HCL);
    let tcp = &config.listeners[0];
    assert_eq!(tcp.bind, Bind::Tcp("0.0.0.0:8300".parse().unwrap()));
    let tls = tcp.tls.as_ref().unwrap();
    assert_eq!((tls.clients, tls.tls12, tls.tls13), (ClientCertificates::Required, false, true));
    assert_eq!((tcp.limits.body_bytes, tcp.limits.idle), (Some(1 << 20), Duration::from_secs(90)));
    assert!(tcp.access.metrics_without_token && tcp.access.no_open_rekey);
    assert_eq!((tcp.headers.always.len(), tcp.headers.by_status[&4].len()), (2, 1));
    let expected = Bind::Unix { path: "/run/d.sock".into(), mode: 0o660, user: Some(1000), group: None };
    assert_eq!(config.listeners[1].bind, expected);
    let Storage::Etcd(etcd) = &config.storage else { panic!("etcd") };
    assert_eq!((etcd.endpoints.len(), etcd.prefix.as_str(), etcd.login.is_some()), (2, "/dewdrop/", true));
    assert_eq!(config.seals.len(), 2);
    assert_eq!(config.audit.log.path.as_deref(), Some(Path::new("/a")));
    assert_eq!(config.audit.devices[0].sink, AuditSink::File { path: "/f".into(), mode: Some(0o640) });
    assert!(!config.audit.devices[0].hmac_accessor && config.audit.devices[1].hmac_accessor);
    assert_eq!(config.times.max_lease, Duration::from_secs(30 * 86400));
    assert!(!config.metrics.prometheus);
}

#[test]
fn the_smallest_configuration_has_sensible_defaults() {
    let config = good("listener \"tcp\" { tls_disable = true }\nstorage \"redb\" { path = \"/d\" }");
    assert_eq!(config.listeners[0].limits, Limits::default());
    assert_eq!(config.audit.log.path.as_deref(), Some(Path::new("/d/audit")));
    assert!(matches!(config.seals[..], [Seal::Shamir]));
    assert_eq!(config.times, Times::default());
}

#[test]
fn harmless_settings_warn_and_others_are_refused() {
    let base = "listener \"tcp\" { tls_disable = true cluster_address = \"x\" }\nstorage \"inmem\" {}\n";
    let config = good(&format!("{base}disable_cache = true\nraw_storage_endpoint = false\nplugin_directory = \"\""));
    assert_eq!(config.warnings.len(), 2, "{}", shown(&config.warnings));
    assert!(bad(&format!("{base}raw_storage_endpoint = true")).contains("not supported"));
    assert!(bad(&format!("{base}plugin \"a\" \"b\" {{ }}")).contains("t.hcl:3:1"));
}

#[test]
fn the_environment_overrules_under_three_names() {
    let text = "listener \"tcp\" { tls_disable = true }\nstorage \"inmem\" {}\nlog_level = \"debug\"";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.hcl");
    std::fs::write(&path, text).unwrap();
    let env = |name: &str| match name {
        "VAULT_API_ADDR" => Some("http://vault:1".to_owned()),
        "BAO_API_ADDR" => Some("http://bao:1".to_owned()),
        "DEWDROP_LOG_LEVEL" => Some("trace".to_owned()),
        _ => None,
    };
    let config = Config::from_file(&path, &env).unwrap();
    assert_eq!(config.addresses.api.unwrap().host(), Some("bao"));
    assert_eq!(config.logging.level, LogLevel::Trace);
    let report = shown(&Config::from_file(&path, &|name| (name == "BAO_API_ADDR").then(|| "x".into())).unwrap_err());
    assert!(report.starts_with("BAO_API_ADDR: "), "{report}");
}

#[test]
fn a_directory_is_read_in_order_and_the_last_word_counts() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
    write("a.hcl", "listener \"tcp\" { tls_disable = true }\nlog_level = \"debug\"");
    write("b.json", r#"{"storage": {"inmem": {}}, "log_level": "warn", "listener": {"unix": {"address": "/s"}}}"#);
    write("notes.txt", "not read {{{");
    let config = Config::from_file(dir.path(), &|_| None).unwrap();
    assert_eq!((config.listeners.len(), config.logging.level), (2, LogLevel::Warn));
    let report = shown(&Config::from_file(&dir.path().join("none.hcl"), &|_| None).unwrap_err());
    assert!(report.contains("cannot be read"), "{report}");
}

#[test]
fn static_keys_come_from_files_variables_and_text() {
    let dir = tempfile::tempdir().unwrap();
    let hexed = "0101010101010101010101010101010101010101010101010101010101010101";
    let forms: [&[u8]; 3] = [&[1; 32], hexed.as_bytes(), b"AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n"];
    for (i, form) in forms.iter().enumerate() {
        let path = dir.path().join(i.to_string());
        std::fs::write(&path, form).unwrap();
        assert_eq!(KeySource::File(path).load(&|_| None).unwrap().expose(), &[1; 32]);
    }
    let env = |name: &str| (name == "K").then(|| hexed.to_owned());
    assert_eq!(KeySource::Env("K".into()).load(&env).unwrap().expose(), &[1; 32]);
    assert!(matches!(KeySource::Env("L".into()).load(&env), Err(KeyError::Env(_))));
    std::fs::write(dir.path().join("short"), [1; 31]).unwrap();
    assert!(matches!(KeySource::File(dir.path().join("short")).load(&env), Err(KeyError::Form(_))));
    let text = format!(
        "listener \"tcp\" {{ tls_disable = true }}\nstorage \"inmem\" {{}}\nseal \"static\" {{ current_key_id = \"a\" current_key = \"{hexed}\" }}"
    );
    let config = good(&text);
    assert_eq!(config.warnings.len(), 1);
    assert!(!format!("{config:?}").contains("0101") && !shown(&config.warnings).contains("0101"));
}

#[test]
fn times_and_sizes_are_read() {
    for (text, seconds) in
        [("30", 30.0), ("1h30m", 5400.0), ("1.5s", 1.5), ("300ms", 0.3), ("2d", 172_800.0), ("0", 0.0)]
    {
        assert!((value::duration(text).unwrap().as_secs_f64() - seconds).abs() < 1e-9, "{text}");
    }
    for text in ["", "x", "1y", "-1s", "1h30", "99999999999999999999", "1e9d", "1.2.3s", "10000000h", "s"] {
        assert!(value::duration(text).is_err(), "{text}");
    }
    for (text, bytes) in [("1", 1), ("2k", 2048), ("32MiB", 32 << 20), ("1 GB", 1 << 30)] {
        assert_eq!(value::size(text), Ok(bytes));
    }
    for text in ["", "MiB", "-1", "1.5M", "99999999999TiB", "1PB"] {
        assert!(value::size(text).is_err(), "{text}");
    }
}

#[test]
fn here_documents_comments_and_escapes_are_read() {
    let config = good(
        "/* a */ listener \"tcp\" { tls_disable = true }\nstorage \"inmem\" {}\n\
         cluster_name = <<-EOF\n    two\n  lines\n  EOF\nlog_file = \"/a\\\"\\u0062${x}\"",
    );
    assert_eq!(config.addresses.cluster_name.as_deref(), Some("  two\nlines\n"));
    assert_eq!(config.logging.file.as_deref(), Some(Path::new("/a\"b${x}")));
}

#[test]
fn deep_nesting_is_refused_and_reports_stay_short() {
    assert!(bad(&"a { ".repeat(100_000)).contains("nested deeper"));
    assert!(bad(&format!("{{\"a\": {}", "[".repeat(100_000))).contains("nested deeper"));
    assert!(Config::parse("t", &"= 1\n".repeat(10_000)).unwrap_err().len() < 100);
}

proptest! {
    #[test]
    fn no_text_makes_it_panic(text in "\\PC*") {
        let _ = Config::parse("t", &text).map_err(|p| shown(&p));
    }

    #[test]
    fn no_broken_file_makes_it_panic(
        json in any::<bool>(), cut in 0usize..2000, insert in "[\\{\\}\\[\\]\"=,<a\n\\\\#é-]{0,4}",
    ) {
        let text = if json { FULL_JSON } else { FULL_HCL };
        let at = cut.min(text.len());
        let _ = Config::parse("t", &format!("{}{insert}{}", &text[..at], &text[at..])).map_err(|p| shown(&p));
        let _ = Config::parse("t", &format!("{}{insert}", &text[..at])).map_err(|p| shown(&p));
    }
}
