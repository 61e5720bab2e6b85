//! The paths of `sys/`, asked as clients ask.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::testing::{TestServer, all, text};

mod namespaces;
mod openapi;
mod snapshot;

const NULL: Value = Value::Null;

#[tokio::test]
async fn random_bytes_and_hashes() {
    let server = TestServer::open(1, 1).await;
    let hex = json!({ "format": "hex" });
    for (path, length) in [("random", 64), ("random/3", 6), ("random/seal", 64), ("random/all/131072", 262_144)] {
        let (status, answer) = server.root("POST", &format!("sys/tools/{path}"), hex.clone()).await;
        assert_eq!((status, text(&answer["data"]["random_bytes"]).len()), (200, length), "{path}");
    }
    for path in [
        "random/0",
        "random/-1",
        "random/foo",
        "random/foo/3",
        "random/131073",
        "random/99999999999999999999",
        "random/platform/x",
    ] {
        assert_eq!(server.root("POST", &format!("sys/tools/{path}"), NULL).await.0, 400, "{path}");
    }
    assert_eq!(server.root("POST", "sys/tools/random", json!({ "format": "x" })).await.0, 400);
    assert_eq!(server.root("POST", "sys/tools/random", json!({ "bytes": "x" })).await.0, 400);
    assert_eq!(server.root("GET", "sys/tools/random", NULL).await.0, 405);

    let sum = async |path: &str, body: Value| server.root("POST", &format!("sys/tools/{path}"), body).await;
    let input = "aGVsbG8=";
    let known = [
        ("hash", "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824"),
        ("hash/sha2-224", "ea09ae9cc6768c50fcee903ed054556e5bfc8347907f12598aa24193"),
        ("hash/sha3-256", "3338be694f50c5f338814986cdf0686453a888b84f424d792af4b9202398f392"),
    ];
    for (path, expected) in known {
        assert_eq!(sum(path, json!({ "input": input })).await.1["data"]["sum"], expected, "{path}");
    }
    let body = json!({ "input": input, "algorithm": "sha2-512", "format": "base64" });
    let expected = "m3HSJL1i83hdltRq0+o9czGb+8KJDKra4t/3JRlnPKcjI8PZm6XBHXx6zG4UuMXaDEZjR1wuXDre9G9zvN7AQw==";
    assert_eq!(sum("hash", body.clone()).await.1["data"]["sum"], expected);
    assert_eq!(text(&sum("hash/sha2-256", body).await.1["data"]["sum"]).len(), 44, "the path wins");
    for (path, body) in
        [("hash/md5", json!({})), ("hash", json!({ "input": "a!" })), ("hash", json!({ "format": "x" }))]
    {
        assert_eq!(sum(path, body).await.0, 400, "{path}");
    }
}

#[tokio::test]
async fn other_origins_are_refused_once_some_are_named() {
    let server = TestServer::open(1, 1).await;
    let root = server.root.clone();
    let ask = async |method: &str, origin: &str, wants: &str| {
        let headers = [("x-vault-token", root.as_str()), ("origin", origin), ("access-control-request-method", wants)];
        server.send(0, method, "sys/mounts", &headers, Bytes::new()).await
    };
    assert_eq!(ask("GET", "http://b", "GET").await.status, 200, "off");
    for bad in [
        json!({}),
        json!({ "allowed_origins": "*,http://a" }),
        json!({ "allowed_origins": "http://a", "allowed_headers": "a b" }),
    ] {
        assert_eq!(server.root("POST", "sys/config/cors", bad).await.0, 400);
    }
    let body = json!({ "allowed_origins": ["http://a"], "allowed_headers": "X-Foo" });
    assert_eq!(server.root("POST", "sys/config/cors", body).await.0, 204);
    for (origin, wants, method, status) in [
        ("http://a", "GET", "GET", 200),
        ("http://b", "GET", "GET", 403),
        ("http://a", "LIST", "OPTIONS", 200),
        ("http://a", "FOO", "OPTIONS", 405),
        ("http://b", "LIST", "OPTIONS", 403),
    ] {
        let response = ask(method, origin, wants).await;
        assert_eq!(response.status, status, "{origin} {wants} {method}");
        assert_eq!(response.headers.get("access-control-allow-origin").is_some(), status == 200);
    }
    let preflight = ask("OPTIONS", "http://a", "GET").await;
    assert!(preflight.headers["access-control-allow-headers"].to_str().unwrap().ends_with("X-Foo"));
    server.server.seal();
    server.unseal(&server.keys).await;
    assert_eq!(ask("GET", "http://b", "GET").await.status, 403, "it is kept");
    assert_eq!(server.root("GET", "sys/config/cors", NULL).await.1["enabled"], true);
    assert_eq!(server.root("DELETE", "sys/config/cors", NULL).await.0, 204);
    assert_eq!(ask("GET", "http://b", "GET").await.status, 200);
}

#[tokio::test]
async fn what_the_server_says_of_itself() {
    let server = TestServer::open(1, 1).await;
    let get = async |path: &str| server.root("GET", path, NULL).await;
    let (_, versions) = server.root("LIST", "sys/version-history", NULL).await;
    assert_eq!(versions["data"]["keys"], json!([crate::seal::VERSION]));
    assert!(get("sys/host-info").await.1["data"]["memory"]["total"].as_u64().unwrap() > 0);
    assert_eq!(get("sys/ha-status").await.1["nodes"][0]["active_node"], true);
    assert_eq!(get("sys/plugins/catalog").await.1["data"]["database"], json!(["postgresql-database-plugin"]));
    assert_eq!(get("sys/plugins/catalog/secret/kv").await.1["data"]["builtin"], true);
    assert_eq!(get("sys/plugins/catalog/secret/nope").await.0, 404);
    assert_eq!(server.root("LIST", "sys/plugins/catalog/nope", NULL).await.0, 405);
    assert_eq!(server.root("POST", "sys/plugins/catalog/secret/x", json!({ "sha256": "aa" })).await.0, 400);
    assert_eq!(server.root("DELETE", "sys/plugins/catalog/secret/x", NULL).await.0, 204, "it is not there");
    assert_eq!(server.root("POST", "sys/plugins/reload/backend", json!({ "plugin": "kv" })).await.0, 400);
    assert_eq!(get("sys/config/state/sanitized").await.1["data"]["storage"]["type"], "inmem");
    for path in ["raw/core/x", "pprof/heap", "monitor", "replication/status", "storage/raft/configuration"] {
        assert_eq!(get(&format!("sys/{path}")).await.0, 404, "{path}");
    }
    assert_eq!(server.ask("POST", "sys/storage/raft/join", None, json!({})).await.0, 400);
}

#[tokio::test]
async fn requests_under_way() {
    let server = TestServer::open(1, 1).await;
    let at = "sys/in-flight-req";
    for (listener, token) in [(0, Some(server.root.as_str())), (1, None)] {
        let (status, shown) = server.ask_at(listener, "GET", &format!("{at}?secret=hunter2"), token, NULL).await;
        let lines: Vec<&Value> = shown.as_object().unwrap().values().collect();
        assert_eq!((status, lines.len()), (200, 1), "{shown}");
        assert_eq!(
            (&lines[0]["request_path"], &lines[0]["request_method"], &lines[0]["client_remote_address"]),
            (&json!("/v1/sys/in-flight-req"), &json!("GET"), &json!("127.0.0.1"))
        );
    }
    assert_eq!(server.ask("GET", at, None, NULL).await.0, 403);
    assert_eq!(server.server.metrics.running.show(), json!({}), "what is over is not shown");
}

#[tokio::test]
async fn headers_of_the_user_interface() {
    let server = TestServer::open(1, 1).await;
    let at = "sys/config/ui/headers";
    assert_eq!(server.root("LIST", at, NULL).await.0, 404);
    assert_eq!(server.root("POST", &format!("{at}/X-Foo"), json!({ "values": ["a", "b"] })).await.0, 200);
    assert_eq!(server.root("GET", &format!("{at}/X-Foo"), NULL).await.1["data"], json!({ "value": "a" }));
    assert_eq!(
        server.root("GET", &format!("{at}/X-Foo?multivalue=true"), NULL).await.1["data"],
        json!({ "values": ["a", "b"] })
    );
    assert_eq!(server.root("LIST", at, NULL).await.1["data"]["keys"], json!(["X-Foo"]));
    for (name, body) in
        [("X-Vault-Foo", json!({ "values": "a" })), ("X-Foo", json!({})), ("X-Foo", json!({ "values": ["a\nb"] }))]
    {
        assert_eq!(server.root("POST", &format!("{at}/{name}"), body).await.0, 400, "{name}");
    }
    assert_eq!(server.root("DELETE", &format!("{at}/X-Foo"), NULL).await.0, 204);
    assert_eq!(server.root("GET", &format!("{at}/X-Foo"), NULL).await.0, 404);
}

#[tokio::test]
async fn numbers_for_monitoring() {
    let server = TestServer::open(1, 1).await;
    let (_, numbers) = server.root("GET", "sys/metrics", NULL).await;
    let named = |list: &str, name: &str| {
        numbers[list].as_array().unwrap().iter().any(|row| row["Name"].as_str().unwrap().ends_with(name))
    };
    assert!(
        named("Gauges", "core.unsealed")
            && named("Gauges", "core.mount_table.num_entries")
            && named("Samples", "core.handle_request"),
        "{numbers}"
    );
    let response =
        server.send(0, "GET", "sys/metrics?format=prometheus", &[("x-vault-token", &server.root)], Bytes::new()).await;
    let text = String::from_utf8(all(response).await).unwrap();
    assert!(text.contains("core_handle_request_count"), "{text}");
    assert_eq!(server.root("GET", "sys/metrics?format=x", NULL).await.0, 400);
    assert_eq!(server.ask("GET", "sys/metrics", None, NULL).await.0, 403);
}

#[tokio::test]
async fn help_says_what_a_path_takes() {
    let server = TestServer::open(1, 1).await;
    let help = async |path: &str| server.root("GET", &format!("{path}?help=1"), NULL).await;
    let (_, of_path) = help("sys/tools/hash/sha2-256").await;
    let told = text(&of_path["help"]);
    for part in [
        "Request:        tools/hash/sha2-256",
        "Matching Route: tools/hash/{urlalgorithm}",
        "urlalgorithm (string)",
        "format (string)",
    ] {
        assert!(told.contains(part), "{part} in {told}");
    }
    assert_eq!(of_path["openapi"]["paths"].as_object().unwrap().len(), 1);
    let (_, of_mount) = help("sys").await;
    assert!(
        text(&of_mount["help"]).contains("## PATHS") && of_mount["openapi"]["paths"].as_object().unwrap().len() > 50
    );
    assert_eq!(help("sys/nothing").await.0, 404);
    let (_, of_the_gate) = help("sys/seal-status").await;
    assert!(text(&of_the_gate["help"]).contains("The state of the seal"), "{of_the_gate}");
    assert_eq!(server.root("HELP", "sys/seal-status", NULL).await.1["help"], of_the_gate["help"], "the verb of old");
}

#[tokio::test]
async fn an_accessor_says_nothing_in_another_namespace() {
    let server = TestServer::open(1, 1).await;
    server.root("POST", "sys/namespaces/team", json!({})).await;
    let own = server.root("POST", "team/auth/token/create", json!({ "policies": ["default"] })).await.1;
    let above = server.root("POST", "auth/token/create", json!({ "policies": ["default"] })).await.1;
    for (path, question) in [("sys/policies/explain", "path"), ("sys/capabilities-accessor", "paths")] {
        let ask = async |place: &str, made: &Value| {
            let body = json!({ "accessor": made["auth"]["accessor"], question: "secret/x" });
            server.root("POST", &format!("{place}{path}"), body).await.0
        };
        assert_eq!((ask("team/", &own).await, ask("", &above).await, ask("", &own).await), (200, 200, 200), "{path}");
        assert_eq!(ask("team/", &above).await, 400, "{path}");
    }
    let count = async |place: &str| {
        server.root("GET", &format!("{place}sys/internal/counters/tokens"), NULL).await.1["data"]["counters"]
            ["service_tokens"]["total"]
            .clone()
    };
    assert_eq!((count("team/").await, count("").await), (json!(1), json!(3)));
}
