//! What nobody does, but time: a grant ran out, a request lapsed, a break-glass waits for its review, a role is gone. Told once, by the
//! commit that takes the request from the list of those that are open.

use std::time::Duration;

use dewdrop_core::mount::Mount;
use dewdrop_core::store::{Batch, get_json};
use dewdrop_core::{Fault, Moment};

use super::Event;
use crate::access::case::{Case, State, Who};
use crate::access::{Access, keys};
use crate::shared::cas::commits;

/// A request that began before the end may still make a grant longer.
const GRACE: Duration = Duration::from_secs(2);

impl Access {
    /// Takes what is over from the list of open requests, and tells of it.
    pub(in crate::access) async fn sweep(&self, mount: &Mount, now: Moment) -> Result<(), Fault> {
        for id in self.names(keys::OPEN).await? {
            let found = get_json::<Case>(&*self.store, keys::case(&id).as_bytes()).await?;
            let Some((case, revision)) = found else {
                self.store.commit(Batch::new().delete(keys::open(&id))).await?;
                continue;
            };
            if case.state(now.minus(GRACE)).is_over() {
                self.close(mount, &case, revision).await?;
            } else if self.role(&case.asked.role).await?.is_none() {
                let nobody = Who { entity: String::new(), name: String::new() };
                self.role_is_gone(mount, case, revision, &nobody, now).await?;
            }
        }
        Ok(())
    }

    async fn close(&self, mount: &Mount, case: &Case, revision: u64) -> Result<(), Fault> {
        let state = case.state(self.clock.now());
        let mut events = Vec::new();
        match state {
            State::Expired => events.push(Event::Expired),
            State::Lapsed => events.push(Event::Lapsed),
            _ => {}
        }
        if case.needs_review() && case.granted.is_some() {
            events.push(Event::ReviewDue);
        }
        let batch = Batch::new().delete(keys::open(&case.id)).expect(keys::case(&case.id), revision);
        let (batch, told) = self.enclose(batch, mount, case, &events).await?;
        // Changed meanwhile: the next sweep looks again.
        if commits(&*self.store, batch).await? {
            told.iter().for_each(|name| self.desk.ring(name));
        }
        Ok(())
    }
}
