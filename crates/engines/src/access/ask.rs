//! `request`, `requests`: to ask, to look, to take back, to ask for more time.

use std::collections::HashMap;
use std::sync::Arc;

use aws_lc_rs::rand::fill;
use dewdrop_core::access::{Rule, Scope, TooWide, name_of};
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::engine::Person;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::Batch;
use dewdrop_core::wire::{Flag, Strings, Text, Ttl};
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::case::{Asked, Case, State};
use super::hours::Hours;
use super::notices::Event;
use super::role::{self, Role};
use super::{Access, view, who};

/// The most requests of one person that may be open at a time.
const MOST_OPEN: usize = 50;
const LONGEST_REASON: usize = 2000;
const LONGEST_TICKET: usize = 200;

#[derive(Deserialize, JsonSchema)]
struct AskFields {
    /// The role.
    role: Option<Text>,
    /// The cluster; may be left out when the role has one only.
    cluster: Option<Text>,
    /// Namespaces; all of the role's when unset.
    namespaces: Option<Strings>,
    /// Rules as in RBAC, within the role's; all of the role's when unset.
    rules: Option<Value>,
    /// For how long; the role's default when unset.
    ttl: Option<Ttl>,
    /// Why. Approvers read it, and it is on the record for ever: no secrets here.
    reason: Option<Text>,
    /// The ticket.
    ticket: Option<Text>,
    /// At once, with alarm to all approvers and a review afterwards.
    break_glass: Option<Flag>,
}

#[derive(Deserialize, JsonSchema)]
struct ListFields {
    /// Only those in this state.
    state: Option<Text>,
    /// Only the caller's own.
    mine: Option<Flag>,
}

#[derive(Deserialize, JsonSchema)]
struct MoreFields {
    /// How much longer, from the approval on; what was asked first when unset.
    ttl: Option<Ttl>,
    /// Why.
    reason: Option<Text>,
}

#[derive(Deserialize, JsonSchema)]
struct WhyFields {
    /// Why.
    reason: Option<Text>,
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("")
        .at("request", "Asks for access.", |route| route.write("Asks; answers the request as approvers see it.", ask))
        .at("requests", "Requests: the caller's own, and those that the caller may approve.", |route| {
            route.list("Lists them.", list)
        })
        .at("all-requests", "All requests, for those who look after the record.", |route| {
            route.list("Lists all requests.", list_all)
        })
        .at("requests/{id}", "A request and all that came of it.", |route| {
            route.read("Reads it; for whoever asked and whoever may approve it.", read)
        })
        .at("all-requests/{id}", "Any request, for those who look after the record.", |route| {
            route.read("Reads it.", read_any)
        })
        .at("requests/{id}/withdraw", "The request is taken back by whoever asked.", |route| {
            route.write("Withdraws it.", withdraw)
        })
        .at("requests/{id}/extend", "More time for a grant that runs.", |route| {
            route.write("Asks for it; approvers decide as about the grant itself.", extend)
        })
}

async fn ask(access: Arc<Access>, call: Call, fields: AskFields) -> Result<Reply, Fault> {
    let person = access.caller(&call).await?;
    let name = fields.role.as_ref().map_or_else(String::new, |role| role.0.clone());
    let found = if name.is_empty() { None } else { access.role(&name).await? };
    // Whether a role exists is told only to those who may ask for it.
    let refused = || Fault::denied_saying(format!("you may not ask for the role {name:?}, or there is none"));
    let role = found.filter(|role| role.requesters.has(&person)).ok_or_else(refused)?;
    let mut asked = asked(&role, &name, &person, fields, call.now).map_err(Fault::bad_request)?;
    asked.direct = access.terms(&name, &role, &asked.scope, &person.name).await?;
    if asked.break_glass && !role.break_glass.has(&person) {
        return Err(Fault::denied_saying("you are not among those who may have this role by break-glass"));
    }
    open(&access, &call, &role, asked).await
}

/// Opens a case; grants it at once where nobody needs to approve.
async fn open(access: &Access, call: &Call, role: &Role, asked: Asked) -> Result<Reply, Fault> {
    let turn = access.queues.turn(&asked.by.entity).await;
    let cases = access.open_cases(call.now).await?;
    if cases.iter().filter(|case| case.asked.by.entity == asked.by.entity).count() >= MOST_OPEN {
        return Err(Fault::bad_request(format!("you have {MOST_OPEN} open requests; withdraw some first")));
    }
    let mut case = Case::new(new_id()?, asked);
    let at_once = role.auto_approve || case.asked.break_glass;
    if at_once && case.asked.extends.is_empty() {
        case.grant(call.now, role.times.start_within)?;
    }
    let events: &[Event] = match (case.asked.break_glass, at_once) {
        (true, _) => &[Event::BreakGlass],
        // More time is told of when it is given.
        (false, true) if !case.asked.extends.is_empty() => &[],
        (false, true) => &[Event::Approved],
        (false, false) => &[Event::Requested],
    };
    access.keep(&call.mount, &case, 0, Batch::new(), events).await?;
    drop(turn);
    if at_once && !case.asked.extends.is_empty() {
        super::decide::settle(access, call, &case.id, role).await?;
        case = access.case(&case.id).await?.0;
    }
    Ok(Reply::data(view::case(&case, Some(role), call.now)))
}

fn asked(role: &Role, name: &str, person: &Person, fields: AskFields, now: Moment) -> Result<Asked, String> {
    let text = |field: Option<Text>| field.map_or_else(String::new, |text| text.0.trim().to_owned());
    let (reason, ticket) = (text(fields.reason), text(fields.ticket));
    check_words(role, &reason, &ticket, now)?;
    let ttl = fields.ttl.map_or(role.times.default_ttl, |ttl| ttl.0);
    if ttl.is_zero() || ttl > role.times.max_ttl {
        return Err(format!("ttl: this role gives at most {} seconds", role.times.max_ttl.as_secs()));
    }
    let rules = fields.rules.map(role::rules_of).transpose()?;
    let scope = scope(role, text(fields.cluster), fields.namespaces, rules)?;
    Ok(Asked {
        by: who(person),
        at: now,
        role: name.to_owned(),
        scope,
        ttl,
        reason,
        ticket,
        waits_until: now.plus(role.times.wait),
        break_glass: fields.break_glass.is_some_and(|flag| flag.0),
        extends: String::new(),
        direct: None,
    })
}

fn check_words(role: &Role, reason: &str, ticket: &str, now: Moment) -> Result<(), String> {
    if reason.is_empty() {
        return Err("reason: say why; approvers read it".into());
    }
    if reason.len() > LONGEST_REASON || ticket.len() > LONGEST_TICKET {
        return Err(format!("reason has at most {LONGEST_REASON} bytes, ticket {LONGEST_TICKET}"));
    }
    if [reason, ticket].iter().any(|text| text.chars().any(|c| c.is_control() && c != '\n')) {
        return Err("reason and ticket must be printable".into());
    }
    for (field, text, pattern) in [("reason", reason, &role.demands.reason), ("ticket", ticket, &role.demands.ticket)] {
        let matches = regex_lite::Regex::new(pattern).is_ok_and(|regex| regex.is_match(text));
        if !pattern.is_empty() && !matches {
            return Err(format!("{field}: this role wants one that matches {pattern}"));
        }
    }
    let hours = role.demands.hours.as_str();
    if !hours.is_empty() && !Hours::parse(hours).is_ok_and(|hours| hours.has(now)) {
        return Err(format!("this role can be asked for {hours} only"));
    }
    Ok(())
}

/// What is asked for, within what the role has.
fn scope(role: &Role, cluster: String, namespaces: Option<Strings>, rules: Option<Vec<Rule>>) -> Result<Scope, String> {
    let of = &role.scope;
    let cluster = match (cluster.as_str(), of.clusters.as_slice()) {
        ("", [one]) if !one.ends_with('*') => one.clone(),
        ("", more) => return Err(format!("cluster: say which one; this role has {}", more.join(", "))),
        _ => cluster,
    };
    let namespaces = namespaces.map(|given| given.0).filter(|given| !given.is_empty());
    let scope = Scope {
        clusters: vec![cluster],
        namespaces: namespaces.unwrap_or_else(|| of.namespaces.clone()),
        rules: rules.filter(|given| !given.is_empty()).unwrap_or_else(|| of.rules.clone()),
    };
    if scope.clusters.iter().any(|name| name.contains('*')) {
        return Err("cluster: a grant is for one cluster".into());
    }
    scope.within(of).map_err(|wide| too_wide(&wide))?;
    Ok(scope)
}

pub(super) fn too_wide(wide: &TooWide) -> String {
    format!("the role does not have: {wide}")
}

async fn list(access: Arc<Access>, call: Call, fields: ListFields) -> Result<Reply, Fault> {
    let person = access.caller(&call).await?;
    let mut cases = found(&access, &fields, call.now).await?;
    if fields.mine.is_some_and(|flag| flag.0) {
        cases.retain(|case| case.asked.by.entity == person.id);
    } else {
        cases = seen(&access, cases, &person).await?;
    }
    lines(cases, &fields, call.now)
}

async fn list_all(access: Arc<Access>, call: Call, fields: ListFields) -> Result<Reply, Fault> {
    lines(found(&access, &fields, call.now).await?, &fields, call.now)
}

/// The cases among which those are that a list asks for: whoever wants open ones is not made to wait for all of 90 days.
async fn found(access: &Access, fields: &ListFields, now: Moment) -> Result<Vec<Case>, Fault> {
    let open = [State::Pending, State::Granted, State::Active].map(State::name);
    match &fields.state {
        Some(state) if open.contains(&state.0.as_str()) => access.open_cases(now).await,
        _ => access.cases().await,
    }
}

/// Those of the cases that somebody may see: his own, and those that he may approve.
pub(super) async fn seen(access: &Access, cases: Vec<Case>, person: &Person) -> Result<Vec<Case>, Fault> {
    let mut approves: HashMap<String, bool> = HashMap::new();
    let mut seen = Vec::new();
    for case in cases {
        let known = approves.get(&case.asked.role).copied();
        let may = match known {
            Some(may) => may,
            None => may_approve(access, &case, person).await?,
        };
        approves.insert(case.asked.role.clone(), may);
        if may || case.asked.by.entity == person.id {
            seen.push(case);
        }
    }
    Ok(seen)
}

fn lines(mut cases: Vec<Case>, fields: &ListFields, now: Moment) -> Result<Reply, Fault> {
    if let Some(state) = fields.state.as_ref().filter(|state| !state.0.is_empty()) {
        cases.retain(|case| case.state(now).name() == state.0);
    }
    cases.sort_by_key(|case| std::cmp::Reverse(case.asked.at));
    Reply::listed(cases.iter().map(|case| (case.id.clone(), view::line(case, now))))
}

async fn read(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let person = access.caller(&call).await?;
    let (case, _) = access.case(call.capture("id")).await?;
    if case.asked.by.entity != person.id && !may_approve(&access, &case, &person).await? {
        return Err(Fault::missing("there is no request of this name"));
    }
    show(&access, &case, call.now).await
}

async fn read_any(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let (case, _) = access.case(call.capture("id")).await?;
    show(&access, &case, call.now).await
}

async fn show(access: &Access, case: &Case, now: Moment) -> Result<Reply, Fault> {
    let role = access.role(&case.asked.role).await?;
    let mut shown = view::case(case, role.as_ref(), now);
    if let Some((left, _)) = access.left(&case.id).await? {
        shown.insert("left_behind".to_owned(), left.shown());
    }
    Ok(Reply::data(shown))
}

async fn may_approve(access: &Access, case: &Case, person: &Person) -> Result<bool, Fault> {
    let role = access.role(&case.asked.role).await?;
    Ok(role.is_some_and(|role| role.approvals.iter().any(|wanted| wanted.takes(person))))
}

async fn withdraw(access: Arc<Access>, call: Call, fields: WhyFields) -> Result<Reply, Fault> {
    let person = access.caller(&call).await?;
    let (mut case, revision) = access.case(call.capture("id")).await?;
    case.withdraw(who(&person), call.now, fields.reason.map_or_else(String::new, |text| text.0))?;
    access.keep(&call.mount, &case, revision, Batch::new(), &[Event::Withdrawn]).await?;
    show(&access, &case, call.now).await
}

async fn extend(access: Arc<Access>, call: Call, fields: MoreFields) -> Result<Reply, Fault> {
    let person = access.caller(&call).await?;
    let (case, _) = access.case(call.capture("id")).await?;
    if case.asked.by.entity != person.id {
        return Err(Fault::missing("there is no request of this name"));
    }
    if case.state(call.now) != State::Active {
        return Err(Fault::bad_request("only a grant that runs can be made longer; ask anew"));
    }
    let gone = || Fault::bad_request("the role of this grant is gone, or you may not ask for it any more");
    let role = access.role(&case.asked.role).await?.filter(|role| role.requesters.has(&person)).ok_or_else(gone)?;
    let ttl = fields.ttl.map_or(case.asked.ttl, |ttl| ttl.0);
    if ttl.is_zero() || ttl > role.times.max_ttl {
        let most = role.times.max_ttl.as_secs();
        return Err(Fault::bad_request(format!("ttl: this role gives at most {most} seconds")));
    }
    let reason = fields.reason.map_or_else(|| case.asked.reason.clone(), |text| text.0.trim().to_owned());
    check_words(&role, &reason, &case.asked.ticket, call.now).map_err(Fault::bad_request)?;
    let asked = Asked {
        at: call.now,
        ttl,
        reason,
        waits_until: call.now.plus(role.times.wait),
        break_glass: false,
        extends: case.id.clone(),
        ..case.asked
    };
    open(&access, &call, &role, asked).await
}

/// A name that is taken is refused by the store.
fn new_id() -> Result<String, Fault> {
    let mut bytes = [0u8; 10];
    fill(&mut bytes).map_err(|_| Fault::internal("no randomness"))?;
    Ok(name_of(bytes))
}
