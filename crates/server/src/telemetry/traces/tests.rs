//! A collector on loopback takes what is sent, and decodes it with the protocol's own types.

use std::collections::BTreeMap;
use std::sync::Arc;

use dewdrop_core::Secret;
use dewdrop_store::Memory;
use dewdrop_testkit::postgres::{PASSWORD, Postgres, SUPERUSER};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use parking_lot::Mutex;
use prost::Message as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::Traces;
use crate::config;
use crate::testing::{TestServer, all, text};

const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
const CALLER: &str = "b7ad6b7169203331";

/// Heads and bodies of what was sent.
type Sent = Arc<Mutex<Vec<(String, Vec<u8>)>>>;

async fn collector() -> (String, Sent) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}/v1/traces", listener.local_addr().unwrap());
    let sent = Sent::default();
    let keep = sent.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(take(stream, keep.clone()));
        }
    });
    (address, sent)
}

async fn take(mut stream: TcpStream, sent: Sent) {
    let mut bytes = Vec::new();
    loop {
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return;
        }
        let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = String::from_utf8(bytes[..at].to_vec()).unwrap().to_lowercase();
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse::<usize>().unwrap();
        if bytes.len() >= at + 4 + length {
            sent.lock().push((head, bytes[at + 4..at + 4 + length].to_vec()));
            bytes.drain(..at + 4 + length);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
    }
}

/// A server whose own choice is to trace nothing: only its callers' wishes count.
async fn traced() -> (TestServer, Sent) {
    let (endpoint, sent) = collector().await;
    let headers = BTreeMap::from([("x-collector-key".to_owned(), Secret::new("sesame".to_owned()))]);
    let config = config::Traces { endpoint, headers, ratio: 0.0, service: "dd-test".into() };
    let traces = Traces::start(&config).unwrap();
    let mut server = TestServer::traced(Arc::new(Memory::new()), Vec::new(), Some(traces));
    server.init(json!({ "secret_shares": 1, "secret_threshold": 1 })).await;
    server.unseal(&server.keys).await;
    (server, sent)
}

async fn ask(server: &TestServer, method: &str, path: &str, parent: &str, body: &Value) -> (u16, Value) {
    let headers = [("x-vault-token", server.root.as_str()), ("traceparent", parent)];
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let response = server.send(0, method, path, &headers, body.into()).await;
    let status = response.status.as_u16();
    (status, serde_json::from_slice(&all(response).await).unwrap_or_default())
}

async fn spans(server: &TestServer, sent: &Sent) -> Vec<Span> {
    let handle = server.server.clone();
    tokio::task::spawn_blocking(move || handle.telemetry.traces.as_ref().unwrap().stop()).await.unwrap();
    let sent = sent.lock();
    let decoded = sent.iter().map(|(_, body)| ExportTraceServiceRequest::decode(body.as_slice()).unwrap());
    decoded.flat_map(|r| r.resource_spans).flat_map(|r| r.scope_spans).flat_map(|s| s.spans).collect()
}

fn attribute(span: &Span, name: &str) -> String {
    let found = span.attributes.iter().find(|pair| pair.key == name);
    match found.and_then(|pair| pair.value.as_ref()?.value.clone()) {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => format!("{other:?}"),
    }
}

fn named<'a>(spans: &'a [Span], name: &str) -> &'a Span {
    spans.iter().find(|span| span.name == name).unwrap_or_else(|| panic!("no span {name:?} in {:?}", names(spans)))
}

fn names(spans: &[Span]) -> Vec<&str> {
    spans.iter().map(|span| span.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_traced_request_shows_its_walk_and_no_secret() {
    let (server, sent) = traced().await;
    server.root("POST", "sys/mounts/box", json!({ "type": "kv" })).await;
    let parent = format!("00-{TRACE}-{CALLER}-01");
    let secret = json!({ "password": "canary-of-the-body" });
    assert_eq!(ask(&server, "PUT", "box/canary-of-the-path", &parent, &secret).await.0, 204);
    assert_eq!(
        ask(&server, "GET", "box/canary-of-the-path", &format!("00-{TRACE}-{CALLER}-00"), &Value::Null).await.0,
        200
    );
    assert_eq!(ask(&server, "GET", "box/canary-of-the-path", "nonsense", &Value::Null).await.0, 200);

    let spans = spans(&server, &sent).await;
    let walk = named(&spans, "update box/{path*}");
    assert_eq!((hex::encode(&walk.trace_id), hex::encode(&walk.parent_span_id)), (TRACE.into(), CALLER.into()));
    let told = ["dewdrop.mount", "dewdrop.mount_type", "dewdrop.operation", "http.route", "http.response.status_code"];
    assert_eq!(told.map(|name| attribute(walk, name)), ["box/", "kv", "update", "{path*}", "204"]);
    assert_eq!(attribute(walk, "dewdrop.namespace"), "");
    for child in ["who", "policy", "engine"] {
        assert_eq!(named(&spans, child).parent_span_id, walk.span_id, "{child}");
    }
    assert_eq!(named(&spans, "store commit").parent_span_id, named(&spans, "engine").span_id);
    assert_eq!(spans.len(), 5, "what nobody asked to trace is not traced: {:?}", names(&spans));

    let sent = sent.lock();
    for (head, body) in sent.iter() {
        assert!(
            head.contains("content-type: application/x-protobuf") && head.contains("x-collector-key: sesame"),
            "{head}"
        );
        let body = String::from_utf8_lossy(body);
        assert!(body.contains("dd-test"));
        for secret in ["canary-of-the-body", "canary-of-the-path", &server.root, "sesame"] {
            assert!(!body.contains(secret), "{secret} was sent");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_making_of_a_credential_is_seen_where_it_is_detached() {
    let postgres = Postgres::shared();
    let (server, sent) = traced().await;
    server.root("POST", "sys/mounts/db", json!({ "type": "database" })).await;
    let config = json!({
        "plugin_name": "postgresql-database-plugin",
        "allowed_roles": "*",
        "connection_url": format!("postgresql://{{{{username}}}}:{{{{password}}}}@127.0.0.1:{}/postgres?sslmode=disable", postgres.port),
        "username": SUPERUSER,
        "password": PASSWORD,
    });
    let (status, told) = server.root("POST", "db/config/pg", config).await;
    assert!(status < 300, "{told}");
    let role = json!({
        "db_name": "pg",
        "creation_statements": "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}';",
        "default_ttl": "1h",
    });
    server.root("POST", "db/roles/reader", role).await;
    let (status, made) = ask(&server, "GET", "db/creds/reader", &format!("00-{TRACE}-{CALLER}-01"), &Value::Null).await;
    assert_eq!(status, 200, "{made}");

    let spans = spans(&server, &sent).await;
    let engine = named(&spans, "engine");
    assert_eq!(named(&spans, "mint").parent_span_id, engine.span_id, "{:?}", names(&spans));
    assert_eq!(named(&spans, "read db/creds/{name}").span_id, engine.parent_span_id);
    let password = text(&made["data"]["password"]);
    assert!(password.len() > 10 && !sent.lock().iter().any(|(_, b)| String::from_utf8_lossy(b).contains(&password)));
    server.root("PUT", "sys/leases/revoke-force/db", json!({ "sync": true })).await;
}
