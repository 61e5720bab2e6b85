//! What a node agent asks for: a token for one start of one container, and its end.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::Fault;
use dewdrop_core::call::{Beside, Call, Login, Outcome, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::store::get_json;
use dewdrop_core::token::TokenKind;
use dewdrop_core::wire::Text;
use serde_json::Value;

use super::account::{Account, Object};
use super::bounds::Container;
use super::role::Role;
use super::starts::{self, Place, Start};
use super::verify::Whom;
use super::wire::{EndRequest, StartRequest};
use super::{Kubernetes, names};

/// The most starts that one request may name.
pub const MOST: usize = 5000;
/// The longest name of an image.
const LONGEST_IMAGE: usize = 1024;
/// The most labels of a pod that are looked at.
const MOST_LABELS: usize = 256;

/// `agent` and below.
pub fn routes() -> Routes<Kubernetes> {
    Routes::new("")
        .at("agent/start", "A token for one start of one container.", |route| {
            route.write("Makes the token; the one of the container's start before ends.", Kubernetes::start)
        })
        .at("agent/end", "The end of starts.", |route| route.write("Ends the tokens of starts.", Kubernetes::end))
        .at("agent/beat", "A node's sign of life.", |route| {
            route.write("Says that the node lives; answers which of its starts have no token.", Kubernetes::beat)
        })
        .at("agent/nodes", "The nodes whose agents were heard.", |route| {
            route.list("Lists the nodes.", Kubernetes::list_nodes)
        })
        .at("agent/nodes/{name}", "A node: when its agent was heard last, and its starts.", |route| {
            route.read("Reads the node.", Kubernetes::read_node)
        })
}

/// A request for a token, checked in itself.
struct Asked {
    container: String,
    start: String,
    life: String,
    image: String,
    labels: BTreeMap<String, String>,
}

impl Asked {
    fn read(ask: &StartRequest) -> Result<Self, Fault> {
        let text = |field: &Option<Text>| field.as_ref().map(|text| text.0.clone()).unwrap_or_default();
        let image = text(&ask.image);
        if image.len() > LONGEST_IMAGE || image.chars().any(|c| c.is_control() || c.is_whitespace()) {
            return Err(Fault::bad_request("image is no name of an image"));
        }
        let labels = ask.labels.clone().unwrap_or_default().0;
        if labels.len() > MOST_LABELS {
            return Err(Fault::bad_request(format!("labels: at most {MOST_LABELS}")));
        }
        let life = text(&ask.life);
        Ok(Self {
            life: if life.is_empty() { life } else { names::uuid("life", &life)? },
            container: names::container(&text(&ask.container))?,
            start: names::uuid("start", &text(&ask.start))?,
            image,
            labels,
        })
    }
}

impl Kubernetes {
    /// The node of the agent that calls.
    ///
    /// # Errors
    /// 403: the caller's token is not one that this mount made for a node agent. Metadata alone proves nothing: whoever
    /// may make tokens chooses theirs.
    pub(super) fn agents_node(&self, call: &Call) -> Result<String, Fault> {
        let refuse = || Fault::denied("the caller's token is not one of a node agent of this mount");
        let token = call.caller.token.as_deref().ok_or_else(refuse)?;
        let text = |name: &str| token.internal.get(name).and_then(Value::as_str);
        let is_ours = text("mount") == Some(self.place.mount_uuid.as_str())
            && token.namespace == call.mount.namespace.id
            && token.meta.get("agent").is_some_and(|agent| agent == "true");
        let node = text("node").filter(|node| is_ours && token.meta.get("node_name").is_some_and(|name| name == node));
        Ok(node.ok_or_else(refuse)?.to_owned())
    }

    pub(super) async fn start(self: Arc<Self>, call: Call, ask: StartRequest) -> Result<Reply, Fault> {
        let node = self.agents_node(&call)?;
        let asked = Asked::read(&ask)?;
        let (role, jwt) = self.asked(ask.role.as_ref(), ask.jwt).await?;
        if !role.is_of_containers() {
            let why = "it is not for containers: set container=true or bound_container_names";
            return Err(Fault::denied(role.says(why)));
        }
        let account = self.account(&role, &jwt, Whom::Role, &call).await?;
        let (pod, pods_node) = self.pod_of(&role, &account)?;
        if pods_node != node {
            let why = format!("the pod runs on the node {pods_node:?}, the agent on {node:?}");
            return Err(Fault::denied(role.says(&why)));
        }
        role.admits_container(&Container { name: &asked.container, image: &asked.image, labels: &asked.labels })?;
        self.hear(&node, call.now).await?;
        let place = Place { node, pod: pod.uid.clone(), container: asked.container.clone(), role: role.name.clone() };
        let beside = self.make_room(&place, &asked, &account, &pod, &call).await?;
        let mut login = self.start_of(&role, &account, &place, &asked);
        login.metadata.insert("pod_name".into(), pod.name);
        login.metadata.insert("cluster".into(), self.cluster(&call).await?);
        login.beside = Some(beside);
        Ok(Outcome::Login(Box::new(login)).into())
    }

    /// Ends the token of the start before, and says which row the new one shall have.
    async fn make_room(
        &self,
        place: &Place,
        asked: &Asked,
        account: &Account,
        pod: &Object,
        call: &Call,
    ) -> Result<Beside, Fault> {
        let key = place.key();
        let read = || get_json::<Start>(&*self.place.store, key.as_bytes());
        let revision = match read().await? {
            None => 0,
            Some((former, _)) => {
                self.place.house.end_tokens(&[former.accessor]).await?;
                read().await?.map_or(0, |(_, revision)| revision)
            }
        };
        let start = Start {
            start: asked.start.clone(),
            accessor: String::new(),
            made: call.now,
            pod_name: pod.name.clone(),
            namespace: account.namespace.clone(),
            container_id: String::new(),
            life: asked.life.clone(),
            seen: false,
        };
        match serde_json::to_value(&start) {
            Ok(Value::Object(fields)) => Ok(Beside { key, revision, fields }),
            _ => Err(Fault::internal("encode a start")),
        }
    }

    fn start_of(&self, role: &Role, account: &Account, place: &Place, asked: &Asked) -> Login {
        let mut login = self.login_of(role, account);
        // A batch token could not be ended.
        login.params.kind = Some(TokenKind::Service);
        let more = [
            ("node_name", &place.node),
            ("pod_uid", &place.pod),
            ("container", &place.container),
            ("start", &asked.start),
            ("image", &asked.image),
        ];
        let more = more.into_iter().filter(|(_, value)| !value.is_empty());
        login.metadata.extend(more.map(|(name, value)| (name.to_owned(), value.clone())));
        login
    }

    pub(super) async fn end(self: Arc<Self>, call: Call, ask: EndRequest) -> Result<Reply, Fault> {
        let node = self.agents_node(&call)?;
        let ended = ask.starts.unwrap_or_default();
        if ended.len() > MOST {
            return Err(Fault::bad_request(format!("starts: at most {MOST}")));
        }
        let mut prefixes = Vec::with_capacity(ended.len());
        for one in &ended {
            let (pod, container) = (names::uuid("pod_uid", &one.pod_uid)?, names::container(&one.container)?);
            let start = one.start.as_deref().filter(|start| !start.is_empty());
            let start = start.map(|start| names::uuid("start", start)).transpose()?;
            prefixes.push((starts::prefix(&node, Some((&pod, &container))), start, one.role.as_deref()));
        }
        let mut accessors = Vec::new();
        for (prefix, start, role) in prefixes {
            let role = role.filter(|role| !role.is_empty()).map(str::to_lowercase);
            let found = starts::all(&*self.place.store, &prefix).await?;
            let is_meant = |found: &starts::Found| {
                start.as_ref().is_none_or(|start| *start == found.start.start)
                    && role.as_ref().is_none_or(|role| *role == found.place.role)
            };
            accessors.extend(found.into_iter().filter(is_meant).map(|found| found.start.accessor));
        }
        self.place.house.end_tokens(&accessors).await?;
        self.hear(&node, call.now).await?;
        Ok(Reply::nothing())
    }
}
