//! `dewdrop kube login`: all that stands between a person and kubectl, in one command. Signs in when there is no token that
//! holds, asks for a role when that is wanted, writes the kubeconfig, and says what may be done until when.

use std::fmt::Write as _;
use std::io::{BufRead, IsTerminal};
use std::path::PathBuf;

use clap::Args;
use dewdrop_api::Call;
use serde_json::{Map, Value, json};

use super::grants::{self, Grant, Offer};
use super::{kubeconfig, whoami};
use crate::cmd::access::told::texts;
use crate::cmd::access::{Mount, ask, data_of};
use crate::cmd::credential;
use crate::cmd::exec_api::ExecApi;
use crate::cmd::login::Login as SignIn;
use crate::cmd::login::remembered::{self, Remembered};
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::{line, say};
use crate::settings::TokenSource;

/// Signed in, and without access to any cluster.
const NO_ACCESS: u8 = 2;

/// `dewdrop kube login`.
#[derive(Debug, Args)]
pub struct Login {
    #[command(flatten)]
    mount: Mount,
    /// How to sign in, as for `dewdrop login`: key=value for the auth method
    #[arg(value_name = "K=V")]
    data: Vec<String>,
    /// Type of the auth method; that of the last sign-in at this server when left out
    #[arg(long, env = "DEWDROP_LOGIN_METHOD", value_name = "TYPE")]
    method: Option<String>,
    /// Where the auth method is mounted; its type, unless given
    #[arg(long, env = "DEWDROP_LOGIN_PATH", value_name = "PATH")]
    path: Option<String>,
    /// Only this cluster; all that you have access to when left out
    #[arg(long, env = "DEWDROP_CLUSTER")]
    cluster: Option<String>,
    /// Ask for this role, when you do not have it
    #[arg(long, requires = "reason")]
    role: Option<String>,
    /// Why; goes with -role
    #[arg(long)]
    reason: Option<String>,
    /// The ticket; goes with -role
    #[arg(long)]
    ticket: Option<String>,
    /// For how long; goes with -role
    #[arg(long, value_name = "DURATION")]
    ttl: Option<String>,
    /// Do not wait for the decision
    #[arg(long)]
    no_wait: bool,
    /// The kubeconfig to write; the first of KUBECONFIG, or ~/.kube/config, when left out
    #[arg(long, value_name = "FILE")]
    kubeconfig: Option<PathBuf>,
    /// The namespace that kubectl uses when none is named
    #[arg(long)]
    default_namespace: Option<String>,
    /// How kubectl and its plug-in speak; v1beta1 for kubectl before 1.22
    #[arg(long, env = "DEWDROP_EXEC_API", value_enum, default_value_t = ExecApi::V1)]
    exec_api: ExecApi,
    /// Leave kubectl's current context as it is
    #[arg(long)]
    keep_context: bool,
}

/// What was reached.
struct Reached {
    token: Map<String, Value>,
    signed_in: bool,
    grants: Vec<Grant>,
    offers: Option<Vec<Offer>>,
    file: Option<PathBuf>,
    contexts: Vec<String>,
}

impl Login {
    /// Runs it: exit code 0 when there is access, 2 when there is none.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let held = held(ctx).await?;
        let signed_in = held.is_none();
        let (ctx, token) = match held {
            Some(token) => (Ctx::new(ctx.settings.clone()), token),
            None => self.sign_in(ctx).await?,
        };
        let mut grants = grants::mine(&ctx, &self.mount).await?;
        if let Some(wanted) = self.wanted(&ctx, &grants).await? {
            let case = ask::opened(&ctx, wanted).await?;
            ask::waited(&ctx, &self.mount, case, !self.no_wait).await?;
            grants = grants::mine(&ctx, &self.mount).await?;
        }
        grants.retain(|grant| self.cluster.as_ref().is_none_or(|only| grant.cluster() == *only));
        let (file, contexts) = self.write(&ctx, &grants).await?;
        let has_access = grants.iter().any(Grant::is_usable);
        let offers = if has_access { None } else { grants::offers(&ctx, &self.mount).await? };
        let reached = Reached { token, signed_in, grants, offers, file, contexts };
        reached.tell(&ctx)?;
        Ok(if has_access { 0 } else { NO_ACCESS })
    }

    async fn sign_in(&self, ctx: &Ctx) -> Result<(Ctx, Map<String, Value>)> {
        if let TokenSource::Environment(prefix) = ctx.settings.token_source {
            return Err(Failure::usage(format!("the token in {prefix}_TOKEN is unknown to the server, or has ended"))
                .hint(format!("unset {prefix}_TOKEN, and run this again to sign in")));
        }
        let way = self.way(ctx)?;
        if ctx.out.is_table() {
            line(&format!("Signing in by {}.", way.method));
        }
        SignIn::quiet(way.method, way.path, way.data).run(ctx).await?;
        // Another client: the one of before holds the token of before.
        let ctx = Ctx::new(ctx.settings.clone());
        let token = held(&ctx).await?;
        let token = token.ok_or_else(|| Failure::server("the server does not know the token that it just gave"))?;
        Ok((ctx, token))
    }

    /// The way that was said, or else the one of the last time.
    fn way(&self, ctx: &Ctx) -> Result<Remembered> {
        let last = remembered::load(&ctx.settings.config);
        match (&self.method, last) {
            (None, Some(last)) if self.path.is_none() => {
                let data = if self.data.is_empty() { last.data.clone() } else { self.data.clone() };
                Ok(Remembered { data, ..last })
            }
            (Some(method), last) => {
                let same = last.filter(|last| last.method == *method && last.path == self.path && self.data.is_empty());
                let data = same.map_or_else(|| self.data.clone(), |last| last.data);
                Ok(Remembered { method: method.clone(), path: self.path.clone(), data })
            }
            _ => Err(Failure::usage("it is not known how you sign in at this server").hint(
                "say it once: dewdrop kube login -method=oidc, or -method=userpass username=NAME; it is remembered",
            )),
        }
    }

    /// The request to make: what was said, or what is answered at the terminal when there is no access.
    async fn wanted(&self, ctx: &Ctx, grants: &[Grant]) -> Result<Option<ask::Request>> {
        let (role, reason) = match (&self.role, &self.reason) {
            (Some(role), Some(reason)) => (role.clone(), reason.clone()),
            _ if grants.is_empty() && self.may_ask(ctx) => match asked_for(ctx, &self.mount).await? {
                Some(both) => both,
                None => return Ok(None),
            },
            _ => return Ok(None),
        };
        let has_it = |grant: &Grant| {
            grant.case.get("role") == Some(&json!(role))
                && self.cluster.as_ref().is_none_or(|only| grant.cluster() == *only)
        };
        if grants.iter().any(has_it) {
            return Ok(None);
        }
        let mut request = ask::Request::of(self.mount.clone(), role, reason);
        request.terms(self.cluster.clone(), self.ttl.clone(), self.ticket.clone());
        Ok(Some(request))
    }

    fn may_ask(&self, ctx: &Ctx) -> bool {
        ctx.settings.interactive
            && ctx.out.is_table()
            && std::io::stdin().is_terminal()
            && std::io::stderr().is_terminal()
    }

    /// A context for each cluster; kubectl's own choice becomes the first of them.
    async fn write(&self, ctx: &Ctx, grants: &[Grant]) -> Result<(Option<PathBuf>, Vec<String>)> {
        let mut clusters: Vec<String> = self.cluster.iter().cloned().collect();
        for grant in grants.iter().filter(|grant| grant.is_usable()) {
            if !clusters.contains(&grant.cluster()) {
                clusters.push(grant.cluster());
            }
        }
        if clusters.is_empty() {
            return Ok((None, Vec::new()));
        }
        let (mut ours, mut contexts) = (Vec::new(), Vec::new());
        for cluster in &clusters {
            let namespace = self.default_namespace.as_deref();
            ours.push(credential::kubeconfig(ctx, &self.mount, cluster, namespace, self.exec_api).await?);
            contexts.push(format!("dewdrop-{cluster}"));
        }
        let file = kubeconfig::file(self.kubeconfig.as_deref())?;
        let current = contexts.first().filter(|_| !self.keep_context);
        kubeconfig::merge(&file, &ours, current.map(String::as_str))?;
        Ok((Some(file), contexts))
    }
}

/// The token in force, as the server sees it; `None`: there is none that holds.
async fn held(ctx: &Ctx) -> Result<Option<Map<String, Value>>> {
    if ctx.settings.token()?.is_none() {
        return Ok(None);
    }
    match ctx.ask(Call::read("auth/token/lookup-self")?).await {
        Err(e) if e.status() == Some(403) => Ok(None),
        other => data_of(other.map_err(|e| e.doing("Error looking at your token"))?).map(Some),
    }
}

/// Asks at the terminal for a role and a reason. An empty answer is none.
async fn asked_for(ctx: &Ctx, mount: &Mount) -> Result<Option<(String, String)>> {
    let offers = grants::offers(ctx, mount).await?.unwrap_or_default();
    if offers.is_empty() {
        return Ok(None);
    }
    line(&format!("You have no access now. {}", offers_in_words(&offers)));
    let Some(role) = answer("Which role do you want (nothing: none)? ")? else { return Ok(None) };
    let reason = answer("Why? Approvers read it: ")?;
    Ok(reason.map(|reason| (role, reason)))
}

fn answer(question: &str) -> Result<Option<String>> {
    use std::io::Write;
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "{question}").and_then(|()| err.flush());
    let mut text = String::new();
    let read = std::io::stdin().lock().read_line(&mut text);
    read.map_err(|e| Failure::usage(format!("read your answer: {e}")))?;
    let text = text.trim();
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

fn offers_in_words(offers: &[Offer]) -> String {
    let mut said = String::from("You may ask for:\n");
    for offer in offers {
        let _ = writeln!(said, "\n  {}: {}", offer.role, offer.terms());
        for sentence in texts(&offer.about, "summary") {
            let _ = writeln!(said, "    {sentence}");
        }
        let _ = writeln!(said, "    {}", offer.command("", ""));
    }
    said
}

impl Reached {
    fn tell(&self, ctx: &Ctx) -> Result<u8> {
        if !ctx.out.is_table() {
            let offers =
                self.offers.iter().flatten().map(
                    |offer| json!({ "role": offer.role, "terms": offer.terms(), "command": offer.command("", "") }),
                );
            return ctx.out.structured(&json!({
                "person": grants::person(&self.grants, &self.token),
                "signed_in": self.signed_in,
                "grants": self.grants.iter().map(Grant::json).collect::<Vec<_>>(),
                "kubeconfig": self.file,
                "contexts": self.contexts,
                "could_ask": offers.collect::<Vec<_>>(),
            }));
        }
        say(&self.words());
        Ok(0)
    }

    fn words(&self) -> String {
        let mut said = format!("You are {}.\n", grants::person(&self.grants, &self.token));
        self.grants.iter().for_each(|grant| whoami::say_grant(&mut said, grant));
        if let Some(file) = &self.file {
            let _ = write!(said, "\nIn {}: ", file.display());
            let _ = match self.contexts.as_slice() {
                [one] => writeln!(said, "the context {one}."),
                more => writeln!(said, "the contexts {}.", more.join(", ")),
            };
        }
        if !self.grants.iter().any(Grant::is_usable) {
            said.push_str(if self.grants.is_empty() { "You have no access now." } else { "\nYou have no access yet." });
            said.push_str(match self.offers.as_deref() {
                None => " Ask for it: dewdrop access request ROLE -reason \"...\"\n",
                Some([]) => " There is no role that you may ask for.\n",
                Some(_) => " ",
            });
            if let Some(offers) = self.offers.as_deref().filter(|offers| !offers.is_empty()) {
                said.push_str(&offers_in_words(offers));
            }
        }
        said
    }
}
