//! A person's grants and the roles that may be asked for, as the server tells them, for the commands about kubectl.

use dewdrop_api::Call;
use dewdrop_core::access::{Attributes, ResourceAsk, Scope};
use dewdrop_core::{Moment, SystemClock};
use serde_json::{Map, Value, json};

use crate::cmd::access::told::{clean, entries, text, texts};
use crate::cmd::access::{Mount, read};
use crate::ctx::Ctx;
use crate::failure::{Failure, Result};

/// A request of one's own that is not over.
#[derive(Debug, Clone)]
pub struct Grant {
    /// All that the server tells of it.
    pub case: Map<String, Value>,
    /// What it allows.
    pub scope: Scope,
}

/// A role that may be asked for.
#[derive(Debug, Clone)]
pub struct Offer {
    /// Its name.
    pub role: String,
    /// What there is to say of it.
    pub about: Map<String, Value>,
    /// The most that it gives.
    pub scope: Scope,
}

/// The person's requests that are pending, granted or active; those that can be used come first.
pub async fn mine(ctx: &Ctx, mount: &Mount) -> Result<Vec<Grant>> {
    let call = Call::list(&mount.path("requests")?)?.with_query("mine", "true");
    let envelope = ctx.ask(call).await.map_err(|e| e.doing("Error listing your grants"))?;
    let listed = envelope.and_then(|envelope| envelope.data).map(|data| data.expose().clone()).unwrap_or_default();
    let mut grants = Vec::new();
    for (id, line) in entries(&listed) {
        if ["active", "granted", "pending"].iter().any(|state| line.get("state") == Some(&json!(state))) {
            let case = read(ctx, mount, id).await?;
            // An extension gives nothing by itself: what it makes longer is listed.
            if text(&case, "extends").is_empty() {
                grants.push(Grant { scope: scope(&case)?, case });
            }
        }
    }
    grants.sort_by_key(|grant| !grant.is_usable());
    Ok(grants)
}

/// The roles that may be asked for; `None`: this person may not read that.
pub async fn offers(ctx: &Ctx, mount: &Mount) -> Result<Option<Vec<Offer>>> {
    let envelope = match ctx.ask(Call::list(&mount.path("offers")?)?).await {
        Err(e) if e.status() == Some(403) => return Ok(None),
        other => other.map_err(|e| e.doing("Error listing the roles that you may ask for"))?,
    };
    let listed = envelope.and_then(|envelope| envelope.data).map(|data| data.expose().clone()).unwrap_or_default();
    let offer = |(role, about): (&str, &Map<String, Value>)| {
        Ok(Offer { scope: scope(about)?, role: role.to_owned(), about: about.clone() })
    };
    let offers = entries(&listed).map(offer);
    offers.collect::<Result<Vec<_>>>().map(Some)
}

/// Whether a cluster has no access proxy. One that is not known, or may not be read, counts as having one.
pub async fn is_direct(ctx: &Ctx, mount: &Mount, cluster: &str) -> Result<bool> {
    if cluster.is_empty() {
        return Ok(false);
    }
    match ctx.ask(Call::read(&mount.path(&format!("clusters/{cluster}"))?)?).await {
        Err(e) if matches!(e.status(), Some(403 | 404)) => Ok(false),
        other => {
            let envelope = other.map_err(|e| e.doing(&format!("Error reading the cluster {cluster}")))?;
            let told = envelope.and_then(|envelope| envelope.data);
            Ok(told.is_some_and(|told| text(told.expose(), "mode") == "direct"))
        }
    }
}

/// Clusters, namespaces and rules, as a request, an offer or a role tells them.
pub fn scope(told: &Map<String, Value>) -> Result<Scope> {
    let of = |name: &str| told.get(name).cloned().unwrap_or_else(|| json!([]));
    let clusters = told.get("cluster").map_or_else(|| of("clusters"), |one| json!([one]));
    let whole = json!({ "clusters": clusters, "namespaces": of("namespaces"), "rules": of("rules") });
    serde_json::from_value(whole).map_err(|_| Failure::server("the server tells rules that this program does not know"))
}

// === impl Grant ===

impl Grant {
    /// Its name.
    pub fn id(&self) -> String {
        text(&self.case, "id")
    }

    /// How far it is.
    pub fn state(&self) -> String {
        text(&self.case, "state")
    }

    /// Its cluster.
    pub fn cluster(&self) -> String {
        text(&self.case, "cluster")
    }

    /// Whether kubectl works by it, or does with the next command.
    pub fn is_usable(&self) -> bool {
        matches!(self.state().as_str(), "active" | "granted")
    }

    /// Whether the cluster has no access proxy, so that its RBAC decides and not the grant.
    pub fn is_direct(&self) -> bool {
        text(&self.case, "mode") == "direct"
    }

    /// Its end; `None`: it has not begun.
    pub fn until(&self) -> Option<Moment> {
        Moment::parse_rfc3339(&text(&self.case, "ends_at")).ok()
    }

    /// Seconds until its end; of one that has not begun, its whole time.
    pub fn left(&self) -> u64 {
        let whole = self.case.get("ttl").and_then(Value::as_u64).unwrap_or_default();
        self.until().map_or(whole, |until| until.since(now()).as_secs())
    }

    /// Until when, in words.
    pub fn time(&self) -> String {
        match (self.state().as_str(), self.until()) {
            ("pending", _) => format!("waits for approval by {}", text(&self.case, "approvals_needed")),
            (_, Some(until)) => format!("until {} ({} left)", until.rfc3339(), in_words(self.left())),
            (_, None) => format!(
                "{} from your first kubectl command on, which must come before {}",
                in_words(self.left()),
                text(&self.case, "start_by")
            ),
        }
    }

    /// Who approved it.
    pub fn approvers(&self) -> Vec<String> {
        let decisions = self.case.get("decisions").and_then(Value::as_array).into_iter().flatten();
        let yes = decisions.filter_map(Value::as_object).filter(|one| one.get("approves") == Some(&json!(true)));
        yes.map(|one| text(one, "by")).collect()
    }

    /// For programs.
    pub fn json(&self) -> Value {
        json!({
            "id": self.id(), "state": self.state(), "role": text(&self.case, "role"), "cluster": self.cluster(),
            "namespaces": self.scope.namespaces, "rules": self.scope.rules, "reason": text(&self.case, "reason"),
            "ticket": text(&self.case, "ticket"), "approvers": self.approvers(), "ends_at": text(&self.case, "ends_at"),
            "start_by": text(&self.case, "start_by"), "seconds_left": self.left(),
            "approvals_needed": text(&self.case, "approvals_needed"),
            "mode": text(&self.case, "mode"), "break_glass": self.case.get("break_glass").cloned().unwrap_or_default(),
        })
    }

    /// What it allows, a sentence for each rule.
    pub fn summary(&self) -> Vec<String> {
        texts(&self.case, "summary")
    }

    /// Whether a request lies within it.
    pub fn allows(&self, ask: &ResourceAsk<'_>) -> bool {
        self.scope.allows(&self.cluster(), &Attributes::Resource(*ask))
    }
}

// === impl Offer ===

impl Offer {
    /// The command that asks for it, with all that the role demands.
    pub fn command(&self, cluster: &str, namespace: &str) -> String {
        let mut command = format!("dewdrop access request {} -reason \"...\"", self.role);
        if !text(&self.about, "ticket_pattern").is_empty() {
            command.push_str(" -ticket ...");
        }
        if !matches!(self.scope.clusters.as_slice(), [one] if !one.ends_with('*')) {
            command.push_str(&format!(" -cluster {}", if cluster.is_empty() { "..." } else { cluster }));
        }
        if !namespace.is_empty() && self.scope.namespaces.len() > 1 {
            command.push_str(&format!(" -namespaces {namespace}"));
        }
        command
    }

    /// Who must approve, and what else bounds it.
    pub fn terms(&self) -> String {
        let approvals = text(&self.about, "approvals");
        let mut said = match approvals.as_str() {
            "" => "needs no approval".to_owned(),
            who => format!("needs approval by {who}"),
        };
        if let Some(most) = self.about.get("max_ttl").and_then(Value::as_u64) {
            said.push_str(&format!(", for at most {}", in_words(most)));
        }
        for (name, word) in [("hours", "only"), ("ticket_pattern", "with a ticket like")] {
            let value = text(&self.about, name);
            if !value.is_empty() {
                said.push_str(&format!(", {word} {value}"));
            }
        }
        said
    }

    /// Whether it could give what is asked.
    pub fn allows(&self, cluster: &str, ask: &ResourceAsk<'_>) -> bool {
        self.scope.allows(cluster, &Attributes::Resource(*ask))
    }
}

/// The time of now.
pub fn now() -> Moment {
    SystemClock::shared().now()
}

/// `45 s`, `29 min`, `1 h 20 min`. Minutes are rounded up.
pub fn in_words(seconds: u64) -> String {
    let minutes = seconds.div_ceil(60);
    match (seconds, minutes / 60, minutes % 60) {
        (0..60, ..) => format!("{seconds} s"),
        (_, 0, minutes) => format!("{minutes} min"),
        (_, hours, 0) => format!("{hours} h"),
        (_, hours, minutes) => format!("{hours} h {minutes} min"),
    }
}

/// Who somebody is: the name of his requests, or that of his token.
pub fn person(grants: &[Grant], token: &Map<String, Value>) -> String {
    let named = grants.first().map(|grant| text(&grant.case, "requester")).filter(|name| !name.is_empty());
    named.unwrap_or_else(|| clean(token.get("display_name").and_then(Value::as_str).unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_in_words() {
        for (seconds, words) in [
            (0, "0 s"),
            (59, "59 s"),
            (60, "1 min"),
            (61, "2 min"),
            (1800, "30 min"),
            (3600, "1 h"),
            (4800, "1 h 20 min"),
        ] {
            assert_eq!(in_words(seconds), words);
        }
    }

    #[test]
    fn the_command_says_what_the_role_demands() {
        let about =
            json!({ "clusters": ["prod", "test-*"], "namespaces": ["a", "b"], "rules": [], "ticket_pattern": "^OPS" });
        let about = about.as_object().unwrap().clone();
        let offer = Offer { role: "r".into(), scope: scope(&about).unwrap(), about };
        let asked = "dewdrop access request r -reason \"...\" -ticket ... -cluster prod -namespaces a";
        assert_eq!(offer.command("prod", "a"), asked);
        assert!(offer.terms().contains("needs no approval"));
    }
}
