//! operator rekey (also `rotate-keys`): new key shares.

use clap::Args;
use dewdrop_api::{Call, Reply};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::PgpKeys;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::{note, say, table};

/// `dewdrop operator rekey`.
#[derive(Debug, Args)]
pub struct Rekey {
    /// A present key share, or - for stdin; asked for when it is not given
    key: Option<String>,
    /// Begin
    #[arg(long)]
    init: bool,
    /// Give up what was begun
    #[arg(long)]
    cancel: bool,
    /// Show how far it is
    #[arg(long)]
    status: bool,
    /// The act is about verifying the new shares
    #[arg(long)]
    verify: bool,
    /// Number of new key shares
    #[arg(long, short = 'n', value_name = "COUNT", default_value_t = 5)]
    key_shares: u64,
    /// How many of them unseal the server
    #[arg(long, short = 't', value_name = "COUNT", default_value_t = 3)]
    key_threshold: u64,
    /// The nonce that -init printed
    #[arg(long, value_name = "NONCE")]
    nonce: Option<String>,
    #[command(flatten)]
    pgp: PgpKeys,
    /// barrier, or recovery where the server unseals itself
    #[arg(long, default_value = "barrier", value_parser = ["barrier", "recovery"])]
    target: String,
    /// The new shares must be given once before they count
    #[arg(long)]
    require_verification: bool,
    /// Keep a copy of the new PGP-encrypted shares in the server
    #[arg(long)]
    backup: bool,
    /// Print that copy
    #[arg(long)]
    backup_retrieve: bool,
    /// Delete that copy
    #[arg(long)]
    backup_delete: bool,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Progress {
    nonce: String,
    started: bool,
    t: u64,
    n: u64,
    progress: u64,
    required: u64,
    complete: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    keys_base64: Vec<String>,
    #[serde(deserialize_with = "maybe", skip_serializing_if = "Vec::is_empty")]
    pgp_fingerprints: Vec<String>,
    backup: bool,
    verification_required: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    verification_nonce: String,
}

fn maybe<'de, D: serde::Deserializer<'de>>(from: D) -> std::result::Result<Vec<String>, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or_default())
}

impl Rekey {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        if self.backup_delete {
            self.send(ctx, "backup", |path| Ok(Call::delete(path)?))
                .await
                .map_err(|e| e.doing("Error deleting backed up keys"))?;
            return ctx.out.done("Success! Deleted backup keys (if they existed)");
        }
        if self.backup_retrieve {
            let reply = self
                .send(ctx, "backup", |path| Ok(Call::read(path)?))
                .await
                .map_err(|e| e.doing("Error retrieving backed up keys"))?;
            return ctx.out.structured(&reply.json::<Value>()?);
        }
        let step = if self.verify { "verify" } else { "init" };
        if self.cancel {
            self.send(ctx, step, |path| Ok(Call::delete(path)?)).await.map_err(|e| e.doing("Error canceling rekey"))?;
            return ctx.out.done(if self.verify {
                "Success! Canceled verification; the old keys stay in force"
            } else {
                "Success! Canceled rekeying (if it was started)"
            });
        }
        if self.status {
            return print(ctx, &self.fetch(ctx, step).await?);
        }
        if self.init { self.begin(ctx).await } else { self.provide(ctx, step).await }
    }

    async fn begin(&self, ctx: &Ctx) -> Result<u8> {
        let mut body = json!({
            "secret_shares": self.key_shares, "secret_threshold": self.key_threshold,
            "backup": self.backup, "require_verification": self.require_verification,
        });
        let keys = self.pgp.read()?;
        if keys.is_empty() {
            note(
                "WARNING! If you lose the keys after they are returned, there is no recovery. Consider canceling this operation and starting again with -pgp-keys, which protects the returned keys, and -backup, which keeps an encrypted copy of them in the server.",
            );
        } else {
            body["pgp_keys"] = json!(keys);
        }
        let reply = self
            .send(ctx, "init", |path| Ok(Call::post(path, &body)?))
            .await
            .map_err(|e| e.doing("Error initializing rekey"))?;
        let progress: Progress =
            if reply.expose().is_empty() { self.fetch(ctx, "init").await? } else { super::unwrapped(&reply)? };
        print(ctx, &progress)
    }

    async fn provide(&self, ctx: &Ctx, step: &str) -> Result<u8> {
        let present = self.fetch(ctx, step).await?;
        if !present.started {
            return Err(Failure::usage("No rekey is in progress").hint("begin one with `dewdrop operator rekey -init`"));
        }
        let nonce = self.nonce.clone().unwrap_or(if present.nonce.is_empty() {
            present.verification_nonce
        } else {
            present.nonce
        });
        let key = super::share(ctx, self.key.as_deref(), "Rekey: Unseal Key")?;
        let body = json!({"key": key.expose(), "nonce": nonce});
        let step = if self.verify { "verify" } else { "update" };
        let reply = self
            .send(ctx, step, |path| Ok(Call::post(path, &body)?))
            .await
            .map_err(|e| e.doing("Error posting unseal key"))?;
        let told: Progress = super::unwrapped(&reply)?;
        if self.verify && told.complete {
            return ctx.out.done("Success! The new keys are verified and in force.");
        }
        if !told.complete || !ctx.out.is_table() {
            return print(
                ctx,
                &if told.complete {
                    told
                } else {
                    self.fetch(ctx, if self.verify { "verify" } else { "init" }).await?
                },
            );
        }
        say("\n");
        for (at, key) in told.keys_base64.iter().enumerate() {
            say(&format!("Key {}: {key}\n", at + 1));
        }
        say(&format!("\nOperation nonce: {}\n\n", told.nonce));
        let (n, t) = (present.n, present.t);
        let text = if told.verification_required {
            format!(
                "The server made new keys: {n} key shares, with a key threshold of {t}. They are not in force yet: give {t} of them with \
                     `dewdrop operator rekey -verify` first (verification nonce {}).",
                told.verification_nonce
            )
        } else {
            format!(
                "The server's unseal keys are now {n} key shares with a key threshold of {t}. Please securely distribute the key shares printed \
                     above. When the server is re-sealed, restarted, or stopped, you must supply at least {t} of these keys to unseal it before it \
                     can start servicing requests."
            )
        };
        say(&format!("{}\n", table::wrap(&text, 78, "")));
        Ok(0)
    }

    async fn fetch(&self, ctx: &Ctx, step: &str) -> Result<Progress> {
        let reply = self
            .send(ctx, step, |path| Ok(Call::read(path)?))
            .await
            .map_err(|e| e.doing("Error reading rekey status"))?;
        super::unwrapped(&reply)
    }

    /// Vault's path (`sys/rekey/...`), or the one that newer OpenBao servers serve in its place (`sys/rotate/...`).
    async fn send(&self, ctx: &Ctx, step: &str, call: impl Fn(&str) -> Result<Call>) -> Result<Reply> {
        let recovery = self.target == "recovery";
        let old = match (step, recovery) {
            ("backup", true) => "sys/rekey/recovery-key-backup".to_owned(),
            (step, true) => format!("sys/rekey-recovery-key/{step}"),
            (step, false) => format!("sys/rekey/{step}"),
        };
        let new = format!("sys/rotate/{}/{step}", if recovery { "recovery" } else { "root" });
        match ctx.raw(call(&old)?).await {
            Ok(reply) if reply.status != 404 => Ok(reply),
            Err(e) if !matches!(e.status(), Some(404 | 405)) => Err(e),
            _ => ctx.raw(call(&new)?).await,
        }
    }
}

fn print(ctx: &Ctx, progress: &Progress) -> Result<u8> {
    let nonce = if progress.nonce.is_empty() { "n/a".to_owned() } else { progress.nonce.clone() };
    let mut rows = vec![("Nonce", nonce), ("Started", progress.started.to_string())];
    if progress.started {
        rows.push(("Progress", format!("{}/{}", progress.progress, progress.required)));
        rows.push(("New Shares", progress.n.to_string()));
        rows.push(("New Threshold", progress.t.to_string()));
        rows.push(("Verification Required", progress.verification_required.to_string()));
        if !progress.verification_nonce.is_empty() {
            rows.push(("Verification Nonce", progress.verification_nonce.clone()));
        }
        if !progress.pgp_fingerprints.is_empty() {
            rows.push(("PGP Fingerprints", progress.pgp_fingerprints.join(", ")));
            rows.push(("Backup", progress.backup.to_string()));
        }
    }
    let rows: Vec<_> = rows.into_iter().map(|(name, text)| (name.to_owned(), text)).collect();
    ctx.out.rows_or(&rows, progress)
}
