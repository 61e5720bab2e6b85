//! Drives one engine as the server would, without a server: a store in memory, a clock moved by hand, a house that lends
//! simple passwords. Minted credentials are made at once and their `internal` is handed out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::call::{Call, Caller, Login, Outcome, Reply};
use dewdrop_core::engine::{Credential, House, KnownLease, Person, Place};
use dewdrop_core::mount::{Limits, Mount, MountClass, Namespace, Tune};
use dewdrop_core::policy::Permit;
use dewdrop_core::route::Room;
use dewdrop_core::{Clock, FakeClock, Fault, Moment, Operation, Secret};
use parking_lot::Mutex;
use serde_json::{Map, Value};

use crate::map_store::MapStore;

/// An engine under test.
pub struct Harness {
    /// The engine behind its routes.
    pub room: Room,
    /// The mount; replace it to tune.
    pub mount: Arc<Mount>,
    /// Who calls; replace it to be somebody else.
    pub caller: Arc<Caller>,
    /// The clock that the engine sees.
    pub clock: Arc<FakeClock>,
    /// The store that the engine sees.
    pub store: Arc<MapStore>,
    /// The house that the engine sees.
    pub house: Arc<FakeHouse>,
}

/// What a call brought.
#[derive(Debug)]
pub enum Got {
    /// 204.
    Nothing,
    /// `data`.
    Data(Value),
    /// A login.
    Login(Box<Login>),
    /// A credential: `data` and the `internal` of its lease, with the times that were asked for it.
    Minted {
        /// What the caller reads.
        data: Value,
        /// What the lease holds.
        internal: Value,
        /// Life of the lease.
        ttl: Duration,
        /// Its ceiling.
        max_ttl: Duration,
    },
    /// A body that is no envelope.
    Raw(Vec<u8>),
}

/// The house under test.
#[derive(Default)]
pub struct FakeHouse {
    /// What [`House::leases_of`] answers.
    pub leases: Mutex<Vec<KnownLease>>,
    /// What [`House::person`] knows, by the entity's id.
    pub people: Mutex<BTreeMap<String, Person>>,
    count: Mutex<u64>,
}

#[async_trait]
impl House for FakeHouse {
    async fn password(&self, _namespace: &str, policy: &str) -> Result<Secret<String>, Fault> {
        let mut count = self.count.lock();
        *count += 1;
        Ok(Secret::new(format!("{policy}-Password-{count}")))
    }

    async fn leases_of(&self, _mount_uuid: &str) -> Result<Vec<KnownLease>, Fault> {
        Ok(self.leases.lock().clone())
    }

    async fn policy_exists(&self, _namespace: &str, _name: &str) -> Result<bool, Fault> {
        Ok(true)
    }

    async fn person(&self, _namespace: &str, entity: &str) -> Result<Option<Person>, Fault> {
        Ok(self.people.lock().get(entity).cloned())
    }
}

impl Harness {
    /// Mounts an engine at `test/` (or `auth/test/`), at 2026-01-01.
    pub fn new(class: MountClass, options: &[(&str, &str)], open: impl FnOnce(Place) -> Room) -> Self {
        let options: BTreeMap<String, String> = options.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        let clock = FakeClock::at(Moment(1_767_225_600_000));
        let store = Arc::new(MapStore::default());
        let house = Arc::new(FakeHouse::default());
        let place = Place {
            store: store.clone(),
            clock: clock.clone(),
            mount_uuid: "test-uuid".into(),
            mount_accessor: "test_accessor".into(),
            options: options.clone(),
            house: house.clone(),
        };
        let mount = Mount {
            path: if class == MountClass::Auth { "auth/test/".into() } else { "test/".into() },
            class,
            kind: "test".into(),
            uuid: "test-uuid".into(),
            accessor: "test_accessor".into(),
            description: String::new(),
            options,
            tune: Tune::default(),
            local: false,
            seal_wrap: false,
            external_entropy_access: false,
            namespace: Arc::new(Namespace::root()),
            defaults: Limits::default(),
        };
        Self { room: open(place), mount: Arc::new(mount), caller: Arc::default(), clock, store, house }
    }

    /// `GET`.
    pub async fn read(&self, path: &str) -> Result<Got, Fault> {
        self.call(Operation::Read, path, Value::Null).await
    }

    /// `GET` with query fields.
    pub async fn read_with(&self, path: &str, fields: Value) -> Result<Got, Fault> {
        self.call(Operation::Read, path, fields).await
    }

    /// `POST`.
    pub async fn write(&self, path: &str, fields: Value) -> Result<Got, Fault> {
        self.call(Operation::Update, path, fields).await
    }

    /// `DELETE`.
    pub async fn delete(&self, path: &str) -> Result<Got, Fault> {
        self.call(Operation::Delete, path, Value::Null).await
    }

    /// `LIST`.
    pub async fn list(&self, path: &str) -> Result<Got, Fault> {
        self.call(Operation::List, path, Value::Null).await
    }

    /// Any verb, with a whole reply's warnings dropped.
    pub async fn call(&self, operation: Operation, path: &str, fields: Value) -> Result<Got, Fault> {
        self.reply(operation, path, fields).await.map(|(got, _)| got)
    }

    /// Any verb, with the reply as the engine gave it.
    pub async fn answer(&self, operation: Operation, path: &str, fields: Value) -> Result<Reply, Fault> {
        let path = path.trim_end_matches('/');
        let spot = self.room.find(path, operation).ok_or_else(|| Fault::missing("unsupported path"))?;
        let fields = if let Value::Object(map) = fields { map } else { Map::new() };
        let call = Call {
            permit: Permit::public("a test"),
            operation,
            path: path.into(),
            captures: spot.captures.clone(),
            fields,
            caller: self.caller.clone(),
            mount: self.mount.clone(),
            now: self.clock.now(),
            wrap_ttl: None,
            headers: BTreeMap::new(),
            request_id: "test-request".into(),
            raw: None,
        };
        self.room.serve(&spot, call).await
    }

    /// Any verb, with the warnings.
    pub async fn reply(&self, operation: Operation, path: &str, fields: Value) -> Result<(Got, Vec<String>), Fault> {
        let Reply { outcome, warnings, .. } = self.answer(operation, path, fields).await?;
        let got = match outcome {
            Outcome::Nothing => Got::Nothing,
            Outcome::Data(data) => Got::Data(data.into()),
            Outcome::Login(login) => Got::Login(login),
            Outcome::Raw(raw) => Got::Raw(raw.body.to_vec()),
            Outcome::Token(_)
            | Outcome::Lease(..)
            | Outcome::Unwrapped(_)
            | Outcome::Wrapped(_)
            | Outcome::Pieces(_) => panic!("only the server answers so"),
            Outcome::Mint(mint) => {
                let made = mint.create.await?;
                Got::Minted {
                    data: made.data.into(),
                    internal: made.internal.unwrap_or(mint.internal),
                    ttl: mint.ttl,
                    max_ttl: mint.max_ttl,
                }
            }
        };
        Ok((got, warnings))
    }

    /// A credential as the lease keeper would hold it.
    pub fn credential(&self, internal: &Value) -> Credential {
        Credential {
            lease_id: "test/creds/x/lease".into(),
            internal: internal.clone(),
            issued: self.clock.now(),
            mount: self.mount.clone(),
        }
    }
}

impl Got {
    /// `data`, or the test fails.
    pub fn data(self) -> Value {
        match self {
            Self::Data(data) => data,
            other => panic!("expected data, got {other:?}"),
        }
    }

    /// `data.keys`, or the test fails.
    pub fn keys(self) -> Vec<String> {
        serde_json::from_value(self.data()["keys"].take()).expect("keys")
    }

    /// The login, or the test fails.
    pub fn login(self) -> Login {
        match self {
            Self::Login(login) => *login,
            other => panic!("expected a login, got {other:?}"),
        }
    }
}
