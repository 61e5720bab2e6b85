//! Driven through the routes, as a server would, with keys made here.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dewdrop_core::call::{Caller, Login};
use dewdrop_core::engine::{House, KnownLease};
use dewdrop_core::mount::MountClass;
use dewdrop_core::store::{Batch, SharedStore};
use dewdrop_core::token::{TokenKind, TokenRecord};
use dewdrop_core::{Clock as _, Fault, Kind, Moment, Secret};
use dewdrop_testkit::harness::{Got, Harness};
use dewdrop_testkit::jwt::{Signer, jwks, pod_claims};
use parking_lot::Mutex;
use serde_json::{Value, json};

use super::Kubernetes;
use crate::counting::{Counting, Counts};

mod agentless;
mod agents;
mod config;
mod lost;
mod review;
mod sessions;
mod tokens;

const POD: &str = "0e0f6a5c-0000-4000-8000-000000000001";
const OTHER_POD: &str = "0e0f6a5c-0000-4000-8000-000000000002";
const AGENT_POD: &str = "0e0f6a5c-0000-4000-8000-0000000000ff";
const START: &str = "aaaaaaaa-0000-4000-8000-000000000001";
const SECOND: &str = "aaaaaaaa-0000-4000-8000-000000000002";

/// Tokens as the server keeps them, as far as the rows beside them go.
#[derive(Default)]
struct Tokens {
    store: Mutex<Option<SharedStore>>,
    live: Mutex<BTreeMap<String, String>>,
    made: Mutex<usize>,
    broken: Mutex<bool>,
}

#[async_trait]
impl House for Tokens {
    async fn password(&self, _: &str, _: &str) -> Result<Secret<String>, Fault> {
        Err(Fault::internal("no passwords here"))
    }

    async fn leases_of(&self, _: &str) -> Result<Vec<KnownLease>, Fault> {
        Ok(Vec::new())
    }

    async fn policy_exists(&self, _: &str, _: &str) -> Result<bool, Fault> {
        Ok(true)
    }

    async fn end_tokens(&self, accessors: &[String]) -> Result<(), Fault> {
        if *self.broken.lock() {
            return Err(Fault::unavailable("the store is away"));
        }
        let store = self.store.lock().clone().unwrap();
        for accessor in accessors {
            let key = self.live.lock().remove(accessor);
            if let Some(key) = key {
                store.commit(Batch::new().delete(key)).await?;
            }
        }
        Ok(())
    }
}

impl Tokens {
    /// Makes the token of a login, and the row beside it in the same breath.
    async fn make(&self, login: &Login) -> Result<String, Fault> {
        let accessor = {
            let mut made = self.made.lock();
            *made += 1;
            format!("accessor-{made}")
        };
        if let Some(beside) = &login.beside {
            let mut fields = beside.fields.clone();
            fields.insert("accessor".into(), accessor.clone().into());
            let store = self.store.lock().clone().unwrap();
            let batch = Batch::new().expect(beside.key.clone(), beside.revision);
            store.commit(batch.put_json(beside.key.clone(), &fields)?).await?;
            self.live.lock().insert(accessor.clone(), beside.key.clone());
        }
        Ok(accessor)
    }

    fn live(&self) -> BTreeSet<String> {
        self.live.lock().keys().cloned().collect()
    }
}

/// One mount, with the cluster's keys.
struct Rig {
    harness: Harness,
    tokens: Arc<Tokens>,
    counts: Arc<Counts>,
    signer: Signer,
}

impl Rig {
    /// Verifies by keys that are given; the roles `app` (for containers), `plain`, and `agent`.
    async fn new() -> Self {
        let rig = Self::bare(Signer::ec("k1"));
        rig.config(json!({})).await;
        let bound = json!({ "bound_service_account_names": "app", "bound_service_account_namespaces": "dev", "audience": "dewdrop" });
        rig.role("plain", &bound, json!({ "token_policies": "p" })).await;
        rig.role("app", &bound, json!({ "bound_container_names": "web,side-*", "token_ttl": "1h" })).await;
        let agents = json!({ "bound_service_account_names": "agent", "bound_service_account_namespaces": "system", "agent": true });
        rig.role("agent", &agents, json!({})).await;
        rig
    }

    fn bare(signer: Signer) -> Self {
        let (tokens, counts) = (Arc::new(Tokens::default()), Arc::new(Counts::default()));
        let harness = Harness::new(MountClass::Auth, &[], |place| Self::opened(place, &tokens, &counts));
        Self { harness, tokens, counts, signer }
    }

    fn opened(
        mut place: dewdrop_core::engine::Place,
        tokens: &Arc<Tokens>,
        counts: &Arc<Counts>,
    ) -> dewdrop_core::route::Room {
        place.store = Arc::new(Counting { inner: place.store, counts: counts.clone() });
        *tokens.store.lock() = Some(place.store.clone());
        place.house = tokens.clone();
        Kubernetes::open(place)
    }

    /// A new process over the same store.
    fn restart(&mut self) {
        let place = dewdrop_core::engine::Place {
            store: self.harness.store.clone(),
            clock: self.harness.clock.clone(),
            mount_uuid: "test-uuid".into(),
            mount_accessor: "test_accessor".into(),
            options: BTreeMap::new(),
            house: self.tokens.clone(),
        };
        self.harness.room = Self::opened(place, &self.tokens, &self.counts);
    }

    async fn config(&self, more: Value) {
        let mut fields = json!({
            "kubernetes_host": "https://cluster.test", "disable_local_ca_jwt": false,
            "verify": "offline", "jwks": jwks(&[&self.signer]),
        });
        merge(&mut fields, more);
        self.harness.write("config", fields).await.unwrap();
    }

    async fn role(&self, name: &str, bound: &Value, more: Value) {
        let mut fields = bound.clone();
        merge(&mut fields, more);
        self.harness.write(&format!("role/{name}"), fields).await.unwrap();
    }

    fn now(&self) -> u64 {
        self.harness.clock.now().seconds()
    }

    /// Claims of the pod of the account `app`.
    fn claims(&self, pod: &str, node: &str) -> Value {
        pod_claims(pod, node, self.now())
    }

    fn pod_token(&self, pod: &str, node: &str) -> String {
        self.signer.token(&self.claims(pod, node))
    }

    async fn login(&self, role: &str, jwt: &str) -> Result<Login, Fault> {
        self.harness.write("login", json!({ "role": role, "jwt": jwt })).await.map(Got::login)
    }

    /// Logs the agent of a node in, and is that agent from now on.
    async fn be_agent(&mut self, node: &str) {
        let mut claims = self.claims(AGENT_POD, node);
        claims["kubernetes.io"]["namespace"] = "system".into();
        claims["kubernetes.io"]["serviceaccount"]["name"] = "agent".into();
        let login = self.login("agent", &self.signer.token(&claims)).await.unwrap();
        self.harness.caller = caller(&login);
    }

    /// Asks for a start of a container.
    async fn ask(&self, more: Value) -> Result<Login, Fault> {
        let mut fields = json!({
            "role": "app", "jwt": self.pod_token(POD, "node-1"), "container": "web", "start": START,
        });
        merge(&mut fields, more);
        self.harness.write("agent/start", fields).await.map(Got::login)
    }

    /// The same, with the token made.
    async fn start(&self, more: Value) -> String {
        let login = self.ask(more).await.unwrap();
        self.tokens.make(&login).await.unwrap()
    }

    async fn beat(&self, starts: Value) -> Value {
        self.harness.write("agent/beat", json!({ "starts": starts })).await.unwrap().data()
    }

    async fn tick(&self) {
        self.harness.room.tick(&self.harness.mount, self.harness.clock.now()).await.unwrap();
    }

    /// Lets time pass as it does for a server: with a round every second.
    async fn pass(&self, seconds: u64) {
        for _ in 0..seconds {
            self.harness.clock.advance(Duration::from_secs(1));
            self.tick().await;
        }
    }

    async fn state(&self, node: &str) -> Value {
        self.harness.read(&format!("agent/nodes/{node}")).await.unwrap().data()["state"].clone()
    }
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { panic!("no object: {more}") };
    into.as_object_mut().unwrap().extend(more);
}

/// Whoever has the token of a login.
fn caller(login: &Login) -> Arc<Caller> {
    let record = TokenRecord {
        accessor: "of-the-caller".into(),
        parent: None,
        kind: TokenKind::Service,
        policies: Vec::new(),
        path: "auth/test/login".into(),
        display_name: String::new(),
        meta: login.metadata.clone(),
        num_uses: 0,
        created: Moment(0),
        ttl: Duration::ZERO,
        expires: None,
        renewed: None,
        explicit_max_ttl: Duration::ZERO,
        period: Duration::ZERO,
        renewable: true,
        entity_id: String::new(),
        namespace: dewdrop_core::mount::Namespace::root().id,
        bound_cidrs: Vec::new(),
        role: String::new(),
        internal: login.internal.clone(),
        beside: String::new(),
        mfa: None,
    };
    Arc::new(Caller { token: Some(Arc::new(record)), ..Caller::default() })
}

fn held(pod: &str, start: &str) -> Value {
    json!({ "pod_uid": pod, "container": "web", "start": start, "role": "app" })
}

/// A refusal of which the caller hears nothing, and what the operator hears.
fn silent(fault: &Fault) -> String {
    assert_eq!((fault.kind, fault.told.as_ref()), (Kind::Denied, "permission denied"), "{fault:?}");
    fault.known.clone().into_owned()
}
