//! Snapshots: taken while the server works, restored whole or not at all.

use std::sync::Arc;

use dewdrop_store::Memory;

use super::*;
use crate::testing::texts;

async fn taken(server: &TestServer, path: &str) -> Bytes {
    let response = server.send(0, "GET", path, &[("x-vault-token", &server.root)], Bytes::new()).await;
    assert_eq!(response.status, 200);
    all(response).await.into()
}

/// `curl --data-binary` names this content type.
async fn restored(server: &TestServer, path: &str, body: impl Into<Bytes>) -> (u16, Value) {
    let headers = [("x-vault-token", server.root.as_str()), ("content-type", "application/x-www-form-urlencoded")];
    let response = server.send(0, "POST", path, &headers, body.into()).await;
    (response.status.as_u16(), serde_json::from_slice(&all(response).await).unwrap_or(NULL))
}

async fn write(server: &TestServer, name: &str) {
    assert_eq!(
        server
            .root(
                "POST",
                &format!("sys/policies/acl/{name}"),
                json!({ "policy": "path \"x\" { capabilities = [\"read\"] }" })
            )
            .await
            .0,
        204
    );
}

async fn is_there(server: &TestServer, name: &str) -> bool {
    server.root("GET", &format!("sys/policies/acl/{name}"), NULL).await.0 == 200
}

#[tokio::test]
async fn what_was_written_later_is_gone_and_the_server_serves_on() {
    for path in ["sys/storage/snapshot", "sys/storage/raft/snapshot"] {
        let server = TestServer::open(3, 2).await;
        write(&server, "before").await;
        let snapshot = taken(&server, path).await;
        write(&server, "after").await;
        assert_eq!(server.root("POST", "sys/rotate", NULL).await.0, 204);
        write(&server, "under-a-newer-key").await;
        assert_eq!(restored(&server, "sys/storage/raft/snapshot", snapshot).await, (204, NULL));
        assert!(is_there(&server, "before").await, "{path}");
        assert!(!is_there(&server, "after").await && !is_there(&server, "under-a-newer-key").await);
        write(&server, "later").await;
        server.server.seal();
        assert!(server.unseal(&server.keys).await);
        assert!(is_there(&server, "later").await);
    }
}

#[tokio::test]
async fn a_large_store_comes_in_pieces() {
    let server = TestServer::open(1, 1).await;
    let long = format!("path \"x\" {{ capabilities = [\"read\"] }} #{}", "#".repeat(400_000));
    for number in 0..8 {
        let (status, told) =
            server.root("POST", &format!("sys/policies/acl/p{number}"), json!({ "policy": long })).await;
        assert_eq!(status, 204, "{told}");
    }
    let response =
        server.send(0, "GET", "sys/storage/raft/snapshot", &[("x-vault-token", &server.root)], Bytes::new()).await;
    assert!(response.body.bytes().is_none(), "not held in memory");
    let snapshot = all(response).await;
    assert!(snapshot.len() > 3_000_000);
    server.root("DELETE", "sys/policies/acl/p7", NULL).await;
    assert_eq!(restored(&server, "sys/storage/snapshot", snapshot).await.0, 204);
    assert!(is_there(&server, "p7").await);
}

#[tokio::test]
async fn what_is_no_snapshot_changes_nothing() {
    let server = TestServer::open(1, 1).await;
    write(&server, "kept").await;
    let good = taken(&server, "sys/storage/snapshot").await;
    let packed = taken(&server, "sys/storage/raft/snapshot").await;
    let mut changed = good.to_vec();
    changed[60] ^= 1;
    let bad: Vec<Bytes> = vec![
        Bytes::new(),
        "abc".into(),
        "{}".into(),
        good.slice(..good.len() - 1),
        changed.into(),
        [&good, "x".as_bytes()].concat().into(),
        packed.slice(..packed.len() / 2),
        "\u{1f}".into(),
        Bytes::from_static(b"\x1f\x8b"),
    ];
    for path in ["sys/storage/raft/snapshot", "sys/storage/snapshot-force"] {
        for body in &bad {
            let (status, told) = restored(&server, path, body.clone()).await;
            assert_eq!(status, 400, "{path} {} bytes: {told}", body.len());
        }
    }
    assert!(is_there(&server, "kept").await);
    for path in ["sys/storage/snapshot", "sys/storage/raft/snapshot"] {
        assert_eq!(server.ask("GET", path, None, NULL).await.0, 403);
        assert_eq!(server.ask("POST", path, None, NULL).await.0, 403);
    }
}

#[tokio::test]
async fn other_keys_need_force_and_seal_the_server() {
    let theirs = TestServer::open(1, 1).await;
    write(&theirs, "theirs").await;
    let snapshot = taken(&theirs, "sys/storage/raft/snapshot").await;

    let mut ours = TestServer::bare(Arc::new(Memory::new()), Vec::new());
    ours.init(json!({ "secret_shares": 3, "secret_threshold": 2 })).await;
    ours.unseal(&ours.keys).await;
    write(&ours, "ours").await;
    let (status, told) = restored(&ours, "sys/storage/raft/snapshot", snapshot.clone()).await;
    assert!(status == 400 && told.to_string().contains("snapshot-force"), "{told}");
    assert!(is_there(&ours, "ours").await);

    assert_eq!(restored(&ours, "sys/storage/raft/snapshot-force", snapshot).await.0, 204);
    let (_, status) = ours.ask("GET", "sys/seal-status", None, NULL).await;
    assert_eq!((&status["sealed"], &status["n"]), (&json!(true), &json!(1)), "{status}");
    assert!(!ours.unseal(&ours.keys[..1]).await);
    assert!(ours.unseal(&theirs.keys).await);
    assert_eq!(ours.ask("GET", "sys/policies/acl/theirs", Some(&theirs.root), NULL).await.0, 200);
    assert_eq!(ours.ask("GET", "sys/policies/acl/ours", Some(&theirs.root), NULL).await.0, 404);
    assert_eq!(ours.root("GET", "sys/mounts", NULL).await.0, 403, "tokens of before are gone");
}

#[tokio::test]
async fn a_snapshot_from_before_a_rekey_opens_with_the_keys_of_then() {
    let server = TestServer::open(1, 1).await;
    let snapshot = taken(&server, "sys/storage/snapshot").await;
    let (_, begun) =
        server.root("POST", "sys/rotate/root/init", json!({ "secret_shares": 2, "secret_threshold": 2 })).await;
    let body = json!({ "nonce": begun["data"]["nonce"], "key": server.keys[0] });
    let (_, done) = server.root("POST", "sys/rotate/root/update", body).await;
    assert_eq!(texts(&done["data"]["keys"]).len(), 2);
    assert_eq!(restored(&server, "sys/storage/snapshot", snapshot.clone()).await.0, 400);
    assert_eq!(restored(&server, "sys/storage/snapshot-force", snapshot).await.0, 204);
    assert!(server.unseal(&server.keys).await, "the key of then");
}
