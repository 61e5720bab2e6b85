//! `dewdrop kube can-i VERB RESOURCE [NAME]`: whether a grant allows it, until when, and what to ask for when none does.
//! Grants say what may be done at most; `kubectl auth can-i` asks the API server as well.

use clap::Args;
use dewdrop_core::access::{ResourceAsk, Scope};
use serde_json::json;

use super::grants::{self, Grant, Offer, in_words};
use super::resources::{self, Resource};
use crate::cmd::access::Mount;
use crate::cmd::access::told::text;
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::say;

/// The exit code of "no", as `kubectl auth can-i` has it; that of a question that could not be answered is another.
const NO: u8 = 1;
const UNKNOWN: u8 = 2;

/// `dewdrop kube can-i`.
#[derive(Debug, Args)]
pub struct CanI {
    #[command(flatten)]
    mount: Mount,
    /// get, list, watch, create, update, patch, delete...
    verb: String,
    /// The resource: pods, deployments.apps, pods/log, or pods/NAME
    resource: String,
    /// The object
    name: Option<String>,
    /// The namespace
    #[arg(short = 'n', long = "in", value_name = "NAMESPACE", default_value = "default")]
    within: String,
    /// In all namespaces
    #[arg(short = 'A', long)]
    all_namespaces: bool,
    /// The object, as a flag
    #[arg(long = "name", value_name = "NAME", conflicts_with = "name")]
    named: Option<String>,
    /// The part of the resource: log, exec, scale...
    #[arg(long, value_name = "PART")]
    subresource: Option<String>,
    /// Name of the cluster; may be left out when there is one only
    #[arg(long, env = "DEWDROP_CLUSTER")]
    cluster: Option<String>,
}

/// What was found.
struct Answer<'a> {
    asked: String,
    by: Option<&'a Grant>,
    waits: Option<&'a Grant>,
    roles: Vec<(String, String, String)>,
    roles_are_known: bool,
}

impl CanI {
    /// Runs it: exit code 0 yes, 1 no, 2 it could not be found out.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        self.answered(ctx).await.map_err(|e| e.coded(UNKNOWN))
    }

    async fn answered(&self, ctx: &Ctx) -> Result<u8> {
        ctx.token()?;
        let grants = grants::mine(ctx, &self.mount).await?;
        let offers = grants::offers(ctx, &self.mount).await?;
        let roles_are_known = offers.is_some();
        let offers = offers.unwrap_or_default();
        let cluster = self.cluster(&grants, &offers)?;
        let resource = resources::read(&self.resource, self.subresource.as_deref(), &rules_of(&grants, &offers))?;
        let name = self.name.as_deref().or(self.named.as_deref()).unwrap_or(&resource.name);
        let ask = self.ask(&resource, name);
        let on_it = |grant: &&Grant| grant.cluster() == cluster && grant.allows(&ask);
        let by = grants.iter().filter(|grant| grant.is_usable()).filter(on_it).max_by_key(|grant| grant.left());
        let waits = grants.iter().filter(|grant| !grant.is_usable()).find(on_it);
        let waiting = waits.map(|grant| text(&grant.case, "role"));
        // Where nobody judges by the grant, a part of a role is not to be had.
        let is_direct = by.is_none() && grants::is_direct(ctx, &self.mount, &cluster).await?;
        let namespace = if is_direct { "" } else { ask.namespace };
        let is_new = |offer: &&Offer| by.is_none() && waiting.as_ref() != Some(&offer.role);
        let could = offers.iter().filter(|offer| offer.allows(&cluster, &ask)).filter(is_new);
        let roles = could.map(|offer| (offer.role.clone(), offer.command(&cluster, namespace), offer.terms()));
        let asked = dewdrop_core::access::Attributes::Resource(ask).to_string();
        let answer = Answer { asked, by, waits, roles: roles.collect(), roles_are_known };
        answer.tell(ctx, &cluster)
    }

    fn ask<'a>(&'a self, resource: &'a Resource, name: &'a str) -> ResourceAsk<'a> {
        let namespace = if resource.of_cluster || self.all_namespaces { "" } else { self.within.as_str() };
        ResourceAsk {
            verb: &self.verb,
            group: &resource.group,
            resource: &resource.resource,
            subresource: &resource.part,
            namespace,
            name,
        }
    }

    fn cluster(&self, grants: &[Grant], offers: &[Offer]) -> Result<String> {
        if let Some(cluster) = &self.cluster {
            return Ok(cluster.clone());
        }
        let scopes = grants.iter().map(|grant| &grant.scope).chain(offers.iter().map(|offer| &offer.scope));
        let mut known: Vec<&String> = scopes.flat_map(|scope| &scope.clusters).collect();
        known.sort();
        known.dedup();
        match known.as_slice() {
            [one] if !one.ends_with('*') => Ok((*one).clone()),
            [] => Ok(String::new()),
            more => {
                let names: Vec<&str> = more.iter().map(|name| name.as_str()).collect();
                Err(Failure::usage("which cluster?")
                    .hint(format!("add -cluster NAME; there are: {}", names.join(", "))))
            }
        }
    }
}

fn rules_of<'a>(grants: &'a [Grant], offers: &'a [Offer]) -> Vec<&'a Scope> {
    grants.iter().map(|grant| &grant.scope).chain(offers.iter().map(|offer| &offer.scope)).collect()
}

impl Answer<'_> {
    fn tell(&self, ctx: &Ctx, cluster: &str) -> Result<u8> {
        let code = if self.by.is_some() { 0 } else { NO };
        if ctx.out.is_table() {
            say(&self.words());
            return Ok(code);
        }
        let roles =
            self.roles.iter().map(|(role, command, terms)| json!({ "role": role, "command": command, "terms": terms }));
        ctx.out.structured(&json!({
            "allowed": self.by.is_some(),
            "asked": self.asked,
            "cluster": cluster,
            "grant": self.by.map(Grant::id),
            "until": self.by.map(|grant| text(&grant.case, "ends_at")),
            "seconds_left": self.by.map(Grant::left),
            "waiting_request": self.waits.map(Grant::id),
            "could_ask": roles.collect::<Vec<_>>(),
        }))?;
        Ok(code)
    }

    fn words(&self) -> String {
        if let Some(grant) = self.by {
            let mut said = match grant.until() {
                Some(until) => {
                    format!(
                        "yes: by grant {} until {} ({} left)\n",
                        grant.id(),
                        until.rfc3339(),
                        in_words(grant.left())
                    )
                }
                None => format!(
                    "yes: by grant {}, whose {} begin with your first kubectl command\n",
                    grant.id(),
                    in_words(grant.left())
                ),
            };
            if grant.is_direct() {
                said.push_str("There the cluster's RBAC decides, not the grant: kubectl auth can-i asks it.\n");
            }
            return said;
        }
        let mut said = format!("no: no grant of yours allows to {}\n", self.asked);
        if let Some(grant) = self.waits {
            said.push_str(&format!("Your request {} would; it {}.\n", grant.id(), grant.time()));
        }
        for (_, command, terms) in &self.roles {
            said.push_str(&format!("Ask for it: {command}\n  ({terms})\n"));
        }
        if self.roles.is_empty() && self.waits.is_none() {
            said.push_str(match self.roles_are_known {
                true => "No role that you may ask for has it.\n",
                false => "Which roles you may ask for is not shown to you (a policy for `list` on access/offers is missing).\n",
            });
        }
        said
    }
}
