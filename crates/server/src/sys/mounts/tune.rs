//! `sys/mounts/PATH/tune` and `sys/auth/PATH/tune`: the settings of a mount.

use std::collections::BTreeMap;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::{Limits, Mount, MountClass, Tune, UserLockout};
use dewdrop_core::wire::{Flag, Int, Pairs, Strings, Text, Ttl, read_fields};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::{at, refuse_plugin_version};
use crate::sys::Sys;

/// What can be tuned.
#[derive(Default, Deserialize, JsonSchema)]
pub(super) struct TuneFields {
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
    /// Of meaning only when a mount is made; kept and shown. Nothing is cached that could be stale.
    #[serde(default)]
    pub(super) force_no_cache: Flag,
    /// Refused: there are no external plugins.
    #[serde(default)]
    plugin_version: Text,
}

#[derive(Default, PartialEq, Deserialize, JsonSchema)]
struct LockoutFields {
    lockout_threshold: Option<Int>,
    lockout_duration: Option<Ttl>,
    lockout_counter_reset_duration: Option<Ttl>,
    lockout_disable: Option<Flag>,
}

/// What cannot be tuned of the mounts that every namespace has. Only what the audit log shows of them can.
const FIXED: [&str; 9] = [
    "default_lease_ttl",
    "max_lease_ttl",
    "description",
    "listing_visibility",
    "passthrough_request_headers",
    "allowed_response_headers",
    "options",
    "token_type",
    "user_lockout_config",
];

impl Sys {
    pub(super) async fn tune(
        &self,
        class: MountClass,
        call: &Call,
        path: &str,
        fields: Map<String, Value>,
    ) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let mounted = at(&vault, call, class, path);
        let mounted = mounted.ok_or_else(|| Fault::bad_request(format!("no mount entry found for \"{path}/\"")))?;
        let mut mount = Mount::clone(&mounted.mount);
        check_fixed(&mount, &fields)?;
        let fields: TuneFields = read_fields(fields)?;
        refuse_plugin_version(&fields.plugin_version)?;
        if fields.user_lockout_config.is_some() && class != MountClass::Auth {
            return Err(Fault::bad_request(format!(
                "tuning of user lockout configuration for type {:?} not allowed",
                mount.kind
            )));
        }
        if let Some(Text(description)) = &fields.description {
            mount.description.clone_from(description);
        }
        if let Some(Pairs(options)) = &fields.options {
            change_options(&mut mount.options, options);
        }
        if fields.token_type.is_some() && class != MountClass::Auth {
            return Err(Fault::bad_request("'token_type' can only be modified on auth mounts"));
        }
        fields.apply(&mut mount.tune)?;
        if let (Some(default), Some(max)) = (mount.tune.default_lease_ttl, mount.tune.max_lease_ttl)
            && default > max
        {
            return Err(Fault::bad_request(format!(
                "backend max lease TTL of {} would be less than backend default lease TTL of {}",
                max.as_secs(),
                default.as_secs()
            )));
        }
        let upgraded = crate::mounts::replace(&vault, &mounted, mount).await?;
        let reply = Reply::nothing();
        Ok(match upgraded {
            Some(secrets) => reply.warn(format!("The mount was upgraded to version 2 of kv, with {secrets} secrets.")),
            None => reply,
        })
    }
}

fn check_fixed(mount: &Mount, fields: &Map<String, Value>) -> Result<(), Fault> {
    if mount.kind == "token" && fields.contains_key("token_type") {
        return Err(Fault::bad_request(
            "'token_type' cannot be set for the auth method of tokens: it is given where a token is made",
        ));
    }
    if !matches!(mount.kind.as_str(), "system" | "identity" | "cubbyhole") {
        return Ok(());
    }
    match FIXED.iter().find(|name| fields.contains_key(**name)) {
        Some(name) => Err(Fault::bad_request(format!("cannot tune parameter {name} of {}", mount.path))),
        None => Ok(()),
    }
}

/// An option without a value is taken away.
fn change_options(options: &mut BTreeMap<String, String>, given: &BTreeMap<String, String>) {
    for (name, value) in given {
        match value.as_str() {
            "" => drop(options.remove(name)),
            _ => drop(options.insert(name.clone(), value.clone())),
        }
    }
}

impl TuneFields {
    /// Checks the lives of a new mount: shorter or equal, default to longest to the server's.
    pub(super) fn check_new(tune: &Tune, limits: &Limits) -> Result<(), Fault> {
        let default = tune.default_lease_ttl.unwrap_or_default();
        match tune.max_lease_ttl {
            Some(max) if default > max => {
                Err(Fault::bad_request("given default lease TTL greater than given max lease TTL"))
            }
            None if default > limits.max_lease_ttl => Err(Fault::bad_request(format!(
                "given default lease TTL greater than system max lease TTL of {}",
                limits.max_lease_ttl.as_secs()
            ))),
            _ => Ok(()),
        }
    }

    pub(super) fn apply(self, tune: &mut Tune) -> Result<(), Fault> {
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
                return Err(Fault::bad_request(format!(
                    "invalid value for \"token_type\": use {}",
                    known[1..].join(", ")
                )));
            }
            tune.token_type = kind;
        }
        if let Some(Text(visibility)) = self.listing_visibility {
            if !["", "unauth", "hidden"].contains(&visibility.as_str()) {
                return Err(Fault::bad_request("invalid listing_visibility: use \"unauth\" or \"hidden\""));
            }
            tune.listing_visibility = visibility;
        }
        if let Some(fields) = self.user_lockout_config.filter(|fields| *fields != LockoutFields::default()) {
            tune.user_lockout = Some(fields.applied(tune.user_lockout.clone()));
        }
        Ok(())
    }
}

impl LockoutFields {
    fn applied(self, before: Option<UserLockout>) -> UserLockout {
        let unset =
            UserLockout { threshold: 0, duration: Duration::ZERO, counter_reset: Duration::ZERO, disable: false };
        let mut lockout = before.unwrap_or(unset);
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
            let ttl = dewdrop_core::wire::parse_ttl(text)
                .map_err(|why| Fault::bad_request(format!("unable to parse {name}: {why}")))?;
            *place = Some(ttl).filter(|ttl| !ttl.is_zero());
        }
    }
    Ok(())
}
