//! What must be true of kubelet's requests before anything is done. The texts name the field, as the specification does.

use std::collections::{BTreeMap, HashMap};
use std::path::{Component, Path, PathBuf};

use dewdrop_api::SecretText;
use serde::Deserialize;
use tonic::Status;

use super::PublishAsk;
use super::wire::{NodePublishVolumeRequest, VolumeCapability};
use crate::spec::{PodInfo, SpecError, VolumeSpec};

/// Where kubelet puts the pod's tokens.
const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";
/// The audience that is taken when kubelet brings several.
const AUDIENCE: &str = "dewdrop";
/// The longest id that the specification allows.
const LONGEST: usize = 128;

#[derive(Deserialize)]
struct PodToken {
    token: SecretText,
}

/// A whole request to publish.
pub fn publish(request: NodePublishVolumeRequest, pods_dir: &Path) -> Result<PublishAsk, Status> {
    let volume_id = volume_id(&request.volume_id)?;
    let target = target(&request.target_path, pods_dir)?;
    let fs_group = capability(request.volume_capability)?;
    if !request.readonly {
        return Err(Status::invalid_argument(
            "the volume must say readOnly: true, so that no container can write into it",
        ));
    }
    let attributes: BTreeMap<String, String> = request.volume_context.into_iter().collect();
    let (spec, pod) = match (VolumeSpec::parse(&attributes), PodInfo::parse(&attributes)) {
        (Ok(spec), Ok(pod)) => (spec, pod),
        (spec, pod) => {
            let wrong: Vec<String> =
                [spec.err(), pod.err()].into_iter().flatten().flat_map(|SpecError(wrong)| wrong).collect();
            return Err(Status::invalid_argument(SpecError(wrong).to_string()));
        }
    };
    let token = token(&request.secrets, &attributes)?;
    Ok(PublishAsk { volume_id, target, spec, pod, token, fs_group })
}

/// The id of a volume; it names a file of the journal as well.
pub fn volume_id(id: &str) -> Result<String, Status> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if id.is_empty() {
        return Err(Status::invalid_argument("volume_id is missing"));
    }
    if id.len() > LONGEST || !id.chars().all(plain) {
        return Err(Status::invalid_argument("volume_id is not one that kubelet makes"));
    }
    Ok(id.to_owned())
}

/// The target path: below kubelet's pods, whoever asks.
pub fn target(path: &str, pods_dir: &Path) -> Result<PathBuf, Status> {
    if path.is_empty() {
        return Err(Status::invalid_argument("target_path is missing"));
    }
    let path = PathBuf::from(path);
    let is_plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    if !path.is_absolute() || !is_plain || !path.starts_with(pods_dir) || path == pods_dir {
        let pods = pods_dir.display();
        return Err(Status::invalid_argument(format!("target_path must be an absolute path below {pods}")));
    }
    Ok(path)
}

/// The pod's fsGroup, from the capability.
fn capability(capability: Option<VolumeCapability>) -> Result<Option<u32>, Status> {
    let capability = capability.ok_or_else(|| Status::invalid_argument("volume_capability is missing"))?;
    if capability.block.is_some() {
        return Err(Status::invalid_argument("volume_capability: block volumes are not supported"));
    }
    let mount =
        capability.mount.ok_or_else(|| Status::invalid_argument("volume_capability: neither block nor mount"))?;
    match mount.volume_mount_group.as_str() {
        "" => Ok(None),
        group => match group.parse() {
            Ok(group) => Ok(Some(group)),
            Err(_) => Err(Status::invalid_argument("volume_capability: volume_mount_group is not a number")),
        },
    }
}

/// The pod's token for our audience.
fn token(secrets: &HashMap<String, String>, context: &BTreeMap<String, String>) -> Result<SecretText, Status> {
    let missing = "kubelet brings no token of the pod: the CSIDriver csi.dewdrop.dev needs tokenRequests";
    let text = secrets.get(TOKENS).or_else(|| context.get(TOKENS));
    let text = text.ok_or_else(|| Status::invalid_argument(missing))?;
    let tokens: BTreeMap<String, PodToken> = serde_json::from_str(text)
        .map_err(|_| Status::invalid_argument("kubelet's tokens of the pod cannot be read"))?;
    let only = if tokens.len() == 1 { tokens.values().next() } else { tokens.get(AUDIENCE) };
    let token = only.map(|one| one.token.clone()).filter(|token| !token.is_empty());
    token.ok_or_else(|| {
        Status::invalid_argument("kubelet brings several tokens of the pod, and none for the audience \"dewdrop\"")
    })
}
