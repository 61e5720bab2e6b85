//! Driven through the routes, against an API server that keeps what it is given and does not what it is told not to.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::engine::Place;
use dewdrop_core::mount::MountClass;
use dewdrop_core::{Fault, Kind};
use dewdrop_testkit::fake_api::{Asked, FakeApi};
use dewdrop_testkit::harness::{Got, Harness};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::open;

mod life;
mod shapes;

/// What the cluster holds, by path, and how it misbehaves.
#[derive(Default)]
struct State {
    objects: BTreeMap<String, Value>,
    /// A call that begins so is answered so; `made` is whether it has its effect all the same.
    broken: Option<(&'static str, u16, bool)>,
    count: u32,
}

/// A mount, and a cluster in memory.
struct Bench {
    h: Harness,
    place: Place,
    api: Arc<FakeApi>,
    state: Arc<Mutex<State>>,
}

impl State {
    fn answer(&mut self, asked: &Asked) -> (u16, String) {
        if let Some((line, status, made)) = self.broken
            && asked.line.starts_with(line)
        {
            if made {
                self.act(asked);
            }
            return (status, json!({ "message": "as it was told to" }).to_string());
        }
        self.act(asked)
    }

    fn act(&mut self, asked: &Asked) -> (u16, String) {
        let (method, path) = asked.line.split_once(' ').unwrap();
        let none = (404, json!({ "message": "not found" }).to_string());
        match method {
            "POST" if path.ends_with("/token") => {
                (201, json!({ "status": { "token": "the-token", "spec": asked.body["spec"] } }).to_string())
            }
            "POST" => {
                let at = format!("{path}/{}", asked.body["metadata"]["name"].as_str().unwrap());
                if self.objects.contains_key(&at) {
                    return (409, json!({ "message": "already exists" }).to_string());
                }
                self.count += 1;
                let mut object = asked.body.clone();
                object["metadata"]["uid"] = json!(format!("uid-{}", self.count));
                self.objects.insert(at, object.clone());
                (201, object.to_string())
            }
            "GET" => self.objects.get(path).map_or(none, |object| (200, object.to_string())),
            "DELETE" => match self.objects.get(path) {
                Some(object) if object["metadata"]["uid"] != asked.body["preconditions"]["uid"] => {
                    (409, json!({ "message": "another uid" }).to_string())
                }
                Some(object) if object["metadata"]["finalizers"][0].is_string() => (200, object.to_string()),
                Some(_) => {
                    self.objects.remove(path);
                    (200, "{}".into())
                }
                None => none,
            },
            _ => (405, String::new()),
        }
    }
}

impl Bench {
    async fn new() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let mut place = None;
        let serving = state.clone();
        let h = Harness::new(MountClass::Secret, &[], |given| open(place.insert(given).clone()));
        let api = FakeApi::start(move |asked| serving.lock().answer(asked)).await;
        let bench = Self { h, place: place.unwrap(), api, state };
        let config =
            json!({ "kubernetes_host": bench.api.url, "service_account_jwt": "ours", "disable_local_ca_jwt": true });
        bench.h.write("config", config).await.unwrap();
        bench
    }

    async fn role(&self, name: &str, fields: Value) {
        let mut all = json!({ "allowed_kubernetes_namespaces": "shop" });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        self.h.write(&format!("roles/{name}"), all).await.unwrap();
    }

    /// `data`, `internal` and the life.
    async fn creds(&self, name: &str, fields: Value) -> Result<(Value, Value, Duration), Fault> {
        match self.h.write(&format!("creds/{name}"), fields).await? {
            Got::Minted { data, internal, ttl, .. } => Ok((data, internal, ttl)),
            other => panic!("{other:?}"),
        }
    }

    async fn revoke(&self, internal: &Value) -> Result<(), Fault> {
        self.h.room.revoke(&self.h.credential(internal)).await
    }

    /// The process dies and starts again on the same store.
    fn restart(&mut self) {
        self.h.room = open(self.place.clone());
    }

    /// Somebody takes the mark off all that is there.
    fn unmark(&self) {
        for object in self.state.lock().objects.values_mut() {
            object["metadata"]["annotations"].as_object_mut().unwrap().remove("dewdrop.dev/mint").expect("a mark");
        }
    }

    fn paths(&self) -> Vec<String> {
        self.state.lock().objects.keys().cloned().collect()
    }

    fn breaks(&self, line: &'static str, status: u16, made: bool) {
        self.state.lock().broken = Some((line, status, made));
    }

    fn mends(&self) {
        self.state.lock().broken = None;
    }
}
