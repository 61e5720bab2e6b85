//! The log from outside: what is written is found, and what is touched is noticed.

mod chain;
mod content;
mod devices;
mod disk;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::Caller;
use dewdrop_core::mount::{Limits, Mount, MountClass, Namespace, Tune};
use dewdrop_core::token::{TokenKind, TokenRecord};
use dewdrop_core::{Clock, FakeClock, Fault, Moment, Operation, Secret};
use serde_json::{Map, Value, json};

use super::verify::{Ask, Report, files, verify};
use super::{Act, Audit, AuditError, End};
use crate::config;

/// An unsealed log in a folder.
struct Rig {
    audit: Audit,
    clock: Arc<FakeClock>,
    mount: Mount,
    caller: Caller,
}

fn config(folder: &Path) -> config::Audit {
    config::Audit::in_folder(folder)
}

fn open(config: &config::Audit) -> Result<Rig, AuditError> {
    let clock = FakeClock::at(Moment(1_700_000_000_000));
    let shared: Arc<dyn Clock> = clock.clone();
    let audit = Audit::open(config, &shared)?;
    audit.unlock(&Secret::new(vec![7; 32]));
    Ok(Rig { audit, clock, mount: mount("kv", "secret/"), caller: caller() })
}

fn mount(kind: &str, path: &str) -> Mount {
    Mount {
        path: path.into(),
        class: MountClass::Secret,
        kind: kind.into(),
        uuid: "u".into(),
        accessor: format!("{kind}_1"),
        description: String::new(),
        options: BTreeMap::new(),
        tune: Tune::default(),
        local: false,
        seal_wrap: false,
        external_entropy_access: false,
        namespace: Arc::new(Namespace::root()),
        defaults: Limits::default(),
    }
}

fn caller() -> Caller {
    let record = TokenRecord {
        accessor: "ACCESSOR".into(),
        parent: None,
        kind: TokenKind::Service,
        policies: vec!["app".into()],
        path: "auth/approle/login".into(),
        display_name: "approle-web".into(),
        meta: BTreeMap::from([("pod".to_owned(), "web-1".to_owned())]),
        num_uses: 0,
        created: Moment(1_700_000_000_000),
        ttl: Duration::from_secs(3600),
        expires: None,
        renewed: None,
        explicit_max_ttl: Duration::ZERO,
        period: Duration::ZERO,
        renewable: true,
        entity_id: "entity-1".into(),
        namespace: "root".into(),
        bound_cidrs: Vec::new(),
        role: String::new(),
        internal: Value::Null,
        beside: String::new(),
        mfa: None,
    };
    Caller {
        token: Some(Arc::new(record)),
        text: Some(Arc::new(Secret::new("s.CANARYtoken".to_owned()))),
        address: Some([10, 0, 0, 1].into()),
        certificates: Vec::new(),
    }
}

fn map(value: Value) -> Map<String, Value> {
    value.as_object().cloned().unwrap()
}

/// A request and its answer.
struct Story<'s> {
    operation: Operation,
    path: &'s str,
    fields: Value,
    reply: Option<Value>,
    lease: Option<&'s str>,
    fault: Option<Fault>,
}

impl Default for Story<'_> {
    fn default() -> Self {
        Self {
            operation: Operation::Update,
            path: "secret/a",
            fields: json!({}),
            reply: None,
            lease: None,
            fault: None,
        }
    }
}

impl Rig {
    fn play(&self, story: Story<'_>) -> Result<(), Fault> {
        let (fields, reply) = (map(story.fields), story.reply.map(map));
        let mut headers = http::HeaderMap::new();
        headers.insert("x-shown", http::HeaderValue::from_static("shown-value"));
        headers.insert("x-hidden", http::HeaderValue::from_static("CANARYheader"));
        let namespace = Namespace::root();
        let act = Act {
            request_id: "request-1",
            time: self.clock.now(),
            namespace: &namespace,
            mount: Some(&self.mount),
            operation: story.operation,
            path: story.path,
            fields: &fields,
            caller: &self.caller,
            wrap_ttl: None,
            headers: &headers,
        };
        let end = End {
            time: self.clock.now(),
            status: 200,
            fault: story.fault.as_ref(),
            data: reply.as_ref(),
            lease: story.lease.map(|id| (id, Duration::from_secs(60))),
            ..End::default()
        };
        let done = async {
            let open = self.audit.asked(&act).await?;
            self.audit.answered(open, &end).await
        };
        // Nothing in it waits.
        futures_util::FutureExt::now_or_never(done).unwrap()
    }

    fn write(&self, count: usize) {
        for at in 0..count {
            self.play(Story { fields: json!({ "n": at }), ..Story::default() }).unwrap();
        }
    }
}

fn check(path: &Path) -> Report {
    verify(&files(path).unwrap(), &Ask::default()).unwrap()
}

fn all_text(folder: &Path) -> String {
    files(folder).unwrap().iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

fn lines(folder: &Path) -> Vec<Value> {
    all_text(folder).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}
