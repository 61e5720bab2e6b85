//! operator init.

use clap::Args;
use dewdrop_api::Call;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::PgpKeys;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::{say, table};

/// `dewdrop operator init`.
#[derive(Debug, Args)]
pub struct Init {
    /// Number of key shares
    #[arg(long, short = 'n', value_name = "COUNT")]
    key_shares: Option<u64>,
    /// How many of them unseal the server
    #[arg(long, short = 't', value_name = "COUNT")]
    key_threshold: Option<u64>,
    #[command(flatten)]
    pgp: PgpKeys,
    /// Encrypt the first token with this public PGP key (a file)
    #[arg(long, value_name = "FILE")]
    root_token_pgp_key: Option<String>,
    /// Number of recovery key shares (where the server unseals itself)
    #[arg(long, value_name = "COUNT")]
    recovery_shares: Option<u64>,
    /// How many of them are needed
    #[arg(long, value_name = "COUNT")]
    recovery_threshold: Option<u64>,
    /// Encrypt each recovery share with one of these public PGP keys: files, comma-separated
    #[arg(long, value_name = "FILES")]
    recovery_pgp_keys: Vec<String>,
    /// Only say whether the server is initialised: exit code 0 if so, 2 if not
    #[arg(long)]
    status: bool,
}

/// What the server made. It is told once.
#[derive(Serialize, Deserialize)]
struct Made {
    #[serde(rename(serialize = "unseal_keys_b64", deserialize = "keys_base64"), default)]
    keys_b64: Vec<String>,
    #[serde(rename(serialize = "unseal_keys_hex", deserialize = "keys"), default)]
    keys_hex: Vec<String>,
    #[serde(default)]
    unseal_shares: u64,
    #[serde(default)]
    unseal_threshold: u64,
    #[serde(rename(serialize = "recovery_keys_b64", deserialize = "recovery_keys_base64"), default)]
    recovery_b64: Vec<String>,
    #[serde(rename(serialize = "recovery_keys_hex", deserialize = "recovery_keys"), default)]
    recovery_hex: Vec<String>,
    #[serde(default)]
    recovery_keys_shares: u64,
    #[serde(default)]
    recovery_keys_threshold: u64,
    #[serde(default)]
    root_token: String,
}

impl Init {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        if self.status {
            return status(ctx).await;
        }
        // Which kind of keys the server needs depends on how it unseals.
        let seal: Value = ctx.json(Call::read("sys/seal-status")?.anonymous()).await?;
        let own = seal.get("recovery_seal").and_then(Value::as_bool) == Some(true);
        let mut body = json!({});
        let (shares, threshold) = (self.key_shares.unwrap_or(5), self.key_threshold.unwrap_or(3));
        let (recovery_shares, recovery_threshold) =
            (self.recovery_shares.unwrap_or(5), self.recovery_threshold.unwrap_or(3));
        if own {
            body["recovery_shares"] = json!(recovery_shares);
            body["recovery_threshold"] = json!(recovery_threshold);
            let keys = PgpKeys { pgp_keys: self.recovery_pgp_keys }.read()?;
            if !keys.is_empty() {
                body["recovery_pgp_keys"] = json!(keys);
            }
        } else {
            body["secret_shares"] = json!(shares);
            body["secret_threshold"] = json!(threshold);
            let keys = self.pgp.read()?;
            if !keys.is_empty() {
                body["pgp_keys"] = json!(keys);
            }
        }
        if let Some(file) = &self.root_token_pgp_key {
            body["root_token_pgp_key"] = json!(super::pgp_key(file)?);
        }
        let call = Call::write("sys/init", &body)?.anonymous();
        let mut made: Made = ctx.json(call).await.map_err(|e| e.doing("Error initializing"))?;
        if own {
            (made.recovery_keys_shares, made.recovery_keys_threshold) = (recovery_shares, recovery_threshold);
        } else {
            (made.unseal_shares, made.unseal_threshold) = (shares, threshold);
        }
        if !ctx.out.is_table() || ctx.out.field.is_some() {
            return match &ctx.out.field {
                Some(name) => {
                    let all = serde_json::to_value(&made).ok().and_then(|v| v.as_object().cloned()).unwrap_or_default();
                    ctx.out.field(name, &all)
                }
                None => ctx.out.structured(&made),
            };
        }
        print(&made, self.pgp.pgp_keys.is_empty());
        Ok(0)
    }
}

fn print(made: &Made, plain: bool) {
    for (at, key) in made.keys_b64.iter().enumerate() {
        say(&format!("Unseal Key {}: {key}\n", at + 1));
    }
    for (at, key) in made.recovery_b64.iter().enumerate() {
        say(&format!("Recovery Key {}: {key}\n", at + 1));
    }
    say(&format!("\nInitial Root Token: {}\n\n", made.root_token));
    let (shares, threshold) = (made.unseal_shares, made.unseal_threshold);
    if made.keys_b64.is_empty() {
        let (shares, threshold) = (made.recovery_keys_shares, made.recovery_keys_threshold);
        say("Success! The server is initialized\n\n");
        say(&format!(
            "Recovery key initialized with {shares} key shares and a key threshold of {threshold}. Please\nsecurely distribute the key shares printed above.\n"
        ));
        return;
    }
    let text = format!(
        "The server is initialized with {shares} key shares and a key threshold of {threshold}. Please securely distribute the key shares \
         printed above. When the server is re-sealed, restarted, or stopped, you must supply at least {threshold} of these keys to unseal it \
         before it can start servicing requests.\n\n\
         The server does not store the generated root key. Without at least {threshold} keys to reconstruct the root key, it will remain \
         permanently sealed!\n\n\
         It is possible to generate new unseal keys, provided you have a quorum of existing unseal keys shares. See \"dewdrop operator rekey\" \
         for more information."
    );
    say(&format!("{}\n", table::wrap(&text, 78, "")));
    if !plain {
        say("\nThe keys above are encrypted with the PGP keys that were given, in their order.\n");
    }
}

async fn status(ctx: &Ctx) -> Result<u8> {
    // 2 means "not initialised"; whoever cannot tell says 1.
    let told: Value = ctx.json(Call::read("sys/init")?.anonymous()).await.map_err(|e| e.coded(1))?;
    let ready = told
        .get("initialized")
        .and_then(Value::as_bool)
        .ok_or_else(|| Failure::server("the server does not say whether it is initialised"))?;
    if ctx.out.is_table() {
        say(if ready { "The server is initialized\n" } else { "The server is not initialized\n" });
    } else {
        ctx.out.structured(&json!({"Initialized": ready}))?;
    }
    Ok(if ready { 0 } else { 2 })
}
