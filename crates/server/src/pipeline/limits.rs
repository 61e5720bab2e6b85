//! What is asked of a request before its token is looked up: whether its client may ask so often.

use dewdrop_core::{Fault, Kind, Operation};
use http::HeaderValue;

use super::{Asked, locate};
use crate::http::Response;
use crate::vault::Vault;
use crate::vault::quotas::{Spot, Verdict};

/// What the rate limits say of one request.
#[derive(Default)]
pub struct Entry {
    /// What the answer says of the limit.
    shown: Option<(u64, Verdict)>,
    /// The request goes no further.
    pub refusal: Option<Fault>,
    /// The refusal is on the audit log.
    pub audited: bool,
}

/// Counts a request where a rate limit holds for it. Without any rate limit this is one load.
///
/// # Errors
/// The store's, where a login's role has to be found out.
pub async fn enter(vault: &Vault, asked: &Asked) -> Result<Entry, Fault> {
    if !vault.quotas.has_rates() {
        return Ok(Entry::default());
    }
    // A namespace that is not there is refused later.
    let Ok((namespace, path)) = locate(vault, asked) else { return Ok(Entry::default()) };
    let config = vault.quotas.config();
    if config.exempts(&path) {
        return Ok(Entry::default());
    }
    let full = format!("{}{path}", namespace.path);
    let found = vault.mounts.find(&full).filter(|(mounted, _)| mounted.mount.namespace.id == namespace.id);
    let (mount, below) = found.as_ref().map_or(("", ""), |(mounted, below)| (mounted.mount.uuid.as_str(), *below));
    let role = match &found {
        Some((mounted, below)) if asked.operation == Operation::Update && vault.quotas.wants_role(mount) => {
            let slice = vault.mounts.slice(&mounted.mount);
            dewdrop_auth::login_role(&mounted.mount.kind, slice, below, &asked.fields).await?
        }
        _ => None,
    };
    let spot = Spot { namespace: &namespace, mount, below, role: role.as_deref() };
    let Some(rate) = vault.quotas.rate(&vault.namespaces, spot) else { return Ok(Entry::default()) };
    let verdict = rate.take(asked.address, vault.clock.steady());
    let shown = (config.headers && !verdict.blocked).then(|| (rate.limit(), verdict));
    let refusal = (!verdict.allowed).then(|| exceeded(asked, &verdict));
    Ok(Entry { shown, refusal, audited: config.audit })
}

impl Entry {
    /// Says in the answer what is left, where that is configured.
    pub fn tell(&self, response: &mut Response) {
        let Some((limit, verdict)) = self.shown else { return };
        for (name, value) in [
            ("x-ratelimit-limit", limit),
            ("x-ratelimit-remaining", verdict.left),
            ("x-ratelimit-reset", verdict.reset.as_secs()),
        ] {
            response.headers.insert(name, HeaderValue::from(value));
        }
    }
}

fn exceeded(asked: &Asked, verdict: &Verdict) -> Fault {
    let lists = matches!(asked.operation, Operation::List | Operation::Scan) && !asked.path.ends_with('/');
    let slash = if lists { "/" } else { "" };
    let mut fault =
        Fault::new(Kind::TooMany, format!("request path \"{}{slash}\": rate limit quota exceeded", asked.path));
    fault.retry_after = Some(verdict.retry);
    fault
}
