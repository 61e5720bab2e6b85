//! `sys/rekey`, `sys/rekey-recovery-key` and `sys/generate-root` without a token: the shares are the proof. A listener serves
//! them only when its configuration says so; with a token the same is done below `sys/rotate` and `sys/generate-root-token`.

use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Route, Routes};
use dewdrop_core::wire::{Flag, Int, Text, TextList};
use dewdrop_core::{Fault, Kind, Secret};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::gate::{Porter, keys_json, parse_share, plain, shares_of};
use super::generate_root::{self, Cover, RootStatus};
use super::pgp::{self, Holders};
use super::rekey::{self, Face, RekeyStatus, Target, Updated, Verified, Wanted};
use crate::config::Access;
use crate::server::Server;

const WHY: &str = "the unseal keys are the proof; served only where the listener's configuration says so";

/// New shares.
#[derive(Deserialize, JsonSchema)]
pub struct RekeyFields {
    /// Shares to make.
    pub secret_shares: Option<Int>,
    /// Shares that will be needed.
    pub secret_threshold: Option<Int>,
    /// PGP keys of those who are to hold the shares, in base64: one for each share.
    #[serde(default)]
    pub pgp_keys: TextList,
    /// Whether the server keeps the encrypted shares as well; only with PGP keys.
    #[serde(default)]
    pub backup: Flag,
    /// Whether the new shares must be shown before they are in force.
    #[serde(default)]
    pub require_verification: Flag,
    /// Without effect.
    #[expect(dead_code, reason = "old clients send it; it has no effect")]
    stored_shares: Option<Int>,
}

/// One share.
#[derive(Deserialize, JsonSchema)]
pub struct ShareFields {
    /// The share, in hex or base64.
    #[serde(default)]
    pub key: Text,
    /// Names what it is given for.
    #[serde(default)]
    pub nonce: Text,
}

/// A root token.
#[derive(Deserialize, JsonSchema)]
pub struct RootFields {
    /// A one-time pad as long as the token; without it one is made.
    #[serde(default)]
    pub otp: Text,
    /// A PGP key in base64, in place of a pad.
    #[serde(default)]
    pub pgp_key: Text,
}

/// Why a listener does not serve a path below `sys/`, when it does not.
pub(super) fn closed(below: &str, access: &Access) -> Option<Fault> {
    if access.no_open_rekey && below.starts_with("rekey-recovery-key/") {
        return Some(Fault::missing("unsupported path"));
    }
    let is_rekey = access.no_open_rekey && below.starts_with("rekey/");
    let is_root = access.no_open_generate_root && below.starts_with("generate-root/");
    (is_rekey || is_root).then(|| Fault::new(Kind::Unsupported, "unsupported operation"))
}

/// Whether a path is one of these, and so is written down in the audit log.
pub(super) fn is_ceremony(below: &str) -> bool {
    ["rekey/", "rekey-recovery-key/", "generate-root/"].iter().any(|head| below.starts_with(head))
}

pub(super) fn routes() -> Routes<Porter> {
    Routes::new("")
        .at("rekey/init", "New unseal keys in place of the old.", |r| rekeying(r, Target::Unseal))
        .at("rekey/update", "Takes one of the old keys.", |r| updating(r, Target::Unseal))
        .at("rekey/verify", "Shows that the new keys have arrived.", |r| verifying(r, Target::Unseal))
        .at("rekey-recovery-key/init", "New recovery keys in place of the old.", |r| rekeying(r, Target::Recovery))
        .at("rekey-recovery-key/update", "Takes one of the old keys.", |r| updating(r, Target::Recovery))
        .at("rekey-recovery-key/verify", "Shows that the new keys have arrived.", |r| verifying(r, Target::Recovery))
        .at("generate-root/attempt", "A root token for the holders of the keys.", |r| {
            r.public(WHY)
                .read("How the generation stands", Porter::root_status)
                .write("Begins a generation", Porter::start_root)
                .delete("Gives a generation up", Porter::cancel_root)
        })
        .at("generate-root/update", "Takes one key.", |r| r.public(WHY).write("Takes one key", Porter::update_root))
}

fn rekeying(route: Route<Porter>, target: Target) -> Route<Porter> {
    route
        .public(WHY)
        .read("How the rekeying stands", move |p: Arc<Porter>, _: Call, _: NoFields| async move {
            Ok(plain(&shown(&rekey::status(&*p.server()?, target).await?)))
        })
        .write("Begins a rekeying", move |p: Arc<Porter>, _: Call, fields: RekeyFields| async move {
            let server = p.server()?;
            let wanted = fields.checked("rekey", &server)?;
            Ok(plain(&shown(&rekey::start(&server, target, Face::Rekey, wanted).await?)))
        })
        .delete("Gives a rekeying up", move |p: Arc<Porter>, _: Call, _: NoFields| async move {
            rekey::cancel(&*p.server()?, target).await?;
            Ok(Reply::nothing())
        })
}

fn updating(route: Route<Porter>, target: Target) -> Route<Porter> {
    route.public(WHY).write(
        "Takes one of the old keys",
        move |p: Arc<Porter>, _: Call, fields: ShareFields| async move {
            let updated = rekey::update(&p.server()?, target, Face::Rekey, &fields.nonce.0, fields.share()?).await?;
            Ok(plain(&match updated {
                Updated::Progress(status) => shown(&status),
                over @ Updated::Done { .. } => done(over),
            }))
        },
    )
}

fn verifying(route: Route<Porter>, target: Target) -> Route<Porter> {
    route
        .public(WHY)
        .read("How the verification stands", move |p: Arc<Porter>, _: Call, _: NoFields| async move {
            Ok(plain(&verification(&rekey::verify_status(&*p.server()?, target, Face::Rekey).await?)))
        })
        .write("Takes one of the new keys", move |p: Arc<Porter>, _: Call, fields: ShareFields| async move {
            let verified = rekey::verify(&p.server()?, target, Face::Rekey, &fields.nonce.0, fields.share()?).await?;
            Ok(plain(&match verified {
                Verified::Progress(status) => verification(&status),
                Verified::Done(nonce) => json!({ "nonce": nonce, "complete": true }),
            }))
        })
        .delete("Forgets the new keys that were shown", move |p: Arc<Porter>, _: Call, _: NoFields| async move {
            Ok(plain(&verification(&rekey::restart_verify(&*p.server()?, target, Face::Rekey).await?)))
        })
}

impl Porter {
    async fn root_status(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        Ok(plain(&root_shown(&generate_root::status(&*self.server()?).await?, "")))
    }

    async fn start_root(self: Arc<Self>, _: Call, fields: RootFields) -> Result<Reply, Fault> {
        let (status, pad) = generate_root::start(&*self.server()?, fields.checked(&*self.server()?)?).await?;
        Ok(plain(&root_shown(&status, pad.expose())))
    }

    async fn cancel_root(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        generate_root::cancel(&*self.server()?).await?;
        Ok(Reply::nothing())
    }

    async fn update_root(self: Arc<Self>, _: Call, fields: ShareFields) -> Result<Reply, Fault> {
        let status = generate_root::update(&self.server()?, &fields.nonce.0, fields.share()?).await?;
        // Here the API leaves the pad's length out.
        Ok(plain(&root_shown(&RootStatus { pad_length: 0, ..status }, "")))
    }
}

impl RekeyFields {
    /// The new shares that are asked for.
    ///
    /// # Errors
    /// 400 for numbers that cannot be, and for keys that cannot be used.
    pub fn checked(&self, word: &str, server: &Server) -> Result<Wanted, Fault> {
        if self.backup.0 && self.pgp_keys.0.is_empty() {
            return Err(Fault::bad_request(
                "cannot request a backup of the new keys without providing PGP keys for encryption",
            ));
        }
        let split = shares_of(self.secret_shares, self.secret_threshold).map_err(|fault| {
            Fault::bad_request(fault.told.replace("seal configuration", &format!("{word} seal configuration")))
        })?;
        let holders = Holders::read("pgp_keys", &self.pgp_keys.0, split, server.clock().now())?;
        Ok(Wanted { split, verify: self.require_verification.0, holders, backup: self.backup.0 })
    }
}

impl ShareFields {
    /// The share.
    ///
    /// # Errors
    /// 400: it is missing, or neither hex nor base64.
    pub fn share(&self) -> Result<dewdrop_core::Secret<Vec<u8>>, Fault> {
        if self.key.0.is_empty() {
            return Err(Fault::bad_request("'key' must be specified in request body as JSON"));
        }
        parse_share(&self.key.0)
    }
}

impl RootFields {
    /// What is to hide the token.
    ///
    /// # Errors
    /// 400: a key that cannot be used, or one beside a pad.
    pub fn checked(&self, server: &Server) -> Result<Cover, Fault> {
        match (self.otp.0.as_str(), self.pgp_key.0.as_str()) {
            (pad, "") => Ok(Cover::Pad(Secret::new(pad.to_owned()))),
            ("", key) => pgp::key("pgp_key", key, server.clock().now()).map(Cover::Pgp),
            _ => Err(Fault::bad_request("give either otp or pgp_key, not both")),
        }
    }
}

fn shown(status: &RekeyStatus) -> Value {
    let mut body = json!({
        "nonce": status.nonce,
        "started": !status.nonce.is_empty(),
        "t": status.threshold,
        "n": status.shares,
        "progress": status.progress,
        "required": status.required,
        "pgp_fingerprints": status.fingerprints,
        "backup": status.backup,
        "verification_required": status.verify,
    });
    if let (false, Some(body)) = (status.verify_nonce.is_empty(), body.as_object_mut()) {
        body.insert("verification_nonce".into(), status.verify_nonce.clone().into());
    }
    body
}

fn done(over: Updated) -> Value {
    let Updated::Done { nonce, shares, verify_nonce, fingerprints, backup } = over else { return Value::Null };
    let mut body = keys_json(&shares, "keys");
    let rest = [
        ("nonce", nonce.into()),
        ("complete", true.into()),
        ("pgp_fingerprints", fingerprints.into()),
        ("backup", backup.into()),
        ("verification_required", (!verify_nonce.is_empty()).into()),
    ];
    body.extend(rest.map(|(name, value)| (name.to_owned(), value)));
    if !verify_nonce.is_empty() {
        body.insert("verification_nonce".into(), verify_nonce.into());
    }
    body.into()
}

fn verification(status: &RekeyStatus) -> Value {
    json!({
        "nonce": status.verify_nonce,
        "started": !status.verify_nonce.is_empty(),
        "t": status.threshold,
        "n": status.shares,
        "progress": status.verify_progress,
    })
}

fn root_shown(status: &RootStatus, otp: &str) -> Value {
    let encoded = status.encoded.as_deref().unwrap_or_default();
    json!({
        "nonce": status.nonce,
        "started": !status.nonce.is_empty(),
        "progress": status.progress,
        "required": status.required,
        "complete": status.encoded.is_some(),
        "encoded_token": encoded,
        "encoded_root_token": encoded,
        "pgp_fingerprint": status.fingerprint,
        "otp": otp,
        "otp_length": status.pad_length,
    })
}
