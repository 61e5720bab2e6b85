//! The audit log: what was asked and what was answered. An act that cannot be written down is not done.
//!
//! One local chain (`log`, `line`) must take every line; devices (`devices`) copy it elsewhere, each at its own pace.
//! `verify` and `trace` read the chain offline.

mod devices;
mod entry;
mod error;
mod folder;
pub mod grants;
mod json;
mod keeper;
mod keys;
mod line;
mod log;
mod redact;
mod reserve;
pub mod settings;
mod shown;
mod tail;
pub mod trace;
pub mod verify;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, ArcSwapOption};
use dewdrop_core::{Clock, Secret};
use parking_lot::Mutex;

use dewdrop_core::call::Caller;
use dewdrop_core::mount::{Mount, Namespace};
use dewdrop_core::token::AuthView;
use dewdrop_core::{Fault, Moment, Operation};
use serde_json::{Map, Value};

use crate::config;
pub use devices::DeviceStanding;
use devices::{Device, Feed};
pub use error::AuditError;
pub use keys::PublicKey;
pub use log::Standing;
use log::{Class, Log};
use redact::{HashKey, Leaves};
use settings::HeaderRules;
use shown::Shown;

/// A request, as the audit log sees it.
pub struct Act<'a> {
    /// Its id.
    pub request_id: &'a str,
    /// When it came in.
    pub time: Moment,
    /// Where.
    pub namespace: &'a Namespace,
    /// The mount, when there is one at the path.
    pub mount: Option<&'a Mount>,
    /// The verb.
    pub operation: Operation,
    /// The path within the namespace.
    pub path: &'a str,
    /// Body or query fields.
    pub fields: &'a Map<String, Value>,
    /// Who calls; without a token when none was needed or the one that came is not known.
    pub caller: &'a Caller,
    /// Whether the answer is to be wrapped.
    pub wrap_ttl: Option<Duration>,
    /// All headers by lower-case name; the log shows those that it is configured for.
    pub headers: &'a http::HeaderMap,
}

/// How a request ended.
#[derive(Default)]
pub struct End<'a> {
    /// When.
    pub time: Moment,
    /// The HTTP status.
    pub status: u16,
    /// The refusal or failure.
    pub fault: Option<&'a Fault>,
    /// The answer's `data`.
    pub data: Option<&'a Map<String, Value>>,
    /// The token that was made or renewed.
    pub auth: Option<&'a AuthView>,
    /// The lease that was made or renewed, with its life.
    pub lease: Option<(&'a str, Duration)>,
    /// The accessor of the wrapping token.
    pub wrapped_in: Option<&'a str>,
    /// Sentences for the caller.
    pub warnings: &'a [String],
}

/// A request that was taken down and waits for its end.
pub struct Open(Option<Box<Taken>>);

struct Taken {
    /// `"auth":...,"request":...`, for the second line.
    about: Vec<u8>,
    mount: Vec<u8>,
    shown: Shown,
    leaves: Leaves,
    key: Arc<HashKey>,
    class: Class,
    time: Moment,
    /// The first line is on the log.
    is_written: bool,
}

/// The audit log.
pub struct Audit {
    chain: Option<Arc<Log>>,
    key: Arc<ArcSwapOption<HashKey>>,
    headers: ArcSwap<HeaderRules>,
    devices: Mutex<BTreeMap<String, Device>>,
    buffers: Mutex<Vec<Vec<u8>>>,
    /// Devices may be made over the API.
    pub allow_api: bool,
    /// They may have a prefix.
    pub allow_prefix: bool,
}

impl Audit {
    /// A log without a chain, for servers that keep everything in memory and for tests.
    #[must_use]
    pub fn none() -> Self {
        Self::around(None, false, false)
    }

    /// The log that the configuration wants, and its devices.
    ///
    /// # Errors
    /// See [`AuditError`].
    pub fn open(config: &config::Audit, clock: &Arc<dyn Clock>) -> Result<Self, AuditError> {
        let Some(path) = &config.log.path else {
            return if config.devices.is_empty() {
                Ok(Self::around(None, config.allow_api, config.allow_prefix))
            } else {
                Err(AuditError::NoChain)
            };
        };
        let log = Arc::new(Log::open(&config.log, path, clock.clone())?);
        keeper::start(&log).map_err(folder::io("start the keeper of", path))?;
        let audit = Self::around(Some(log), config.allow_api, config.allow_prefix);
        for device in &config.devices {
            audit.add_device(device.clone(), true)?;
        }
        Ok(audit)
    }

    fn around(chain: Option<Arc<Log>>, allow_api: bool, allow_prefix: bool) -> Self {
        Self {
            chain,
            key: Arc::default(),
            headers: ArcSwap::default(),
            devices: Mutex::default(),
            buffers: Mutex::default(),
            allow_api,
            allow_prefix,
        }
    }

    /// The vault opens: here is the key of the HMACs.
    pub fn unlock(&self, key: &Secret<Vec<u8>>) {
        self.key.store(Some(Arc::new(HashKey::new(key))));
        self.event("unseal", |_| {});
    }

    /// The vault closes. Requests that are under way still end with a line.
    pub fn lock(&self) {
        if self.key.swap(None).is_some() {
            self.event("seal", |_| {});
        }
    }

    /// Takes a request down. Of one that may change state, a line is written before it is done.
    ///
    /// # Errors
    /// 503: the line cannot be written, so the act must not be done.
    pub async fn asked(&self, act: &Act<'_>) -> Result<Open, Fault> {
        let Some(log) = &self.chain else { return Ok(Open(None)) };
        let key = self.key.load_full().ok_or_else(|| refuse(&AuditError::NoKey))?;
        let mut about = self.buffer();
        entry::request(&mut about, act, &key, &self.headers.load());
        let mut mount = Vec::new();
        if act.mount.is_some() {
            entry::mount(&mut json::Obj::go_on(&mut mount), act);
        }
        let class = if is_rescue(act) { Class::Rescue } else { Class::Ordinary };
        let leaves = Leaves::of(act.fields, act.caller.token_text());
        let shown = Shown::told(act.mount, act.path);
        let mut taken = Taken { time: act.time, about, mount, shown, leaves, key, class, is_written: false };
        if act.operation.changes_state() {
            self.write_request(log, &mut taken)?;
        }
        Ok(Open(Some(Box::new(taken))))
    }

    /// Some verbs only read and yet something is made: a credential, a login's token, a wrapping token. Before that the line
    /// of the request is written, unless it was.
    ///
    /// # Errors
    /// 503: the line cannot be written, so nothing must be made.
    pub fn before_making(&self, open: &mut Open) -> Result<(), Fault> {
        match (&self.chain, &mut open.0) {
            (Some(log), Some(taken)) if !taken.is_written => self.write_request(log, taken),
            _ => Ok(()),
        }
    }

    fn write_request(&self, log: &Log, taken: &mut Taken) -> Result<(), Fault> {
        let mut body = self.buffer();
        begin(&mut body, taken.time, "request");
        body.extend_from_slice(&taken.about);
        body.extend_from_slice(b"}\n");
        let written = log.append(&body, taken.class);
        self.give_back(body);
        written.map_err(|error| refuse(&error))?;
        taken.is_written = true;
        // What was begun is also ended in the log, if need be in the reserve.
        taken.class = Class::Rescue;
        Ok(())
    }

    /// Writes how it ended.
    ///
    /// # Errors
    /// 503: the line cannot be written, so the answer must not be given.
    pub async fn answered(&self, open: Open, end: &End<'_>) -> Result<(), Fault> {
        let (Some(log), Some(taken)) = (&self.chain, open.0) else { return Ok(()) };
        let mut body = self.buffer();
        begin(&mut body, end.time, "response");
        body.extend_from_slice(&taken.about);
        entry::response(&mut body, end, &taken.mount, &taken.shown, &taken.key, &taken.leaves);
        body.extend_from_slice(b"}\n");
        let written = log.append(&body, taken.class);
        self.give_back(body);
        self.give_back(taken.about);
        written.map(drop).map_err(|error| refuse(&error))
    }

    /// A lease ended without a request: its time was up, its owner ended, or a crash left it half made.
    /// Says so in the log; what cannot be written is told to the operator, for the credential is gone already.
    pub fn lease_ended(&self, lease: &dewdrop_core::lease::Lease, mount_path: &str, namespace: &Namespace) {
        self.event("revoked", |line| {
            line.object("lease", |object| {
                object.text("lease_id", &lease.id);
                object.text("mount_point", mount_path);
                object.object("namespace", |object| {
                    object.text("id", &namespace.id);
                    object.text_if("path", &namespace.path);
                });
                object.text("issue_time", &lease.issued.rfc3339());
            });
        });
    }

    /// The HMAC that a text has in the log; `None` while sealed.
    #[must_use]
    pub fn hash(&self, text: &str) -> Option<String> {
        self.key.load().as_ref().map(|key| key.hash(text))
    }

    /// How the chain stands; `None` without one.
    #[must_use]
    pub fn standing(&self) -> Option<Standing> {
        self.chain.as_ref().map(|log| log.standing())
    }

    /// What proves the signatures; `None` without a chain.
    #[must_use]
    pub fn public_key(&self) -> Option<PublicKey> {
        self.chain.as_ref().map(|log| log.public_key())
    }

    /// SIGHUP: the log goes on in a new file, device files are opened anew.
    pub fn reopen(&self) {
        if let Some(log) = &self.chain {
            log.reopen();
            self.devices.lock().values().for_each(Device::reopen);
            log.wake();
        }
    }

    /// The end of the server: signs what is not signed. Devices stop where they are and go on at the next start.
    pub fn close(&self) {
        if let Some(log) = &self.chain {
            log.close();
        }
        self.devices.lock().clear();
    }

    /// Adds a device. One of the configuration may find its cursor of before.
    ///
    /// # Errors
    /// There is no chain, or the device cannot be started.
    pub fn add_device(&self, device: config::AuditDevice, from_config: bool) -> Result<(), AuditError> {
        let log = self.chain.as_ref().ok_or(AuditError::NoChain)?;
        let path = device.path.clone();
        let feed = Feed { log: log.clone(), key: self.key.clone() };
        let started = Device::start(device, feed, from_config)?;
        self.devices.lock().insert(path, started);
        Ok(())
    }

    /// Ends a device that was made over the API, and forgets its cursor. `false`: the configuration keeps it.
    pub fn remove_device(&self, path: &str) -> bool {
        let mut devices = self.devices.lock();
        if devices.get(path).is_some_and(|device| device.from_config) {
            return false;
        }
        let removed = devices.remove(path);
        drop(devices);
        if let Some(removed) = removed {
            removed.forget();
        }
        true
    }

    /// The devices as they are set up.
    #[must_use]
    pub fn devices(&self) -> Vec<config::AuditDevice> {
        self.devices.lock().values().map(|device| device.config.clone()).collect()
    }

    /// How the devices fare.
    #[must_use]
    pub fn device_standings(&self) -> BTreeMap<String, DeviceStanding> {
        self.devices.lock().iter().map(|(path, device)| (path.clone(), device.standing())).collect()
    }

    /// The headers that are shown.
    #[must_use]
    pub fn headers(&self) -> Arc<HeaderRules> {
        self.headers.load_full()
    }

    /// Shows other headers from now on.
    pub fn set_headers(&self, rules: HeaderRules) {
        self.headers.store(Arc::new(rules));
    }

    fn event(&self, kind: &str, fill: impl FnOnce(&mut json::Obj<'_>)) {
        let Some(log) = &self.chain else { return };
        if let Err(error) = log.append(&log.event(kind, fill), Class::Rescue) {
            tracing::error!(error = error.whole(), kind, "an event is not on the audit log");
        }
    }

    fn buffer(&self) -> Vec<u8> {
        self.buffers.lock().pop().unwrap_or_else(|| Vec::with_capacity(4096))
    }

    fn give_back(&self, mut buffer: Vec<u8>) {
        const KEPT: usize = 64;
        if buffer.capacity() <= 1 << 16 {
            buffer.clear();
            let mut buffers = self.buffers.lock();
            if buffers.len() < KEPT {
                buffers.push(buffer);
            }
        }
    }
}

fn begin(body: &mut Vec<u8>, time: Moment, kind: &str) {
    let mut line = json::Obj::go_on(body);
    line.text("time", &time.rfc3339());
    line.text("type", kind);
    body.push(b',');
}

/// Operators' acts that end things, with a token that is known: a stranger must not use the reserve up.
fn is_rescue(act: &Act<'_>) -> bool {
    const RESCUE: [&str; 9] = [
        "sys/seal",
        "sys/audit",
        "sys/config/auditing",
        "sys/leases/revoke",
        "sys/revoke",
        "sys/leases/lookup",
        "sys/step-down",
        "auth/token/revoke",
        "auth/token/lookup-self",
    ];
    act.caller.token.is_some() && RESCUE.iter().any(|head| act.path.starts_with(head))
}

fn refuse(error: &AuditError) -> Fault {
    tracing::debug!(error = error.whole(), "an act is refused, since it cannot be written down");
    Fault::unavailable("the audit log cannot be written, and nothing is done that cannot be written down")
        .knowing(error.whole())
}

#[cfg(test)]
mod tests;
