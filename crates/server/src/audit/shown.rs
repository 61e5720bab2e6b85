//! What may stand in the log in clear, route by route: names and words that people later look for, and with which
//! `dewdrop audit trace` walks. A field that is a name on one route is a secret on another, so nothing is shown by its
//! name alone.

use dewdrop_core::mount::Mount;

/// The texts of one request or answer that are shown.
#[derive(Clone, Default)]
pub struct Shown {
    fields: Fields,
    /// By the mount's tuning: at any depth.
    tuned: Vec<String>,
}

/// Where a value stands: its key, and the keys above it. Lists add nothing.
#[derive(Clone, Copy)]
pub struct Trail<'k> {
    key: &'k str,
    above: Option<&'k Trail<'k>>,
}

/// Fields of a request or an answer, from the outermost key inwards: `left.path`.
#[derive(Clone, Copy)]
struct Fields {
    /// Names. They are shown when they look like one, so that whoever puts a secret there does not find it in the log.
    names: &'static [&'static str],
    /// Words of people, and of ours to people, that are for the record.
    words: &'static [&'static str],
}

/// A route below a mount.
struct Route {
    /// `requests/{id}/approve`; `{id}` is any one segment.
    at: &'static str,
    asked: Fields,
    told: Fields,
}

const NONE: Fields = names(&[]);

const fn names(names: &'static [&'static str]) -> Fields {
    Fields { names, words: &[] }
}

const fn asked(at: &'static str, asked: Fields) -> Route {
    Route { at, asked, told: NONE }
}

const fn told(at: &'static str, told: Fields) -> Route {
    Route { at, asked: NONE, told }
}

/// A request of a person as the engine shows it: who wants what, why, and who said what to it.
const CASE: Fields = Fields {
    names: &[
        "id",
        "state",
        "role",
        "requester",
        "ticket",
        "cluster",
        "extends",
        "granted_at",
        "ends_at",
        "decisions.by",
        "decisions.at",
        "review.by",
        "review.at",
        "ended.how",
        "ended.by",
        "ended.at",
    ],
    words: &["reason", "summary", "decisions.comment", "review.comment", "ended.reason"],
};

/// What an approver says.
const COMMENT: Fields = Fields { names: &[], words: &["comment"] };
/// What somebody says to his own request or grant, or to one that he ends.
const REASON: Fields = Fields { names: &[], words: &["reason"] };

/// What a proxy tells of people's commands.
const RECORD: Fields = Fields {
    names: &[
        "lines.kind",
        "lines.time",
        "lines.cluster",
        "lines.grant",
        "lines.user",
        "lines.verb",
        "lines.target",
        "lines.namespace",
        "lines.name",
        "lines.source",
        "lines.recording",
        "lines.audit_id",
        "lines.acting_as",
        "lines.left.act",
        "lines.left.path",
        "lines.left.uid",
        "lines.left.until",
    ],
    words: &["lines.command", "lines.refused", "lines.left.why"],
};

const ACCESS: &[Route] = &[
    Route { at: "request", asked: Fields { names: &["role", "cluster", "ticket"], words: REASON.words }, told: CASE },
    Route { at: "requests/{id}/approve", asked: COMMENT, told: CASE },
    Route { at: "requests/{id}/deny", asked: COMMENT, told: CASE },
    Route { at: "requests/{id}/review", asked: COMMENT, told: CASE },
    Route { at: "requests/{id}/withdraw", asked: REASON, told: CASE },
    Route { at: "requests/{id}/revoke", asked: REASON, told: CASE },
    Route { at: "requests/{id}/extend", asked: REASON, told: CASE },
    // The API server's audit log names the certificate, or the token, by it.
    told("requests/{id}/certificate", names(&["fingerprint"])),
    told("requests/{id}/token", names(&["jti"])),
    asked("announce", names(&["grant", "cluster", "namespace", "name", "target"])),
    Route {
        at: "exec-check",
        asked: names(&["grant", "cluster", "namespace", "name", "target", "user", "container"]),
        told: Fields { names: &[], words: &["refused"] },
    },
    asked("namespace-doors", names(&["cluster", "namespace", "user"])),
    asked("record", RECORD),
    asked(
        "recordings/{id}",
        Fields {
            names: &["about.grant", "about.user", "about.cluster", "about.namespace", "about.name"],
            words: &["about.command"],
        },
    ),
    asked("live", names(&["cluster"])),
    asked("around", names(&["cluster", "user"])),
];

const DATABASE: &[Route] = &[
    told("creds/{name}", names(&["username"])),
    Route { at: "static-roles/{name}", asked: names(&["username"]), told: names(&["username"]) },
    told("static-creds/{name}", names(&["username"])),
];

const SYSTEM: &[Route] = &[
    asked("leases/lookup", names(&["lease_id"])),
    asked("leases/renew", names(&["lease_id"])),
    asked("leases/revoke", names(&["lease_id"])),
    asked("renew", names(&["lease_id"])),
    asked("revoke", names(&["lease_id"])),
    asked("capabilities", names(&["path"])),
    asked("capabilities-self", names(&["path"])),
    asked("capabilities-accessor", names(&["path"])),
    asked("policies/explain", names(&["path"])),
    asked("quotas/rate-limit/{name}", names(&["path"])),
    asked("quotas/lease-count/{name}", names(&["path"])),
];

const TOKEN: &[Route] = &[
    told("lookup", names(&["accessor"])),
    told("lookup-self", names(&["accessor"])),
    Route { at: "lookup-accessor", asked: names(&["accessor"]), told: names(&["accessor"]) },
    asked("renew-accessor", names(&["accessor"])),
    asked("revoke-accessor", names(&["accessor"])),
];

// === impl Shown ===

impl Shown {
    /// Of a request's fields.
    #[must_use]
    pub fn asked(mount: Option<&Mount>, path: &str) -> Self {
        Self::of(mount, path, |route| route.asked, |mount| &mount.tune.audit_non_hmac_request_keys)
    }

    /// Of an answer's data.
    #[must_use]
    pub fn told(mount: Option<&Mount>, path: &str) -> Self {
        Self::of(mount, path, |route| route.told, |mount| &mount.tune.audit_non_hmac_response_keys)
    }

    fn of(mount: Option<&Mount>, path: &str, side: fn(&Route) -> Fields, tuned: fn(&Mount) -> &Vec<String>) -> Self {
        let Some(mount) = mount else { return Self::default() };
        let below = path.strip_prefix(mount.path.as_str());
        let route = below.and_then(|below| routes(&mount.kind).iter().find(|route| route.is(below)));
        Self { fields: route.map_or(NONE, side), tuned: tuned(mount).clone() }
    }

    /// Whether a text at this place is shown.
    #[must_use]
    pub fn shows(&self, at: &Trail<'_>, text: &str) -> bool {
        let has = |fields: &[&str]| fields.iter().any(|field| at.is(field));
        let is_tuned = self.tuned.iter().any(|tuned| tuned == at.key);
        is_tuned || has(self.fields.words) || (has(self.fields.names) && is_name(text))
    }
}

fn routes(kind: &str) -> &'static [Route] {
    match kind {
        "access" => ACCESS,
        "database" => DATABASE,
        "system" => SYSTEM,
        "token" => TOKEN,
        _ => &[],
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= 512 && text.chars().all(|c| c.is_ascii_alphanumeric() || "/-_.:@".contains(c))
}

// === impl Trail ===

impl<'k> Trail<'k> {
    /// A key of the object at `above`; `None`: of the outermost.
    #[must_use]
    pub fn of(key: &'k str, above: Option<&'k Trail<'k>>) -> Self {
        Self { key, above }
    }

    fn is(&self, field: &str) -> bool {
        match (field.rsplit_once('.'), self.above) {
            (None, None) => self.key == field,
            (Some((rest, key)), Some(above)) => self.key == key && above.is(rest),
            _ => false,
        }
    }
}

// === impl Fields ===

impl Default for Fields {
    fn default() -> Self {
        NONE
    }
}

// === impl Route ===

impl Route {
    fn is(&self, below: &str) -> bool {
        let (mut own, mut given) = (self.at.split('/'), below.trim_end_matches('/').split('/'));
        loop {
            match (own.next(), given.next()) {
                (None, None) => return true,
                (Some(own), Some(given)) if own.starts_with('{') || own == given => {}
                _ => return false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_is_itself_alone() {
        let has = |kind: &str, below: &str| routes(kind).iter().any(|route| route.is(below));
        assert!(has("access", "requests/abc/approve") && has("access", "request") && has("system", "leases/revoke"));
        for below in ["requests/abc", "requests/abc/approve/x", "approve", "", "requests", "roles/abc", "record/x"] {
            assert!(!has("access", below), "{below}");
        }
        assert!(!has("kv", "request") && !has("system", "request"));
    }

    #[test]
    fn a_field_is_shown_at_its_place_alone() {
        let shown = Shown { fields: RECORD, tuned: vec!["tuned".into()] };
        let (lines, left) = (Trail::of("lines", None), Trail::of("left", None));
        let inner = Trail::of("left", Some(&lines));
        let (word, name) = ("two words", "web-1");
        assert!(shown.shows(&Trail::of("user", Some(&lines)), name));
        assert!(shown.shows(&Trail::of("uid", Some(&inner)), name));
        assert!(shown.shows(&Trail::of("why", Some(&inner)), word));
        assert!(shown.shows(&Trail::of("tuned", Some(&inner)), word));
        // Not at another depth, not another field, and no name that is none.
        assert!(!shown.shows(&Trail::of("user", None), name));
        assert!(!shown.shows(&Trail::of("user", Some(&inner)), name));
        assert!(!shown.shows(&Trail::of("uid", Some(&left)), name));
        assert!(!shown.shows(&Trail::of("password", Some(&lines)), name));
        assert!(!shown.shows(&Trail::of("user", Some(&lines)), word));
    }
}
