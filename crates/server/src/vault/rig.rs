//! A server in memory for tests of the whole walk, with a clock that is moved by hand. It can be started anew over the
//! same store.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::mount::Limits;
use dewdrop_core::{Clock, FakeClock, Moment, Secret};
use dewdrop_store::Memory;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use serde_json::Value;

use crate::audit::Audit;
use crate::config;
use crate::http::{Connection, Handler, Peer, Request};
use crate::pipeline::Api;
use crate::seal::{Eyes, InitAsk, initialize, unseal_with};
use crate::server::{Parts, Server, Settings};
use crate::vault::Vault;

pub const ROOT: &str = "root-of-the-test";

pub struct Rig {
    pub server: Arc<Server>,
    pub clock: Arc<FakeClock>,
    store: Arc<Memory>,
    shares: Vec<Secret<Vec<u8>>>,
}

/// One request, to be changed before it is sent.
pub struct Ask<'r> {
    rig: &'r Rig,
    method: &'static str,
    path: String,
    token: Option<String>,
    body: Value,
    address: Option<IpAddr>,
    headers: HeaderMap,
}

#[derive(Debug)]
pub struct Got {
    pub status: u16,
    pub headers: HeaderMap,
    pub json: Value,
}

impl Rig {
    pub async fn new() -> Self {
        Self::with(|_| Audit::none()).await
    }

    /// One that keeps its audit log in a folder.
    pub async fn audited(folder: &Path) -> Self {
        Self::with(|clock| Audit::open(&config::Audit::in_folder(folder), clock).unwrap()).await
    }

    async fn with(audit: impl FnOnce(&Arc<dyn Clock>) -> Audit) -> Self {
        let (store, clock) = (Arc::new(Memory::new()), FakeClock::at(Moment(1_800_000_000_000)));
        let shared: Arc<dyn Clock> = clock.clone();
        let server = server(&store, &clock, audit(&shared));
        let made =
            initialize(&server, InitAsk { shares: 1, threshold: 1 }, &Eyes::default(), Some(ROOT)).await.unwrap();
        let rig = Self { server, clock, store, shares: made.shares };
        rig.unseal().await;
        rig
    }

    /// A new server over the same store.
    pub async fn restart(&mut self) {
        self.server.seal();
        self.server = server(&self.store, &self.clock, Audit::none());
        self.unseal().await;
    }

    pub fn vault(&self) -> Arc<Vault> {
        self.server.vault().unwrap()
    }

    pub fn clock_now(&self) -> Moment {
        self.clock.now()
    }

    pub fn advance(&self, seconds: u64) {
        self.clock.advance(Duration::from_secs(seconds));
    }

    /// `GET`, `LIST`, `POST`..., with the root token.
    pub fn ask(&self, method: &'static str, path: &str, body: Value) -> Ask<'_> {
        let token = Some(ROOT.to_owned());
        Ask { rig: self, method, path: path.to_owned(), token, body, address: None, headers: HeaderMap::new() }
    }

    /// [`ask`](Self::ask), which must succeed.
    pub async fn must(&self, method: &'static str, path: &str, body: Value) -> Value {
        let got = self.ask(method, path, body).send().await;
        assert!((200..300).contains(&got.status), "{method} {path}: {got:?}");
        got.json
    }

    /// The token of a new token with a policy of this text.
    pub async fn token(&self, policy: &str) -> String {
        self.must("PUT", "sys/policies/acl/of-the-test", serde_json::json!({ "policy": policy })).await;
        let made = self.must("POST", "auth/token/create", serde_json::json!({ "policies": ["of-the-test"] })).await;
        made["auth"]["client_token"].as_str().unwrap().to_owned()
    }

    async fn unseal(&self) {
        for share in &self.shares {
            unseal_with(&self.server, Secret::new(share.expose().clone())).await.unwrap();
        }
    }
}

impl Ask<'_> {
    pub fn with(mut self, token: &str) -> Self {
        self.token = Some(token.to_owned()).filter(|token| !token.is_empty());
        self
    }

    pub fn from(mut self, address: &str) -> Self {
        self.address = Some(address.parse().unwrap());
        self
    }

    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        self.headers.insert(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    pub async fn send(self) -> Got {
        let mut headers = self.headers;
        if let Some(token) = self.token {
            headers.insert("x-vault-token", HeaderValue::from_str(&token).unwrap());
        }
        let body = if self.body.is_null() { Vec::new() } else { self.body.to_string().into_bytes() };
        let request = Request {
            id: "of-the-test".into(),
            method: Method::from_bytes(self.method.as_bytes()).unwrap(),
            target: format!("/v1/{}", self.path).parse().unwrap(),
            version: Version::HTTP_11,
            headers,
            body: body.into(),
            peer: Peer { address: self.address, connection: Arc::new(Connection::default()) },
        };
        let response = Api(self.rig.server.clone()).handle(request).await;
        let bytes = response.body.bytes().cloned().unwrap_or_default();
        let json = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
        Got { status: response.status.as_u16(), headers: response.headers, json }
    }
}

impl Got {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    pub fn error(&self) -> &str {
        self.json["errors"][0].as_str().unwrap_or_default()
    }
}

fn server(store: &Arc<Memory>, clock: &Arc<FakeClock>, audit: Audit) -> Arc<Server> {
    let settings = Settings {
        limits: Limits::default(),
        storage_type: "inmem",
        api_addr: String::new(),
        dev: true,
        lockouts: BTreeMap::new(),
        listeners: Vec::new(),
        metrics: crate::config::Metrics::default(),
        cluster_name: None,
        cluster_addr: String::new(),
        hostname: None,
    };
    let parts = Parts {
        clock: clock.clone(),
        store: store.clone(),
        auto_seals: Vec::new(),
        audit: Arc::new(audit),
        settings,
        traces: None,
    };
    Server::new(parts)
}
