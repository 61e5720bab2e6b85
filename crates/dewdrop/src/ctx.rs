//! What every command works with: the settings, the client (built when it is first needed), and the output.

use dewdrop_api::{Call, Client, Envelope, SecretText};
use tokio::sync::OnceCell;

use crate::failure::{Failure, Result};
use crate::output::{Out, say};
use crate::settings::{Settings, Show};

/// The surroundings of one command.
pub struct Ctx {
    /// The settings.
    pub settings: Settings,
    /// How to print.
    pub out: Out,
    client: OnceCell<Client>,
}

impl Ctx {
    /// Nothing is read or connected yet.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self { out: settings.out.clone(), settings, client: OnceCell::new() }
    }

    /// The client, with the token in force.
    pub async fn client(&self) -> Result<&Client> {
        self.client
            .get_or_try_init(|| async {
                let mut config = self.settings.config.clone();
                config.token = self.settings.token()?;
                Ok(Client::new(config).await?)
            })
            .await
    }

    /// The request that the command is about. With `-output-curl-string` or `-output-policy` it is shown instead.
    pub async fn call(&self, call: Call) -> Result<Option<Envelope>> {
        self.show(&call).await?;
        let call = call.wrapped(self.settings.wrap_ttl.as_deref());
        Ok(self.client().await?.call(call).await?)
    }

    /// A request that only prepares the one the command is about: always sent, never wrapped.
    pub async fn ask(&self, call: Call) -> Result<Option<Envelope>> {
        Ok(self.client().await?.call(call).await?)
    }

    /// As [`Ctx::call`], for replies that are not envelopes.
    pub async fn raw(&self, call: Call) -> Result<dewdrop_api::Reply> {
        self.show(&call).await?;
        Ok(self.client().await?.send(call).await?)
    }

    /// As [`Ctx::raw`], with the reply read as JSON.
    pub async fn json<T: serde::de::DeserializeOwned>(&self, call: Call) -> Result<T> {
        let reply = self.raw(call).await?;
        if reply.status == 404 {
            return Err(Failure::server("the server does not know this path")
                .hint("is it a Dewdrop or OpenBao server, and new enough?"));
        }
        Ok(reply.json()?)
    }

    /// Shows the call where that was asked for, and ends the command.
    pub async fn show(&self, call: &Call) -> Result<()> {
        match self.settings.show {
            None => Ok(()),
            Some(Show::Policy) => {
                say(&policy_for(call));
                Err(Failure::quiet(0))
            }
            Some(Show::Curl) => {
                let url = self.client().await?.url(call);
                say(&curl_for(call, &url, &self.settings));
                Err(Failure::quiet(0))
            }
        }
    }

    /// The token in force, or a failure that says how to get one.
    pub fn token(&self) -> Result<SecretText> {
        let none = || Failure::usage("there is no token").hint("set DEWDROP_TOKEN, or sign in with `dewdrop login`");
        self.settings.token()?.ok_or_else(none)
    }
}

/// The smallest policy that allows the call.
fn policy_for(call: &Call) -> String {
    let asks = |name: &str| call.query().iter().any(|(n, v)| n == name && v == "true");
    let verbs = match call.method().as_str() {
        "GET" if asks("list") => "\"list\"",
        "GET" if asks("scan") => "\"scan\"",
        "GET" => "\"read\"",
        "DELETE" => "\"delete\"",
        "PATCH" => "\"patch\"",
        _ => "\"create\", \"update\"",
    };
    format!("path {:?} {{\n  capabilities = [{verbs}]\n}}\n", call.path())
}

/// A curl command that asks for the token when it is run, so that it holds none.
fn curl_for(call: &Call, url: &str, settings: &Settings) -> String {
    let quote = |text: &str| format!("'{}'", text.replace('\'', "'\"'\"'"));
    let mut parts = vec!["curl".to_owned()];
    if call.method().as_str() != "GET" {
        parts.push(format!("-X {}", call.method()));
    }
    if settings.config.tls.skip_verify {
        parts.push("--insecure".into());
    }
    if let Some(ca) = &settings.config.tls.ca_cert {
        parts.push(format!("--cacert {}", quote(&ca.display().to_string())));
    }
    parts.push("-H \"X-Vault-Request: true\"".into());
    parts.push("-H \"X-Vault-Token: $(dewdrop print token)\"".into());
    if !settings.config.namespace.is_empty() {
        parts.push(format!("-H {}", quote(&format!("X-Vault-Namespace: {}", settings.config.namespace))));
    }
    if let Some(ttl) = &settings.wrap_ttl {
        parts.push(format!("-H \"X-Vault-Wrap-TTL: {ttl}\""));
    }
    if let Some(body) = call.expose_body() {
        if call.method().as_str() == "PATCH" {
            parts.push("-H \"Content-Type: application/merge-patch+json\"".into());
        }
        parts.push(format!("-d {}", quote(body)));
    }
    parts.push(quote(url));
    format!("{}\n", parts.join(" "))
}
