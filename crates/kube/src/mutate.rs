//! What the webhook changes in a pod: the wrapper in front of commands, and all of agentless mode. Pure, and the second time
//! it changes nothing.

mod agentless;

use serde_json::Value;

pub use agentless::Agentless;

use crate::agentless::asks;
use crate::patch::{Op, part};
use crate::pod::{Container, Pod};
use crate::wrapper;

/// The annotation that says which containers start with the wrapper.
const WRAPPED: &str = "dewdrop.dev/wrapped";

/// What the webhook knows.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The audience of our tokens.
    pub audience: String,
    /// Where agentless mode is served.
    pub agentless: Option<Agentless>,
}

/// The patch for a pod that is to be made.
///
/// # Errors
/// The pod asks for what cannot be done; the words say why.
pub fn patch(pod: &Pod, namespace: &str, settings: &Settings) -> Result<Vec<Op>, String> {
    let asks = asks(pod);
    let asks_here = |name: &str| asks.iter().any(|ask| ask.container == name);
    let owned = pod.owned(&settings.audience);
    let mut ops = Vec::new();
    let mut wrapped = Vec::new();
    for (container, place) in places(pod) {
        let mut wanted = wrapper::wanted(container, &owned);
        if asks_here(&container.name) {
            if let Some(why) = crate::agentless::lacks_command(container) {
                return Err(why);
            }
            wanted.push(crate::agentless::EXEC_PATH.to_owned());
        }
        if wanted.is_empty() {
            continue;
        }
        wrapped.push(container.name.as_str());
        if let Some(command) = wrapper::wrapped(&container.command, &wanted) {
            ops.push(Op::add(format!("{place}/command"), Value::from(command)));
        }
    }
    if !asks.is_empty() {
        let agentless = settings.agentless.as_ref();
        let agentless = agentless
            .ok_or("agentless mode is not set up here: the webhook needs --exec-image and --server-address")?;
        // Its init container comes last, as it moves the places of the others.
        agentless.add(pod, namespace, &settings.audience, &asks, &mut ops)?;
    }
    annotate(pod, &wrapped, &mut ops);
    Ok(ops)
}

/// The containers that may have the wrapper, and where they are.
fn places(pod: &Pod) -> impl Iterator<Item = (&Container, String)> {
    let of = |kind: &'static str, list: &'static str| {
        move |(at, _): &(usize, &Container)| format!("/spec/{kind}{list}/{at}")
    };
    let init = of("initContainers", "");
    let plain = of("containers", "");
    let inits = pod.spec.init_containers.iter().enumerate().map(move |one| (one.1, init(&one)));
    inits.chain(pod.spec.containers.iter().enumerate().map(move |one| (one.1, plain(&one))))
}

fn annotate(pod: &Pod, wrapped: &[&str], ops: &mut Vec<Op>) {
    let notes = &pod.metadata.annotations;
    let value = wrapped.join(",");
    if wrapped.is_empty() || notes.get(WRAPPED) == Some(&value) {
        return;
    }
    if notes.is_empty() {
        ops.push(Op::add("/metadata/annotations", Value::Object(serde_json::Map::new())));
    }
    ops.push(Op::add(format!("/metadata/annotations/{}", part(WRAPPED)), Value::from(value)));
}

#[cfg(test)]
mod tests;
