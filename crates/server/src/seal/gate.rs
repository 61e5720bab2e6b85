//! The paths below `sys/` that need no vault: they are served sealed and unsealed alike, without a token.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::call::{Call, Caller, Outcome, Raw, Reply};
use dewdrop_core::engine::Engine;
use dewdrop_core::mount::{Limits, Mount, MountClass, Namespace, Tune};
use dewdrop_core::policy::Permit;
use dewdrop_core::route::{AnyFields, NoFields, Room, RouteDoc, Routes, Spot};
use dewdrop_core::wire::{Flag, Int, Text, TextList, read_fields};
use dewdrop_core::{Fault, Kind, Operation, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::ceremonies::{self, closed, is_ceremony};
use super::pgp::{self, Holders};
use super::status::{HealthCodes, health, seal_status};
use super::{Eyes, InitAsk, SealConfig, initialize, unseal_with};
use crate::audit::{Act, End};
use crate::pipeline::Asked;
use crate::server::Server;

/// The gate with its routes.
pub struct Gate {
    room: Room,
    mount: Arc<Mount>,
}

/// The engine behind the gate.
pub struct Porter(Weak<Server>);

impl Gate {
    /// The gate of a server.
    #[must_use]
    pub fn new(server: Weak<Server>) -> Self {
        let mount = Mount {
            path: "sys/".into(),
            class: MountClass::Secret,
            kind: "system".into(),
            uuid: String::new(),
            accessor: "system_gate".into(),
            description: String::new(),
            options: BTreeMap::new(),
            tune: Tune::default(),
            local: false,
            seal_wrap: false,
            external_entropy_access: false,
            namespace: Arc::new(Namespace::root()),
            defaults: Limits::default(),
        };
        Self { room: Room::new(Arc::new(Porter(server))), mount: Arc::new(mount) }
    }

    /// What there is to say of each route.
    #[must_use]
    pub fn docs(&self) -> Vec<RouteDoc> {
        self.room.docs()
    }
}

/// Serves a request that is the gate's business; `None` for all others.
pub async fn gate(server: &Arc<Server>, asked: &Asked) -> Option<Result<Reply, Fault>> {
    let below = asked.path.strip_prefix("sys/").filter(|_| asked.operation != Operation::Help)?;
    if !asked.namespace.is_empty() && !EVERYWHERE.contains(&below) {
        return None;
    }
    let gate = server.gate();
    let access = server.settings.access(asked.listener);
    if below == "metrics" && access.metrics_without_token && asked.operation == Operation::Read {
        return Some(read_fields(asked.fields.clone()).and_then(|fields| server.metrics.show(&fields, asked.now)));
    }
    // Nothing is left to seal, and nobody's token can be looked up.
    if matches!(below, "seal" | "step-down") && asked.operation == Operation::Update && server.is_sealed() {
        return Some(Ok(Reply::nothing()));
    }
    if below == "in-flight-req" && access.in_flight_without_token && asked.operation == Operation::Read {
        return Some(Ok(plain(&server.metrics.running.show())));
    }
    let spot = gate.room.find(below, asked.operation)?;
    if is_ceremony(below) && asked.operation == Operation::List {
        return None;
    }
    if let Some(fault) = closed(below, &access) {
        return Some(server.vault().and(Err(fault)));
    }
    let is_head = asked.is_head && below != "health";
    if !spot.knows_operation || is_head {
        return Some(Err(Fault::new(Kind::Unsupported, "")));
    }
    let call = Call {
        permit: Permit::public("nobody has a token while there is no vault"),
        operation: asked.operation,
        path: below.to_owned(),
        captures: spot.captures.clone(),
        fields: asked.fields.clone(),
        caller: Arc::new(Caller { address: asked.address, ..Caller::default() }),
        mount: gate.mount.clone(),
        now: asked.now,
        wrap_ttl: None,
        headers: BTreeMap::new(),
        request_id: asked.request_id.clone(),
        raw: None,
    };
    if is_ceremony(below) && asked.operation.changes_state() && !server.is_sealed() {
        return Some(audited(server, asked, &spot, call).await);
    }
    Some(gate.room.serve(&spot, call).await)
}

/// Whoever makes new keys or a root token is on the audit log, token or not.
async fn audited(server: &Server, asked: &Asked, spot: &Spot, call: Call) -> Result<Reply, Fault> {
    let gate = server.gate();
    let caller = call.caller.clone();
    let act = Act {
        request_id: &asked.request_id,
        time: asked.now,
        namespace: &gate.mount.namespace,
        mount: Some(&gate.mount),
        operation: asked.operation,
        path: &asked.path,
        fields: &asked.fields,
        caller: &caller,
        wrap_ttl: None,
        headers: &asked.headers,
    };
    let open = server.audit.asked(&act).await?;
    let served = gate.room.serve(spot, call).await;
    let status = match &served {
        Ok(reply) if matches!(reply.outcome, Outcome::Nothing) => 204,
        Ok(_) => 200,
        Err(fault) => crate::pipeline::status(fault.kind),
    };
    let end = End { time: server.clock().now(), status, fault: served.as_ref().err(), ..End::default() };
    server.audit.answered(open, &end).await?;
    served
}

#[derive(Deserialize, JsonSchema)]
struct InitFields {
    /// Unseal keys to make.
    #[serde(default, deserialize_with = "number")]
    secret_shares: Option<Int>,
    /// Unseal keys that are needed.
    #[serde(default, deserialize_with = "number")]
    secret_threshold: Option<Int>,
    /// Recovery keys to make, with an automatic seal.
    #[serde(default, deserialize_with = "number")]
    recovery_shares: Option<Int>,
    /// Recovery keys that are needed, with an automatic seal.
    #[serde(default, deserialize_with = "number")]
    recovery_threshold: Option<Int>,
    /// PGP keys of those who hold the unseal keys, in base64: one for each share.
    #[serde(default)]
    pgp_keys: TextList,
    /// PGP keys of those who hold the recovery keys.
    #[serde(default)]
    recovery_pgp_keys: TextList,
    /// PGP key of who holds the root token.
    #[serde(default)]
    root_token_pgp_key: Text,
    /// Only 0 or the number of shares.
    #[expect(dead_code, reason = "the API documents it; it has no effect")]
    stored_shares: Option<Int>,
}

/// A number that is written as one: these paths read no texts for numbers.
fn number<'de, D: serde::Deserializer<'de>>(input: D) -> Result<Option<Int>, D::Error> {
    Ok(Option::<i64>::deserialize(input)?.map(Int))
}

#[derive(Deserialize, JsonSchema)]
struct UnsealFields {
    /// One share, in hex or base64.
    #[serde(default)]
    key: Text,
    /// Forget the shares given so far.
    #[serde(default)]
    reset: Flag,
    /// Not built.
    #[serde(default)]
    migrate: Flag,
}

#[derive(Deserialize, JsonSchema)]
struct HealthFields {
    /// Status while serving.
    activecode: Option<Int>,
    /// Status while sealed.
    sealedcode: Option<Int>,
    /// Status before initialization.
    uninitcode: Option<Int>,
    /// Status while another server over the same etcd is active.
    standbycode: Option<Int>,
    /// A standby answers as the active server does.
    #[serde(default)]
    standbyok: Flag,
    /// Status of a performance standby; there is none here.
    #[expect(dead_code, reason = "the API documents it; a standby answers nothing itself")]
    performancestandbycode: Option<Int>,
    /// A performance standby counts as active; there is none here.
    #[expect(dead_code, reason = "the API documents it; a standby answers nothing itself")]
    perfstandbyok: Option<Flag>,
}

/// What is answered in every namespace.
const EVERYWHERE: [&str; 2] = ["seal-status", "leader"];
/// Whatever is shorter is no share of any key.
const SHORTEST_SHARE: usize = 16;
const WHY: &str = "served while there is no vault";

#[async_trait]
impl Engine for Porter {
    fn routes() -> Routes<Self> {
        Routes::new("The life of the seal.")
            .at("init", "Whether the server is initialized; and initializing it, once.", |r| {
                r.public(WHY).read("Whether it is initialized", Self::init_status).write("Initializes it", Self::init)
            })
            .at("seal-status", "The state of the seal.", |r| {
                r.public(WHY).read("The state of the seal", Self::seal_status)
            })
            .at("unseal", "Takes one unseal key.", |r| r.public(WHY).write("Takes one unseal key", Self::unseal))
            .at("health", "The state of the server, told by the status code as well.", |r| {
                r.public(WHY).read("The state of the server", Self::health)
            })
            .at("leader", "Which of the servers over one etcd is active.", |r| {
                r.public(WHY).read("The active server", Self::leader)
            })
            .at("storage/raft/join", "There is no raft here: servers share an etcd.", |r| {
                r.public(WHY).write("Refused", Self::join)
            })
            .and(ceremonies::routes())
    }
}

impl Porter {
    /// The server.
    ///
    /// # Errors
    /// 503: it is going down.
    pub fn server(&self) -> Result<Arc<Server>, Fault> {
        self.0.upgrade().ok_or_else(|| Fault::unavailable("the server is going down"))
    }

    async fn init_status(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let config = SealConfig::load(&*self.server()?.store).await?;
        Ok(plain(&json!({ "initialized": config.is_some() })))
    }

    async fn init(self: Arc<Self>, _: Call, fields: InitFields) -> Result<Reply, Fault> {
        let server = self.server()?;
        let ask = init_ask(&server, &fields)?;
        let made = initialize(&server, ask, &eyes(&server, &fields, ask)?, None).await?;
        let mut body = keys_json(&[], "keys");
        let name = if made.are_recovery_keys { "recovery_keys" } else { "keys" };
        body.extend(keys_json(&made.shares, name));
        body.insert("root_token".into(), made.root_token.expose().as_str().into());
        Ok(plain(&body.into()))
    }

    async fn seal_status(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        Ok(plain(&seal_status(&*self.server()?).await?))
    }

    async fn unseal(self: Arc<Self>, _: Call, fields: UnsealFields) -> Result<Reply, Fault> {
        let server = self.server()?;
        if fields.migrate.0 {
            return Err(Fault::bad_request("cannot migrate: only one kind of seal is configured; leave 'migrate' out"));
        }
        if fields.reset.0 {
            server.ceremonies.lock().await.unsealing.reset();
            return Ok(plain(&seal_status(&server).await?));
        }
        if fields.key.0.is_empty() {
            return Err(Fault::bad_request("'key' must be specified in request body as JSON, or 'reset' set to true"));
        }
        let share = parse_share(&fields.key.0)?;
        unseal_with(&server, share).await?;
        Ok(plain(&seal_status(&server).await?))
    }

    async fn health(self: Arc<Self>, _: Call, fields: HealthFields) -> Result<Reply, Fault> {
        let code = |given: Option<Int>, usual: u16| -> Result<u16, Fault> {
            let Some(Int(code)) = given else { return Ok(usual) };
            let fits = u16::try_from(code).ok().filter(|code| (200..=599).contains(code));
            fits.ok_or_else(|| Fault::bad_request("a code is no HTTP status: use 200 to 599"))
        };
        let active = code(fields.activecode, 200)?;
        let codes = HealthCodes {
            active,
            standby: if fields.standbyok.0 { active } else { code(fields.standbycode, 429)? },
            sealed: code(fields.sealedcode, 503)?,
            uninit: code(fields.uninitcode, 501)?,
        };
        let (status, body) = health(&*self.server()?, &codes).await?;
        Ok(Reply { status: Some(status), ..plain(&body) })
    }

    async fn leader(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let server = self.server()?;
        if !server.settings.is_shared() {
            return Ok(plain(&json!({ "ha_enabled": false })));
        }
        let is_self = server.vault().is_ok();
        let leader = server.turns.leader().unwrap_or_default();
        let address = if is_self { server.settings.api_addr.as_str() } else { leader.address.as_str() };
        Ok(plain(&json!({
            "ha_enabled": true,
            "is_self": is_self,
            "active_time": "0001-01-01T00:00:00Z",
            "leader_address": address,
            "leader_cluster_address": if is_self { server.settings.cluster_addr.as_str() } else { "" },
            "performance_standby": false,
            "performance_standby_last_remote_wal": 0,
        })))
    }

    async fn join(self: Arc<Self>, _: Call, _: AnyFields) -> Result<Reply, Fault> {
        Err(Fault::bad_request("raft backend not in use; servers form a cluster by sharing an etcd (storage \"etcd\")"))
    }
}

/// Shares in the two forms that clients read: `NAME` in hex and `NAME_base64`.
pub(crate) fn keys_json(shares: &[Secret<Vec<u8>>], name: &str) -> Map<String, Value> {
    let hexed: Vec<String> = shares.iter().map(|share| hex::encode(share.expose())).collect();
    let based: Vec<String> = shares.iter().map(|share| STANDARD.encode(share.expose())).collect();
    Map::from_iter([(name.to_owned(), hexed.into()), (format!("{name}_base64"), based.into())])
}

fn init_ask(server: &Server, fields: &InitFields) -> Result<InitAsk, Fault> {
    let by_people = (fields.secret_shares, fields.secret_threshold);
    let recovery = (fields.recovery_shares, fields.recovery_threshold);
    let (kind, right, wrong, names) = match server.auto_seals.first() {
        None => ("shamir", by_people, recovery, ["recovery_shares", "recovery_threshold", "recovery_pgp_keys"]),
        Some(seal) => (seal.kind(), recovery, by_people, ["secret_shares", "secret_threshold", "pgp_keys"]),
    };
    let wrong_keys = if kind == "shamir" { &fields.recovery_pgp_keys } else { &fields.pgp_keys };
    let [shares, threshold] = [wrong.0, wrong.1].map(|number| number.is_some_and(|n| n.0 != 0));
    let given = [shares, threshold, !wrong_keys.0.is_empty()];
    let named: Vec<&str> = names.into_iter().zip(given).filter(|(_, given)| *given).map(|(name, _)| name).collect();
    if !named.is_empty() {
        return Err(Fault::bad_request(format!("parameters {} not applicable to seal type {kind}", named.join(","))));
    }
    shares_of(right.0, right.1)
}

/// For whose eyes the shares and the root token are.
fn eyes(server: &Server, fields: &InitFields, ask: InitAsk) -> Result<Eyes, Fault> {
    let now = server.clock().now();
    let (name, keys) = match server.auto_seals.is_empty() {
        true => ("pgp_keys", &fields.pgp_keys),
        false => ("recovery_pgp_keys", &fields.recovery_pgp_keys),
    };
    let root = Some(&fields.root_token_pgp_key.0).filter(|text| !text.is_empty());
    let root = root.map(|text| pgp::key("root_token_pgp_key", text, now)).transpose()?;
    Ok(Eyes { shares: Holders::read(name, &keys.0, ask, now)?, root })
}

/// Numbers of shares as they are sent.
///
/// # Errors
/// 400: numbers that cannot be.
pub(super) fn shares_of(shares: Option<Int>, threshold: Option<Int>) -> Result<InitAsk, Fault> {
    let number = |given: Option<Int>| given.map_or(0, |int| int.0.max(0));
    let Ok(shares) = u8::try_from(number(shares)) else {
        return Err(Fault::bad_request("invalid seal configuration: shares must be less than 256"));
    };
    // What is larger than any number of shares is larger than this one too.
    let ask = InitAsk { shares, threshold: u8::try_from(number(threshold)).unwrap_or(u8::MAX) };
    super::init::check(ask).map(|()| ask)
}

/// A share as people type it: hex or base64.
///
/// # Errors
/// 400: it is neither.
pub fn parse_share(text: &str) -> Result<Secret<Vec<u8>>, Fault> {
    let text = text.trim();
    let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok());
    if bytes.as_ref().is_some_and(|bytes| bytes.len() < SHORTEST_SHARE) {
        return Err(Fault::bad_request(format!("'key' must be a valid share of at least {SHORTEST_SHARE} bytes")));
    }
    bytes.map(Secret::new).ok_or_else(|| Fault::bad_request("'key' must be a valid hex or base64 string"))
}

/// A body without envelope, as these paths answer.
pub fn plain(body: &Value) -> Reply {
    Outcome::Raw(Raw { content_type: "application/json", body: format!("{body}\n").into() }).into()
}
