use std::sync::Arc;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::*;
use crate::engine::Engine;
use crate::mount::{Limits, Mount, MountClass, Namespace, Tune};
use crate::policy::Permit;
use crate::wire::{Strings, Ttl};
use crate::{Kind, Moment};

struct Greeter;

#[derive(Deserialize, JsonSchema)]
struct Greeting {
    #[serde(default)]
    ttl: Option<Ttl>,
    #[serde(default)]
    names: Strings,
}

impl Greeter {
    async fn greet(self: Arc<Self>, call: Call, ask: Greeting) -> Result<Reply, Fault> {
        Reply::of(&json!({ "to": call.capture("name"), "names": ask.names, "ttl": ask.ttl }))
    }

    async fn list(self: Arc<Self>, _: Call, _: NoFields) -> Result<Reply, Fault> {
        Reply::keys(vec!["bob".into()])
    }
}

#[async_trait]
impl Engine for Greeter {
    fn routes() -> Routes<Self> {
        Routes::new("greets")
            .at("greet", "All greetings", |r| r.list("Lists them", Self::list))
            .at("greet/{name}", "One greeting", |r| r.write("Greets", Self::greet))
            .at("back/{name}", "The way back", |r| r.read_that_makes("Greets", Self::greet).list("Lists", Self::list))
    }
}

fn call(fields: serde_json::Value, spot: &Spot) -> Call {
    let mount = Mount {
        path: "greeter/".into(),
        class: MountClass::Secret,
        kind: "greeter".into(),
        uuid: "u".into(),
        accessor: "greeter_1".into(),
        description: String::new(),
        options: BTreeMap::new(),
        tune: Tune::default(),
        local: false,
        seal_wrap: false,
        external_entropy_access: false,
        namespace: Arc::new(Namespace::root()),
        defaults: Limits::default(),
    };
    Call {
        permit: Permit::public("a test"),
        operation: Operation::Update,
        path: "greet/bob".into(),
        captures: spot.captures.clone(),
        fields: fields.as_object().cloned().unwrap_or_default(),
        caller: Arc::default(),
        mount: Arc::new(mount),
        now: Moment(0),
        wrap_ttl: None,
        headers: BTreeMap::new(),
        request_id: "r".into(),
        raw: None,
    }
}

fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut context) {
        std::task::Poll::Ready(value) => value,
        std::task::Poll::Pending => panic!("nothing here waits"),
    }
}

#[test]
fn fields_are_typed_and_strangers_are_told() {
    let room = Room::new(Arc::new(Greeter));
    let spot = room.find("greet/bob", Operation::Update).unwrap();
    let fields = json!({ "ttl": "1h", "names": "a,b", "name": "eve", "color": "red" });
    let reply = run(room.serve(&spot, call(fields, &spot))).unwrap();
    assert_eq!(reply.warnings.len(), 2, "{:?}", reply.warnings);
    let crate::call::Outcome::Data(data) = reply.outcome else { panic!("data") };
    assert_eq!(Value::Object(data), json!({ "to": "bob", "names": ["a", "b"], "ttl": 3600 }));
}

#[test]
fn a_wrong_type_names_the_field() {
    let room = Room::new(Arc::new(Greeter));
    let spot = room.find("greet/bob", Operation::Update).unwrap();
    let fault = run(room.serve(&spot, call(json!({ "ttl": "1y" }), &spot))).unwrap_err();
    assert_eq!(fault.kind, Kind::BadRequest);
    assert!(fault.told.contains("\"ttl\""), "{}", fault.told);
}

#[test]
fn unknown_paths_and_verbs() {
    let room = Room::new(Arc::new(Greeter));
    assert!(room.find("nobody", Operation::Update).is_none());
    let spot = room.find("greet/bob", Operation::Read).unwrap();
    assert!(!spot.knows_operation);
}

#[test]
fn a_read_may_make_something() {
    let room = Room::new(Arc::new(Greeter));
    let makes = |path, operation| room.find(path, operation).unwrap().makes;
    assert!(makes("greet/bob", Operation::Update) && makes("back/bob", Operation::Read));
    assert!(!makes("back/bob", Operation::List));
}

#[test]
fn a_folder_with_a_slash_is_known_but_refuses_other_verbs() {
    let room = Room::new(Arc::new(Greeter));
    assert!(room.find("greet/", Operation::Read).is_some_and(|spot| !spot.knows_operation));
    assert!(room.find("greet/", Operation::List).is_none(), "the server takes the slash away before a LIST");
    assert!(room.find("greet/bob/", Operation::Update).is_none(), "what cannot be listed is no folder");
    assert!(room.find("other/", Operation::Read).is_none());
}
