//! Why an ask is allowed or not, for operators: the rule that decided, the rules that lost, and the smallest rule that
//! would allow it. Nothing here decides; it asks the same code that does.

use serde::Serialize;

use super::capability::Capabilities;
use super::index::{Index, Merged};
use super::parse;
use super::pattern::Pattern;
use super::permit::{Ask, Reason, RuleRef};
use super::rule::Grants;
use super::set::{PolicySet, asked_path, judge, rule_ref};
use crate::op::Operation;

/// The answer of `policy explain`. Holds no value of any parameter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// Whether the ask is allowed.
    pub allowed: bool,
    /// The verb.
    pub operation: &'static str,
    /// The path as the rules see it (lists end in a slash).
    pub path: String,
    /// The capabilities that the ask needs.
    pub needs: Vec<&'static str>,
    /// What the deciding rule grants.
    pub holds: Vec<&'static str>,
    /// One sentence.
    pub reason: String,
    /// The deciding rule: several where policies name the same path.
    pub decided_by: Vec<RuleRef>,
    /// Rules that match too, or would if they counted.
    pub others: Vec<Loser>,
    /// A stanza that would allow the ask, beside the policies there are; absent where none can.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smallest_rule: Option<String>,
    /// The namespace whose policy it belongs into.
    pub namespace: String,
    /// What else may help.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// A rule that did not decide.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Loser {
    /// The rule.
    pub rule: RuleRef,
    /// Why not.
    pub why: String,
}

impl PolicySet {
    /// Why an ask is allowed or not. Costs far more than [`permit`](Self::permit): for people, not for every request.
    #[must_use]
    pub fn explain(&self, ask: &Ask<'_>) -> Explanation {
        let path = asked_path(ask).into_owned();
        let outcome = self.permit(ask);
        let index = self.index(ask.now);
        let decided = index.decide_for(ask);
        let namespace = self.namespace_of(&path);
        let mut explanation = Explanation {
            allowed: outcome.is_ok(),
            operation: ask.operation.name(),
            needs: needs(ask).names(),
            holds: decided.map(|rule| rule.grants.capabilities.names()).unwrap_or_default(),
            reason: String::new(),
            decided_by: decided.map(|rule| self.refs(&rule.sources)).unwrap_or_default(),
            others: self.losers(&path, ask, decided),
            smallest_rule: None,
            namespace: namespace.to_owned(),
            hint: None,
            path,
        };
        match outcome {
            Ok(_) if self.is_root() => explanation.reason = "the root policy allows everything".into(),
            Ok(_) if ask.operation == Operation::Help => explanation.reason = "any token may read help".into(),
            Ok(_) => explanation.reason = "the deciding rule grants it".into(),
            Err(denied) => {
                explanation.reason = denied.reason().to_string();
                explanation.decided_by = denied.rules().to_vec();
                explanation.smallest_rule = self.smallest_rule(&explanation, decided, denied.reason(), ask);
                explanation.hint = self.hint(&explanation, denied.reason(), ask);
            }
        }
        explanation
    }

    /// The deepest namespace of any of the policies that the path lies in.
    fn namespace_of(&self, path: &str) -> &str {
        let namespaces = self.policies().iter().map(|policy| policy.namespace());
        namespaces.filter(|namespace| path.starts_with(namespace)).max_by_key(|namespace| namespace.len()).unwrap_or("")
    }

    fn losers(&self, path: &str, ask: &Ask<'_>, winner: Option<&Merged>) -> Vec<Loser> {
        let listing = matches!(ask.operation, Operation::List | Operation::Scan);
        let bare = path.strip_suffix('/').filter(|_| listing);
        let mut losers = Vec::new();
        for (number, stanza) in self.stanzas.iter().enumerate() {
            let pattern = &stanza.pattern;
            let only_bare = !pattern.matches(path);
            let matches = !only_bare || bare.is_some_and(|bare| pattern.matches(bare));
            if !matches || winner.is_some_and(|winner| winner.sources.contains(&number)) {
                continue;
            }
            let Some((policy, rule)) = self.rule(stanza) else { continue };
            let why = match winner.map(|winner| &winner.pattern) {
                _ if rule.expires.is_some_and(|end| end <= ask.now) => "it has expired",
                None => "it does not count",
                Some(_) if only_bare && pattern.is_exact() => "it is written without the slash that a list ends in",
                Some(winner) if winner.is_exact() => "an exact path wins over wildcards",
                Some(_) if only_bare => "it matches only without the slash that a list ends in",
                Some(winner) => pattern.rank().loses_because(&winner.rank()),
            };
            losers.push(Loser { rule: rule_ref(policy, rule), why: why.into() });
        }
        for left_out in &self.left_out {
            let Some((policy, rule)) = self.left_out_rule(left_out) else { continue };
            let literal = rule.path.split("{{").next().unwrap_or_default();
            if Pattern::of_rule(policy.namespace(), &format!("{literal}*")).matches(path) {
                let why = format!("the caller has no value for {{{{{}}}}}, so the rule is left out", left_out.variable);
                losers.push(Loser { rule: rule_ref(policy, rule), why });
            }
        }
        losers
    }

    fn smallest_rule(
        &self,
        asked: &Explanation,
        decided: Option<&Merged>,
        reason: &Reason,
        ask: &Ask<'_>,
    ) -> Option<String> {
        let extra = match reason {
            Reason::NoRule | Reason::DenyRule | Reason::Capability(_) | Reason::Sudo | Reason::ParameterDenied(_) => {
                None
            }
            Reason::ParameterNotAllowed(name) => Some(format!("  allowed_parameters = {{ {} = [] }}\n", quoted(name))),
            _ => return None,
        };
        // A rule for this very path takes the place of the one that decided, so it repeats what that one grants.
        let kept = decided.filter(|rule| !rule.grants.has_limits() && rule.grants.capabilities.grants());
        let capabilities = needs(ask).and(kept.map_or(Capabilities::NONE, |rule| rule.grants.capabilities));
        let names: Vec<String> = capabilities.names().into_iter().map(quoted).collect();
        let namespace = asked.namespace.as_str();
        let below = asked.path.strip_prefix(namespace).unwrap_or(&asked.path);
        let text =
            |extra: &str| format!("path {} {{\n  capabilities = [{}]\n{extra}}}\n", quoted(below), names.join(", "));
        let candidates = [Some(text("")), extra.map(|extra| text(&extra))];
        candidates.into_iter().flatten().find(|text| self.would_allow(text, namespace, ask))
    }

    /// Whether the ask would be allowed if a policy with this text were added.
    fn would_allow(&self, text: &str, namespace: &str, ask: &Ask<'_>) -> bool {
        let Ok(rules) = parse::rules(text, namespace) else { return false };
        let added: Vec<(Pattern, Grants)> = rules
            .into_iter()
            .filter(|rule| !rule.templated)
            .map(|rule| (Pattern::of_rule(namespace, &rule.path), rule.grants))
            .collect();
        let known = self.stanzas.iter().filter_map(|stanza| {
            let (_, rule) = self.rule(stanza)?;
            rule.expires.is_none_or(|end| end > ask.now).then_some((&stanza.pattern, &rule.grants, 0))
        });
        let index = Index::build(known.chain(added.iter().map(|(pattern, grants)| (pattern, grants, 0))));
        index.decide_for(ask).is_some_and(|rule| judge(&rule.grants, ask).is_ok())
    }

    fn hint(&self, explanation: &Explanation, reason: &Reason, ask: &Ask<'_>) -> Option<String> {
        match reason {
            Reason::ParameterMissing(name) => return Some(format!("send the parameter {name:?}")),
            Reason::Wrapping(min, _) => {
                return Some(format!("ask for a wrapped answer: -wrap-ttl={}s", min.as_secs().max(1)));
            }
            Reason::ListLimit(max) => return Some(format!("send limit={max}, and after=<last key> for the next part")),
            Reason::Template(..) => return Some("until then this caller may do nothing at all".into()),
            _ => {}
        }
        if let Some((path, why)) = self.kv_variant(&explanation.path, ask) {
            return Some(format!("the same on {path:?} is allowed: {why}"));
        }
        if explanation.smallest_rule.is_none() && *reason == Reason::DenyRule {
            return Some("deny wins over every other rule for the same path: take the deny away".into());
        }
        if let Reason::ParameterDenied(name) = reason {
            return Some(format!("leave out the parameter {name:?}, or take it from denied_parameters"));
        }
        None
    }

    /// A path that differs only by what version 2 of the KV engine puts between mount and key, and is allowed.
    fn kv_variant(&self, path: &str, ask: &Ask<'_>) -> Option<(String, &'static str)> {
        const MISSING: &str = "a KV version 2 mount keeps values below data/ and lists and metadata below metadata/";
        const TOO_MUCH: &str =
            "the rule lacks the data/ or metadata/ of a KV version 2 mount, or the mount is version 1";
        const OTHER: &str =
            "a KV version 2 mount reads and writes values below data/, lists and deletes below metadata/";
        let segments: Vec<&str> = path.split('/').collect();
        let allowed = |segments: &[&str]| {
            let path = segments.join("/");
            self.permit(&Ask { path: &path, ..*ask }).is_ok().then_some(path)
        };
        for at in 1..segments.len().min(8) {
            let (before, after) = segments.split_at(at);
            let room = ["data", "metadata"].into_iter();
            if let Some((room, rest)) = after.split_first().filter(|(first, _)| matches!(**first, "data" | "metadata"))
            {
                let other = if *room == "data" { "metadata" } else { "data" };
                if let Some(path) = allowed(&[before, &[other], rest].concat()) {
                    return Some((path, OTHER));
                }
                if let Some(path) = allowed(&[before, rest].concat()) {
                    return Some((path, TOO_MUCH));
                }
            } else if let Some(path) = room.into_iter().find_map(|room| allowed(&[before, &[room], after].concat())) {
                return Some((path, MISSING));
            }
        }
        None
    }
}

fn needs(ask: &Ask<'_>) -> Capabilities {
    let needed = Capabilities::needed(ask.operation).unwrap_or_default();
    if ask.needs_sudo { needed.and(Capabilities::SUDO) } else { needed }
}

/// A string of HCL.
fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.push_str(&format!("\\U{:08x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
