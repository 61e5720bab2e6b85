//! mfa register, keys, forget: a person's own security keys.

use clap::Args;
use dewdrop_api::Call;
use serde::Deserialize;
use serde_json::{Value, json};

use super::browser::{self, Ticket};
use super::post;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};

const PATH: &str = "identity/mfa/method/webauthn";

/// `dewdrop mfa register`.
#[derive(Debug, Args)]
pub struct Register {
    /// Id of the method, of type webauthn
    method_id: String,
    /// What you call the key
    #[arg(long, default_value = "passkey", value_name = "TEXT")]
    name: String,
}

/// `dewdrop mfa forget`.
#[derive(Debug, Args)]
pub struct Forget {
    /// Id of the key, as `dewdrop mfa keys` shows it
    credential_id: String,
}

#[derive(Debug, Deserialize)]
struct Begun {
    registration_id: String,
    browser: Ticket,
}

impl Register {
    /// Registers a key in a browser.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let ask = json!({ "method_id": self.method_id, "name": self.name, "browser": true });
        let begun = post(ctx, &format!("{PATH}/register/begin"), ask).await?;
        let begun = begun.data.as_ref().map(|data| Value::Object(data.expose().clone())).unwrap_or_default();
        let begun = Begun::deserialize(begun).map_err(|_| Failure::server("the server's answer cannot be read"))?;
        let credential = browser::answer(ctx, &begun.browser).await?;
        let ask = json!({ "registration_id": begun.registration_id, "credential": credential });
        ctx.out.envelope(&post(ctx, &format!("{PATH}/register/finish"), ask).await?)
    }
}

impl Forget {
    /// Deletes a key.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        ctx.call(Call::delete(&format!("{PATH}/credentials/{}", self.credential_id))?).await?;
        ctx.out.done("Success! The key, if it was yours, is registered no more.")
    }
}

/// Lists the keys.
pub async fn list(ctx: &Ctx) -> Result<u8> {
    let listed = ctx.call(Call::list(&format!("{PATH}/credentials"))?).await?;
    let listed = listed.ok_or_else(|| Failure::server("you have no security keys").hint("dewdrop mfa register"))?;
    ctx.out.envelope(&listed)
}
