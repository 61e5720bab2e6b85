//! The ceremonies of the seal with a token: `sys/rotate/root`, `sys/rotate/recovery`, `sys/generate-root-token`; and the backups
//! of keys that were made for PGP keys.

use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Route, Routes};
use dewdrop_core::wire::Text;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sys;
use crate::seal::backup as kept;
use crate::seal::ceremonies::{RekeyFields, RootFields, ShareFields};
use crate::seal::generate_root::{self, RootStatus};
use crate::seal::keys_json;
use crate::seal::rekey::{self, Face, RekeyStatus, Target, Updated, Verified};

#[derive(Deserialize, JsonSchema)]
struct DecodeFields {
    /// The token under its pad.
    #[serde(default)]
    encoded_token: Text,
    /// The pad.
    #[serde(default)]
    otp: Text,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("rotate/root", "Replaces the root key without new shares: not possible here.", |r| {
            r.sudo().write("Says what to use instead", Sys::rotate_root)
        })
        .at("rotate/root/init", "New unseal keys in place of the old.", |r| rekeying(r, Target::Unseal))
        .at("rotate/root/update", "Takes one of the old keys.", |r| updating(r, Target::Unseal))
        .at("rotate/root/verify", "Shows that the new keys have arrived.", |r| verifying(r, Target::Unseal))
        .at("rotate/recovery/init", "New recovery keys in place of the old.", |r| rekeying(r, Target::Recovery))
        .at("rotate/recovery/update", "Takes one of the old keys.", |r| updating(r, Target::Recovery))
        .at("rotate/recovery/verify", "Shows that the new keys have arrived.", |r| verifying(r, Target::Recovery))
        .at("rotate/root/backup", "The unseal keys, as their holders got them.", |r| backup(r, Target::Unseal))
        .at("rotate/recovery/backup", "The recovery keys, as their holders got them.", |r| backup(r, Target::Recovery))
        .at("rekey/backup", "The unseal keys, as their holders got them.", |r| backup(r, Target::Unseal))
        .at("rekey/recovery-key-backup", "The recovery keys, as their holders got them.", |r| {
            backup(r, Target::Recovery)
        })
        .at("generate-root-token/attempt", "A root token for the holders of the keys.", |r| {
            r.read("How the generation stands", Sys::root_status)
                .write("Begins a generation", Sys::start_root)
                .delete("Gives a generation up", Sys::cancel_root)
        })
        .at("generate-root-token/update", "Takes one key.", |r| r.write("Takes one key", Sys::update_root))
        .at("decode-token", "Takes the pad off a generated root token.", |r| {
            r.public("reads nothing of the server: whoever has token and pad can do it himself")
                .write("Decodes", Sys::decode_token)
        })
}

fn rekeying(route: Route<Sys>, target: Target) -> Route<Sys> {
    route
        .read("How the rotation stands", move |s: Arc<Sys>, _: Call, _: NoFields| async move {
            s.only_in_root()?;
            Reply::of(&shown(&rekey::status(&*s.server()?, target).await?))
        })
        .write("Begins a rotation", move |s: Arc<Sys>, _: Call, fields: RekeyFields| async move {
            s.only_in_root()?;
            let server = s.server()?;
            let wanted = fields.checked("rotate", &server)?;
            Reply::of(&shown(&rekey::start(&server, target, Face::Rotation, wanted).await?))
        })
        .delete("Gives a rotation up", move |s: Arc<Sys>, _: Call, _: NoFields| async move {
            s.only_in_root()?;
            rekey::cancel(&*s.server()?, target).await?;
            Ok(Reply::nothing())
        })
}

fn updating(route: Route<Sys>, target: Target) -> Route<Sys> {
    route.write("Takes one of the old keys", move |s: Arc<Sys>, _: Call, fields: ShareFields| async move {
        s.only_in_root()?;
        let nonce = nonce(&fields)?;
        match rekey::update(&s.server()?, target, Face::Rotation, nonce, fields.share()?).await? {
            Updated::Progress(status) => Reply::of(&shown(&status)),
            Updated::Done { nonce, shares, verify_nonce, fingerprints, backup } => {
                let mut data = keys_json(&shares, "keys");
                data.insert("nonce".into(), nonce.into());
                data.insert("complete".into(), true.into());
                data.insert("backup".into(), backup.into());
                data.insert("pgp_fingerprints".into(), fingerprints.into());
                data.insert("verification_required".into(), (!verify_nonce.is_empty()).into());
                data.insert("verification_nonce".into(), verify_nonce.into());
                Ok(Reply::data(data))
            }
        }
    })
}

fn verifying(route: Route<Sys>, target: Target) -> Route<Sys> {
    route
        .read("How the verification stands", move |s: Arc<Sys>, _: Call, _: NoFields| async move {
            s.only_in_root()?;
            Reply::of(&verification(&rekey::verify_status(&*s.server()?, target, Face::Rotation).await?))
        })
        .write("Takes one of the new keys", move |s: Arc<Sys>, _: Call, fields: ShareFields| async move {
            s.only_in_root()?;
            match rekey::verify(&s.server()?, target, Face::Rotation, nonce(&fields)?, fields.share()?).await? {
                Verified::Progress(status) => Reply::of(&verification(&status)),
                Verified::Done(nonce) => Reply::of(&json!({ "nonce": nonce, "complete": true })),
            }
        })
        .delete("Forgets the new keys that were shown", move |s: Arc<Sys>, _: Call, _: NoFields| async move {
            s.only_in_root()?;
            Reply::of(&verification(&rekey::restart_verify(&*s.server()?, target, Face::Rotation).await?))
        })
}

fn backup(route: Route<Sys>, target: Target) -> Route<Sys> {
    route
        .sudo()
        .read("Shows the backup", move |s: Arc<Sys>, call: Call, _: NoFields| async move {
            s.only_in_root()?;
            Ok(kept::read(&*s.server()?, target).await?.shown(&call.request_id))
        })
        .delete("Removes the backup", move |s: Arc<Sys>, _: Call, _: NoFields| async move {
            s.only_in_root()?;
            kept::remove(&*s.server()?, target).await?;
            Ok(Reply::nothing())
        })
}

impl Sys {
    /// OpenBao keeps the key of the unseal keys in memory and can do this alone; here it is forgotten once the server is open.
    async fn rotate_root(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        Err(Fault::bad_request(
            "the root key is wrapped by a key that only the holders of the unseal keys have: use sys/rotate/root/init, or sys/rotate/recovery/init with an automatic seal",
        ))
    }

    async fn root_status(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        Reply::of(&root_shown(&generate_root::status(&*self.server()?).await?, ""))
    }

    async fn start_root(self: Arc<Self>, _: Call, fields: RootFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        let (status, pad) = generate_root::start(&*self.server()?, fields.checked(&*self.server()?)?).await?;
        Reply::of(&root_shown(&status, pad.expose()))
    }

    async fn cancel_root(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        generate_root::cancel(&*self.server()?).await?;
        Ok(Reply::nothing())
    }

    async fn update_root(self: Arc<Self>, _: Call, fields: ShareFields) -> Result<Reply, Fault> {
        self.only_in_root()?;
        if fields.nonce.0.is_empty() {
            return Err(Fault::bad_request("nonce is required"));
        }
        if fields.key.0.is_empty() {
            return Err(Fault::bad_request("key is required"));
        }
        let status = generate_root::update(&self.server()?, &fields.nonce.0, fields.share()?).await?;
        Reply::of(&json!({
            "complete": status.encoded.is_some(),
            "encoded_token": status.encoded.unwrap_or_default(),
            "nonce": status.nonce,
            "pgp_fingerprint": status.fingerprint,
            "progress": status.progress,
            "required": status.required,
            "started": true,
        }))
    }

    async fn decode_token(self: Arc<Self>, _: Call, fields: DecodeFields) -> Result<Reply, Fault> {
        let token = generate_root::decode(&fields.encoded_token.0, &fields.otp.0)?;
        Reply::of(&json!({ "token": token.expose() }))
    }
}

fn nonce(fields: &ShareFields) -> Result<&str, Fault> {
    match fields.nonce.0.as_str() {
        "" => Err(Fault::bad_request("missing required field 'nonce'")),
        _ if fields.key.0.is_empty() => Err(Fault::bad_request("missing required field 'key'")),
        nonce => Ok(nonce),
    }
}

fn shown(status: &RekeyStatus) -> Value {
    if status.nonce.is_empty() {
        return json!({ "n": 0, "required": status.required, "started": false, "t": 0 });
    }
    let mut body = json!({
        "n": status.shares,
        "nonce": status.nonce,
        "progress": status.progress,
        "required": status.required,
        "started": true,
        "t": status.threshold,
        "verification_nonce": status.verify_nonce,
        "verification_required": status.verify,
    });
    if let (Some(fingerprints), Some(body)) = (&status.fingerprints, body.as_object_mut()) {
        body.insert("pgp_fingerprints".into(), fingerprints.clone().into());
        body.insert("backup".into(), status.backup.into());
    }
    body
}

fn verification(status: &RekeyStatus) -> Value {
    json!({
        "n": status.shares,
        "nonce": status.verify_nonce,
        "progress": status.verify_progress,
        "started": !status.verify_nonce.is_empty(),
        "t": status.threshold,
    })
}

fn root_shown(status: &RootStatus, otp: &str) -> Value {
    let mut body = json!({
        "complete": false,
        "otp": otp,
        "otp_length": status.pad_length,
        "progress": status.progress,
        "required": status.required,
        "started": !status.nonce.is_empty(),
    });
    if let (false, Some(body)) = (status.nonce.is_empty(), body.as_object_mut()) {
        body.insert("nonce".into(), status.nonce.clone().into());
        body.insert("pgp_fingerprint".into(), status.fingerprint.clone().into());
    }
    body
}
