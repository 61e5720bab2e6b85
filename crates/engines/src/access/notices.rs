//! Notices: what happens to requests is told to webhooks, Slack and mailboxes. A letter is on disk with the change that it
//! tells of, in the same commit; the [desk](Desk) sends it, and whoever changes a request never waits for that.

mod config;
mod desk;
mod letter;
mod mail;
mod reach;
mod sweep;
mod web;
mod words;

use std::sync::Arc;

use aws_lc_rs::rand::fill;
use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::mount::Mount;
use dewdrop_core::route::{NoFields, Routes};
use dewdrop_core::store::{Batch, get_json};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::case::Case;
use super::{Access, keys};
use config::Notice;
pub use desk::Desk;
use letter::Letter;

/// The most notices of one mount.
const MOST: usize = 64;

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// Somebody asks; approvers are wanted.
    Requested,
    /// An approver said yes, and more must.
    Approval,
    /// Enough have approved, or none need to.
    Approved,
    /// An approver said no.
    Denied,
    /// Whoever asked took it back.
    Withdrawn,
    /// A grant was taken away.
    Revoked,
    /// A grant runs longer.
    Extended,
    /// A grant was started.
    Started,
    /// A grant ran to its end.
    Expired,
    /// Nobody approved in time, or it was not started in time.
    Lapsed,
    /// Somebody took access without approval.
    BreakGlass,
    /// What was taken without approval is over, and nobody has looked at it.
    ReviewDue,
    /// Somebody looked at a break-glass.
    Reviewed,
    /// Nothing happened: a notice is tried.
    Test,
}

impl Event {
    /// All that can be asked for.
    const ALL: [Self; 13] = [
        Self::Requested,
        Self::Approval,
        Self::Approved,
        Self::Denied,
        Self::Withdrawn,
        Self::Revoked,
        Self::Extended,
        Self::Started,
        Self::Expired,
        Self::Lapsed,
        Self::BreakGlass,
        Self::ReviewDue,
        Self::Reviewed,
    ];

    /// As it is written.
    fn name(self) -> &'static str {
        match self {
            Self::Requested => "requested",
            Self::Approval => "approval",
            Self::Approved => "approved",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
            Self::Revoked => "revoked",
            Self::Extended => "extended",
            Self::Started => "started",
            Self::Expired => "expired",
            Self::Lapsed => "lapsed",
            Self::BreakGlass => "break_glass",
            Self::ReviewDue => "review_due",
            Self::Reviewed => "reviewed",
            Self::Test => "test",
        }
    }

    /// Sent before all others, and dropped last.
    fn is_alarm(self) -> bool {
        self == Self::BreakGlass
    }
}

pub(super) fn routes() -> Routes<Access> {
    config::routes().at("notices/{name}/test", "Whether a notice arrives.", |route| {
        route.write("Sends a test at once, and tells what came of it.", test)
    })
}

async fn test(access: Arc<Access>, call: Call, _: NoFields) -> Result<Reply, Fault> {
    let name = call.capture("name");
    let (notice, _) = access.notice(name).await?.ok_or_else(missing)?;
    let letter = Letter::test(new_id()?, call.now, &call.mount);
    match access.desk.try_now(&notice, &letter).await? {
        Ok(()) => Reply::of(&json!({ "sent": true, "id": letter.id })),
        Err(why) => Err(Fault::target(format!("the test was not delivered: {why}"))),
    }
}

fn missing() -> Fault {
    Fault::missing("there is no notice of this name")
}

fn new_id() -> Result<String, Fault> {
    let mut bytes = [0u8; 16];
    fill(&mut bytes).map_err(|_| Fault::internal("no randomness"))?;
    Ok(hex::encode(bytes))
}

impl Access {
    async fn notice(&self, name: &str) -> Result<Option<(Notice, u64)>, Fault> {
        get_json::<Notice>(&*self.store, keys::notice(name).as_bytes()).await.map_err(Fault::from)
    }

    /// Adds to a batch what is to be told of a change; the names of those that it is told to.
    pub(super) async fn enclose(
        &self,
        mut batch: Batch,
        mount: &Mount,
        case: &Case,
        events: &[Event],
    ) -> Result<(Batch, Vec<String>), Fault> {
        let mut told = Vec::new();
        if events.is_empty() {
            return Ok((batch, told));
        }
        let now = self.clock.now();
        let role = self.role(&case.asked.role).await?;
        for name in self.names(keys::NOTICES).await? {
            let Some((notice, _)) = self.notice(&name).await? else { continue };
            for event in events.iter().filter(|event| notice.wants(**event, &case.asked.role)) {
                let letter = Letter::about(new_id()?, *event, now, mount, case, role.as_ref());
                batch = batch.put_json(letter.key(&name, self.desk.number()), &letter)?;
                told.push(name.clone());
            }
        }
        Ok((batch, told))
    }
}

/// Letters without the changes that they would tell of.
#[cfg(test)]
pub mod for_tests {
    use dewdrop_core::Moment;
    use dewdrop_core::store::{Batch, Store};

    use super::letter::Letter;
    use super::{Event, new_id};
    use serde_json::{Map, json};

    /// Writes so many.
    pub async fn write_letters(store: &dyn Store, notice: &str, request: &str, at: Moment, count: u64) {
        for number in 0..count {
            let request = Map::from_iter([("id".to_owned(), json!(request))]);
            let letter = Letter {
                id: new_id().unwrap(),
                event: Event::Requested,
                at: Moment(at.0 + number),
                by: String::new(),
                comment: String::new(),
                mount: "test/".into(),
                commands: Vec::new(),
                request,
            };
            store.commit(Batch::new().put_json(letter.key(notice, number), &letter).unwrap()).await.unwrap();
        }
    }
}
