//! Pods as the API server tells them: the few fields that we read, and none of those that may hold a secret.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::csi::DRIVER;

/// A pod with a volume of ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodSeen {
    /// Its UID.
    pub uid: String,
    /// Its version; a larger one is newer.
    pub version: u64,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// The images of its containers, as the pod names them.
    pub images: BTreeMap<String, String>,
    /// It has succeeded or failed: nothing of it starts any more.
    pub is_over: bool,
    /// Its containers, by name, as far as kubelet has told of them.
    pub statuses: BTreeMap<String, Status>,
}

/// What kubelet has told of one container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Its newest start.
    pub newest: Option<Newest>,
    /// The start before that, which has ended.
    pub before: Option<String>,
}

/// The newest start that kubelet has told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// The runtime's id.
    pub id: String,
    /// Whether it is over.
    pub has_ended: bool,
}

/// One event of a watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// There is a pod, and so it is now.
    Pod(PodSeen),
    /// A pod is gone.
    Gone(String),
    /// Nothing that concerns us; all up to here was told.
    Other,
    /// What was asked for is too old: list anew.
    Expired,
}

/// A list, with the version from which a watch goes on.
#[derive(Debug, Default)]
pub struct Listed {
    /// Those with a volume of ours.
    pub pods: Vec<PodSeen>,
    /// The list's version.
    pub version: String,
}

/// Reads a list.
///
/// # Errors
/// It is none; the words hold nothing of it.
pub fn list(body: &[u8]) -> Result<Listed, String> {
    let raw: RawList = serde_json::from_slice(body).map_err(|e| unread("list of pods", &e))?;
    let version = raw.metadata.resource_version;
    if version.is_empty() {
        return Err("the list of pods has no version".into());
    }
    Ok(Listed { pods: raw.items.unwrap_or_default().into_iter().filter_map(seen).collect(), version })
}

/// Reads one pod; `None`: none of ours.
///
/// # Errors
/// It is none; the words hold nothing of it.
pub fn pod(body: &[u8]) -> Result<Option<PodSeen>, String> {
    serde_json::from_slice(body).map(seen).map_err(|e| unread("pod", &e))
}

/// Reads a line of a watch: what happened, and the version up to which all was told (empty: not said).
///
/// # Errors
/// It is no event, or the API server's own error.
pub fn event(line: &[u8]) -> Result<(Event, String), String> {
    let unread = |e: serde_json::Error| unread("event of the watch", &e);
    let raw: RawEvent = serde_json::from_slice(line).map_err(unread)?;
    let object = raw.object.get();
    if raw.kind == "ERROR" {
        // 410 Gone. Anything else is told by its number: the message may quote what we sent.
        return match serde_json::from_str::<RawError>(object).map_err(unread)?.code {
            410 => Ok((Event::Expired, String::new())),
            code => Err(format!("the API server ends the watch with status {code}")),
        };
    }
    let pod: RawPod = serde_json::from_str(object).map_err(unread)?;
    let version = pod.metadata.resource_version.clone();
    let event = match raw.kind {
        "ADDED" | "MODIFIED" => seen(pod).map_or(Event::Other, Event::Pod),
        "DELETED" => Event::Gone(pod.metadata.uid),
        "BOOKMARK" => Event::Other,
        _ => return Err("the watch tells something unknown".into()),
    };
    Ok((event, version))
}

/// An error's place, and nothing of what stood there.
fn unread(what: &str, error: &serde_json::Error) -> String {
    format!("the {what} cannot be read (line {}, column {})", error.line(), error.column())
}

fn seen(raw: RawPod) -> Option<PodSeen> {
    let is_ours = |volume: &RawVolume| volume.csi.as_ref().is_some_and(|csi| csi.driver == DRIVER);
    if raw.metadata.uid.is_empty() || !raw.spec.volumes.unwrap_or_default().iter().any(is_ours) {
        return None;
    }
    let parts = [raw.spec.containers, raw.spec.init_containers];
    let images = parts.into_iter().flatten().flatten().map(|part| (part.name, part.image)).collect();
    let told = [raw.status.container_statuses, raw.status.init_container_statuses];
    let statuses = told.into_iter().flatten().flatten().map(|status| (status.name.clone(), said(status))).collect();
    Some(PodSeen {
        uid: raw.metadata.uid,
        version: raw.metadata.resource_version.parse().unwrap_or(0),
        labels: raw.metadata.labels.unwrap_or_default(),
        images,
        is_over: matches!(raw.status.phase.as_str(), "Succeeded" | "Failed"),
        statuses,
    })
}

fn said(raw: RawContainer) -> Status {
    let last = raw.last_state.terminated.and_then(|last| id(&last.container_id));
    let own = id(&raw.container_id);
    let newest = |id: Option<String>, has_ended| id.map(|id| Newest { id, has_ended });
    match (raw.state.running, raw.state.terminated) {
        (Some(_), _) => Status { newest: newest(own, false), before: last },
        (None, Some(end)) => Status { newest: newest(id(&end.container_id).or(own), true), before: last },
        // It waits: what it was last is over.
        (None, None) => Status { newest: newest(last, true), before: None },
    }
}

/// `containerd://ID`.
fn id(text: &str) -> Option<String> {
    let id = text.rsplit_once("//").map_or(text, |(_, id)| id);
    (!id.is_empty()).then(|| id.to_owned())
}

#[derive(Deserialize)]
struct RawList {
    metadata: RawMeta,
    items: Option<Vec<RawPod>>,
}

#[derive(Deserialize)]
struct RawEvent<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPod {
    metadata: RawMeta,
    spec: RawSpec,
    status: RawStatus,
}

/// What stands in a pod's place when something is wrong.
#[derive(Default, Deserialize)]
#[serde(default)]
struct RawError {
    code: u16,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawMeta {
    uid: String,
    resource_version: String,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawSpec {
    volumes: Option<Vec<RawVolume>>,
    containers: Option<Vec<RawPart>>,
    init_containers: Option<Vec<RawPart>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawVolume {
    csi: Option<RawCsi>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawCsi {
    driver: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawPart {
    name: String,
    image: String,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawStatus {
    phase: String,
    container_statuses: Option<Vec<RawContainer>>,
    init_container_statuses: Option<Vec<RawContainer>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct RawContainer {
    name: String,
    #[serde(rename = "containerID")]
    container_id: String,
    state: RawState,
    last_state: RawState,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawState {
    running: Option<serde::de::IgnoredAny>,
    terminated: Option<RawEnd>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct RawEnd {
    #[serde(rename = "containerID")]
    container_id: String,
}

#[cfg(test)]
mod tests;
