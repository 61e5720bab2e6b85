//! The session: the short-lived token that all of a program's credentials hang on.

use std::path::Path;
use std::time::Duration;

use dewdrop_api::{Backoff, Call, Client, Envelope, SecretText};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::mint::Minted;
use super::{AuthArgs, tell};
use crate::cmd::login;
use crate::ctx::Ctx;
use crate::duration::human;
use crate::failure::{Failure, Result};
use crate::settings;

/// How long the end of a session may take. What cannot be revoked by then ends by itself.
const CLOSING: Duration = Duration::from_secs(10);
/// One request of a session. The server's slowness must not use up the session's life.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// A session in force.
pub struct Session {
    client: Client,
    kind: Kind,
    /// Seconds that the server last gave it; 0: it does not end by itself.
    pub granted: u64,
    /// Seconds that we ask for.
    pub wanted: u64,
    /// The token that the session hangs on, and its seconds, where it is to be renewed as well.
    pub parent: Option<(Client, u64)>,
}

/// Whose token it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Made for this session: renewed and revoked by us. What it leased goes with it.
    Own,
    /// The caller's, who may not make others: neither renewed nor revoked by us. Leases are revoked one by one.
    Borrowed,
}

/// Signs in, and opens a session of `wanted` seconds.
pub async fn open(ctx: &Ctx, auth: &AuthArgs, wanted: u64) -> Result<Session> {
    if auth.auth == "token" { below_a_token(ctx, wanted).await } else { by_login(ctx, auth, wanted).await }
}

/// A child of the token in force.
async fn below_a_token(ctx: &Ctx, wanted: u64) -> Result<Session> {
    // Says what to do when there is none.
    ctx.token()?;
    let caller = ctx.client().await?.clone();
    let body = json!({"ttl": format!("{wanted}s"), "renewable": true, "display_name": "dewdrop-run"});
    match open_child(&caller, &body).await {
        Ok(envelope) => {
            let auth = envelope
                .and_then(|e| e.auth)
                .ok_or_else(|| Failure::server("the server made no token for the session"))?;
            let parent = renewable_parent(&caller).await;
            let client = caller.with_token(Some(auth.client_token)).with_retries(1);
            Ok(Session { client, kind: Kind::Own, granted: auth.lease_duration, wanted, parent })
        }
        // 403: its policies do not allow it. 400: batch tokens and tokens with a use limit have no children.
        Err(e) if matches!(e.status(), Some(400 | 403)) => {
            tell(
                "the token may not make a session of its own, so the credentials hang on the token itself: they are revoked when the program \
                 ends, but if `dewdrop run` is killed they live on until their leases end. To fix this, add to the token's policy: \
                 path \"auth/token/create\" { capabilities = [\"update\"] }",
            );
            Ok(Session { client: caller.with_retries(1), kind: Kind::Borrowed, granted: 0, wanted, parent: None })
        }
        Err(e) => Err(Failure::from(e).doing("Error opening a session")),
    }
}

/// Dewdrop lets any token open a session; other servers know only children in general.
async fn open_child(caller: &Client, body: &Value) -> std::result::Result<Option<Envelope>, dewdrop_api::Error> {
    let session = json!({"ttl": body["ttl"], "display_name": body["display_name"]});
    match caller.call(Call::post("auth/token/session", &session)?).await {
        Err(e) if matches!(e.status(), Some(403..=405)) => caller.call(Call::post("auth/token/create", body)?).await,
        other => other,
    }
}

/// The caller's token, if it ends and can be renewed: a session ends with the token it hangs on.
async fn renewable_parent(caller: &Client) -> Option<(Client, u64)> {
    let data = caller.call(Call::read("auth/token/lookup-self").ok()?).await.ok()??.data?;
    let ttl = data.expose().get("ttl").and_then(Value::as_u64).filter(|t| *t > 0)?;
    if data.expose().get("renewable").and_then(Value::as_bool) == Some(true) {
        return Some((caller.with_retries(0), ttl));
    }
    let end = human(i64::try_from(ttl).unwrap_or(i64::MAX));
    tell(&format!("the token in force ends in {end} and cannot be renewed; the credentials end with it"));
    None
}

/// A token of our own from an auth method. It is cut down to the session's length at once, and renewed from there.
async fn by_login(ctx: &Ctx, auth: &AuthArgs, wanted: u64) -> Result<Session> {
    let mount = auth.auth_path.clone().unwrap_or_else(|| auth.auth.clone());
    let fields = auth.fields()?;
    let envelope = login::login(ctx, &auth.auth, mount.trim_matches('/'), fields)
        .await
        .map_err(|e| e.doing("Error authenticating"))?;
    let made =
        envelope.auth.ok_or_else(|| Failure::usage("the sign-in was wrapped; -wrap-ttl does not go with run"))?;
    if made.client_token.is_empty() && made.mfa_requirement.is_some() {
        return Err(Failure::usage("this sign-in needs a second factor, and `run` does not ask for one")
            .hint("sign in first with `dewdrop login`, then run with that token"));
    }
    let client = ctx.client().await?.with_token(Some(made.client_token)).with_retries(1);
    let mut session = Session { client, kind: Kind::Own, granted: made.lease_duration, wanted, parent: None };
    if made.renewable {
        match session.client.call(renewal(wanted)?).await {
            Ok(reply) => session.granted = granted(reply.as_ref()).unwrap_or(session.granted),
            Err(e) => tell(&format!(
                "the session could not be cut down to {}: {e}",
                human(i64::try_from(wanted).unwrap_or(i64::MAX))
            )),
        }
    }
    if session.granted > wanted * 4 || session.granted == 0 {
        let end = if session.granted == 0 {
            "for ever".to_owned()
        } else {
            format!("for {}", human(i64::try_from(session.granted).unwrap_or(i64::MAX)))
        };
        tell(&format!(
            "the role gives tokens that live {end}: so long do the credentials live if `dewdrop run` is killed. A role without token_period makes it {wanted}s"
        ));
    }
    Ok(session)
}

/// The request that renews a session.
pub fn renewal(wanted: u64) -> std::result::Result<Call, dewdrop_api::Error> {
    Ok(Call::write("auth/token/renew-self", &json!({"increment": format!("{wanted}s")}))?.patient(PATIENCE))
}

/// The seconds that a renewal gave.
pub fn granted(reply: Option<&Envelope>) -> Option<u64> {
    let reply = reply?;
    Some(reply.auth.as_ref().map_or(reply.lease_duration, |a| a.lease_duration))
}

// === impl Session ===

impl Session {
    /// The client that makes the credentials.
    #[must_use]
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Whether the session is ours to renew.
    #[must_use]
    pub fn is_own(&self) -> bool {
        self.kind == Kind::Own
    }

    /// Ends the session, and with it all credentials. Tries for a while; what is left then ends by itself.
    pub async fn close(&self, minted: &[Minted]) {
        let calls: Vec<(&str, std::result::Result<Call, dewdrop_api::Error>)> = match self.kind {
            Kind::Own => vec![("the session", Call::write("auth/token/revoke-self", &json!({})))],
            Kind::Borrowed => minted
                .iter()
                .filter(|m| !m.lease_id.is_empty())
                .map(|m| {
                    (
                        m.spec.path.as_str(),
                        Call::write("sys/leases/revoke", &json!({"lease_id": m.lease_id, "sync": true})),
                    )
                })
                .collect(),
        };
        for (what, call) in calls {
            let Ok(call) = call else { continue };
            if let Err(e) = self.insist(call).await {
                let end = if self.is_own() && self.granted > 0 {
                    format!("the server does so by itself within {}s", self.granted)
                } else {
                    "it ends when its lease does".into()
                };
                tell(&format!("{what} could not be revoked: {e}; {end}"));
            }
        }
    }

    async fn insist(&self, call: Call) -> std::result::Result<(), dewdrop_api::Error> {
        let client = self.client.with_retries(0);
        let call = call.patient(PATIENCE);
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(2), std::process::id().into());
        let end = tokio::time::Instant::now() + CLOSING;
        loop {
            match client.send_ref(&call).await {
                Ok(_) => return Ok(()),
                // Its token is unknown: gone already, which is what we want.
                Err(e) if e.status() == Some(403) && self.is_own() => return Ok(()),
                Err(e) if e.is_passing() && tokio::time::Instant::now() < end => {
                    tokio::time::sleep(backoff.wait()).await
                }
                Err(e) => return Err(e),
            }
        }
    }
}

// === impl AuthArgs ===

impl AuthArgs {
    /// What the auth method's login takes.
    fn fields(&self) -> Result<Map<String, Value>> {
        let mut fields = Map::new();
        match self.auth.as_str() {
            "approle" => {
                let id = self.role_id.clone().or_else(|| variable("ROLE_ID"));
                let id = id
                    .ok_or_else(|| Failure::usage("approle needs a role id").hint("set DEWDROP_ROLE_ID or -role-id"))?;
                fields.insert("role_id".into(), json!(id));
                let secret = match &self.secret_id_file {
                    Some(file) => Some(read(file, "the secret id")?),
                    None => variable("SECRET_ID").map(SecretText::new),
                };
                // A role may bind without a secret id; the server says so if it does not.
                if let Some(secret) = secret {
                    fields.insert("secret_id".into(), json!(secret.expose()));
                }
            }
            "userpass" | "ldap" => {
                let name = self.username.clone().or_else(|| variable("USERNAME"));
                fields.insert(
                    "username".into(),
                    json!(name.ok_or_else(|| {
                        Failure::usage("a user name is needed").hint("set DEWDROP_USERNAME or -username")
                    })?),
                );
                let password = variable("PASSWORD")
                    .ok_or_else(|| Failure::usage("a password is needed").hint("set DEWDROP_PASSWORD"))?;
                fields.insert("password".into(), json!(password));
            }
            "cert" => {
                if let Some(role) = &self.role {
                    fields.insert("name".into(), json!(role));
                }
            }
            _ => {
                if let Some(role) = &self.role {
                    fields.insert("role".into(), json!(role));
                }
                let account = Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token");
                let file = match &self.jwt_file {
                    Some(file) => file,
                    None if self.auth == "kubernetes" => account,
                    None => return Err(Failure::usage("jwt needs a signed token").hint("name its file with -jwt-file")),
                };
                fields.insert("jwt".into(), json!(read(file, "the signed token")?.expose()));
            }
        }
        Ok(fields)
    }
}

fn variable(name: &str) -> Option<String> {
    settings::variable(name).map(|(_, value)| value)
}

fn read(file: &Path, what: &str) -> Result<SecretText> {
    let text = std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|e| Failure::usage(format!("read {what} from {}: {e}", file.display())))?;
    Ok(SecretText::new(text.trim().to_owned()))
}
