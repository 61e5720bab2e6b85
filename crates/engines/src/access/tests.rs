mod around;
mod authority;
mod direct;
mod doors;
mod extending;
mod left;
mod life;
mod notices;
mod offers;
mod recordings;
mod refusals;
mod second_factor;
mod tokens;

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::call::Caller;
use dewdrop_core::engine::Person;
use dewdrop_core::mount::MountClass;
use dewdrop_core::route::Room;
use dewdrop_core::token::TokenRecord;
use dewdrop_core::{Fault, Kind};
use dewdrop_testkit::harness::{Got, Harness};
use serde_json::{Value, json};

use super::Access;

/// A house with people: ann asks; ben and cleo lead, dora is of security; eve is nobody in particular.
struct Stage {
    harness: Harness,
}

impl Stage {
    fn new() -> Self {
        // As the program does at its start; notices need it.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let stage = Self { harness: Harness::new(MountClass::Secret, &[], |place| Room::new(Access::open(place))) };
        for (name, groups) in [
            ("ann", &["devs"][..]),
            ("ben", &["devs", "leads"][..]),
            ("cleo", &["leads"][..]),
            ("dora", &["security"][..]),
            ("eve", &[][..]),
        ] {
            stage.person(name, groups);
        }
        stage
    }

    /// Somebody with his groups; once more: with other groups.
    fn person(&self, name: &str, groups: &[&str]) {
        let groups = groups.iter().map(|group| (format!("g-{group}"), (*group).to_owned())).collect();
        let person = Person { id: format!("e-{name}"), name: name.into(), groups };
        self.harness.house.people.lock().insert(person.id.clone(), person);
    }

    fn gone(&self, name: &str) {
        self.harness.house.people.lock().remove(&format!("e-{name}"));
    }

    async fn role(&self, change: Value) -> Result<Got, Fault> {
        let mut role = json!({
            "clusters": "prod", "namespaces": "shop,web",
            "rules": [{ "api_groups": [""], "resources": ["pods", "pods/log"], "verbs": ["get", "list"] }],
            "requester_groups": "devs", "approvals": [{ "groups": ["leads"], "count": 1 }],
            "default_ttl": "10m", "max_ttl": "1h",
        });
        for (name, value) in change.as_object().unwrap() {
            role[name] = value.clone();
        }
        self.harness.write("roles/look", role).await
    }

    /// What somebody writes.
    async fn says(&mut self, name: &str, path: &str, fields: Value) -> Result<Value, Fault> {
        self.harness.caller = caller(&format!("e-{name}"));
        self.harness.write(path, fields).await.map(Got::data)
    }

    async fn sees(&mut self, name: &str, path: &str) -> Result<Value, Fault> {
        self.harness.caller = caller(&format!("e-{name}"));
        self.harness.read(path).await.map(Got::data)
    }

    async fn lists(&mut self, name: &str) -> Vec<String> {
        self.harness.caller = caller(&format!("e-{name}"));
        match self.harness.list("requests").await {
            Ok(got) => got.data()["keys"].as_array().unwrap().iter().map(|key| key.as_str().unwrap().into()).collect(),
            Err(fault) => {
                assert_eq!(fault.kind, Kind::NotFound);
                Vec::new()
            }
        }
    }

    /// A request of ann's; its name.
    async fn asked(&mut self) -> String {
        let case = self.says("ann", "request", json!({ "role": "look", "reason": "disk full" })).await.unwrap();
        assert_eq!(case["state"], "pending");
        case["id"].as_str().unwrap().to_owned()
    }

    /// A grant of ann's that runs; its name.
    async fn running(&mut self) -> String {
        let id = self.asked().await;
        self.says("ben", &format!("requests/{id}/approve"), json!({})).await.unwrap();
        self.certificate("ann", &id).await.unwrap();
        id
    }

    async fn certificate(&mut self, name: &str, id: &str) -> Result<Value, Fault> {
        self.says(name, &format!("requests/{id}/certificate"), json!({ "csr": csr() })).await
    }

    /// The names of the grants that run.
    async fn live(&self) -> Vec<String> {
        let live = self.harness.read("live").await.unwrap().data();
        live["grants"].as_array().unwrap().iter().map(|grant| grant["id"].as_str().unwrap().to_owned()).collect()
    }

    fn later(&self, minutes: u64) {
        self.harness.clock.advance(Duration::from_secs(minutes * 60));
    }
}

/// A certificate request with a key of its own.
fn csr() -> String {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
    let mut params = rcgen::CertificateParams::new(vec!["system-masters.example".to_owned()]).unwrap();
    params.distinguished_name.push(rcgen::DnType::OrganizationName, "system:masters");
    params.serialize_request(&key).unwrap().pem().unwrap()
}

fn caller(entity: &str) -> Arc<Caller> {
    let token: TokenRecord = serde_json::from_value(json!({
        "accessor": format!("accessor-{entity}"), "kind": "service", "policies": ["default"], "path": "auth/test/login",
        "display_name": entity, "created": 0, "ttl": { "secs": 0, "nanos": 0 }, "renewable": false,
        "entity_id": entity, "namespace": "root",
    }))
    .unwrap();
    Arc::new(Caller { token: Some(Arc::new(token)), ..Caller::default() })
}
