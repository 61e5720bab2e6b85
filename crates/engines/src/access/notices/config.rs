//! `notices/{name}`: who is told of what.

use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, get_json};
use dewdrop_core::wire::{Flag, Int, Strings, Text};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::desk::Outcome;
use super::letter::Letter;
use super::mail::{Mail, Protection, Transport};
use super::web::Web;
use super::{Event, MOST};
use crate::access::{Access, keys};

/// Who is told of what. It holds secrets, so it has no `Debug`.
#[derive(Clone, Serialize, Deserialize)]
pub struct Notice {
    /// Where it goes.
    pub to: Target,
    /// Of what it tells.
    pub events: Vec<Event>,
    /// Of which roles: names, or patterns that end in `*`.
    pub roles: Vec<String>,
}

/// Where notices go.
#[derive(Clone, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Target {
    /// JSON with a signature.
    Webhook(Web),
    /// JSON as Slack and those like it take it.
    Slack(Web),
    /// E-mail.
    Email(Mail),
}

/// What letters are sent with.
pub enum Way {
    /// Webhooks and Slack.
    Web(reqwest::Client),
    /// E-mail.
    Mail(Transport),
}

/// Fields of a notice.
#[derive(Deserialize, JsonSchema)]
pub(super) struct NoticeFields {
    /// `webhook`, `slack` or `email`.
    r#type: Option<Text>,
    /// Where webhooks and messages to Slack go. Never read back but for its host, since such addresses hold secrets.
    url: Option<Text>,
    /// Lets `url` begin with `http://`: whoever is on the way can read and change what is told.
    insecure_http: Option<Flag>,
    /// The authorities (PEM) that the receiver's certificate must be of; those of the system when unset.
    ca_pem: Option<Text>,
    /// The key of a webhook's signature, 16 bytes or more. Never read back.
    secret: Option<Text>,
    /// The mail server.
    host: Option<Text>,
    /// Its port; 587, or 465 with `tls=tls`, or 25 with `tls=none`.
    port: Option<Int>,
    /// `starttls` (when unset), `tls`, or `none`.
    tls: Option<Text>,
    /// The name to sign in with; none when unset.
    username: Option<Text>,
    /// The password to sign in with. Never read back.
    password: Option<Text>,
    /// The sender's address.
    from: Option<Text>,
    /// The receivers' addresses.
    to: Option<Strings>,
    /// What is told: requested, approved, denied, withdrawn, revoked, extended, started, expired, lapsed, break_glass,
    /// review_due, reviewed; all when unset.
    events: Option<Strings>,
    /// Only of these roles; a name may end in `*`. All when unset.
    roles: Option<Strings>,
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("").at("notices", "Who is told of requests.", |route| route.list("Lists the notices.", list)).at(
        "notices/{name}",
        "Who is told of requests: a webhook, a channel, mailboxes.",
        |route| {
            route
                .exists(|access: Arc<Access>, at| async move {
                    Ok(access.notice(at.get("name").map_or("", String::as_str)).await?.is_some())
                })
                .read("Reads a notice without its secrets, with what waits and how it went.", read)
                .write("Makes or changes a notice.", write)
                .delete("Deletes a notice, and what waits for it.", delete)
        },
    )
}

async fn list(access: Arc<Access>, _: Call, _: NoFields) -> Result<Reply, Fault> {
    Reply::keys(access.names(keys::NOTICES).await?)
}

async fn read(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    let (notice, _) = access.notice(name).await?.ok_or_else(Fault::not_found)?;
    let found = get_json::<Outcome>(&*access.store, keys::outcome(name).as_bytes()).await?;
    let outcome = found.map_or_else(Outcome::default, |(outcome, _)| outcome);
    let waiting = access.names(&keys::outbox(name)).await?.len();
    let time = |moment: Option<Moment>| moment.map_or_else(String::new, Moment::rfc3339);
    let mut data = notice.shown();
    for (key, value) in [
        ("waiting", json!(waiting)),
        ("sent", json!(outcome.sent)),
        ("last_sent", json!(time(outcome.last_sent))),
        ("last_error", json!(outcome.last_error)),
        ("last_error_at", json!(time(outcome.failed_at))),
        ("given_up", json!(outcome.given_up)),
        ("dropped", json!(outcome.dropped)),
    ] {
        data.insert(key.into(), value);
    }
    Ok(Reply::data(data))
}

async fn write(access: Arc<Access>, call: Call, fields: NoticeFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    let key = keys::notice(name);
    let _turn = access.queues.turn(&key).await;
    let found = access.notice(name).await?;
    if found.is_none() && access.names(keys::NOTICES).await?.len() >= MOST {
        return Err(Fault::bad_request(format!("there are {MOST} notices, which is the most of one mount")));
    }
    let (old, revision) = found.map_or((None, 0), |(notice, revision)| (Some(notice), revision));
    let notice = merged(old, fields).map_err(Fault::bad_request)?;
    let batch = Batch::new().put_json(key.as_str(), &notice)?.expect(key.as_str(), revision);
    access.store.commit(batch).await?;
    // What waits may have waited for this.
    access.desk.ring(name);
    Ok(notice.warnings().into_iter().fold(Reply::nothing(), Reply::warn))
}

async fn delete(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    let batch = Batch::new().delete(keys::notice(name)).delete(keys::outcome(name));
    access.store.commit(batch.delete_prefix(keys::outbox(name))).await?;
    Ok(Reply::nothing())
}

/// A notice with the fields that were given, checked as a whole.
fn merged(old: Option<Notice>, mut fields: NoticeFields) -> Result<Notice, String> {
    let kind = fields.r#type.take().map(|text| text.0);
    let was = old.as_ref().map(|notice| notice.to.name());
    let kind = kind.as_deref().or(was).ok_or("type: webhook, slack or email")?.to_owned();
    let mut notice = match old {
        Some(notice) if was == Some(kind.as_str()) => notice,
        // Of another kind nothing is left but what it tells.
        other => {
            let (events, roles) = other.map_or_else(|| (Event::ALL.to_vec(), Vec::new()), |n| (n.events, n.roles));
            Notice { to: Target::empty(&kind)?, events, roles }
        }
    };
    if let Some(events) = fields.events.take() {
        notice.events = events_of(&events.0)?;
    }
    if let Some(roles) = fields.roles.take() {
        notice.roles = roles.0;
    }
    match &mut notice.to {
        Target::Webhook(web) | Target::Slack(web) => set_web(web, fields)?,
        Target::Email(mail) => set_mail(mail, fields)?,
    }
    notice.check()?;
    Ok(notice)
}

fn events_of(names: &[String]) -> Result<Vec<Event>, String> {
    if names.is_empty() {
        return Ok(Event::ALL.to_vec());
    }
    let all = || Event::ALL.map(Event::name).join(", ");
    let find = |name: &String| Event::ALL.into_iter().find(|event| event.name() == name);
    names.iter().map(|name| find(name).ok_or_else(|| format!("events: there are {}", all()))).collect()
}

fn set_web(web: &mut Web, fields: NoticeFields) -> Result<(), String> {
    let others = [fields.host, fields.tls, fields.username, fields.password, fields.from];
    if others.iter().flatten().any(|text| !text.0.is_empty()) || fields.port.is_some() || fields.to.is_some() {
        return Err("host, port, tls, username, password, from and to are for type=email".into());
    }
    set(&mut web.url, fields.url);
    set(&mut web.ca_pem, fields.ca_pem);
    set(&mut web.secret, fields.secret);
    web.insecure_http = fields.insecure_http.map_or(web.insecure_http, |flag| flag.0);
    Ok(())
}

fn set_mail(mail: &mut Mail, fields: NoticeFields) -> Result<(), String> {
    if fields.url.is_some() || fields.secret.is_some() || fields.insecure_http.is_some() {
        return Err("url, secret and insecure_http are not for type=email".into());
    }
    let before = (mail.host.clone(), mail.port, mail.tls, mail.ca_pem.clone(), mail.username.clone());
    set(&mut mail.host, fields.host);
    set(&mut mail.ca_pem, fields.ca_pem);
    set(&mut mail.username, fields.username);
    set(&mut mail.from, fields.from);
    if let Some(tls) = fields.tls {
        mail.tls = Protection::parse(&tls.0)?;
    }
    if let Some(port) = fields.port {
        mail.port = u16::try_from(port.0).map_err(|_| "port: from 1 to 65535")?;
    }
    if let Some(to) = fields.to {
        mail.to = to.0;
    }
    let is_elsewhere = before != (mail.host.clone(), mail.port, mail.tls, mail.ca_pem.clone(), mail.username.clone());
    if is_elsewhere && fields.password.is_none() && !mail.password.is_empty() {
        // Else whoever may write here but not read the password could have it sent to himself.
        return Err("password: give it again, since it would be sent elsewhere now".into());
    }
    set(&mut mail.password, fields.password);
    Ok(())
}

/// What was read from a file often has the end of a line at its end.
fn set(own: &mut String, given: Option<Text>) {
    if let Some(given) = given {
        *own = given.0.trim_end_matches(['\r', '\n']).to_owned();
    }
}

// === impl Notice ===

impl Notice {
    /// Whether it tells of this.
    pub fn wants(&self, event: Event, role: &str) -> bool {
        let fits = |pattern: &String| match pattern.strip_suffix('*') {
            Some(start) => role.starts_with(start),
            None => pattern == role,
        };
        self.events.contains(&event) && (self.roles.is_empty() || self.roles.iter().any(fits))
    }

    fn check(&self) -> Result<(), String> {
        match &self.to {
            Target::Webhook(web) => {
                if web.secret.len() < 16 {
                    return Err("secret: 16 bytes or more, by which the receiver checks the signature".into());
                }
                web.check()
            }
            Target::Slack(web) if web.secret.is_empty() => web.check(),
            Target::Slack(_) => Err("secret: Slack takes no signature; its url is the secret".into()),
            Target::Email(mail) => mail.check(),
        }
    }

    fn warnings(&self) -> Vec<&'static str> {
        let mut warnings = Vec::new();
        let open = match &self.to {
            Target::Webhook(web) | Target::Slack(web) => web.url.starts_with("http:"),
            Target::Email(mail) => mail.tls == Protection::None,
        };
        if open {
            warnings.push("what is told goes in clear: whoever is on the way can read and change it");
        }
        warnings
    }

    /// As it is read: no secrets, and no address that may be one.
    fn shown(&self) -> Map<String, Value> {
        let data = match &self.to {
            Target::Webhook(web) | Target::Slack(web) => json!({
                "address": web.host(), "insecure_http": web.insecure_http, "ca_pem": web.ca_pem,
            }),
            Target::Email(mail) => json!({
                "host": mail.host, "port": mail.port(), "tls": mail.tls, "ca_pem": mail.ca_pem,
                "username": mail.username, "from": mail.from, "to": mail.to,
            }),
        };
        let mut data = if let Value::Object(map) = data { map } else { Map::new() };
        data.insert("type".into(), self.to.name().into());
        data.insert("events".into(), self.events.iter().map(|event| event.name()).collect::<Vec<_>>().into());
        data.insert("roles".into(), self.roles.clone().into());
        data
    }
}

// === impl Target ===

impl Target {
    fn empty(kind: &str) -> Result<Self, String> {
        match kind {
            "webhook" => Ok(Self::Webhook(Web::default())),
            "slack" => Ok(Self::Slack(Web::default())),
            "email" => Ok(Self::Email(Mail::default())),
            _ => Err("type: webhook, slack or email".into()),
        }
    }

    /// What letters are sent with, for as many as go in a row.
    ///
    /// # Errors
    /// The certificates that were given are of no use.
    pub fn way(&self) -> Result<Way, String> {
        match self {
            Self::Webhook(web) | Self::Slack(web) => web.client().map(Way::Web),
            Self::Email(mail) => mail.transport().map(Way::Mail),
        }
    }

    /// Sends a letter.
    ///
    /// # Errors
    /// Why it was not delivered.
    pub async fn send(&self, way: &Way, letter: &Letter, now: Moment) -> Result<(), String> {
        match (self, way) {
            (Self::Webhook(web), Way::Web(client)) => web.send_signed(client, letter, now).await,
            (Self::Slack(web), Way::Web(client)) => web.send_slack(client, letter).await,
            (Self::Email(mail), Way::Mail(transport)) => mail.send(transport, letter).await,
            _ => Err("the notice is of another type now".into()),
        }
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::Email(_) => "email",
        }
    }
}
