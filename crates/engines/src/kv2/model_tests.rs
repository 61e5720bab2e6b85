//! Random acts on the engine and on a plain model of what the API promises; the two must always agree.

use std::collections::BTreeMap;
use std::time::Duration;

use dewdrop_core::mount::MountClass;
use dewdrop_core::route::Room;
use dewdrop_testkit::harness::{Got, Harness};
use proptest::prelude::*;
use serde_json::json;

use super::*;

#[derive(Debug, Clone)]
enum Act {
    Write { cas: Option<u64>, value: u8 },
    Patch { value: u8 },
    Delete,
    DeleteSome(Vec<u64>),
    Undelete(Vec<u64>),
    Destroy(Vec<u64>),
    Forget,
    Limit(u32),
    MountLimit(u32),
    Expire(u64),
    Wait(u64),
}

/// One secret as the API describes it.
#[derive(Default)]
struct Model {
    exists: bool,
    current: u64,
    limit: u32,
    mount_limit: u32,
    expire: u64,
    now: u64,
    versions: BTreeMap<u64, Kept>,
}

struct Kept {
    data: Value,
    deleted: Option<u64>,
    destroyed: bool,
}

fn acts() -> impl Strategy<Value = Act> {
    let numbers = || prop::collection::vec(0u64..8, 1..4);
    prop_oneof![
        6 => (prop::option::of(0u64..6), any::<u8>()).prop_map(|(cas, value)| Act::Write { cas, value }),
        2 => any::<u8>().prop_map(|value| Act::Patch { value }),
        2 => Just(Act::Delete),
        2 => numbers().prop_map(Act::DeleteSome),
        2 => numbers().prop_map(Act::Undelete),
        2 => numbers().prop_map(Act::Destroy),
        1 => Just(Act::Forget),
        1 => (0u32..5).prop_map(Act::Limit),
        1 => (0u32..5).prop_map(Act::MountLimit),
        1 => (0u64..20).prop_map(Act::Expire),
        2 => (0u64..20).prop_map(Act::Wait),
    ]
}

impl Kept {
    fn is_readable(&self, now: u64) -> bool {
        !self.destroyed && self.deleted.is_none_or(|at| at > now)
    }
}

impl Model {
    fn add(&mut self, data: Value) {
        self.exists = true;
        self.current += 1;
        let deleted = (self.expire > 0).then(|| self.now + self.expire);
        self.versions.insert(self.current, Kept { data, deleted, destroyed: false });
        let keep = Some(self.limit.max(self.mount_limit)).filter(|n| *n > 0).unwrap_or(10);
        let current = self.current;
        self.versions.retain(|number, _| number + u64::from(keep) > current);
    }

    /// Whether the API accepts the act; what it then does.
    fn act(&mut self, act: &Act) -> bool {
        let now = self.now;
        match act {
            Act::Write { cas, value } => {
                if cas.is_some_and(|cas| cas != self.current) {
                    return false;
                }
                self.add(json!({ "value": value }));
            }
            Act::Patch { value } => match self.versions.get(&self.current) {
                None => {}
                Some(kept) if !kept.is_readable(now) => return false,
                Some(kept) => {
                    let mut data = kept.data.clone();
                    data["patched"] = json!(value);
                    self.add(data);
                }
            },
            Act::Delete => self.each(&[self.current], |kept, _| {
                if kept.is_readable(now) {
                    kept.deleted = Some(now)
                }
            }),
            Act::DeleteSome(some) => self.each(some, |kept, _| {
                if kept.is_readable(now) {
                    kept.deleted = Some(now)
                }
            }),
            Act::Undelete(some) => self.each(some, |kept, expire| {
                if !kept.destroyed && kept.deleted.is_some() {
                    kept.deleted = (expire > 0).then(|| now + expire);
                }
            }),
            Act::Destroy(some) => self.each(some, |kept, _| kept.destroyed = true),
            Act::Forget => {
                *self = Self { mount_limit: self.mount_limit, now, ..Self::default() };
            }
            Act::Limit(limit) => (self.exists, self.limit) = (true, *limit),
            Act::MountLimit(limit) => self.mount_limit = *limit,
            Act::Expire(seconds) => (self.exists, self.expire) = (true, *seconds),
            Act::Wait(seconds) => self.now += seconds,
        }
        true
    }

    fn each(&mut self, numbers: &[u64], change: impl Fn(&mut Kept, u64)) {
        for number in numbers {
            if let Some(kept) = self.versions.get_mut(number) {
                change(kept, self.expire);
            }
        }
    }
}

async fn play(h: &Harness, act: &Act) -> Result<Got, Fault> {
    match act {
        Act::Write { cas: None, value } => h.write("data/k", json!({ "data": { "value": value } })).await,
        Act::Write { cas, value } => {
            h.write("data/k", json!({ "data": { "value": value }, "options": { "cas": cas } })).await
        }
        Act::Patch { value } => h.call(Operation::Patch, "data/k", json!({ "data": { "patched": value } })).await,
        Act::Delete => h.delete("data/k").await,
        Act::DeleteSome(some) => h.write("delete/k", json!({ "versions": some })).await,
        Act::Undelete(some) => h.write("undelete/k", json!({ "versions": some })).await,
        Act::Destroy(some) => h.write("destroy/k", json!({ "versions": some })).await,
        Act::Forget => h.delete("metadata/k").await,
        Act::Limit(limit) => h.write("metadata/k", json!({ "max_versions": limit })).await,
        Act::MountLimit(limit) => h.write("config", json!({ "max_versions": limit })).await,
        Act::Expire(seconds) => h.write("metadata/k", json!({ "delete_version_after": seconds })).await,
        Act::Wait(seconds) => {
            h.clock.advance(Duration::from_secs(*seconds));
            Ok(Got::Nothing)
        }
    }
}

async fn compare(h: &Harness, model: &Model) {
    let record = h.read("metadata/k").await;
    assert_eq!(record.is_ok(), model.exists);
    let Ok(record) = record else { return };
    let record = record.data();
    assert_eq!(record["current_version"], json!(model.current));
    let numbers: Vec<u64> = record["versions"].as_object().unwrap().keys().map(|n| n.parse().unwrap()).collect();
    assert_eq!(numbers.len(), model.versions.len());
    for number in 1..=model.current {
        let read = h.read_with("data/k", json!({ "version": number })).await;
        match model.versions.get(&number) {
            None => assert_eq!(read.unwrap_err(), Fault::not_found()),
            Some(kept) if kept.is_readable(model.now) => assert_eq!(read.unwrap().data()["data"], kept.data),
            Some(kept) => {
                let data = read.unwrap_err().data.unwrap();
                assert_eq!((&data["data"], &data["metadata"]["destroyed"]), (&Value::Null, &json!(kept.destroyed)));
            }
        }
    }
    let stored = h.store.dump().iter().filter(|(key, _)| key.starts_with(b"d/")).count();
    assert_eq!(stored, model.versions.values().filter(|kept| !kept.destroyed).count(), "no data is left over");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_engine_does_what_the_model_does(acts in prop::collection::vec(acts(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let h = Harness::new(MountClass::Secret, &[("version", "2")], |place| Room::new(Kv2::open(place)));
            let mut model = Model::default();
            for act in &acts {
                let accepted = model.act(act);
                assert_eq!(play(&h, act).await.is_ok(), accepted, "{act:?}");
                compare(&h, &model).await;
            }
        });
    }
}
