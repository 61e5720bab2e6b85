//! login: gets a token by an auth method and keeps it in the token helper's file. Also `auth help`.

mod browser;
pub mod remembered;

use clap::Args;
use dewdrop_api::{Auth, Call, Envelope, SecretText};
use serde_json::{Map, Value};

use super::mfa;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::{note, say};
use crate::settings::TokenSource;
use crate::{input, prompt, token_file};

/// `dewdrop login`.
#[derive(Debug, Args)]
pub struct Login {
    /// The token (or - for stdin), or key=value for the auth method
    #[arg(value_name = "TOKEN | K=V")]
    data: Vec<String>,
    /// Type of the auth method: token, userpass, ldap, approle, cert, jwt, oidc or kubernetes
    #[arg(long, default_value = "token", value_name = "TYPE")]
    method: String,
    /// Where the auth method is mounted; its type, unless given
    #[arg(long, value_name = "PATH")]
    path: Option<String>,
    /// Do not keep the token
    #[arg(long)]
    no_store: bool,
    /// Do not print the token
    #[arg(long, conflicts_with = "token_only")]
    no_print: bool,
    /// Print the token and nothing else, and do not keep it
    #[arg(long)]
    token_only: bool,
}

/// `dewdrop auth help`.
#[derive(Debug, Args)]
pub struct AuthHelp {
    /// Type of an auth method, or path of a mounted one
    method: String,
}

/// How one auth method is signed in with: its type, the fields it takes, and an example.
struct Method {
    kind: &'static str,
    fields: &'static [(&'static str, &'static str)],
    example: &'static str,
}

const METHODS: &[Method] = &[
    Method {
        kind: "token",
        fields: &[],
        example: "dewdrop login (asks for the token), or: dewdrop login - < token-file",
    },
    Method {
        kind: "userpass",
        fields: &[("username", "name of the user"), ("password", "password; asked for when it is not given")],
        example: "dewdrop login -method=userpass username=alice",
    },
    Method {
        kind: "ldap",
        fields: &[("username", "name of the user"), ("password", "password; asked for when it is not given")],
        example: "dewdrop login -method=ldap username=alice",
    },
    Method {
        kind: "approle",
        fields: &[("role_id", "id of the role"), ("secret_id", "its secret; asked for when it is not given")],
        example: "dewdrop login -method=approle role_id=... secret_id=@file",
    },
    Method {
        kind: "cert",
        fields: &[("name", "name of the certificate role, if only one shall match")],
        example: "dewdrop login -method=cert -client-cert=me.pem -client-key=me.key",
    },
    Method {
        kind: "jwt",
        fields: &[("role", "role to sign in with"), ("jwt", "the signed token, usually as @file")],
        example: "dewdrop login -method=jwt role=ci jwt=@token",
    },
    browser::METHOD,
    Method {
        kind: "kubernetes",
        fields: &[("role", "role to sign in with"), ("jwt", "the service account's token, usually as @file")],
        example: "dewdrop login -method=kubernetes role=app jwt=@/var/run/secrets/kubernetes.io/serviceaccount/token",
    },
];

fn method(kind: &str) -> Option<&'static Method> {
    METHODS.iter().find(|m| m.kind == kind)
}

impl Login {
    /// A sign-in of which nothing is printed. The token is kept.
    pub fn quiet(method: String, path: Option<String>, data: Vec<String>) -> Self {
        Self { data, method, path, no_store: false, no_print: true, token_only: false }
    }

    /// Signs in.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let envelope = self.envelope(ctx).await?;
        self.finish(ctx, envelope).await
    }

    async fn envelope(&self, ctx: &Ctx) -> Result<Envelope> {
        let kind = self.method.to_lowercase();
        let Some(method) = method(&kind) else {
            let known: Vec<&str> = METHODS.iter().map(|m| m.kind).collect();
            return Err(Failure::usage(format!("Unknown auth method: {kind}")).hint(format!(
                "use one of {}; other methods can be asked with `dewdrop write auth/PATH/login K=V`",
                known.join(", ")
            )));
        };
        let envelope = if kind == "token" { self.by_token(ctx).await? } else { self.by_method(ctx, method).await? };
        let waits = envelope.auth.as_ref().filter(|auth| auth.client_token.is_empty());
        match waits.and_then(|auth| auth.mfa_requirement.as_ref()) {
            Some(requirement) => mfa::validate(ctx, requirement).await,
            None => Ok(envelope),
        }
    }

    async fn by_token(&self, ctx: &Ctx) -> Result<Envelope> {
        let token = match self.data.as_slice() {
            [] => prompt::secret(ctx, "Token", "pass - to read the token from stdin")?,
            [dash] if dash == "-" => prompt::from_stdin("the token")?,
            [one] => SecretText::from(one.strip_prefix("token=").unwrap_or(one).trim()),
            _ => return Err(Failure::usage(format!("Too many arguments (expected 0-1, got {})", self.data.len()))),
        };
        if token.is_empty() {
            return Err(Failure::usage("the token is empty"));
        }
        lookup(ctx, &token).await.map_err(|e| e.doing("Error authenticating: error looking up token"))
    }

    async fn by_method(&self, ctx: &Ctx, method: &Method) -> Result<Envelope> {
        let mut fields = input::fields(&self.data)?;
        let mount = self.path.as_deref().unwrap_or(method.kind).trim_matches('/').to_owned();
        let mount = fields.remove("mount").and_then(|m| m.as_str().map(str::to_owned)).unwrap_or(mount);
        if method.kind == "oidc" {
            return browser::login(ctx, &mount, fields).await.map_err(|e| e.doing("Error authenticating"));
        }
        for (name, secret) in [("password", "Password"), ("secret_id", "Secret ID"), ("jwt", "JWT")] {
            let wanted = method.fields.iter().any(|(field, _)| *field == name);
            if wanted && !fields.contains_key(name) {
                let answer = prompt::secret(ctx, secret, &format!("pass {name}=@file, or {name}=- for stdin"))?;
                fields.insert(name.into(), Value::String(answer.expose().to_owned()));
            }
        }
        for name in ["jwt", "secret_id"] {
            if let Some(Value::String(text)) = fields.get_mut(name) {
                *text = text.trim().to_owned();
            }
        }
        login(ctx, method.kind, &mount, fields).await.map_err(|e| e.doing("Error authenticating"))
    }

    async fn finish(self, ctx: &Ctx, envelope: Envelope) -> Result<u8> {
        let keep = !self.no_store && !self.token_only;
        let envelope = match (&envelope.wrap_info, keep) {
            (Some(wrap), true) => unwrap(ctx, &wrap.token).await?,
            _ => envelope,
        };
        if let Some(wrap) = envelope.wrap_info.as_ref().filter(|_| self.token_only) {
            return plain(wrap.token.expose());
        }
        let auth = envelope.auth.as_ref();
        if let Some(auth) = auth.filter(|_| keep) {
            token_file::store(&auth.client_token)?;
            remembered::keep(&ctx.settings.config, &self.method, self.path.as_deref(), &self.data);
        }
        if self.token_only {
            return plain(auth.map_or("", |a| a.client_token.expose()));
        }
        if keep && let TokenSource::Environment(prefix) = ctx.settings.token_source {
            note(&format!(
                "WARNING! The {prefix}_TOKEN environment variable is set! The value of this variable will take precedence; \
                 if this is unwanted please unset {prefix}_TOKEN or update its value accordingly.\n"
            ));
        } else if !keep && ctx.out.is_table() && ctx.out.field.is_none() {
            note(
                "The token was not stored in the token helper. Set the DEWDROP_TOKEN environment variable to use it.\n",
            );
        }
        if self.no_print {
            return Ok(0);
        }
        if keep && ctx.out.is_table() && ctx.out.field.is_none() {
            say("Success! You are now authenticated. The token information displayed below is\n");
            say("already stored in the token helper. You do NOT need to run \"dewdrop login\" again.\n");
            say("Future requests will automatically use this token.\n\n");
        }
        ctx.out.envelope(&envelope)
    }
}

fn plain(text: &str) -> Result<u8> {
    use std::io::{IsTerminal, Write};
    say(text);
    if std::io::stdout().is_terminal() {
        say("\n");
    }
    let _ = std::io::stdout().flush();
    Ok(0)
}

/// What a token is, as an envelope like that of a sign-in.
async fn lookup(ctx: &Ctx, token: &SecretText) -> Result<Envelope> {
    let envelope = ctx.ask(Call::read("auth/token/lookup-self")?.with_token(token)).await?;
    let data =
        envelope.and_then(|e| e.data).ok_or_else(|| Failure::server("the server tells nothing about the token"))?;
    let policies = data.list("policies");
    let auth = Auth {
        client_token: token.clone(),
        accessor: data.text("accessor").unwrap_or_default().to_owned(),
        lease_duration: data.expose().get("ttl").and_then(Value::as_u64).unwrap_or(0),
        renewable: data.expose().get("renewable").and_then(Value::as_bool).unwrap_or(false),
        token_policies: Some(policies.clone()),
        policies: Some(policies),
        ..Auth::default()
    };
    Ok(Envelope { auth: Some(auth), ..Envelope::default() })
}

/// Signs in by an auth method. The fields are what its login takes; `username` is a part of the path where it belongs there.
pub async fn login(ctx: &Ctx, kind: &str, mount: &str, mut fields: Map<String, Value>) -> Result<Envelope> {
    let path = if matches!(kind, "userpass" | "ldap") {
        let name = fields.remove("username").and_then(|n| n.as_str().map(str::to_owned));
        let name = name.ok_or_else(|| Failure::usage("'username' must be specified").hint("add username=NAME"))?;
        format!("auth/{mount}/login/{name}")
    } else {
        format!("auth/{mount}/login")
    };
    let call = Call::write(&path, &Value::Object(fields))?.anonymous().wrapped(ctx.settings.wrap_ttl.as_deref());
    let envelope = ctx.ask(call).await?;
    envelope.filter(|e| e.auth.is_some() || e.wrap_info.is_some()).ok_or_else(|| {
        Failure::server("the server gave no token").hint(format!("is an auth method mounted at {mount}/?"))
    })
}

async fn unwrap(ctx: &Ctx, token: &SecretText) -> Result<Envelope> {
    let call = Call::write("sys/wrapping/unwrap", &Value::Object(Map::new()))?.with_token(token);
    ctx.ask(call).await?.ok_or_else(|| Failure::server("the wrapped token could not be unwrapped"))
}

impl AuthHelp {
    /// Says how to sign in with an auth method.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let name = self.method.trim_matches('/');
        let kind = if method(name).is_some() { name.to_owned() } else { kind_of(ctx, name).await? };
        let Some(method) = method(&kind) else {
            return Err(Failure::usage(format!("Unknown auth method: {kind}"))
                .hint(format!("`dewdrop path-help auth/{name}` shows its API")));
        };
        say(&format!("Usage: dewdrop login -method={kind} [K=V...]\n\n  {}\n", method.example));
        if !method.fields.is_empty() {
            say("\nFields:\n");
            method.fields.iter().for_each(|(field, about)| say(&format!("\n  {field}=<string>\n      {about}\n")));
        }
        Ok(0)
    }
}

async fn kind_of(ctx: &Ctx, mount: &str) -> Result<String> {
    let envelope = ctx.ask(Call::read("sys/auth")?).await.map_err(|e| e.doing("Error listing auth methods"))?;
    let data = envelope.and_then(|e| e.data);
    let kind = data
        .as_ref()
        .and_then(|d| d.expose().get(&format!("{mount}/")))
        .and_then(|m| m.get("type"))
        .and_then(Value::as_str);
    kind.map(str::to_owned).ok_or_else(|| {
        Failure::usage(format!("No auth method of type or at path {mount}"))
            .hint("`dewdrop auth list` shows those there are")
    })
}
