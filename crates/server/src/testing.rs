//! A whole server in the process of a test: asked through [`Api`], as the edge asks it, without sockets.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dewdrop_core::FakeClock;
use dewdrop_core::mount::Limits;
use dewdrop_store::{Memory, Seal, SnapshotStore};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Version};
use serde_json::{Value, json};

use crate::audit::Audit;
use crate::config::Access;
use crate::http::{Connection, Handler as _, Peer, Request, Response};
use crate::pipeline::Api;
use crate::server::{Parts, Server, Settings};

/// A server, its unseal keys and its root token.
pub struct TestServer {
    /// The server.
    pub server: Arc<Server>,
    /// In hex.
    pub keys: Vec<String>,
    /// Its root token.
    pub root: String,
}

impl TestServer {
    /// A sealed server that nobody has initialized, over a store. Its second listener serves without a token
    /// what a configuration can open: key ceremonies, and the requests under way.
    pub fn bare(store: Arc<dyn SnapshotStore>, auto_seals: Vec<Arc<dyn Seal>>) -> Self {
        Self::traced(store, auto_seals, None)
    }

    /// The same, with its spans sent somewhere.
    pub fn traced(
        store: Arc<dyn SnapshotStore>,
        auto_seals: Vec<Arc<dyn Seal>>,
        traces: Option<crate::telemetry::traces::Traces>,
    ) -> Self {
        let clock = FakeClock::at(dewdrop_core::Moment(1_800_000_000_000));
        let open = Access {
            no_open_rekey: false,
            no_open_generate_root: false,
            in_flight_without_token: true,
            ..Access::default()
        };
        let settings = Settings {
            limits: Limits::default(),
            storage_type: "inmem",
            api_addr: "http://127.0.0.1:8200".into(),
            dev: false,
            lockouts: BTreeMap::new(),
            listeners: vec![Access::default(), open],
            metrics: crate::config::Metrics::default(),
            cluster_name: None,
            cluster_addr: String::new(),
            hostname: None,
        };
        let parts = Parts { clock, store, auto_seals, audit: Arc::new(Audit::none()), settings, traces };
        Self { server: Server::new(parts), keys: Vec::new(), root: String::new() }
    }

    /// A server with so many unseal keys, open.
    pub async fn open(shares: u8, threshold: u8) -> Self {
        let mut server = Self::bare(Arc::new(Memory::new()), Vec::new());
        server.init(json!({ "secret_shares": shares, "secret_threshold": threshold })).await;
        server.unseal(&server.keys.clone()).await;
        server
    }

    /// Initializes, and keeps the keys.
    pub async fn init(&mut self, body: Value) {
        let (status, made) = self.ask("PUT", "sys/init", None, body).await;
        assert_eq!(status, 200, "{made}");
        let keys = if made["keys"].as_array().is_some_and(|keys| !keys.is_empty()) {
            &made["keys"]
        } else {
            &made["recovery_keys"]
        };
        self.keys = texts(keys);
        self.root = text(&made["root_token"]);
    }

    /// Gives keys until it is open; whether it is.
    pub async fn unseal(&self, keys: &[String]) -> bool {
        for key in keys {
            let (_, status) = self.ask("PUT", "sys/unseal", None, json!({ "key": key })).await;
            if status["sealed"] == false {
                return true;
            }
        }
        false
    }

    /// Asks with the root token.
    pub async fn root(&self, method: &str, path: &str, body: Value) -> (u16, Value) {
        self.ask(method, path, Some(&self.root), body).await
    }

    /// Asks; `null` is no body.
    pub async fn ask(&self, method: &str, path: &str, token: Option<&str>, body: Value) -> (u16, Value) {
        self.ask_at(0, method, path, token, body).await
    }

    /// Asks at a listener.
    pub async fn ask_at(
        &self,
        listener: usize,
        method: &str,
        path: &str,
        token: Option<&str>,
        body: Value,
    ) -> (u16, Value) {
        let bytes = if body.is_null() { Bytes::new() } else { body.to_string().into() };
        let headers: Vec<_> = token.map(|token| ("x-vault-token", token)).into_iter().collect();
        let response = self.send(listener, method, path, &headers, bytes).await;
        let status = response.status.as_u16();
        let bytes = all(response).await;
        (status, serde_json::from_slice(&bytes).unwrap_or(Value::Null))
    }

    /// Sends a request as it is.
    pub async fn send(
        &self,
        listener: usize,
        method: &str,
        path: &str,
        headers: &[(&'static str, &str)],
        body: Bytes,
    ) -> Response {
        let pairs =
            headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()));
        let request = Request {
            id: "00000000-0000-0000-0000-000000000001".into(),
            method: Method::from_bytes(method.as_bytes()).unwrap(),
            target: format!("/v1/{path}").parse().unwrap(),
            version: Version::HTTP_11,
            headers: pairs.collect::<HeaderMap>(),
            body,
            peer: Peer {
                address: Some([127, 0, 0, 1].into()),
                connection: Arc::new(Connection { listener, ..Connection::default() }),
            },
        };
        Api(self.server.clone()).handle(request).await
    }
}

/// The whole body of an answer.
pub async fn all(response: Response) -> Vec<u8> {
    use http_body_util::BodyExt as _;
    let mut out = Vec::new();
    let mut body = response.body;
    while let Some(frame) = body.frame().await {
        out.extend(frame.unwrap().into_data().unwrap());
    }
    out
}

/// The text of a JSON value.
pub fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The texts of a JSON list.
pub fn texts(value: &Value) -> Vec<String> {
    value.as_array().into_iter().flatten().map(text).collect()
}
