//! The paths below `sys/` that need no vault: they are served sealed and unsealed alike, without a token.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::call::{Call, Outcome, Raw, Reply};
use dewdrop_core::engine::Engine;
use dewdrop_core::mount::{Limits, Mount, MountClass, Namespace, Tune};
use dewdrop_core::policy::Permit;
use dewdrop_core::route::{NoFields, Room, RouteDoc, Routes};
use dewdrop_core::wire::{Flag, Int, Strings, Text};
use dewdrop_core::{Fault, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::status::{HealthCodes, health, seal_status};
use super::{InitAsk, SealConfig, initialize, unseal_with};
use crate::pipeline::Asked;
use crate::server::Server;

/// The gate with its routes.
pub struct Gate {
    room: Room,
    mount: Arc<Mount>,
}

/// The engine behind the gate.
struct Porter(Weak<Server>);

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
    let below = asked.path.strip_prefix("sys/").filter(|_| asked.namespace.is_empty())?;
    let gate = server.gate();
    let spot = gate.room.find(below, asked.operation).filter(|spot| spot.knows_operation)?;
    let call = Call {
        permit: Permit::public("nobody has a token while there is no vault"),
        operation: asked.operation,
        path: below.to_owned(),
        captures: spot.captures.clone(),
        fields: asked.fields.clone(),
        caller: Arc::default(),
        mount: gate.mount.clone(),
        now: asked.now,
        wrap_ttl: None,
        headers: BTreeMap::new(),
        request_id: asked.request_id.clone(),
        raw: None,
    };
    Some(gate.room.serve(&spot, call).await)
}

#[derive(Deserialize, JsonSchema)]
struct InitFields {
    /// Unseal keys to make.
    secret_shares: Option<Int>,
    /// Unseal keys that are needed.
    secret_threshold: Option<Int>,
    /// Recovery keys to make, with an automatic seal.
    recovery_shares: Option<Int>,
    /// Recovery keys that are needed, with an automatic seal.
    recovery_threshold: Option<Int>,
    /// Not built.
    #[serde(default)]
    pgp_keys: Strings,
    /// Not built.
    #[serde(default)]
    recovery_pgp_keys: Strings,
    /// Not built.
    #[serde(default)]
    root_token_pgp_key: Text,
    /// Only 0 or the number of shares.
    #[expect(dead_code, reason = "the API documents it; it has no effect")]
    stored_shares: Option<Int>,
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
    /// Status of a standby; there is none here.
    #[expect(dead_code, reason = "the API documents it; every server is active")]
    standbycode: Option<Int>,
    /// A standby counts as active; there is none here.
    #[expect(dead_code, reason = "the API documents it; every server is active")]
    standbyok: Option<Flag>,
    /// Status of a performance standby; there is none here.
    #[expect(dead_code, reason = "the API documents it; every server is active")]
    performancestandbycode: Option<Int>,
    /// A performance standby counts as active; there is none here.
    #[expect(dead_code, reason = "the API documents it; every server is active")]
    perfstandbyok: Option<Flag>,
}

const WHY: &str = "served while there is no vault";

#[async_trait]
impl Engine for Porter {
    fn routes() -> Routes<Self> {
        Routes::new("The life of the seal.")
            .at("init", "Whether the server is initialized; and initializing it, once.", |r| {
                r.public(WHY).read("Whether it is initialized", Self::init_status).write("Initializes it", Self::init)
            })
            .at("seal-status", "The state of the seal.", |r| r.public(WHY).read("The state of the seal", Self::seal_status))
            .at("unseal", "Takes one unseal key.", |r| r.public(WHY).write("Takes one unseal key", Self::unseal))
            .at("health", "The state of the server, told by the status code as well.", |r| {
                r.public(WHY).read("The state of the server", Self::health)
            })
            .at("leader", "Which server of the cluster is active: here, each is.", |r| {
                r.public(WHY).read("The active server", Self::leader)
            })
    }
}

impl Porter {
    fn server(&self) -> Result<Arc<Server>, Fault> {
        self.0.upgrade().ok_or_else(|| Fault::unavailable("the server is going down"))
    }

    async fn init_status(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let config = SealConfig::load(&*self.server()?.store).await?;
        Ok(plain(&json!({ "initialized": config.is_some() })))
    }

    async fn init(self: Arc<Self>, _: Call, fields: InitFields) -> Result<Reply, Fault> {
        let server = self.server()?;
        let with_pgp = [&fields.pgp_keys, &fields.recovery_pgp_keys].iter().any(|keys| !keys.0.is_empty());
        if with_pgp || !fields.root_token_pgp_key.0.is_empty() {
            return Err(Fault::not_built("PGP-encrypted shares are not built; leave the pgp keys out"));
        }
        let ask = init_ask(&server, &fields)?;
        let made = initialize(&server, ask, None).await?;
        let hexed: Vec<String> = made.shares.iter().map(|share| hex::encode(share.expose())).collect();
        let based: Vec<String> = made.shares.iter().map(|share| STANDARD.encode(share.expose())).collect();
        let none: Vec<String> = Vec::new();
        let mut body = json!({ "keys": none, "keys_base64": none, "root_token": made.root_token.expose() });
        if let Some(body) = body.as_object_mut() {
            let (keys, keys_base64) = if made.are_recovery_keys { ("recovery_keys", "recovery_keys_base64") } else { ("keys", "keys_base64") };
            body.insert(keys.into(), hexed.into());
            body.insert(keys_base64.into(), based.into());
        }
        Ok(plain(&body))
    }

    async fn seal_status(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        Ok(plain(&seal_status(&*self.server()?).await?))
    }

    async fn unseal(self: Arc<Self>, _: Call, fields: UnsealFields) -> Result<Reply, Fault> {
        let server = self.server()?;
        if fields.migrate.0 {
            return Err(Fault::not_built("seal migration is not built"));
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
            let fits = u16::try_from(code).ok().filter(|code| (100..=599).contains(code));
            fits.ok_or_else(|| Fault::bad_request(format!("{code} is no HTTP status")))
        };
        let codes = HealthCodes {
            active: code(fields.activecode, 200)?,
            sealed: code(fields.sealedcode, 503)?,
            uninit: code(fields.uninitcode, 501)?,
        };
        let (status, body) = health(&*self.server()?, &codes).await?;
        Ok(Reply { status: Some(status), ..plain(&body) })
    }

    async fn leader(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        let server = self.server()?;
        server.vault()?;
        Ok(plain(&json!({
            "ha_enabled": false,
            "is_self": false,
            "active_time": "0001-01-01T00:00:00Z",
            "leader_address": "",
            "leader_cluster_address": "",
            "performance_standby": false,
            "performance_standby_last_remote_wal": 0,
        })))
    }
}

fn init_ask(server: &Server, fields: &InitFields) -> Result<InitAsk, Fault> {
    let (shares, threshold) = if server.auto_seals.is_empty() {
        (fields.secret_shares, fields.secret_threshold)
    } else {
        (fields.recovery_shares, fields.recovery_threshold)
    };
    let number = |given: Option<Int>| {
        let given = given.map_or(0, |int| int.0);
        u8::try_from(given).map_err(|_| Fault::bad_request(format!("{given} shares cannot be: there can be 1 to 255")))
    };
    let ask = InitAsk { shares: number(shares)?, threshold: number(threshold)? };
    super::init::check(ask).map(|()| ask)
}

/// A share as people type it: hex or base64.
///
/// # Errors
/// 400: it is neither.
pub fn parse_share(text: &str) -> Result<Secret<Vec<u8>>, Fault> {
    let text = text.trim();
    let bytes = hex::decode(text).ok().or_else(|| STANDARD.decode(text).ok());
    bytes.map(Secret::new).ok_or_else(|| Fault::bad_request("'key' must be a valid hex or base64 string"))
}

/// A body without envelope, as these paths answer.
pub fn plain(body: &Value) -> Reply {
    Outcome::Raw(Raw { content_type: "application/json", body: format!("{body}\n").into() }).into()
}
