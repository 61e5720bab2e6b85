//! The API document, and what the caller may do.

use std::collections::BTreeSet;

use super::*;

#[tokio::test]
async fn every_route_is_in_the_document() {
    let server = TestServer::open(1, 1).await;
    for (path, kind) in [("a", "kv"), ("b", "kv")] {
        assert_eq!(server.root("POST", &format!("sys/mounts/{path}"), json!({ "type": kind })).await.0, 204);
    }
    let (_, document) = server.root("GET", "sys/internal/specs/openapi", NULL).await;
    assert_eq!(document["openapi"], "3.0.2");
    let paths = document["paths"].as_object().unwrap();
    let vault = server.server.vault().unwrap();
    let mut routes: Vec<(String, _)> =
        vault.mounts.all().into_iter().map(|m| (m.mount.path.clone(), m.room.docs())).collect();
    routes.push(("sys/".into(), server.server.gate().docs()));
    for (mount, docs) in routes {
        for doc in docs {
            let path = format!("/{mount}{}", doc.pattern.replace("*}", "}"));
            let item = paths.get(path.trim_end_matches('/')).unwrap_or_else(|| panic!("{path} is missing"));
            assert!(
                ["get", "post", "delete", "patch"].iter().any(|verb| item.get(verb).is_some()),
                "{path} has no verb"
            );
            for part in doc.pattern.split('/').filter_map(|part| part.strip_prefix('{')) {
                let name = part.trim_end_matches(['}', '*']);
                let named =
                    item["parameters"].as_array().unwrap().iter().any(|p| p["name"] == name && p["in"] == "path");
                assert!(named, "{path} lacks its parameter {name}");
            }
        }
    }
    assert_eq!(paths["/sys/init"]["x-vault-unauthenticated"], true);
    assert_eq!(paths["/sys/remount"]["x-vault-sudo"], true);

    let acts = paths
        .values()
        .flat_map(|item| ["get", "post", "delete", "patch"].into_iter().filter_map(|verb| item.get(verb)));
    let mut ids = BTreeSet::new();
    for act in acts {
        assert!(ids.insert(text(&act["operationId"])), "{} twice", act["operationId"]);
        for (_, content) in act["requestBody"]["content"].as_object().into_iter().flatten() {
            let name = text(&content["schema"]["$ref"]).replace("#/components/schemas/", "");
            assert!(document["components"]["schemas"][&name].is_object(), "{name} is not there");
        }
    }
    let whole = document["components"].to_string();
    assert!(!whole.contains("$defs") && !whole.contains("\"null\"") && !whole.contains("$schema"));
}

#[tokio::test]
async fn a_stranger_sees_no_path_and_a_token_sees_its_own() {
    let server = TestServer::open(1, 1).await;
    server.root("POST", "sys/mounts/mine", json!({ "type": "kv" })).await;
    server.root("POST", "sys/mounts/theirs", json!({ "type": "kv" })).await;
    let policy = r#"path "mine/*" { capabilities = ["read"] }"#;
    server.root("POST", "sys/policies/acl/p", json!({ "policy": policy })).await;
    let (_, made) = server.root("POST", "auth/token/create", json!({ "policies": ["p"] })).await;
    let token = text(&made["auth"]["client_token"]);
    let spec = "sys/internal/specs/openapi";
    assert_eq!(server.ask("GET", spec, None, NULL).await.1["paths"], json!({}));
    let (_, document) = server.ask("GET", spec, Some(&token), NULL).await;
    let has = |head: &str| document["paths"].as_object().unwrap().keys().any(|path| path.starts_with(head));
    assert!(has("/mine/") && !has("/theirs/"));
    let (_, generic) = server.root("GET", &format!("{spec}?generic_mount_paths=true"), NULL).await;
    assert!(generic["paths"].as_object().unwrap().keys().any(|path| path.starts_with("/{kv_mount_path}/")));

    let (_, acl) = server.ask("GET", "sys/internal/ui/resultant-acl", Some(&token), NULL).await;
    assert_eq!(acl["data"]["glob_paths"]["mine/"], json!({ "capabilities": ["read"] }));
    assert_eq!(acl["data"]["root"], false);
    assert_eq!(server.root("GET", "sys/internal/ui/resultant-acl", NULL).await.1["data"], json!({ "root": true }));
    assert_eq!(server.ask("GET", "sys/internal/ui/resultant-acl", None, NULL).await.0, 403);
    assert_eq!(server.ask("GET", "sys/internal/ui/namespaces", None, NULL).await.0, 403);
    assert_eq!(server.root("GET", "sys/internal/ui/namespaces", NULL).await.1["data"], json!({}));
    assert!(
        server.root("GET", "sys/internal/counters/tokens", NULL).await.1["data"]["counters"]["service_tokens"]["total"]
            .as_u64()
            .unwrap()
            >= 2
    );
    assert_eq!(server.root("GET", "sys/internal/inspect/router/root", NULL).await.0, 400);
}
