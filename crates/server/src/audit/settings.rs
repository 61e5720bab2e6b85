//! What operators set over the API: the headers that are shown, and devices where the configuration lets them be made.
//! Kept in the vault.

use std::collections::BTreeMap;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::store::{Batch, Store, get_json, scan_all};
use serde::{Deserialize, Serialize};

use super::Audit;
use crate::config::{AuditDevice, AuditSink, SocketKind};

/// Headers by lower-case name; `true`: their values are HMACs.
pub type HeaderRules = BTreeMap<String, bool>;

const HEADERS: &[u8] = b"core/audit-headers";
const DEVICES: &str = "core/audit-device/";

/// A device as it was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct DeviceRecord {
    /// Its path, with a slash at the end.
    pub path: String,
    /// `file`, `socket` or `syslog`.
    pub kind: String,
    /// Free words.
    pub description: String,
    /// As written.
    pub options: BTreeMap<String, String>,
}

/// The vault opens: what operators set takes effect.
///
/// # Errors
/// The store's.
pub async fn load(audit: &Audit, store: &dyn Store) -> Result<(), Fault> {
    if let Some((rules, _)) = get_json::<HeaderRules>(store, HEADERS).await? {
        audit.set_headers(rules);
    }
    for row in scan_all(store, DEVICES.as_bytes(), 1000).await? {
        let record: DeviceRecord = serde_json::from_slice(&row.entry.value)
            .map_err(|e| Fault::internal(format!("an audit device does not load: {e}")))?;
        if audit.devices().iter().any(|device| device.path == record.path) {
            continue;
        }
        // The configuration may have become stricter since.
        let device =
            if audit.allow_api { record.device(audit.allow_prefix) } else { Err(Fault::bad_request(FORBIDDEN)) };
        let started = device.and_then(|device| audit.add_device(device, false).map_err(|e| Fault::internal(e.whole())));
        if let Err(fault) = started {
            tracing::error!(path = record.path, told = %fault.told, known = %fault.known, "an audit device does not start");
        }
    }
    Ok(())
}

/// The refusal of devices over the API, in words that clients know.
pub const FORBIDDEN: &str =
    "cannot enable audit device via API; use declarative, config-based audit device management instead";

/// Keeps the headers.
///
/// # Errors
/// The store's.
pub async fn save_headers(audit: &Audit, store: &dyn Store, rules: HeaderRules) -> Result<(), Fault> {
    store.commit(Batch::new().put_json(HEADERS, &rules)?).await?;
    audit.set_headers(rules);
    Ok(())
}

/// Keeps a device.
///
/// # Errors
/// The store's.
pub async fn save_device(store: &dyn Store, record: &DeviceRecord) -> Result<(), Fault> {
    store.commit(Batch::new().put_json(format!("{DEVICES}{}", record.path), record)?).await?;
    Ok(())
}

/// Forgets a device.
///
/// # Errors
/// The store's.
pub async fn drop_device(store: &dyn Store, path: &str) -> Result<(), Fault> {
    store.commit(Batch::new().delete(format!("{DEVICES}{path}"))).await?;
    Ok(())
}

impl DeviceRecord {
    /// The device that the options ask for.
    ///
    /// # Errors
    /// 400 in words that clients know.
    pub fn device(&self, allow_prefix: bool) -> Result<AuditDevice, Fault> {
        let option = |key: &str| self.options.get(key).map(String::as_str).filter(|text| !text.is_empty());
        let flag = |key: &str, usual: bool| match option(key) {
            None => Ok(usual),
            Some("true" | "1" | "t" | "TRUE" | "True") => Ok(true),
            Some("false" | "0" | "f" | "FALSE" | "False") => Ok(false),
            Some(_) => Err(Fault::bad_request(format!("{key:?} must be true or false"))),
        };
        match option("format") {
            None | Some("json") => {}
            Some("jsonx") => {
                return Err(Fault::bad_request(
                    "jsonx formatting has been removed, consider switching to json by omitting \"format\" or setting it to \"json\"",
                ));
            }
            Some(_) => return Err(Fault::bad_request("unknown format type: the one that is built is json")),
        }
        if flag("log_raw", false)? {
            return Err(Fault::bad_request(
                "\"log_raw\" is not supported: secrets are never written in clear; compare with sys/audit-hash instead",
            ));
        }
        let prefix = option("prefix").unwrap_or_default().to_owned();
        if !prefix.is_empty() && !allow_prefix {
            return Err(Fault::bad_request(
                "audit prefixing is disabled; set allow_audit_log_prefixing = true in the configuration",
            ));
        }
        Ok(AuditDevice {
            path: self.path.clone(),
            description: self.description.clone(),
            sink: self.sink(&option)?,
            hmac_accessor: flag("hmac_accessor", true)?,
            elide_list_responses: flag("elide_list_responses", false)?,
            prefix,
            options: self.options.clone(),
        })
    }

    fn sink<'o>(&'o self, option: &dyn Fn(&str) -> Option<&'o str>) -> Result<AuditSink, Fault> {
        match self.kind.as_str() {
            "file" => {
                let path = option("file_path")
                    .or_else(|| option("path"))
                    .ok_or_else(|| Fault::bad_request("file_path is required"))?;
                let mode = match option("mode").map(|mode| u32::from_str_radix(mode, 8)) {
                    None => Some(0o600),
                    Some(Ok(0)) => None,
                    Some(Ok(mode)) if mode & !0o666 == 0 => Some(mode),
                    Some(_) => {
                        return Err(Fault::bad_request("file mode must be octal without execution, such as \"0640\""));
                    }
                };
                Ok(AuditSink::File { path: path.into(), mode })
            }
            "socket" => {
                let address = option("address").ok_or_else(|| Fault::bad_request("address is required"))?.to_owned();
                let kind = match option("socket_type").unwrap_or("tcp") {
                    "tcp" => SocketKind::Tcp,
                    "udp" => SocketKind::Udp,
                    "unix" => SocketKind::Unix,
                    _ => return Err(Fault::bad_request("unknown socket type: choose tcp, udp or unix")),
                };
                let timeout = option("write_timeout").map_or(Ok(Duration::from_secs(2)), dewdrop_core::wire::parse_ttl);
                let timeout = timeout.map_err(|why| Fault::bad_request(format!("write_timeout: {why}")))?;
                Ok(AuditSink::Socket { kind, address, timeout })
            }
            "syslog" => {
                let facility = option("facility").unwrap_or("AUTH").to_ascii_uppercase();
                if super::devices::facility(&facility).is_none() {
                    return Err(Fault::bad_request("invalid syslog facility: use one such as AUTH or LOCAL0"));
                }
                Ok(AuditSink::Syslog { facility, tag: option("tag").unwrap_or("dewdrop").to_owned() })
            }
            _ => Err(Fault::bad_request("unknown backend type: use file, socket or syslog")),
        }
    }
}
