//! `requests/{id}/approve`, `deny`, `revoke`, `review`: the words of others.

use std::sync::Arc;

use dewdrop_core::call::{Call, Reply};
use dewdrop_core::engine::Person;
use dewdrop_core::mount::Mount;
use dewdrop_core::route::Routes;
use dewdrop_core::store::{Batch, Revision, get_json};
use dewdrop_core::wire::Text;
use dewdrop_core::{Fault, Moment};
use schemars::JsonSchema;
use serde::Deserialize;

use super::case::{Case, Decision, State, Who};
use super::notices::Event;
use super::role::Role;
use super::{Access, ask, keys, view, who};
use crate::shared::cas::commits;

#[derive(Deserialize, JsonSchema)]
struct WordFields {
    /// Why; whoever asked reads it.
    comment: Option<Text>,
    /// The `digest` of the request that was read: another one is not approved.
    digest: Option<Text>,
}

#[derive(Deserialize, JsonSchema)]
struct RevokeFields {
    /// Why.
    reason: Option<Text>,
}

pub(super) fn routes() -> Routes<Access> {
    Routes::new("")
        .at("requests/{id}/approve", "An approver says yes.", |route| route.write("Approves the request.", approve))
        .at("requests/{id}/deny", "An approver says no; that is final.", |route| {
            route.write("Denies the request.", deny)
        })
        .at("requests/{id}/review", "Somebody looks at a break-glass afterwards.", |route| {
            route.write("Says that it was looked at.", review)
        })
        .at("requests/{id}/revoke", "A grant ends at once. Whoever may write here may revoke any.", |route| {
            route.write("Revokes the grant.", revoke)
        })
}

async fn approve(access: Arc<Access>, call: Call, fields: WordFields) -> Result<Reply, Fault> {
    let id = call.capture("id").to_owned();
    let turn = access.queues.turn(&keys::case(&id)).await;
    let (mut case, revision) = access.case(&id).await?;
    let (role, word) = said(&access, &call, &case, fields, true).await?;
    case.asked.scope.within(&role.scope).map_err(|wide| {
        Fault::bad_request(format!("the role was changed since; {}: ask anew", ask::too_wide(&wide)))
    })?;
    access.terms_of(&case, &role, &case.asked.by.name).await?;
    case.approve(word)?;
    let (also, events) = settled(&access, &call, &mut case, &role).await?;
    let events: &[Event] = if events.is_empty() { &[Event::Approval] } else { events };
    access.keep(&call.mount, &case, revision, also, events).await?;
    drop(turn);
    Ok(Reply::data(view::case(&case, Some(&role), call.now)))
}

/// Grants more time for which nobody needs to approve.
pub(super) async fn settle(access: &Access, call: &Call, id: &str, role: &Role) -> Result<(), Fault> {
    let _turn = access.queues.turn(&keys::case(id)).await;
    let (mut case, revision) = access.case(id).await?;
    let (also, events) = settled(access, call, &mut case, role).await?;
    access.keep(&call.mount, &case, revision, also, events).await
}

/// Grants a case when enough have approved who still may: one who left the group meanwhile does not count. An extension
/// makes its grant longer in the same commit, as an approval grants in its own: no crash comes between.
async fn settled(
    access: &Access,
    call: &Call,
    case: &mut Case,
    role: &Role,
) -> Result<(Batch, &'static [Event]), Fault> {
    let mut also = Batch::new();
    if !has_enough(access, call, case, role).await? {
        return Ok((also, &[]));
    }
    case.grant(call.now, role.times.start_within)?;
    if case.asked.extends.is_empty() {
        return Ok((also, &[Event::Approved]));
    }
    let (mut longer, revision) = access.case(&case.asked.extends).await?;
    longer.lengthen(call.now, case.asked.ttl)?;
    let key = keys::case(&longer.id);
    also = also.put_json(key.as_str(), &longer)?.expect(key, revision);
    Ok((also, &[Event::Extended]))
}

/// Whether those who approved, as they are now, are enough for the role as it is now.
pub(super) async fn has_enough(access: &Access, call: &Call, case: &Case, role: &Role) -> Result<bool, Fault> {
    if role.auto_approve || case.asked.break_glass {
        return Ok(true);
    }
    let mut approvers: Vec<Person> = Vec::new();
    for who in case.approvers() {
        let found = access.person(call, who).await?;
        approvers.extend(found.filter(|person| person.id != case.asked.by.entity));
    }
    Ok(super::who::fulfilled(&role.approvals, &approvers))
}

async fn deny(access: Arc<Access>, call: Call, fields: WordFields) -> Result<Reply, Fault> {
    let (mut case, revision) = access.case(call.capture("id")).await?;
    let (role, word) = said(&access, &call, &case, fields, false).await?;
    case.deny(word)?;
    access.keep(&call.mount, &case, revision, Batch::new(), &[Event::Denied]).await?;
    Ok(Reply::data(view::case(&case, Some(&role), call.now)))
}

async fn review(access: Arc<Access>, call: Call, fields: WordFields) -> Result<Reply, Fault> {
    let (mut case, revision) = access.case(call.capture("id")).await?;
    let (role, word) = said(&access, &call, &case, fields, true).await?;
    case.review(word)?;
    access.keep(&call.mount, &case, revision, Batch::new(), &[Event::Reviewed]).await?;
    Ok(Reply::data(view::case(&case, Some(&role), call.now)))
}

/// The word of an approver, with the role of now.
async fn said(
    access: &Access,
    call: &Call,
    case: &Case,
    fields: WordFields,
    approves: bool,
) -> Result<(Role, Decision), Fault> {
    let person = access.caller(call).await?;
    let gone = || Fault::bad_request("the role of this request is gone; there is nothing to decide");
    let role = access.role(&case.asked.role).await?.ok_or_else(gone)?;
    let is_own = person.id == case.asked.by.entity;
    if !is_own && !role.approvals.iter().any(|wanted| wanted.takes(&person)) {
        return Err(Fault::denied_saying(format!("you are not among the approvers of the role {:?}", case.asked.role)));
    }
    if fields.digest.is_some_and(|digest| digest.0 != view::digest(case)) {
        return Err(Fault::bad_request("digest: this is another request than the one that you read; read it again"));
    }
    let comment = fields.comment.map_or_else(String::new, |text| text.0);
    Ok((role, Decision { by: who(&person), at: call.now, approves, comment }))
}

async fn revoke(access: Arc<Access>, call: Call, fields: RevokeFields) -> Result<Reply, Fault> {
    let (mut case, revision) = access.case(call.capture("id")).await?;
    let by = access.author(&call).await;
    case.revoke(by, call.now, fields.reason.map_or_else(String::new, |text| text.0))?;
    access.keep(&call.mount, &case, revision, Batch::new(), &[Event::Revoked]).await?;
    let role = access.role(&case.asked.role).await?;
    Ok(Reply::data(view::case(&case, role.as_ref(), call.now)))
}

impl Access {
    /// Who ends something. Operators' tokens may belong to nobody; to stop something is always safe.
    pub(super) async fn author(&self, call: &Call) -> Who {
        match self.caller(call).await {
            Ok(person) => who(&person),
            Err(_) => Who { entity: String::new(), name: call.caller.display_name().to_owned() },
        }
    }

    /// Grants whose role was deleted are over, also when a role of that name is made again. Those that are missed here (a crash,
    /// a start at the same moment) are found by the regular sweep.
    pub(super) async fn end_without_role(&self, mount: &Mount, role: &str, by: &Who, now: Moment) -> Result<(), Fault> {
        for id in self.names(keys::OPEN).await? {
            let found = get_json::<Case>(&*self.store, keys::case(&id).as_bytes()).await?;
            if let Some((case, revision)) = found.filter(|(case, _)| case.asked.role == role) {
                self.role_is_gone(mount, case, revision, by, now).await?;
            }
        }
        Ok(())
    }

    /// Ends a grant whose role is gone, and tells of it. Requests that wait are left to lapse: nobody can approve them.
    pub(super) async fn role_is_gone(
        &self,
        mount: &Mount,
        mut case: Case,
        revision: Revision,
        by: &Who,
        now: Moment,
    ) -> Result<(), Fault> {
        if !matches!(case.state(now), State::Granted | State::Active) {
            return Ok(());
        }
        let why = format!("the role {} was deleted", case.asked.role);
        case.revoke(by.clone(), now, why)?;
        let (batch, told) = self.enclose(Batch::new(), mount, &case, &[Event::Revoked]).await?;
        let key = keys::case(&case.id);
        // Changed meanwhile: the next sweep looks again.
        if commits(&*self.store, batch.put_json(key.as_str(), &case)?.expect(key, revision)).await? {
            self.news.notify_waiters();
            told.iter().for_each(|name| self.desk.ring(name));
        }
        Ok(())
    }
}
