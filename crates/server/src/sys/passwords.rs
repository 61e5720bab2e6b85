//! `sys/policies/password`: password policies, and passwords by them.

use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::password::PasswordPolicy;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, get_json, scan_all};
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{ListFields, Sys, namespace_of};
use crate::ids;
use crate::vault::Vault;

#[derive(Deserialize, JsonSchema)]
struct PasswordPolicyFields {
    /// The rules, in HCL.
    #[serde(default)]
    policy: Text,
}

#[derive(Serialize, Deserialize)]
struct Record {
    text: String,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("policies/password", "The password policies.", |r| {
            r.list("Lists password policies", Sys::list_password_policies)
        })
        .at("policies/password/{name}/generate", "A password by a policy.", |r| {
            r.read("Makes a password", Sys::generate_password)
        })
        .at("policies/password/{name}", "A password policy.", |r| {
            r.read("Shows a password policy", Sys::read_password_policy)
                .write("Writes a password policy", Sys::write_password_policy)
                .delete("Removes a password policy", Sys::delete_password_policy)
        })
}

/// A password by a policy of a namespace (by id); the empty name: the default policy.
///
/// # Errors
/// 400: no such policy.
pub async fn generate(vault: &Vault, namespace: &str, name: &str) -> Result<Secret<String>, Fault> {
    let policy = match name {
        "" => PasswordPolicy::default(),
        name => {
            let record = get_json::<Record>(&*vault.store, &key(namespace, name)).await?;
            let (record, _) = record.ok_or_else(missing)?;
            parse(&record.text)?
        }
    };
    make(&policy)
}

fn make(policy: &PasswordPolicy) -> Result<Secret<String>, Fault> {
    let mut broken = false;
    let made = policy.generate(&mut |bytes: &mut [u8]| broken |= ids::fill(bytes).is_err());
    if broken {
        return Err(Fault::internal("the machine gives no random bytes"));
    }
    Ok(made)
}

fn parse(text: &str) -> Result<PasswordPolicy, Fault> {
    PasswordPolicy::parse(text)
        .map_err(|e| Fault::bad_request(format!("1 error occurred:\n\t* invalid password policy: {e}\n\n")))
}

fn missing() -> Fault {
    Fault::missing("1 error occurred:\n\t* policy does not exist\n\n")
}

impl Sys {
    async fn list_password_policies(self: Arc<Self>, call: Call, fields: ListFields) -> Result<Reply, Fault> {
        let prefix = key(&namespace_of(&call).id, "");
        let rows = scan_all(&*self.vault()?.store, &prefix, 1000).await?;
        let names = rows
            .iter()
            .filter_map(|row| Some(std::str::from_utf8(row.key.strip_prefix(prefix.as_slice())?).ok()?.to_owned()));
        Reply::keys(fields.cut(names))
    }

    async fn read_password_policy(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let record = get_json::<Record>(&*self.vault()?.store, &call_key(&call)).await?;
        let (record, _) = record.ok_or_else(missing)?;
        Reply::of(&json!({ "policy": record.text }))
    }

    async fn write_password_policy(self: Arc<Self>, call: Call, fields: PasswordPolicyFields) -> Result<Reply, Fault> {
        if fields.policy.0.trim().is_empty() {
            return Err(Fault::bad_request("missing policy"));
        }
        let policy = parse(&fields.policy.0)?;
        // A policy that cannot be met is refused now and not when a credential is needed.
        make(&policy)?;
        let batch = Batch::new().put_json(call_key(&call), &Record { text: fields.policy.0 })?;
        self.vault()?.store.commit(batch).await?;
        Ok(Reply::nothing())
    }

    async fn delete_password_policy(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        self.vault()?.store.commit(Batch::new().delete(call_key(&call))).await?;
        Ok(Reply::nothing())
    }

    async fn generate_password(self: Arc<Self>, call: Call, _: NoFields) -> Result<Reply, Fault> {
        let vault = self.vault()?;
        let password = generate(&vault, &namespace_of(&call).id, call.capture("name")).await?;
        Reply::of(&json!({ "password": password.expose() }))
    }
}

fn call_key(call: &Call) -> Vec<u8> {
    key(&namespace_of(call).id, call.capture("name"))
}

fn key(namespace: &str, name: &str) -> Vec<u8> {
    format!("password-policy/{namespace}/{name}").into_bytes()
}
