//! A grant gives a credential: the look at grant, role, person and cluster as they are now, which comes before each one,
//! whatever the credential is.

use std::time::Duration;

use dewdrop_core::call::Call;
use dewdrop_core::engine::Person;
use dewdrop_core::store::{Batch, Revision};
use dewdrop_core::{Fault, Moment};

use super::case::{Case, Running};
use super::direct::Terms;
use super::notices::Event;
use super::role::Role;
use super::{Access, decide};

/// A grant that may give a credential now.
pub(super) struct Started {
    /// The grant; it runs.
    pub case: Case,
    /// Whose it is, and who asks.
    pub person: Person,
    /// On which terms; `None`: the proxy judges by the grant.
    pub terms: Option<Terms>,
    /// Since when, and until when.
    pub running: Running,
    revision: Revision,
    is_new: bool,
}

impl Started {
    /// The cluster.
    pub fn cluster(&self) -> &str {
        self.case.asked.scope.clusters.first().map_or("", String::as_str)
    }

    /// The end of a credential that lives this long and never beyond the grant.
    pub fn end(&self, now: Moment, life: Duration) -> Moment {
        self.running.until.min(now.plus(life))
    }
}

impl Access {
    /// The grant of a call, as far as it may give its owner a credential now. Whether it was started is not kept yet.
    ///
    /// # Errors
    /// It may not, for a reason that is said.
    pub(super) async fn started(&self, call: &Call) -> Result<Started, Fault> {
        let person = self.caller(call).await?;
        let (mut case, revision) = self.case(call.capture("id")).await?;
        if case.asked.by.entity != person.id {
            return Err(Fault::missing("there is no request of this name"));
        }
        let gone = || Fault::denied_saying("the role of this grant is gone; ask anew");
        let role = self.role(&case.asked.role).await?.ok_or_else(gone)?;
        if !role.requesters.has(&person) {
            return Err(Fault::denied_saying("you may not have this role any more"));
        }
        if case.asked.scope.within(&role.scope).is_err() {
            return Err(Fault::denied_saying("the role was changed and no longer has what was granted; ask anew"));
        }
        let is_new = case.running.is_none();
        if is_new && !decide::has_enough(self, call, &case, &role).await? {
            return Err(Fault::denied_saying("one who approved may not approve any more; ask anew"));
        }
        if is_new {
            needs_second_factor(call, &role)?;
        }
        let terms = self.terms_of(&case, &role, &person.name).await?;
        let running = case.start(call.now)?;
        Ok(Started { case, person, terms, running, revision, is_new })
    }

    /// Keeps that it was started, by its first credential.
    pub(super) async fn keep_started(&self, call: &Call, started: &Started) -> Result<(), Fault> {
        if !started.is_new {
            return Ok(());
        }
        self.keep(&call.mount, &started.case, started.revision, Batch::new(), &[Event::Started]).await
    }
}

/// Once for each grant: credentials that follow go by the first.
fn needs_second_factor(call: &Call, role: &Role) -> Result<(), Fault> {
    let most = role.demands.mfa_max_age;
    if most.is_zero() || call.caller.mfa_age(call.now).is_some_and(|age| age <= most) {
        return Ok(());
    }
    Err(Fault::denied_saying(format!(
        "to start this grant, show your second factor (not longer ago than {} s): at sys/mfa/step-up, or with \
         `dewdrop mfa step-up`; then ask again",
        most.as_secs()
    )))
}
