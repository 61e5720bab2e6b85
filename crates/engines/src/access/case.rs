//! One request for access from its first word to its end: asked, decided, started, over. Pure; every change is one step
//! of this file, and time comes in as an argument.

use std::time::Duration;

use dewdrop_core::Moment;
use dewdrop_core::access::Scope;
use serde::{Deserialize, Serialize};

use super::direct::Terms;

/// A request and all that came of it. What was asked never changes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Case {
    /// Its name.
    pub id: String,
    /// What was asked.
    pub asked: Asked,
    /// What was said to it, in order.
    pub decisions: Vec<Decision>,
    /// When it was granted, and until when the grant can be started.
    pub granted: Option<Granted>,
    /// When it was started, and its end.
    pub running: Option<Running>,
    /// What ended it before its time.
    pub end: Option<End>,
    /// Who looked at a break-glass afterwards.
    pub review: Option<Decision>,
}

/// What was asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    /// Who asks.
    pub by: Who,
    /// When.
    pub at: Moment,
    /// By which role.
    pub role: String,
    /// For what.
    pub scope: Scope,
    /// For how long.
    pub ttl: Duration,
    /// Why.
    pub reason: String,
    /// The ticket; may be empty.
    pub ticket: String,
    /// Until when it waits for approval.
    pub waits_until: Moment,
    /// At once, without approval, and with alarm.
    pub break_glass: bool,
    /// The running grant that it would make longer; empty: none.
    pub extends: String,
    /// How a cluster without a proxy is told; `None`: the proxy judges by this request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub direct: Option<Terms>,
}

/// Somebody, as he was called then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Who {
    /// The entity's id; empty for tokens without one.
    pub entity: String,
    /// Its name.
    pub name: String,
}

/// A word of an approver.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Whose.
    pub by: Who,
    /// When.
    pub at: Moment,
    /// Yes or no.
    pub approves: bool,
    /// Why.
    pub comment: String,
}

/// It was granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// When.
    pub at: Moment,
    /// Whoever has not started by then has to ask again.
    pub start_by: Moment,
}

/// It was started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Running {
    /// When.
    pub since: Moment,
    /// Its end.
    pub until: Moment,
}

/// It ended before its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// How.
    pub how: Ended,
    /// When.
    pub at: Moment,
    /// By whom.
    pub by: Who,
    /// Why.
    pub why: String,
}

/// How a case ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// An approver said no.
    Denied,
    /// Whoever asked took it back.
    Withdrawn,
    /// It was granted, and taken away.
    Revoked,
}

/// How far a case is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It waits for approval.
    Pending,
    /// It can be started.
    Granted,
    /// It runs.
    Active,
    /// It ran to its end.
    Expired,
    /// Nobody approved it in time, or it was not started in time.
    Lapsed,
    /// It made another grant longer.
    Applied,
    /// See [`Ended`].
    Denied,
    /// See [`Ended`].
    Withdrawn,
    /// See [`Ended`].
    Revoked,
}

/// Why a step cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is too far, or not far enough.
    #[error("the request is {is}; only one that is {needs} can be {act}")]
    State {
        /// How far it is.
        is: &'static str,
        /// How far it should be.
        needs: &'static str,
        /// What was tried.
        act: &'static str,
    },
    /// Two eyes.
    #[error("nobody can approve or review a request of his own")]
    Own,
    /// Twice.
    #[error("you have approved this request already")]
    Twice,
    /// Somebody else's.
    #[error("only whoever asked can withdraw a request; approvers can deny it")]
    NotYours,
}

// === impl State ===

impl State {
    /// As it is written.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Granted => "granted",
            Self::Active => "active",
            Self::Expired => "expired",
            Self::Lapsed => "lapsed",
            Self::Applied => "applied",
            Self::Denied => "denied",
            Self::Withdrawn => "withdrawn",
            Self::Revoked => "revoked",
        }
    }

    /// Whether nothing more can come of it.
    #[must_use]
    pub fn is_over(self) -> bool {
        !matches!(self, Self::Pending | Self::Granted | Self::Active)
    }
}

// === impl Case ===

impl Case {
    /// A request that was just made.
    #[must_use]
    pub fn new(id: String, asked: Asked) -> Self {
        Self { id, asked, decisions: Vec::new(), granted: None, running: None, end: None, review: None }
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self, now: Moment) -> State {
        if let Some(end) = &self.end {
            return match end.how {
                Ended::Denied => State::Denied,
                Ended::Withdrawn => State::Withdrawn,
                Ended::Revoked => State::Revoked,
            };
        }
        match (self.granted, self.running) {
            (_, Some(running)) if now < running.until => State::Active,
            (_, Some(_)) => State::Expired,
            (Some(_), None) if !self.asked.extends.is_empty() => State::Applied,
            (Some(granted), None) if now < granted.start_by => State::Granted,
            (None, None) if now < self.asked.waits_until => State::Pending,
            _ => State::Lapsed,
        }
    }

    /// Who approved, in order.
    pub fn approvers(&self) -> impl Iterator<Item = &Who> {
        self.decisions.iter().filter(|decision| decision.approves).map(|decision| &decision.by)
    }

    /// Whether it was at once and nobody has looked at it yet.
    #[must_use]
    pub fn needs_review(&self) -> bool {
        self.asked.break_glass && self.review.is_none()
    }

    /// Writes down an approval. Whether these are enough, the role says.
    ///
    /// # Errors
    /// It does not wait for one; it is his own; he did so before.
    pub fn approve(&mut self, decision: Decision) -> Result<(), Refusal> {
        self.needs(State::Pending, "approved", decision.at)?;
        if decision.by.entity == self.asked.by.entity {
            return Err(Refusal::Own);
        }
        if self.approvers().any(|who| who.entity == decision.by.entity) {
            return Err(Refusal::Twice);
        }
        self.decisions.push(decision);
        Ok(())
    }

    /// Enough have approved, or none need to.
    ///
    /// # Errors
    /// It does not wait for that.
    pub fn grant(&mut self, now: Moment, start_within: Duration) -> Result<(), Refusal> {
        self.needs(State::Pending, "granted", now)?;
        self.granted = Some(Granted { at: now, start_by: now.plus(start_within) });
        Ok(())
    }

    /// An approver says no. That is final.
    ///
    /// # Errors
    /// It does not wait for a decision.
    pub fn deny(&mut self, decision: Decision) -> Result<(), Refusal> {
        self.needs(State::Pending, "denied", decision.at)?;
        let end = End { how: Ended::Denied, at: decision.at, by: decision.by.clone(), why: decision.comment.clone() };
        self.decisions.push(decision);
        self.end = Some(end);
        Ok(())
    }

    /// Whoever asked takes it back.
    ///
    /// # Errors
    /// It is somebody else's; it is running or over.
    pub fn withdraw(&mut self, by: Who, now: Moment, why: String) -> Result<(), Refusal> {
        if by.entity != self.asked.by.entity {
            return Err(Refusal::NotYours);
        }
        if self.state(now) != State::Granted {
            self.needs(State::Pending, "withdrawn", now)?;
        }
        self.end = Some(End { how: Ended::Withdrawn, at: now, by, why });
        Ok(())
    }

    /// Starts the time; once more changes nothing.
    ///
    /// # Errors
    /// It is not granted, or over.
    pub fn start(&mut self, now: Moment) -> Result<Running, Refusal> {
        if let (State::Active, Some(running)) = (self.state(now), self.running) {
            return Ok(running);
        }
        self.needs(State::Granted, "started", now)?;
        let running = Running { since: now, until: now.plus(self.asked.ttl) };
        self.running = Some(running);
        Ok(running)
    }

    /// Takes a grant away.
    ///
    /// # Errors
    /// There is none.
    pub fn revoke(&mut self, by: Who, now: Moment, why: String) -> Result<(), Refusal> {
        if self.state(now) != State::Granted {
            self.needs(State::Active, "revoked", now)?;
        }
        self.end = Some(End { how: Ended::Revoked, at: now, by, why });
        Ok(())
    }

    /// Makes a running grant longer. It never gets shorter by this.
    ///
    /// # Errors
    /// It does not run.
    pub fn lengthen(&mut self, now: Moment, ttl: Duration) -> Result<(), Refusal> {
        self.needs(State::Active, "extended", now)?;
        if let Some(running) = &mut self.running {
            running.until = running.until.max(now.plus(ttl));
        }
        Ok(())
    }

    /// Somebody looked at a break-glass afterwards.
    ///
    /// # Errors
    /// It is none, it was reviewed before, or it is his own.
    pub fn review(&mut self, decision: Decision) -> Result<(), Refusal> {
        if decision.by.entity == self.asked.by.entity {
            return Err(Refusal::Own);
        }
        if !self.needs_review() {
            return Err(Refusal::State { is: "not waiting for a review", needs: "break-glass", act: "reviewed" });
        }
        self.review = Some(decision);
        Ok(())
    }

    fn needs(&self, state: State, act: &'static str, now: Moment) -> Result<(), Refusal> {
        let is = self.state(now);
        if is == state { Ok(()) } else { Err(Refusal::State { is: is.name(), needs: state.name(), act }) }
    }
}

#[cfg(test)]
mod tests;
