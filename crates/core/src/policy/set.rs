//! All policies of one token, compiled.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use super::Policy;
use super::capability::Capabilities;
use super::filter::KeyFilter;
use super::index::{Index, Merged};
use super::params::{Refusal, sends};
use super::pattern::Pattern;
use super::permit::{Ask, Denied, Permit, Reason, RuleRef};
use super::rule::{Grants, Rule};
use super::template::{self, IdentityValues, Unresolved};
use crate::Moment;
use crate::op::Operation;

/// The policies of one token, compiled once and shared. A check takes about as long with ten rules as with ten thousand.
#[derive(Debug)]
pub struct PolicySet {
    root: bool,
    policies: Vec<Arc<Policy>>,
    pub(super) stanzas: Vec<Stanza>,
    pub(super) left_out: Vec<LeftOut>,
    broken: Option<Denied>,
    /// The index, where no rule expires.
    fixed: OnceLock<Index>,
    /// When rules expire, sorted; and the index of the stretch of time between two of these that was asked for last.
    ends: Vec<Moment>,
    latest: RwLock<Option<(usize, Arc<Index>)>>,
}

/// A rule with its identity values put in.
#[derive(Debug)]
pub(super) struct Stanza {
    policy: usize,
    rule: usize,
    pub(super) pattern: Pattern,
}

/// A rule that asks for an identity value which the caller has not.
#[derive(Debug)]
pub(super) struct LeftOut {
    policy: usize,
    rule: usize,
    pub(super) variable: String,
}

/// The index for a moment.
pub(super) enum Current<'a> {
    Fixed(&'a Index),
    Latest(Arc<Index>),
}

impl Deref for Current<'_> {
    type Target = Index;

    fn deref(&self) -> &Index {
        match self {
            Self::Fixed(index) => index,
            Self::Latest(index) => index,
        }
    }
}

impl PolicySet {
    /// The set that holds the `root` policy: everything is allowed.
    #[must_use]
    pub fn root() -> Self {
        Self {
            root: true,
            policies: Vec::new(),
            stanzas: Vec::new(),
            left_out: Vec::new(),
            broken: None,
            fixed: OnceLock::new(),
            ends: Vec::new(),
            latest: RwLock::new(None),
        }
    }

    /// Compiles policies. Rules that ask for a value which `identity` has not (or has empty) are left out. A value with
    /// `/`, `*` or `+` in it makes a set that allows nothing.
    #[must_use]
    pub fn compile(policies: &[Arc<Policy>], identity: Option<&IdentityValues>) -> Self {
        let mut set = Self { root: false, policies: policies.to_vec(), ..Self::root() };
        for (policy, source) in policies.iter().enumerate() {
            for (number, rule) in source.rules().iter().enumerate() {
                set.ends.extend(rule.expires);
                let filled = if rule.templated { template::fill(&rule.path, identity) } else { Ok(rule.path.clone()) };
                match filled {
                    Ok(path) => {
                        let pattern = Pattern::of_rule(source.namespace(), &path);
                        set.stanzas.push(Stanza { policy, rule: number, pattern });
                    }
                    Err(Unresolved::Missing(variable)) => {
                        set.left_out.push(LeftOut { policy, rule: number, variable });
                    }
                    Err(Unresolved::Forbidden(variable, c)) => {
                        let rules = vec![rule_ref(source, rule)];
                        set.broken = Some(Denied { reason: Reason::Template(variable, c), rules });
                    }
                }
            }
        }
        set.ends.sort_unstable();
        set.ends.dedup();
        if set.ends.is_empty() {
            set.index(Moment(0));
        }
        set
    }

    /// Whether an ask is allowed.
    ///
    /// # Errors
    /// [`Denied`], with the reason for operators.
    pub fn permit(&self, ask: &Ask<'_>) -> Result<Permit, Denied> {
        if self.root {
            return Ok(Permit::root(ask.list_limit));
        }
        if let Some(broken) = &self.broken {
            return Err(broken.clone());
        }
        if ask.operation == Operation::Help {
            return Ok(Permit::granted(false, None, None));
        }
        let index = self.index(ask.now);
        let Some(rule) = index.decide_for(ask) else {
            return Err(Denied { reason: Reason::NoRule, rules: Vec::new() });
        };
        judge(&rule.grants, ask).map_err(|reason| Denied { reason, rules: self.refs(&rule.sources) })
    }

    /// What `sys/capabilities` shows for a full path: sorted, `["deny"]` or `["root"]`.
    #[must_use]
    pub fn capabilities(&self, path: &str, now: Moment) -> Vec<&'static str> {
        if self.root { vec!["root"] } else { self.held(path, now).shown() }
    }

    /// Whether a rule grants anything at or below a path (which ends in a slash), so that a mount there is shown. As in
    /// OpenBao a `deny` for all that is below does not hide it.
    #[must_use]
    pub fn sees_anything_under(&self, prefix: &str, now: Moment) -> bool {
        if self.root || self.broken.is_some() {
            return self.root;
        }
        let bare = prefix.strip_suffix('/').unwrap_or(prefix);
        let reaches = |pattern: &Pattern| pattern.reaches(prefix) || pattern.matches(bare);
        self.index(now).rules.iter().any(|rule| rule.grants.capabilities.grants() && reaches(&rule.pattern))
    }

    /// The paths that rules are written for now, each with what `sys/capabilities` would show of its rule. Empty for the
    /// set of the `root` policy, which has no rules.
    #[must_use]
    pub fn granted(&self, now: Moment) -> Vec<(String, Vec<&'static str>)> {
        if self.root || self.broken.is_some() {
            return Vec::new();
        }
        let index = self.index(now);
        index.rules.iter().map(|rule| (rule.pattern.text().to_owned(), rule.grants.capabilities.shown())).collect()
    }

    /// Whether a key of the list at `list_path` (full, with its slash) is shown.
    #[must_use]
    pub fn shows_key(&self, filter: &KeyFilter, list_path: &str, key: &str, now: Moment) -> bool {
        let path = filter.path_of(list_path, key);
        let operation = if path.ends_with('/') { Operation::List } else { Operation::Read };
        self.permit(&Ask::new(operation, &path, now)).is_ok()
    }

    /// Whether this is the set of the `root` policy.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.root
    }

    pub(super) fn policies(&self) -> &[Arc<Policy>] {
        &self.policies
    }

    pub(super) fn held(&self, path: &str, now: Moment) -> Capabilities {
        if self.broken.is_some() {
            return Capabilities::NONE;
        }
        let path = path.strip_prefix('/').unwrap_or(path);
        self.index(now).decide(path, true).map_or(Capabilities::NONE, |rule| rule.grants.capabilities)
    }

    pub(super) fn rule(&self, stanza: &Stanza) -> Option<(&Policy, &Rule)> {
        self.rule_at(stanza.policy, stanza.rule)
    }

    pub(super) fn left_out_rule(&self, left_out: &LeftOut) -> Option<(&Policy, &Rule)> {
        self.rule_at(left_out.policy, left_out.rule)
    }

    fn rule_at(&self, policy: usize, rule: usize) -> Option<(&Policy, &Rule)> {
        let policy = self.policies.get(policy)?;
        Some((policy, policy.rules().get(rule)?))
    }

    pub(super) fn refs(&self, stanzas: &[usize]) -> Vec<RuleRef> {
        let stanza = |number: &usize| self.rule(self.stanzas.get(*number)?);
        stanzas.iter().filter_map(stanza).map(|(policy, rule)| rule_ref(policy, rule)).collect()
    }

    pub(super) fn index(&self, now: Moment) -> Current<'_> {
        if self.ends.is_empty() {
            return Current::Fixed(self.fixed.get_or_init(|| self.build(0)));
        }
        let passed = self.ends.partition_point(|end| *end <= now);
        let latest = self.latest.read().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, index)) = latest.filter(|(known, _)| *known == passed) {
            return Current::Latest(index);
        }
        let index = Arc::new(self.build(passed));
        *self.latest.write().unwrap_or_else(PoisonError::into_inner) = Some((passed, index.clone()));
        Current::Latest(index)
    }

    /// The index of the rules that are left when so many of `ends` have passed.
    fn build(&self, passed: usize) -> Index {
        let last = passed.checked_sub(1).and_then(|at| self.ends.get(at));
        Index::build(self.stanzas.iter().enumerate().filter_map(|(number, stanza)| {
            let (_, rule) = self.rule(stanza)?;
            let alive = rule.expires.is_none_or(|end| last.is_none_or(|last| end > *last));
            alive.then_some((&stanza.pattern, &rule.grants, number))
        }))
    }
}

impl Index {
    /// The rule that decides about an ask.
    pub(super) fn decide_for(&self, ask: &Ask<'_>) -> Option<&Merged> {
        self.decide(&asked_path(ask), matches!(ask.operation, Operation::List | Operation::Scan))
    }
}

/// The path as rules see it: no leading slash, and lists end in one.
pub(super) fn asked_path<'a>(ask: &Ask<'a>) -> Cow<'a, str> {
    let path = ask.path.strip_prefix('/').unwrap_or(ask.path);
    match ask.operation {
        Operation::List | Operation::Scan if !path.ends_with('/') => format!("{path}/").into(),
        _ => path.into(),
    }
}

pub(super) fn rule_ref(policy: &Policy, rule: &Rule) -> RuleRef {
    RuleRef {
        policy: policy.name().to_owned(),
        namespace: policy.namespace().to_owned(),
        path: rule.path.clone(),
        line: rule.line,
    }
}

/// What the deciding rule says.
pub(super) fn judge(grants: &Grants, ask: &Ask<'_>) -> Result<Permit, Reason> {
    let held = grants.capabilities;
    if held.has(Capabilities::DENY) {
        return Err(Reason::DenyRule);
    }
    if let Some(needed) = Capabilities::needed(ask.operation).filter(|needed| !held.has(*needed)) {
        return Err(Reason::Capability(needed.names().first().copied().unwrap_or_default()));
    }
    let sudo = held.has(Capabilities::SUDO);
    if ask.needs_sudo && !sudo {
        return Err(Reason::Sudo);
    }
    wrapping(grants, ask.wrap_ttl)?;
    match ask.operation {
        Operation::Create | Operation::Read | Operation::Update | Operation::Patch => {
            grants.parameters.check(ask.parameters).map_err(|refusal| match refusal {
                Refusal::Missing(name) => Reason::ParameterMissing(name),
                Refusal::Denied(name) => Reason::ParameterDenied(name),
                Refusal::NotAllowed(name) => Reason::ParameterNotAllowed(name),
            })?;
            Ok(Permit::granted(sudo, ask.list_limit, None))
        }
        Operation::List | Operation::Scan => Ok(Permit::granted(sudo, list_limit(grants, ask)?, grants.filter.clone())),
        _ => Ok(Permit::granted(sudo, ask.list_limit, None)),
    }
}

/// Any limit on wrapping makes wrapping a duty.
fn wrapping(grants: &Grants, asked: Option<Duration>) -> Result<(), Reason> {
    let (min, max) = (grants.min_wrap, grants.max_wrap);
    if min.is_none() && max.is_none() {
        return Ok(());
    }
    let asked = asked.unwrap_or_default();
    if asked.is_zero() || min.is_some_and(|min| asked < min) || max.is_some_and(|max| asked > max) {
        return Err(Reason::Wrapping(min.unwrap_or_default(), max.unwrap_or_default()));
    }
    Ok(())
}

fn list_limit(grants: &Grants, ask: &Ask<'_>) -> Result<Option<i64>, Reason> {
    let sent = ask.list_limit.is_some() || ask.parameters.is_some_and(|sent| sends(sent, "limit"));
    if grants.parameters.required.contains("limit") && !sent {
        return Err(grants.list_limit.map_or(Reason::ParameterMissing("limit".into()), Reason::ListLimit));
    }
    let Some(max) = grants.list_limit else { return Ok(ask.list_limit) };
    match ask.list_limit {
        None | Some(0) => Ok(Some(max)),
        Some(asked) if (1..=max).contains(&asked) => Ok(Some(asked)),
        Some(_) => Err(Reason::ListLimit(max)),
    }
}
