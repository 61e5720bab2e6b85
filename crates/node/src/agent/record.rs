//! One volume as the journal has it, and how a killed agent's successor goes on from there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use dewdrop_api::SecretText;
use serde::{Deserialize, Serialize, Serializer};

use super::Agent;
use super::fail::Fail;
use super::hold::{About, Hold, Todo};
use super::life::{ContainerId, Phase};
use super::start::Start;
use super::vault::StartName;
use crate::spec::{PodInfo, VolumeSpec};
use crate::volume;

/// A volume on the journal.
#[derive(Serialize, Deserialize)]
pub struct Record {
    volume_id: String,
    target: PathBuf,
    attributes: BTreeMap<String, String>,
    pod: PodInfo,
    fs_group: Option<u32>,
    #[serde(serialize_with = "open", deserialize_with = "SecretText::deserialize")]
    pod_token: SecretText,
    phase: Phase,
    /// Containers that ended before that.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    ended: Vec<ContainerId>,
    start: Option<Start>,
    /// A start that was asked for and not yet heard of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    intent: Option<StartName>,
}

// === impl Agent ===

impl Agent {
    /// Writes down how far a volume is.
    pub(super) fn note(&self, hold: &Hold) -> Result<(), Fail> {
        self.note_with(hold, None)
    }

    /// The same, before a start is asked for: should the agent be killed now, its successor ends it.
    pub(super) fn note_with(&self, hold: &Hold, intent: Option<StartName>) -> Result<(), Fail> {
        let _pen = hold.pen.lock();
        if hold.todo() == Todo::Close {
            return Ok(());
        }
        let About { volume_id, target, spec, pod, fs_group } = &hold.about;
        let record = Record {
            volume_id: volume_id.clone(),
            target: target.clone(),
            attributes: spec.attributes().clone(),
            pod: pod.clone(),
            fs_group: *fs_group,
            pod_token: hold.pod_token(),
            phase: hold.phase(),
            ended: hold.ended(),
            start: hold.start().as_deref().cloned(),
            intent,
        };
        self.journal.put(volume_id, &record)
    }

    pub(super) fn note_or_warn(&self, hold: &Hold) {
        if let Err(why) = self.note(hold) {
            tracing::warn!(volume = %hold.about.volume_id, %why, "what just happened is not on the agent's journal");
        }
    }

    /// Takes up what a former agent left.
    pub(super) fn recall(self: &Arc<Self>) -> Result<(), Fail> {
        for record in self.journal.all::<Record>()? {
            if let Some(intent) = record.intent.clone() {
                self.ender.end(intent);
            }
            match self.hold_of(&record) {
                Ok(Some(hold)) => self.take_up(Arc::new(hold)),
                Ok(None) => self.give_up(record)?,
                Err(why) => {
                    tracing::warn!(volume = %record.volume_id, %why, "a volume of a former agent cannot be taken up")
                }
            }
        }
        Ok(())
    }

    /// The volume of a record, if it is still mounted.
    fn hold_of(&self, record: &Record) -> Result<Option<Hold>, Fail> {
        if !volume::is_mounted(&record.target)? {
            return Ok(None);
        }
        let spec = VolumeSpec::parse(&record.attributes).map_err(|e| Fail::odd(e.to_string()))?;
        let about = About {
            volume_id: record.volume_id.clone(),
            target: record.target.clone(),
            spec,
            pod: record.pod.clone(),
            fs_group: record.fs_group,
        };
        let phase = if record.start.is_some() { record.phase.clone() } else { Phase::Minting };
        Ok(Some(Hold::new(about, phase, record.pod_token.clone(), record.start.clone()).after(record.ended.clone())))
    }

    /// A volume that was unmounted while no agent looked.
    fn give_up(&self, record: Record) -> Result<(), Fail> {
        record.start.into_iter().for_each(|start| self.ender.end(start.name));
        self.journal.remove(&record.volume_id)
    }
}

fn open<S: Serializer>(token: &SecretText, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(token.expose())
}
