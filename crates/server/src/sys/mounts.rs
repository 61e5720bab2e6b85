//! `sys/mounts`, `sys/auth`, `sys/remount`, `sys/internal/ui/mounts`: the tree of mounts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::{Mount, MountClass, Tune, UserLockout};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::wire::{Flag, Int, Pairs, Strings, Text, Ttl};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::mount_view::{is_builtin, show, tuned};
use super::{Sys, namespace_of};
use crate::mounts::{Mounted, NewMount};
use crate::vault::Vault;

/// A new mount.
#[derive(Deserialize, JsonSchema)]
struct MountFields {
    /// The engine's type.
    #[serde(default, rename = "type")]
    kind: Text,
    /// Free words.
    #[serde(default)]
    description: Text,
    /// What can be tuned.
    #[serde(default)]
    config: TuneFields,
    /// Options of the engine.
    #[serde(default)]
    options: Pairs,
    /// Kept and shown.
    #[serde(default)]
    local: Flag,
    /// Kept and shown.
    #[serde(default)]
    seal_wrap: Flag,
    /// Refused: there are no external plugins.
    #[serde(default)]
    plugin_name: Text,
    /// Refused: there are no external plugins.
    #[serde(default)]
    plugin_version: Text,
    /// Refused unless false.
    #[serde(default)]
    external_entropy_access: Flag,
}

/// What can be tuned.
#[derive(Default, Deserialize, JsonSchema)]
struct TuneFields {
    default_lease_ttl: Option<Text>,
    max_lease_ttl: Option<Text>,
    description: Option<Text>,
    token_type: Option<Text>,
    listing_visibility: Option<Text>,
    audit_non_hmac_request_keys: Option<Strings>,
    audit_non_hmac_response_keys: Option<Strings>,
    passthrough_request_headers: Option<Strings>,
    allowed_response_headers: Option<Strings>,
    options: Option<Pairs>,
    user_lockout_config: Option<LockoutFields>,
    /// Accepted, without effect: nothing is cached that could be stale.
    #[expect(dead_code, reason = "the API documents it; it has no effect")]
    force_no_cache: Option<Flag>,
    /// Refused: there are no external plugins.
    #[serde(default)]
    plugin_version: Text,
}

#[derive(Default, Deserialize, JsonSchema)]
struct LockoutFields {
    lockout_threshold: Option<Int>,
    lockout_duration: Option<Ttl>,
    lockout_counter_reset_duration: Option<Ttl>,
    lockout_disable: Option<Flag>,
}

#[derive(Deserialize, JsonSchema)]
struct RemountFields {
    /// The path of now.
    #[serde(default)]
    from: Text,
    /// The path to be.
    #[serde(default)]
    to: Text,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("mounts", "The secrets engines.", |r| r.read("Lists secrets engines", Sys::list_mounts))
        .at("auth", "The auth methods.", |r| r.read("Lists auth methods", Sys::list_auths))
        .at("remount", "Moves a mount.", |r| r.sudo().write("Moves a mount", Sys::remount))
        .at("remount/status/{migration_id}", "How a move goes.", |r| r.read("How a move goes", Sys::remount_status))
        .at("internal/ui/mounts", "The mounts that the caller can see.", |r| {
            r.public("shows only mounts that are meant for everybody, unless a token comes").read("Visible mounts", Sys::ui_mounts)
        })
        .at("internal/ui/mounts/{path*}", "The mount at a path.", |r| {
            r.public("checks itself that the token may see the mount").read("The mount at a path", Sys::ui_mount)
        })
        .and(class_routes())
}

fn class_routes() -> Routes<Sys> {
    Routes::new("")
        .at("mounts/{path*}", "A secrets engine; with `/tune` at the end, its settings.", |r| {
            r.read("Shows a mount or its settings", |s: Arc<Sys>, c, f: NoFields| s.read_mount(MountClass::Secret, c, f))
                .write("Mounts, or tunes", |s: Arc<Sys>, c, f: MountOrTune| s.write_mount(MountClass::Secret, c, f))
                .delete("Unmounts", |s: Arc<Sys>, c, f: NoFields| s.delete_mount(MountClass::Secret, c, f))
        })
        .at("auth/{path*}", "An auth method; with `/tune` at the end, its settings.", |r| {
            r.sudo()
                .read("Shows a method or its settings", |s: Arc<Sys>, c, f: NoFields| s.read_mount(MountClass::Auth, c, f))
                .write("Mounts, or tunes", |s: Arc<Sys>, c, f: MountOrTune| s.write_mount(MountClass::Auth, c, f))
                .delete("Unmounts", |s: Arc<Sys>, c, f: NoFields| s.delete_mount(MountClass::Auth, c, f))
        })
}

/// Mounting and tuning share their paths, so their fields come together.
#[derive(Deserialize, JsonSchema)]
#[serde(transparent)]
struct MountOrTune(Map<String, Value>);

fn parse<T: for<'de> Deserialize<'de>>(fields: Map<String, Value>) -> Result<T, Fault> {
    serde_path_to_error::deserialize(Value::Object(fields)).map_err(|e| Fault::bad_request(format!("Field validation failed: {e}")))
}

impl Sys {
    async fn list_mounts(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        Ok(Reply::data(self.listed(&call, MountClass::Secret)?))
    }

    async fn list_auths(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        Ok(Reply::data(self.listed(&call, MountClass::Auth)?))
    }

    fn listed(&self, call: &Call, class: MountClass) -> Result<Map<String, Value>, Fault> {
        let mounts = self.vault()?.mounts.of(namespace_of(call));
        Ok(mounts.iter().filter(|m| m.mount.class == class).map(|m| (short(&m.mount), show(&m.mount).into())).collect())
    }

    async fn read_mount(self: Arc<Self>, class: MountClass, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let path = call.capture("path").trim_end_matches('/');
        let vault = self.vault()?;
        if let Some(path) = path.strip_suffix("/tune") {
            let mounted = at(&vault, &call, class, path);
            let mounted = mounted.ok_or_else(|| Fault::bad_request(format!("cannot fetch sysview for path \"{path}/\"")))?;
            return Ok(Reply::data(tuned(&mounted.mount)));
        }
        let what = if class == MountClass::Auth { "auth" } else { "secret" };
        let mounted = at(&vault, &call, class, path);
        let mounted = mounted.ok_or_else(|| Fault::bad_request(format!("No {what} engine mount at {path}/")))?;
        Ok(Reply::data(show(&mounted.mount)))
    }

    async fn write_mount(self: Arc<Self>, class: MountClass, call: Call, fields: MountOrTune) -> Result<Reply, Fault> {
        let path = call.capture("path").trim_end_matches('/').to_owned();
        match path.strip_suffix("/tune") {
            Some(path) => self.tune(class, &call, path, parse(fields.0)?).await,
            None => self.mount(class, &call, &path, parse(fields.0)?).await,
        }
    }

    async fn mount(&self, class: MountClass, call: &Call, path: &str, fields: MountFields) -> Result<Reply, Fault> {
        let mut options = fields.options.0;
        let kind = match fields.kind.0.as_str() {
            "" => return Err(Fault::bad_request("backend type must be specified as a string")),
            "kv-v1" => versioned(&mut options, "1"),
            "kv-v2" => versioned(&mut options, "2"),
            kind => kind.to_owned(),
        };
        refuse_plugins(&fields.plugin_name, &fields.plugin_version)?;
        if fields.external_entropy_access.0 {
            return Err(Fault::not_built("external_entropy_access is not built; leave it out"));
        }
        check_kind(class, &kind, path)?;
        let mut tune = Tune::default();
        fields.config.apply(&mut tune)?;
        let new = NewMount {
            class,
            path: full(class, path),
            kind,
            description: fields.description.0,
            options,
            tune,
            local: fields.local.0,
            seal_wrap: fields.seal_wrap.0,
        };
        let vault = self.vault()?;
        vault.mounts.add(&vault, namespace_of(call).clone(), new).await?;
        Ok(Reply::nothing())
    }

    async fn tune(&self, class: MountClass, call: &Call, path: &str, fields: TuneFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let mounted = at(&vault, call, class, path);
        let mounted = mounted.ok_or_else(|| Fault::bad_request(format!("no mount entry found for \"{path}/\"")))?;
        refuse_plugins(&Text::default(), &fields.plugin_version)?;
        let mut mount = Mount::clone(&mounted.mount);
        if let Some(Text(description)) = &fields.description {
            mount.description.clone_from(description);
        }
        if let Some(Pairs(options)) = &fields.options {
            mount.options.extend(options.clone());
        }
        if mounted.mount.options != mount.options && mount.kind == "kv" {
            return Err(Fault::not_built("changing the version of a kv mount is not built; mount a new one and copy"));
        }
        fields.apply(&mut mount.tune)?;
        if mount.default_lease_ttl() > mount.max_lease_ttl() {
            return Err(Fault::bad_request(format!(
                "backend default lease TTL of {}s is greater than the maximum lease TTL of {}s",
                mount.default_lease_ttl().as_secs(),
                mount.max_lease_ttl().as_secs()
            )));
        }
        vault.mounts.replace(&vault, mount).await?;
        Ok(Reply::nothing())
    }

    async fn delete_mount(self: Arc<Self>, class: MountClass, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let path = call.capture("path").trim_end_matches('/').to_owned();
        let vault = self.vault()?;
        let Some(mounted) = at(&vault, &call, class, &path) else { return Ok(Reply::nothing()) };
        if is_builtin(&mounted.mount) {
            return Err(Fault::bad_request(format!("cannot unmount \"{path}/\"")));
        }
        crate::mounts::unmount(&vault, &mounted).await?;
        Ok(Reply::nothing())
    }

    async fn remount(self: Arc<Self>, call: Call, fields: RemountFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let (from, to) = (fields.from.0.trim_matches('/'), fields.to.0.trim_matches('/'));
        if from.is_empty() || to.is_empty() {
            return Err(Fault::bad_request("both 'from' and 'to' path must be specified as a string"));
        }
        let namespace = namespace_of(&call);
        let mounted = vault.mounts.at(&format!("{}{from}/", namespace.path));
        let mounted = mounted.ok_or_else(|| Fault::bad_request(format!("no matching mount at \"{from}/\"")))?;
        if is_builtin(&mounted.mount) {
            return Err(Fault::bad_request(format!("cannot remount \"{from}/\"")));
        }
        if to.starts_with("auth/") != (mounted.mount.class == MountClass::Auth) {
            return Err(Fault::bad_request(format!("cannot remount between secrets engines and auth methods: \"{from}/\" to \"{to}/\"")));
        }
        vault.mounts.check_free(namespace, &format!("{to}/"))?;
        vault.leases.expire_mount(&vault, &mounted.mount.uuid).await?;
        let mut mount = Mount::clone(&mounted.mount);
        mount.path = format!("{to}/");
        vault.mounts.replace(&vault, mount).await?;
        let id = format!("{}:{}", mounted.mount.uuid, to);
        let reply = Reply::of(&json!({ "migration_id": hex_id(&id) }))?;
        Ok(reply.warn("Mount move has been queued. Progress will be reported in the server log, tagged with the returned migration_id"))
    }

    async fn remount_status(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        // A move is done within its request, so a known id always names one that succeeded.
        let id = call.capture("migration_id");
        let (uuid, to) = parse_hex_id(id).ok_or_else(Fault::not_found)?;
        let vault = self.vault()?;
        let found = vault.mounts.by_uuid(&uuid).filter(|m| m.mount.path == format!("{to}/")).ok_or_else(Fault::not_found)?;
        Reply::of(&json!({
            "migration_id": id,
            "migration_info": { "source_mount": "", "target_mount": found.mount.path, "status": "success" },
        }))
    }

    async fn ui_mounts(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let rights = caller_rights(&vault, &call).await?;
        let (mut auth, mut secret) = (Map::new(), Map::new());
        for mounted in vault.mounts.of(namespace_of(&call)) {
            let mount = &mounted.mount;
            let seen = match &rights {
                Some(rights) => rights.sees_anything_under(&mount.full_path(), call.now) || mount.tune.listing_visibility == "unauth",
                None => mount.tune.listing_visibility == "unauth",
            };
            if seen {
                let list = if mount.class == MountClass::Auth { &mut auth } else { &mut secret };
                let shown = if rights.is_some() { show(mount) } else { public_view(mount) };
                list.insert(short(mount), shown.into());
            }
        }
        Reply::of(&json!({ "auth": auth, "secret": secret }))
    }

    async fn ui_mount(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let refused = || Fault::denied_saying("preflight capability check returned 403, please ensure client's policies grant access to path \"PATH\"".replace("PATH", call.capture("path")));
        let rights = caller_rights(&vault, &call).await?.ok_or_else(|| Fault::denied("no token"))?;
        let path = format!("{}{}", namespace_of(&call).path, call.capture("path"));
        let (mounted, _) = vault.mounts.find(&path).ok_or_else(refused)?;
        if !rights.sees_anything_under(&mounted.mount.full_path(), call.now) {
            return Err(refused());
        }
        let mut data = show(&mounted.mount);
        data.insert("path".into(), mounted.mount.path.clone().into());
        Ok(Reply::data(data))
    }
}

/// What the caller may do, when a token came.
async fn caller_rights(vault: &Vault, call: &Call) -> Result<Option<Arc<dewdrop_core::policy::PolicySet>>, Fault> {
    match &call.caller.token {
        Some(record) => Ok(Some(crate::pipeline::rights_of(vault, record).await?.set)),
        None => Ok(None),
    }
}

fn public_view(mount: &Mount) -> Map<String, Value> {
    let mut view = Map::new();
    view.insert("description".into(), mount.description.clone().into());
    view.insert("options".into(), json!(mount.options));
    view.insert("type".into(), mount.kind.clone().into());
    view
}

fn at(vault: &Vault, call: &Call, class: MountClass, path: &str) -> Option<Mounted> {
    let mounted = vault.mounts.at(&format!("{}{}", namespace_of(call).path, full(class, path)));
    mounted.filter(|m| m.mount.class == class)
}

fn full(class: MountClass, path: &str) -> String {
    match class {
        MountClass::Secret => format!("{path}/"),
        MountClass::Auth => format!("auth/{path}/"),
    }
}

/// The path as its own list shows it: without `auth/`.
fn short(mount: &Mount) -> String {
    match mount.class {
        MountClass::Secret => mount.path.clone(),
        MountClass::Auth => mount.path.strip_prefix("auth/").unwrap_or(&mount.path).to_owned(),
    }
}

fn versioned(options: &mut BTreeMap<String, String>, version: &str) -> String {
    options.insert("version".into(), version.into());
    "kv".into()
}

fn check_kind(class: MountClass, kind: &str, path: &str) -> Result<(), Fault> {
    let reserved = ["auth", "sys", "cubbyhole", "identity", "audit"];
    if class == MountClass::Secret && path.split('/').next().is_some_and(|head| reserved.contains(&head)) {
        return Err(Fault::bad_request(format!("cannot mount \"{path}/\"")));
    }
    let known = crate::mounts::known_kinds(class);
    if known.contains(&kind) {
        return Ok(());
    }
    Err(Fault::bad_request(format!("plugin not found in the catalog: {kind} (there are: {})", known.join(", "))))
}

fn refuse_plugins(name: &Text, version: &Text) -> Result<(), Fault> {
    if name.0.is_empty() && version.0.is_empty() {
        return Ok(());
    }
    Err(Fault::not_built("there are no external plugins: leave plugin_name and plugin_version out"))
}

impl TuneFields {
    fn apply(self, tune: &mut Tune) -> Result<(), Fault> {
        set_ttl(&mut tune.default_lease_ttl, self.default_lease_ttl, "default_lease_ttl")?;
        set_ttl(&mut tune.max_lease_ttl, self.max_lease_ttl, "max_lease_ttl")?;
        let lists = [
            (&mut tune.audit_non_hmac_request_keys, self.audit_non_hmac_request_keys),
            (&mut tune.audit_non_hmac_response_keys, self.audit_non_hmac_response_keys),
            (&mut tune.passthrough_request_headers, self.passthrough_request_headers),
            (&mut tune.allowed_response_headers, self.allowed_response_headers),
        ];
        for (list, given) in lists {
            if let Some(Strings(given)) = given {
                *list = given;
            }
        }
        if let Some(Text(kind)) = self.token_type {
            let known = ["", "service", "batch", "default-service", "default-batch", "default"];
            if !known.contains(&kind.as_str()) {
                return Err(Fault::bad_request(format!("invalid value for \"token_type\": {kind:?}")));
            }
            tune.token_type = kind;
        }
        if let Some(Text(visibility)) = self.listing_visibility {
            if !["", "unauth", "hidden"].contains(&visibility.as_str()) {
                return Err(Fault::bad_request(format!("invalid listing_visibility {visibility:?}: use \"unauth\" or \"hidden\"")));
            }
            tune.listing_visibility = visibility;
        }
        if let Some(fields) = self.user_lockout_config {
            tune.user_lockout = Some(fields.applied(tune.user_lockout.clone()));
        }
        Ok(())
    }
}

impl LockoutFields {
    fn applied(self, before: Option<UserLockout>) -> UserLockout {
        let mut lockout = before.unwrap_or(UserLockout {
            threshold: 5,
            duration: Duration::from_secs(900),
            counter_reset: Duration::from_secs(900),
            disable: false,
        });
        if let Some(Int(threshold)) = self.lockout_threshold {
            lockout.threshold = u64::try_from(threshold).unwrap_or_default();
        }
        if let Some(Ttl(duration)) = self.lockout_duration {
            lockout.duration = duration;
        }
        if let Some(Ttl(reset)) = self.lockout_counter_reset_duration {
            lockout.counter_reset = reset;
        }
        if let Some(Flag(disable)) = self.lockout_disable {
            lockout.disable = disable;
        }
        lockout
    }
}

/// Unset: as it was. `system` or zero: the server's own.
fn set_ttl(place: &mut Option<Duration>, given: Option<Text>, name: &str) -> Result<(), Fault> {
    match given.as_ref().map(|text| text.0.as_str()) {
        None | Some("") => {}
        Some("system") => *place = None,
        Some(text) => {
            let ttl = dewdrop_core::wire::parse_ttl(text).map_err(|why| Fault::bad_request(format!("unable to parse {name} of {why}")))?;
            *place = Some(ttl).filter(|ttl| !ttl.is_zero());
        }
    }
    Ok(())
}

fn hex_id(id: &str) -> String {
    hex::encode(id)
}

fn parse_hex_id(id: &str) -> Option<(String, String)> {
    let text = String::from_utf8(hex::decode(id).ok()?).ok()?;
    text.split_once(':').map(|(uuid, to)| (uuid.to_owned(), to.to_owned()))
}
