//! `sys/quotas`: rate limits, limits of leases, and what holds for all of them. In the root namespace only.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::wire::{Flag, Int, Text, TextList, Ttl};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer, de::Error as _};
use serde_json::{Map, Value, json};

use super::Sys;
use crate::vault::Vault;
use crate::vault::quotas::{Limit, QuotaConfig, Rule, RuleKind, Target};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Deserialize, JsonSchema)]
struct RateFields {
    /// Requests of one client in one interval; more than 0.
    #[serde(default, deserialize_with = "number")]
    rate: f64,
    /// The interval; a second when not given.
    #[serde(default)]
    interval: Ttl,
    /// A client that asks for more is refused for so long.
    #[serde(default)]
    block_interval: Ttl,
    /// Namespace, mount or path below a mount (a `*` at its end matches all that begins so); empty for everything.
    #[serde(default)]
    path: Text,
    /// Only logins with this role, at an auth mount that has roles.
    #[serde(default)]
    role: Text,
    /// Whether the namespaces below have it as well, where nothing closer holds.
    inheritable: Option<Flag>,
    /// Not needed: the path says it.
    #[serde(default, rename = "type")]
    _kind: Text,
}

#[derive(Deserialize, JsonSchema)]
struct LeaseFields {
    /// Leases that may live at a time; more than 0.
    #[serde(default)]
    max_leases: Int,
    /// Namespace, mount or path below a mount (a `*` at its end matches all that begins so); empty for everything.
    #[serde(default)]
    path: Text,
    /// Only logins with this role, at an auth mount that has roles.
    #[serde(default)]
    role: Text,
    /// Whether the namespaces below have it as well, where nothing closer holds.
    inheritable: Option<Flag>,
    /// Not needed: the path says it.
    #[serde(default, rename = "type")]
    _kind: Text,
}

/// Of what a rule is, as an operator wrote it.
struct On {
    path: Text,
    role: Text,
    inheritable: Option<Flag>,
}

#[derive(Deserialize, JsonSchema)]
struct ConfigFields {
    /// Whether refused requests are on the audit log.
    #[serde(default)]
    enable_rate_limit_audit_logging: Flag,
    /// Whether answers say what is left.
    #[serde(default)]
    enable_rate_limit_response_headers: Flag,
    /// Paths for which no rate limit holds, with all that begin so. Not given: none.
    #[serde(default)]
    rate_limit_exempt_paths: TextList,
}

/// A number: also in text.
fn number<'de, D: Deserializer<'de>>(input: D) -> Result<f64, D::Error> {
    match Value::deserialize(input)? {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null => Some(0.0),
        _ => None,
    }
    .ok_or_else(|| D::Error::custom("expected a number"))
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("quotas/config", "What holds for all rate limits.", |r| {
            r.read("Shows the configuration of quotas", Sys::read_quota_config)
                .write("Writes the configuration of quotas", Sys::write_quota_config)
        })
        .at("quotas/rate-limit", "The rate limits.", |r| r.list("Lists rate limits", Sys::list_rate_limits))
        .at("quotas/rate-limit/{name}", "A rate limit: how often each client may ask.", |r| {
            r.read("Shows a rate limit", Sys::read_rate_limit)
                .write("Writes a rate limit", Sys::write_rate_limit)
                .delete("Removes a rate limit", Sys::delete_rate_limit)
        })
        .at("quotas/lease-count", "The limits of leases.", |r| r.list("Lists limits of leases", Sys::list_lease_counts))
        .at("quotas/lease-count/{name}", "A limit of leases: how many may live at a time.", |r| {
            r.read("Shows a limit of leases", Sys::read_lease_count)
                .write("Writes a limit of leases", Sys::write_lease_count)
                .delete("Removes a limit of leases", Sys::delete_lease_count)
        })
}

impl Sys {
    async fn read_quota_config(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        Reply::of(&*self.vault()?.quotas.config())
    }

    async fn write_quota_config(self: Arc<Self>, _: Call, fields: ConfigFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let config = QuotaConfig {
            audit: fields.enable_rate_limit_audit_logging.0,
            headers: fields.enable_rate_limit_response_headers.0,
            exempt: fields.rate_limit_exempt_paths.0.into_iter().filter(|path| !path.is_empty()).collect(),
        };
        self.vault()?.quotas.set_config(config).await?;
        Ok(Reply::nothing())
    }

    async fn list_rate_limits(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.list_rules(RuleKind::Rate)
    }

    async fn list_lease_counts(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.list_rules(RuleKind::Leases)
    }

    async fn read_rate_limit(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let (vault, rule) = self.found(&call, RuleKind::Rate)?;
        let mut data = show(&vault, &rule);
        if let Limit::Rate { rate, interval, block } = rule.limit {
            data.insert("rate".into(), plain(rate));
            data.insert("interval".into(), interval.as_secs().into());
            data.insert("block_interval".into(), block.as_secs().into());
        }
        Ok(Reply::data(data))
    }

    async fn read_lease_count(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let (vault, rule) = self.found(&call, RuleKind::Leases)?;
        let mut data = show(&vault, &rule);
        if let Limit::Leases { max } = rule.limit {
            data.insert("max_leases".into(), max.into());
            data.insert("counter".into(), vault.quotas.leases.count(&vault, &rule.name).await?.into());
        }
        Ok(Reply::data(data))
    }

    async fn write_rate_limit(self: Arc<Self>, call: Call, fields: RateFields) -> Result<Reply, Fault> {
        if !fields.rate.is_finite() || fields.rate <= 0.0 {
            self.only_in_root()?;
            return Err(Fault::bad_request("'rate' is invalid"));
        }
        // Whole seconds, as they are shown.
        let whole = |ttl: Ttl| Duration::from_secs(ttl.0.as_secs());
        let interval = whole(fields.interval).max(SECOND);
        let limit = Limit::Rate { rate: fields.rate, interval, block: whole(fields.block_interval) };
        self.write_rule(&call, limit, On { path: fields.path, role: fields.role, inheritable: fields.inheritable })
            .await
    }

    async fn write_lease_count(self: Arc<Self>, call: Call, fields: LeaseFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let max = u64::try_from(fields.max_leases.0).ok().filter(|max| *max > 0);
        let max = max.ok_or_else(|| Fault::bad_request("'max_leases' is invalid"))?;
        let vault = self.vault()?;
        let on = On { path: fields.path, role: fields.role, inheritable: fields.inheritable };
        let reply = self.write_rule(&call, Limit::Leases { max }, on).await?;
        // The leases are counted now, but nobody waits for it before the first question.
        let name = call.capture("name").to_owned();
        tokio::spawn(async move {
            if let Err(fault) = vault.quotas.leases.count(&vault, &name).await {
                tracing::warn!(quota = name, told = %fault.told, known = %fault.known, "leases are counted later");
            }
        });
        Ok(reply)
    }

    async fn delete_rate_limit(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.delete_rule(&call, RuleKind::Rate).await
    }

    async fn delete_lease_count(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.delete_rule(&call, RuleKind::Leases).await
    }

    fn list_rules(&self, kind: RuleKind) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let vault = self.vault()?;
        Reply::keys(vault.quotas.rules(&vault, kind).into_iter().map(|rule| rule.name).collect())
    }

    fn found(&self, call: &Call, kind: RuleKind) -> Result<(Arc<Vault>, Rule), Fault> {
        self.only_in_root()?;
        let vault = self.vault()?;
        let rule = vault.quotas.rule(&vault, kind, name_of(call)?).ok_or_else(Fault::not_found)?;
        Ok((vault, rule))
    }

    async fn write_rule(&self, call: &Call, limit: Limit, on: On) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let name = name_of(call)?.to_owned();
        let vault = self.vault()?;
        let target = Target::parse(&vault, &on.path.0, &on.role.0)?;
        let is_global = target.mount.is_empty() && target.namespace == vault_root(&vault);
        let inheritable = on.inheritable.map_or(is_global, |flag| flag.0);
        vault.quotas.put(&vault, Rule { name, limit, on: target, inheritable }).await?;
        Ok(Reply::nothing())
    }

    async fn delete_rule(&self, call: &Call, kind: RuleKind) -> Result<Reply, Fault> {
        self.only_in_root()?;
        self.vault()?.quotas.remove(kind, name_of(call)?).await?;
        Ok(Reply::nothing())
    }
}

fn vault_root(vault: &Vault) -> String {
    vault.namespaces.at("").map(|root| root.id.clone()).unwrap_or_default()
}

/// Letters, digits and `_`; between the first and the last also `-` and `.`. Other names are no path of the API.
fn name_of(call: &Call) -> Result<&str, Fault> {
    let name = call.capture("name");
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let good = name.starts_with(word) && name.ends_with(word) && name.chars().all(|c| word(c) || c == '-' || c == '.');
    if good { Ok(name) } else { Err(Fault::missing("1 error occurred:\n\t* unsupported path\n\n")) }
}

fn show(vault: &Vault, rule: &Rule) -> Map<String, Value> {
    let data = json!({
        "type": rule.kind().name(),
        "name": rule.name,
        "path": rule.on.show(vault).unwrap_or_default(),
        "role": rule.on.role,
        "inheritable": rule.inheritable,
    });
    data.as_object().cloned().unwrap_or_default()
}

/// A whole number without a point, as clients see it elsewhere.
#[expect(clippy::cast_possible_truncation, reason = "checked to be whole and in range")]
fn plain(rate: f64) -> Value {
    if rate.fract() == 0.0 && rate < 9e15 { json!(rate as i64) } else { json!(rate) }
}
