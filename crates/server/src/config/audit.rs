//! `audit_log { }`, our own chained log, and `audit "file|socket|syslog" "name" { }`, OpenBao's devices beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::fields::{Fields, Report};
use super::source::Span;
use super::tree::Block;
use super::value;

/// All that is said about auditing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audit {
    /// The chained log, which every act must reach.
    pub log: AuditLog,
    /// Copies elsewhere, in the order of the file.
    pub devices: Vec<AuditDevice>,
    /// Devices may be made over the API (`unsafe_allow_api_audit_creation`).
    pub allow_api: bool,
    /// Devices may put a prefix before each line (`allow_audit_log_prefixing`).
    pub allow_prefix: bool,
}

/// The chained log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditLog {
    /// Its directory; `None`: in memory, for storage that is in memory too.
    pub path: Option<PathBuf>,
    /// Bytes set aside on the disk, so that the last lines can be written when it is full.
    pub reserve: u64,
    /// A new file is begun after this many bytes.
    pub file_bytes: u64,
    /// The chain is signed at least this often while lines are written.
    pub checkpoint: Duration,
    /// The chain is signed after this many lines at the latest.
    pub checkpoint_lines: u32,
}

/// One device beside the chained log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditDevice {
    /// Its path below `sys/audit`, with a slash at the end.
    pub path: String,
    /// What it is for.
    pub description: String,
    /// Where its lines go.
    pub sink: AuditSink,
    /// Accessors are written as HMACs (the default).
    pub hmac_accessor: bool,
    /// The values of lists are left out, their length is written.
    pub elide_list_responses: bool,
    /// Stands before each line.
    pub prefix: String,
    /// The options as they were written, for `sys/audit`.
    pub options: BTreeMap<String, String>,
}

/// Where the lines of a device go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AuditSink {
    /// A file.
    File {
        /// Its path; `stdout` and `discard` are understood.
        path: PathBuf,
        /// Permission bits; `None`: as they are.
        mode: Option<u32>,
    },
    /// A socket.
    Socket {
        /// Its kind.
        kind: SocketKind,
        /// `host:port`, or a path.
        address: String,
        /// A line must be taken in this time.
        timeout: Duration,
    },
    /// The machine's syslog.
    Syslog {
        /// Facility, in capitals.
        facility: String,
        /// Tag of the lines.
        tag: String,
    },
}

/// Kinds of socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketKind {
    /// TCP.
    Tcp,
    /// UDP: lines may be lost.
    Udp,
    /// A unix stream socket.
    Unix,
}

impl AuditLog {
    /// The default log in a directory, or in memory.
    #[must_use]
    pub fn at(path: Option<PathBuf>) -> Self {
        Self {
            path,
            reserve: 64 << 20,
            file_bytes: 256 << 20,
            checkpoint: Duration::from_secs(10),
            checkpoint_lines: 10_000,
        }
    }
}

#[cfg(test)]
impl Audit {
    /// For tests: the log alone, in a folder.
    pub fn in_folder(folder: &std::path::Path) -> Self {
        let log = AuditLog { reserve: 0, checkpoint_lines: 1000, ..AuditLog::at(Some(folder.to_owned())) };
        Self { log, devices: Vec::new(), allow_api: false, allow_prefix: false }
    }
}

/// Reads everything about auditing; `beside` is the directory of the storage, when it has one.
pub(super) fn read(top: &mut Fields<'_>, beside: Option<PathBuf>) -> Audit {
    let mut log = AuditLog::at(beside);
    if let Some(mut fields) = top.block("audit_log") {
        log.path = fields.filled("path").map(PathBuf::from).or(log.path);
        log.reserve = fields.read("reserve", value::size).unwrap_or(log.reserve);
        log.file_bytes = fields.read("file_size", value::size).unwrap_or(log.file_bytes).max(1 << 20);
        let often = fields.read("checkpoint", |text| match value::duration(text)? {
            time if time < Duration::from_secs(1) => Err("write at least \"1s\"".into()),
            time => Ok(time),
        });
        log.checkpoint = often.unwrap_or(log.checkpoint);
        let lines = fields.read("checkpoint_lines", |text| match text.parse() {
            Ok(0) | Err(_) => Err("write a number from 1".into()),
            Ok(lines) => Ok(lines),
        });
        log.checkpoint_lines = lines.unwrap_or(log.checkpoint_lines);
        fields.finish();
    }
    let allow_api = top.flag("unsafe_allow_api_audit_creation").unwrap_or(false);
    let allow_prefix = top.flag("allow_audit_log_prefixing").unwrap_or(false);
    let mut devices: Vec<AuditDevice> = Vec::new();
    for block in top.blocks("audit", 2) {
        let Some(device) = device(top.report, &block, allow_prefix) else { continue };
        if devices.iter().any(|d| d.path == device.path) {
            let span = block.labels.last().map_or(block.key.span, |l| l.span);
            top.report.problem(
                span,
                format!("two audit devices are called {:?}", device.path),
                "give each a name of its own",
            );
        } else {
            devices.push(device);
        }
    }
    Audit { log, devices, allow_api, allow_prefix }
}

fn device(report: &Report<'_>, block: &Block<'_>, allow_prefix: bool) -> Option<AuditDevice> {
    const FORM: &str = "write audit \"file\" \"name\" { options { file_path = \"/var/log/audit.log\" } }";
    let mut fields = Fields::of(report, block, "audit");
    let kind = block.labels.first().map(|l| (l.name.clone(), l.span)).or_else(|| fields.spanned("type"));
    let name = block.labels.get(1).map(|l| l.name.clone()).or_else(|| fields.filled("path"));
    let (Some((kind, span)), Some(name)) = (kind, name) else {
        report.problem(block.key.span, "an audit device needs a kind and a name", FORM);
        return None;
    };
    fields.place = format!("audit {kind:?} {name:?}");
    let description = fields.text("description").unwrap_or_default();
    let _ = fields.flag("local");
    let options = fields.map("options");
    fields.finish();
    let mut options = Options { report, options: &options, block: span, used: Vec::new() };
    let sink = match kind.as_str() {
        "file" => options.file(),
        "socket" => options.socket(),
        "syslog" => options.syslog(),
        _ => {
            report.problem(
                span,
                format!("{kind:?} is no kind of audit device"),
                "write \"file\", \"socket\" or \"syslog\"",
            );
            return None;
        }
    };
    options.refusals(allow_prefix);
    let device = AuditDevice {
        path: format!("{}/", name.trim_matches('/')),
        description,
        hmac_accessor: options.flag("hmac_accessor").unwrap_or(true),
        elide_list_responses: options.flag("elide_list_responses").unwrap_or(false),
        prefix: options.text("prefix").map(|(t, _)| t).unwrap_or_default(),
        options: options.options.iter().map(|(k, (v, _))| (k.clone(), v.clone())).collect(),
        sink: sink?,
    };
    options.finish();
    Some(device)
}

/// The `options` of one device.
struct Options<'a> {
    report: &'a Report<'a>,
    options: &'a BTreeMap<String, (String, Span)>,
    block: Span,
    used: Vec<&'static str>,
}

impl Options<'_> {
    fn text(&mut self, key: &'static str) -> Option<(String, Span)> {
        self.used.push(key);
        self.options.get(key).filter(|(text, _)| !text.is_empty()).cloned()
    }

    fn flag(&mut self, key: &'static str) -> Option<bool> {
        let (text, span) = self.text(key)?;
        let flag = value::boolean(&text);
        if flag.is_none() {
            self.report.problem(span, format!("{key:?} cannot be read"), "write \"true\" or \"false\"");
        }
        flag
    }

    fn file(&mut self) -> Option<AuditSink> {
        let path = self.text("file_path").or_else(|| self.text("path"));
        let mode = match self.text("mode") {
            None => Some(0o600),
            Some((text, span)) => match u32::from_str_radix(&text, 8) {
                Ok(0) => None,
                Ok(mode) if mode <= 0o777 && mode & 0o111 == 0 => Some(mode),
                _ => {
                    let help = "write permission bits in octal without execution: \"0640\"";
                    self.report.problem(span, "\"mode\" cannot be read", help);
                    None
                }
            },
        };
        let Some((path, _)) = path else {
            self.report.lacking(
                self.block,
                "this audit device has no file",
                "write options { file_path = \"/var/log/audit.log\" }",
            );
            return None;
        };
        Some(AuditSink::File { path: path.into(), mode })
    }

    fn socket(&mut self) -> Option<AuditSink> {
        let kind = match self.text("socket_type") {
            None => SocketKind::Tcp,
            Some((text, span)) => match text.as_str() {
                "tcp" => SocketKind::Tcp,
                "udp" => SocketKind::Udp,
                "unix" => SocketKind::Unix,
                _ => {
                    self.report.problem(span, "\"socket_type\" cannot be read", "write \"tcp\", \"udp\" or \"unix\"");
                    return None;
                }
            },
        };
        let timeout = match self.text("write_timeout") {
            None => Duration::from_secs(2),
            Some((text, span)) => value::duration(&text)
                .map_err(|help| self.report.problem(span, "\"write_timeout\" cannot be read", help))
                .ok()?,
        };
        let Some((address, _)) = self.text("address") else {
            self.report.lacking(
                self.block,
                "this audit device has no address",
                "write options { address = \"127.0.0.1:9090\" }",
            );
            return None;
        };
        Some(AuditSink::Socket { kind, address, timeout })
    }

    fn syslog(&mut self) -> Option<AuditSink> {
        const FACILITIES: [&str; 20] = [
            "KERN", "USER", "MAIL", "DAEMON", "AUTH", "SYSLOG", "LPR", "NEWS", "UUCP", "CRON", "AUTHPRIV", "FTP",
            "LOCAL0", "LOCAL1", "LOCAL2", "LOCAL3", "LOCAL4", "LOCAL5", "LOCAL6", "LOCAL7",
        ];
        let facility = match self.text("facility") {
            None => "AUTH".to_owned(),
            Some((text, _)) if FACILITIES.contains(&text.to_ascii_uppercase().as_str()) => text.to_ascii_uppercase(),
            Some((_, span)) => {
                self.report.problem(
                    span,
                    "\"facility\" cannot be read",
                    format!("choose from {}", FACILITIES.join(", ")),
                );
                return None;
            }
        };
        let tag = self.text("tag").map_or_else(|| "dewdrop".to_owned(), |(tag, _)| tag);
        Some(AuditSink::Syslog { facility, tag })
    }

    /// What a device may not do.
    fn refusals(&mut self, allow_prefix: bool) {
        if let Some((_, span)) = self.text("log_raw").filter(|(text, _)| value::boolean(text) != Some(false)) {
            let help = "secrets are never written in clear: compare with sys/audit-hash instead";
            self.report.problem(span, "\"log_raw\" is not supported", help);
        }
        if let Some((_, span)) = self.text("format").filter(|(text, _)| text != "json") {
            self.report.problem(span, "\"format\" must be \"json\"", "leave it out");
        }
        if let Some((_, span)) = self.text("prefix").filter(|_| !allow_prefix) {
            let help = "set allow_audit_log_prefixing = true at the top of the file";
            self.report.problem(span, "\"prefix\" is not allowed", help);
        }
    }

    fn finish(self) {
        for (key, (_, span)) in self.options {
            if !self.used.contains(&key.as_str()) {
                let help = value::nearest(key, self.used.iter().copied())
                    .map_or_else(|| "remove it".to_owned(), |near| format!("did you mean {near:?}?"));
                self.report.problem(*span, format!("{key:?} is no option of this audit device"), help);
            }
        }
    }
}
