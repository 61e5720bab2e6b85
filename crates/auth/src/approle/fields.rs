//! The single fields of a role, each under a path of its own.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{Body, NoFields, Routes};
use dewdrop_core::token::TokenParams;
use serde_json::{Value, json};

use super::AppRole;
use super::role::{Role, list_or_null};
use super::wire::{
    BindOnly, BoundOnly, NumUsesOnly, OldBoundOnly, PeriodOnly, PoliciesOnly, SecretTtlOnly, TokenBoundOnly,
    TokenMaxTtlOnly, TokenNumUsesOnly, TokenTtlOnly,
};
use crate::cidr;
use crate::names::parse_name;
use crate::token_params::{OldFields, OldName, TokenFields};

/// A field: how it is shown, set and cleared.
struct Field<B> {
    show: fn(&Role) -> Value,
    set: fn(&mut Role, &B) -> Result<(), Fault>,
    clear: fn(&mut Role),
}

const OLD_BOUND: &str =
    "The \"bound_cidr_list\" field is deprecated and will be removed. Please use \"secret_id_bound_cidrs\" instead.";

/// All of them.
pub fn routes() -> Routes<AppRole> {
    let routes = secret_id_fields(Routes::new("")).at(
        "role/{role_name}/bound-cidr-list",
        "Deprecated: use secret-id-bound-cidrs.",
        |route| {
            route
                .read("Reads it.", async |engine: Arc<AppRole>, call: Call, _: NoFields| {
                    let show = |role: &Role| json!({ "bound_cidr_list": blocks(role) });
                    Ok(engine.show_part(&call, show).await?.warn(OLD_BOUND))
                })
                .write("Sets it.", async |engine: Arc<AppRole>, call: Call, ask: OldBoundOnly| {
                    let ask = BoundOnly { secret_id_bound_cidrs: ask.bound_cidr_list };
                    engine.set_part(&call, move |role| set_blocks(role, &ask)).await
                })
                .delete("Clears it.", async |engine: Arc<AppRole>, call: Call, _: NoFields| {
                    engine.clear_part(&call, |role| role.secret_id_bound_cidrs.clear()).await
                })
        },
    );
    token_limits(token_fields(routes)).at(
        "role/{role_name}/local-secret-ids",
        "Whether secret ids are local to a cluster.",
        |route| {
            route.read("Reads it.", async |engine: Arc<AppRole>, call: Call, _: NoFields| {
                engine.show_part(&call, |role| json!({ "local_secret_ids": role.local_secret_ids })).await
            })
        },
    )
}

fn secret_id_fields(routes: Routes<AppRole>) -> Routes<AppRole> {
    let routes = field(
        routes,
        "role/{role_name}/bind-secret-id",
        "Whether a login needs a secret id.",
        Field::<BindOnly> {
            show: |role| json!({ "bind_secret_id": role.bind_secret_id }),
            set: |role, ask| {
                role.bind_secret_id = ask.bind_secret_id.ok_or_else(|| missing("bind_secret_id"))?.0;
                Ok(())
            },
            clear: |role| role.bind_secret_id = true,
        },
    );
    let about = "How many logins a new secret id is good for.";
    let routes = field(
        routes,
        "role/{role_name}/secret-id-num-uses",
        about,
        Field::<NumUsesOnly> {
            show: |role| json!({ "secret_id_num_uses": role.secret_id_num_uses }),
            set: |role, ask| {
                role.secret_id_num_uses = ask.secret_id_num_uses.ok_or_else(|| missing("secret_id_num_uses"))?.0;
                Ok(())
            },
            clear: |role| role.secret_id_num_uses = 0,
        },
    );
    let routes = field(
        routes,
        "role/{role_name}/secret-id-ttl",
        "Life of a new secret id.",
        Field::<SecretTtlOnly> {
            show: |role| json!({ "secret_id_ttl": role.secret_id_ttl.as_secs() }),
            set: |role, ask| {
                role.secret_id_ttl = ask.secret_id_ttl.ok_or_else(|| missing("secret_id_ttl"))?.0;
                Ok(())
            },
            clear: |role| role.secret_id_ttl = Duration::ZERO,
        },
    );
    let about = "Blocks of addresses from which a login may come.";
    field(
        routes,
        "role/{role_name}/secret-id-bound-cidrs",
        about,
        Field::<BoundOnly> {
            show: |role| json!({ "secret_id_bound_cidrs": blocks(role) }),
            set: set_blocks,
            clear: |role| role.secret_id_bound_cidrs.clear(),
        },
    )
}

fn token_fields(routes: Routes<AppRole>) -> Routes<AppRole> {
    let routes = field(
        routes,
        "role/{role_name}/policies",
        "Policies of the tokens.",
        Field::<PoliciesOnly> {
            show: |role| only(role, &["policies", "token_policies"]),
            set: |role, ask| {
                let new = TokenFields { policies: ask.token_policies.clone(), ..TokenFields::default() };
                let old = OldFields { policies: ask.policies.clone(), ..OldFields::default() };
                let given = ask.token_policies.is_some() || ask.policies.is_some();
                set_token(role, given, "token_policies", new, old)
            },
            clear: |role| clear_token(role, Some(OldName::Policies), |params| params.policies.clear()),
        },
    );
    let routes = field(
        routes,
        "role/{role_name}/period",
        "Makes the tokens periodic.",
        Field::<PeriodOnly> {
            show: |role| only(role, &["period", "token_period"]),
            set: |role, ask| {
                let new = TokenFields { period: ask.token_period, ..TokenFields::default() };
                let old = OldFields { period: ask.period, ..OldFields::default() };
                set_token(role, ask.token_period.is_some() || ask.period.is_some(), "period", new, old)
            },
            clear: |role| clear_token(role, Some(OldName::Period), |params| params.period = Duration::ZERO),
        },
    );
    let about = "Addresses or blocks from which the tokens may be used.";
    field(
        routes,
        "role/{role_name}/token-bound-cidrs",
        about,
        Field::<TokenBoundOnly> {
            show: |role| json!({ "token_bound_cidrs": list_or_null(cidr::show_bounds(&role.token.params.bound_cidrs)) }),
            set: |role, ask| {
                let new = TokenFields { bound_cidrs: ask.token_bound_cidrs.clone(), ..TokenFields::default() };
                role.token.apply(new, OldFields::default())
            },
            clear: |role| clear_token(role, None, |params| params.bound_cidrs.clear()),
        },
    )
}

fn token_limits(routes: Routes<AppRole>) -> Routes<AppRole> {
    let routes = field(
        routes,
        "role/{role_name}/token-max-ttl",
        "Longest life of the tokens.",
        Field::<TokenMaxTtlOnly> {
            show: |role| only(role, &["token_max_ttl"]),
            set: |role, ask| {
                let new = TokenFields { max_ttl: ask.token_max_ttl, ..TokenFields::default() };
                set_token(role, ask.token_max_ttl.is_some(), "token_max_ttl", new, OldFields::default())
            },
            clear: |role| clear_token(role, None, |params| params.max_ttl = Duration::ZERO),
        },
    );
    let about = "How many times a token may be used.";
    let routes = field(
        routes,
        "role/{role_name}/token-num-uses",
        about,
        Field::<TokenNumUsesOnly> {
            show: |role| only(role, &["token_num_uses"]),
            set: |role, ask| {
                let new = TokenFields { num_uses: ask.token_num_uses, ..TokenFields::default() };
                set_token(role, ask.token_num_uses.is_some(), "token_num_uses", new, OldFields::default())
            },
            clear: |role| clear_token(role, None, |params| params.num_uses = 0),
        },
    );
    field(
        routes,
        "role/{role_name}/token-ttl",
        "First life of the tokens.",
        Field::<TokenTtlOnly> {
            show: |role| only(role, &["token_ttl"]),
            set: |role, ask| {
                let new = TokenFields { ttl: ask.token_ttl, ..TokenFields::default() };
                set_token(role, ask.token_ttl.is_some(), "token_ttl", new, OldFields::default())
            },
            clear: |role| clear_token(role, None, |params| params.ttl = Duration::ZERO),
        },
    )
}

/// Adds the path of one field.
fn field<B: Body + Sync>(
    routes: Routes<AppRole>,
    pattern: &'static str,
    about: &'static str,
    Field { show, set, clear }: Field<B>,
) -> Routes<AppRole> {
    routes.at(pattern, about, move |route| {
        route
            .read("Reads it.", move |engine: Arc<AppRole>, call: Call, _: NoFields| async move {
                engine.show_part(&call, show).await
            })
            .write("Sets it.", move |engine: Arc<AppRole>, call: Call, ask: B| async move {
                engine.set_part(&call, move |role| set(role, &ask)).await
            })
            .delete("Clears it.", move |engine: Arc<AppRole>, call: Call, _: NoFields| async move {
                engine.clear_part(&call, clear).await
            })
    })
}

impl AppRole {
    async fn set_part(
        &self,
        call: &Call,
        set: impl Fn(&mut Role) -> Result<(), Fault> + Send + Sync,
    ) -> Result<Reply, Fault> {
        let name = parse_name(call.capture("role_name"))?;
        let change = |role: &mut Role, _| set(role).and_then(|()| role.check());
        self.change_role(&name, false, change).await?;
        Ok(Reply::nothing())
    }

    /// A role that is not there has nothing to clear.
    async fn clear_part(&self, call: &Call, clear: fn(&mut Role)) -> Result<Reply, Fault> {
        if self.role_of(call).await?.is_none() {
            return Ok(Reply::nothing());
        }
        let clear = move |role: &mut Role| {
            clear(role);
            Ok(())
        };
        self.set_part(call, clear).await
    }
}

fn missing(field: &str) -> Fault {
    Fault::bad_request(format!("missing {field}"))
}

fn blocks(role: &Role) -> Value {
    list_or_null(cidr::show_blocks(&role.secret_id_bound_cidrs))
}

/// Not given leaves it as it is.
fn set_blocks(role: &mut Role, ask: &BoundOnly) -> Result<(), Fault> {
    if let Some(blocks) = &ask.secret_id_bound_cidrs {
        role.secret_id_bound_cidrs = cidr::parse_blocks(&blocks.0)?;
    }
    Ok(())
}

/// Those of the shown token fields that have these names.
fn only(role: &Role, names: &[&str]) -> Value {
    role.token
        .show()
        .into_iter()
        .filter(|(name, _)| names.contains(&name.as_str()))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

/// Sets token fields; `given`: whether the request has the field at all.
fn set_token(role: &mut Role, given: bool, name: &str, new: TokenFields, old: OldFields) -> Result<(), Fault> {
    if given { role.token.apply(new, old) } else { Err(missing(name)) }
}

fn clear_token(role: &mut Role, old_name: Option<OldName>, clear: impl FnOnce(&mut TokenParams)) {
    clear(&mut role.token.params);
    if let Some(name) = old_name {
        role.token.old_names.remove(&name);
    }
}
