//! operator generate-root: a root token out of key shares, hidden under a one-time password until it is decoded here.

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use clap::Args;
use dewdrop_api::Call;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::plain_rows;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::{note, say};

/// Vault's name for it, and the one that newer OpenBao servers use in its place.
const PATHS: [&str; 2] = ["sys/generate-root", "sys/generate-root-token"];

/// `dewdrop operator generate-root`.
#[derive(Debug, Args)]
pub struct GenerateRoot {
    /// A key share, or - for stdin; asked for when it is not given
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
    /// Decode the encoded token with -otp (- reads it from stdin)
    #[arg(long, value_name = "TOKEN")]
    decode: Option<String>,
    /// Print a one-time password for -init
    #[arg(long)]
    generate_otp: bool,
    /// The one-time password
    #[arg(long, value_name = "OTP")]
    otp: Option<String>,
    /// Encrypt the token with this public PGP key (a file) in place of a password
    #[arg(long, value_name = "FILE", conflicts_with = "otp")]
    pgp_key: Option<String>,
    /// The nonce that -init printed
    #[arg(long, value_name = "NONCE")]
    nonce: Option<String>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Attempt {
    nonce: String,
    started: bool,
    progress: u64,
    required: u64,
    complete: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    encoded_token: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    encoded_root_token: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pgp_fingerprint: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    otp: String,
    otp_length: u64,
}

impl GenerateRoot {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        if let Some(encoded) = &self.decode {
            return self.decode(ctx, encoded);
        }
        if self.generate_otp {
            let attempt = fetch(ctx).await?;
            say(&otp(usize::try_from(attempt.otp_length).unwrap_or(0).max(26))?);
            return Ok(0);
        }
        if self.cancel {
            either(ctx, |base| Ok(Call::delete(&format!("{base}/attempt"))?))
                .await
                .map_err(|e| e.doing("Error canceling root token generation"))?;
            return ctx.out.done("Success! Root token generation canceled (if it was started)");
        }
        if self.status {
            return print(ctx, &fetch(ctx).await?);
        }
        if self.init { self.begin(ctx).await } else { self.provide(ctx).await }
    }

    async fn begin(&self, ctx: &Ctx) -> Result<u8> {
        let mut body = json!({});
        if let Some(otp) = &self.otp {
            body["otp"] = json!(otp);
        }
        if let Some(file) = &self.pgp_key {
            body["pgp_key"] = json!(super::pgp_key(file)?);
        }
        let reply = either(ctx, |base| Ok(Call::write(&format!("{base}/attempt"), &body)?))
            .await
            .map_err(|e| e.doing("Error initializing root generation"))?;
        let attempt: Attempt = super::unwrapped(&reply)?;
        if !attempt.otp.is_empty() {
            note(
                "A One-Time-Password has been generated for you and is shown in the OTP field.\nYou will need this value to decode the resulting root token, so keep it safe.",
            );
        }
        print(ctx, &attempt)
    }

    async fn provide(&self, ctx: &Ctx) -> Result<u8> {
        let attempt = fetch(ctx).await?;
        if !attempt.started {
            return Err(Failure::usage("No root generation is in progress")
                .hint("begin one with `dewdrop operator generate-root -init`"));
        }
        let nonce = self.nonce.clone().unwrap_or(attempt.nonce);
        let key = super::share(ctx, self.key.as_deref(), "Unseal Key")?;
        let body = json!({"key": key.expose(), "nonce": nonce});
        let reply = either(ctx, |base| Ok(Call::write(&format!("{base}/update"), &body)?))
            .await
            .map_err(|e| e.doing("Error posting unseal key"))?;
        print(ctx, &super::unwrapped(&reply)?)
    }

    fn decode(&self, ctx: &Ctx, encoded: &str) -> Result<u8> {
        let encoded = super::text_or_stdin(encoded)?;
        let otp = self.otp.as_deref().ok_or_else(|| Failure::usage("Missing otp: use -otp to supply it"))?;
        let lenient = GeneralPurpose::new(
            &STANDARD,
            GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
        );
        let bytes = lenient.decode(encoded.trim()).map_err(|_| {
            Failure::usage("the encoded token is not base64").hint("copy it whole from the field Encoded Token")
        })?;
        if bytes.len() != otp.len() {
            return Err(Failure::usage(format!(
                "the one-time password has {} characters, the token needs one of {}",
                otp.len(),
                bytes.len()
            )));
        }
        let token: String = bytes.iter().zip(otp.bytes()).map(|(a, b)| char::from(a ^ b)).collect();
        if ctx.out.is_table() {
            say(&token);
            return Ok(0);
        }
        ctx.out.structured(&json!({"token": token}))
    }
}

async fn fetch(ctx: &Ctx) -> Result<Attempt> {
    let reply = either(ctx, |base| Ok(Call::read(&format!("{base}/attempt"))?))
        .await
        .map_err(|e| e.doing("Error getting root generation status"))?;
    super::unwrapped(&reply)
}

/// Sends the call to the first of the two paths that the server serves.
async fn either(ctx: &Ctx, call: impl Fn(&str) -> Result<Call>) -> Result<dewdrop_api::Reply> {
    match ctx.raw(call(PATHS[0])?).await {
        Ok(reply) if reply.status != 404 => Ok(reply),
        Err(e) if !matches!(e.status(), Some(404 | 405)) => Err(e),
        _ => ctx.raw(call(PATHS[1])?).await,
    }
}

fn print(ctx: &Ctx, attempt: &Attempt) -> Result<u8> {
    if !ctx.out.is_table() {
        return ctx.out.structured(attempt);
    }
    let nonce = if attempt.nonce.is_empty() { "n/a" } else { &attempt.nonce };
    let mut rows = vec![
        ("Nonce", nonce.to_owned()),
        ("Started", attempt.started.to_string()),
        ("Progress", format!("{}/{}", attempt.progress, attempt.required)),
        ("Complete", attempt.complete.to_string()),
    ];
    for (name, text) in [("PGP Fingerprint", &attempt.pgp_fingerprint), ("OTP", &attempt.otp)] {
        if !text.is_empty() {
            rows.push((name, text.clone()));
        }
    }
    let encoded = if attempt.encoded_token.is_empty() { &attempt.encoded_root_token } else { &attempt.encoded_token };
    if !encoded.is_empty() {
        rows.push(("Encoded Token", encoded.clone()));
    }
    if attempt.otp_length > 0 {
        rows.push(("OTP Length", attempt.otp_length.to_string()));
    }
    say(&plain_rows(&rows.into_iter().map(|(name, text)| (name.to_owned(), text)).collect::<Vec<_>>()));
    Ok(0)
}

/// So many random letters and digits, from the system's own source.
fn otp(length: usize) -> Result<String> {
    const ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let mut text = String::new();
    let mut random = [0u8; 64];
    while text.len() < length {
        let source = rustls::crypto::aws_lc_rs::default_provider().secure_random;
        source.fill(&mut random).map_err(|_| Failure::usage("the system gives no random numbers"))?;
        // 248 is the largest multiple of 62 below 256: without the rest, every letter is equally likely.
        let letters = random.iter().filter(|b| **b < 248).map(|b| char::from(ALPHABET[usize::from(*b % 62)]));
        text.extend(letters.take(length - text.len()));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_have_their_length_and_differ() {
        let (a, b) = (otp(26).unwrap(), otp(26).unwrap());
        assert_eq!(a.len(), 26);
        assert!(a.chars().all(|c| c.is_ascii_alphanumeric()));
        assert_ne!(a, b);
    }

    #[test]
    fn attempts_are_read_as_openbao_sends_them() {
        let attempt: Attempt = serde_json::from_value(
            json!({"nonce": "n", "started": true, "progress": 1, "required": 2, "otp_length": 26}),
        )
        .unwrap();
        assert_eq!((attempt.progress, attempt.required, attempt.otp_length), (1, 2, 26));
    }
}
