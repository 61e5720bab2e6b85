//! mfa enroll, register, recovery, step-up; and the second factor of a sign-in.

mod browser;
mod keys;

use clap::{Args, Subcommand};
use dewdrop_api::{Call, Envelope, SecretText};
use qrcode::QrCode;
use qrcode::render::unicode::Dense1x2;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::say;
use crate::prompt;

/// `dewdrop mfa`.
#[derive(Debug, Subcommand)]
pub enum Mfa {
    /// Enrol an authenticator app: shows a QR code, once
    Enroll(Enroll),
    /// Register a security key or passkey, in a browser
    Register(keys::Register),
    /// List your security keys
    Keys,
    /// Delete one of your security keys
    Forget(keys::Forget),
    /// Make ten recovery codes for a lost authenticator, shown once
    Recovery,
    /// Show the second factor anew, where something asks for a fresh one
    StepUp,
}

/// `dewdrop mfa enroll`.
#[derive(Debug, Args)]
pub struct Enroll {
    /// Id of the method, as the sign-in or an administrator names it
    method_id: String,
}

/// What must be shown, and for which request.
#[derive(Debug, Deserialize)]
pub struct Requirement {
    mfa_request_id: String,
    mfa_constraints: std::collections::BTreeMap<String, Constraint>,
}

#[derive(Debug, Deserialize)]
struct Constraint {
    any: Vec<Method>,
}

#[derive(Debug, Deserialize)]
struct Method {
    id: String,
    #[serde(default)]
    name: String,
    #[serde(default, rename = "type")]
    kind: String,
}

/// A request whose key was asked.
#[derive(Debug, Deserialize)]
struct Asked {
    browser: browser::Ticket,
}

impl Mfa {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Enroll(cmd) => cmd.run(ctx).await,
            Self::Register(cmd) => cmd.run(ctx).await,
            Self::Keys => keys::list(ctx).await,
            Self::Forget(cmd) => cmd.run(ctx).await,
            Self::Recovery => {
                let made = post(ctx, "identity/mfa/method/recovery/generate", json!({})).await?;
                ctx.out.envelope(&made)
            }
            Self::StepUp => step_up(ctx).await,
        }
    }
}

impl Enroll {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let ask = json!({ "method_id": self.method_id });
        let made = post(ctx, "identity/mfa/method/totp/generate", ask).await?;
        let url = made.data.as_ref().and_then(|data| data.text("url"));
        let Some(url) = url else {
            return Err(Failure::server("you have enrolled with this method already").hint(
                "an administrator can take the old key away: identity/mfa/method/totp/admin-destroy; then enrol again",
            ));
        };
        if !ctx.out.is_table() || ctx.out.field.is_some() {
            return ctx.out.envelope(&made);
        }
        say(&format!("Scan this with your authenticator app. It is not shown again.\n\n{}\n", picture(url)?));
        say(&format!(
            "Or type this in: {url}\n\nThen make recovery codes: dewdrop mfa step-up && dewdrop mfa recovery\n"
        ));
        Ok(0)
    }
}

async fn step_up(ctx: &Ctx) -> Result<u8> {
    let opened = post(ctx, "sys/mfa/step-up", json!({})).await?;
    let data = opened.data.as_ref().map(|data| Value::Object(data.expose().clone()));
    let needed: Requirement = read(data.as_ref())?;
    let body = needed.answered(ctx, "sys/mfa/step-up", &ctx.settings.config.mfa).await?;
    let done = post(ctx, "sys/mfa/step-up", body).await?;
    ctx.out.envelope(&done)
}

/// Goes on with a sign-in that waits for a second factor: it came without `-mfa`, which would have done both at once.
pub async fn validate(ctx: &Ctx, requirement: &Value) -> Result<Envelope> {
    let needed: Requirement = read(Some(requirement))?;
    let body = needed.answered(ctx, "sys/mfa/validate", &[]).await?;
    let call = Call::write("sys/mfa/validate", &body)?.anonymous().wrapped(ctx.settings.wrap_ttl.as_deref());
    let answer = ctx.ask(call).await.map_err(|e| e.doing("Error validating the second factor"))?;
    answer.ok_or_else(|| Failure::server("the server gave no token"))
}

impl Requirement {
    /// The request with an answer for each constraint: those that were given, else what is typed or what a key says.
    async fn answered(&self, ctx: &Ctx, path: &str, given: &[String]) -> Result<Value> {
        let mut payload: Map<String, Value> = given.iter().map(|text| given_code(text)).collect();
        for (name, constraint) in &self.mfa_constraints {
            let is_there = |method: &Method| payload.contains_key(&method.id) || payload.contains_key(&method.name);
            if constraint.any.iter().any(is_there) {
                continue;
            }
            let method = constraint.any.first().ok_or_else(|| {
                Failure::server(format!("{name} asks for a second factor and names none")).hint("ask an administrator")
            })?;
            let answer = if method.kind == "webauthn" {
                self.key_answers(ctx, path, method).await?
            } else {
                Value::from(ask(ctx, method)?.expose())
            };
            payload.insert(method.id.clone(), json!([answer]));
        }
        Ok(json!({ "mfa_request_id": self.mfa_request_id, "mfa_payload": payload }))
    }
}

impl Requirement {
    /// Asks the key for a challenge, and lets it answer in a browser.
    async fn key_answers(&self, ctx: &Ctx, path: &str, method: &Method) -> Result<Value> {
        let body = json!({
            "mfa_request_id": self.mfa_request_id, "mfa_payload": { method.id.clone(): [] }, "browser": true,
        });
        let call = Call::write(path, &body)?;
        let call = if path == "sys/mfa/validate" { call.anonymous() } else { call };
        let asked = ctx.ask(call).await?.and_then(|envelope| envelope.data);
        let asked = asked.map(|data| Value::Object(data.expose().clone())).unwrap_or_default();
        let asked = Asked::deserialize(asked);
        let asked = asked.map_err(|_| Failure::server("the server's challenge for a key cannot be read"))?;
        browser::answer(ctx, &asked.browser).await
    }
}

fn ask(ctx: &Ctx, method: &Method) -> Result<SecretText> {
    let name = if method.name.is_empty() { &method.id } else { &method.name };
    let what = format!("Passcode of {name}, or a recovery code");
    prompt::secret(ctx, &what, &format!("give it with -mfa={}:PASSCODE", method.id))
}

fn given_code(text: &str) -> (String, Value) {
    match text.split_once(':') {
        Some((method, code)) => (method.to_owned(), json!([code])),
        None => (text.to_owned(), json!([])),
    }
}

fn read(requirement: Option<&Value>) -> Result<Requirement> {
    let read = requirement.and_then(|value| Requirement::deserialize(value).ok());
    read.ok_or_else(|| Failure::server("the server asks for a second factor in a form that is not known here"))
}

/// A QR code of half blocks.
fn picture(url: &str) -> Result<String> {
    let code = QrCode::new(url).map_err(|_| Failure::server("the address is too long for a QR code"))?;
    // Terminals are dark: the light modules are drawn.
    Ok(code.render::<Dense1x2>().dark_color(Dense1x2::Light).light_color(Dense1x2::Dark).build())
}

async fn post(ctx: &Ctx, path: &str, body: Value) -> Result<Envelope> {
    Ok(ctx.ask(Call::write(path, &body)?).await?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_given_is_not_asked_for() {
        let needed: Requirement = serde_json::from_value(json!({
            "mfa_request_id": "r",
            "mfa_constraints": {
                "a": { "any": [{ "id": "1", "name": "phone" }, { "id": "2" }] },
                "b": { "any": [{ "id": "2" }] },
            },
        }))
        .unwrap();
        let names = |given: &[&str]| {
            let payload: Map<String, Value> = given.iter().map(|text| given_code(text)).collect();
            let missing = needed.mfa_constraints.iter().filter(|(_, constraint)| {
                !constraint.any.iter().any(|m| payload.contains_key(&m.id) || payload.contains_key(&m.name))
            });
            missing.map(|(name, _)| name.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(names(&["phone:123456"]), ["b"]);
        assert_eq!(names(&["2:123456"]), Vec::<&str>::new());
        assert_eq!(given_code("x:1:2"), ("x".to_owned(), json!(["1:2"])));
    }

    #[test]
    fn the_picture_is_as_wide_as_high() {
        let picture = picture("otpauth://totp/a:b?secret=GEZDGNBV").unwrap();
        let lines: Vec<&str> = picture.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width));
        assert_eq!(lines.len(), width.div_ceil(2));
    }
}
