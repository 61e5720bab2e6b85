//! Unsealing, rekeying and root tokens, asked as clients ask.

use std::sync::Arc;

use dewdrop_store::{KeySeal, LockedKey, Memory};
use serde_json::{Value, json};

use crate::testing::{TestServer, text, texts};

mod crash;
#[cfg(feature = "pgp")]
mod pgp;
mod rekey;
mod root;

const NULL: Value = Value::Null;

#[tokio::test]
async fn initializing_checks_what_it_is_asked() {
    let server = TestServer::bare(Arc::new(Memory::new()), Vec::new());
    assert_eq!(server.ask("GET", "sys/health", None, NULL).await.0, 501);
    assert_eq!(server.ask("GET", "sys/health?uninitcode=299", None, NULL).await.0, 299);
    assert_eq!(server.ask("GET", "sys/health?uninitcode=abc", None, NULL).await.0, 400);
    assert_eq!(server.ask("GET", "sys/health?uninitcode=1000", None, NULL).await.0, 400);
    let cases = [
        (json!({}), "shares must be at least one"),
        (json!({ "secret_shares": -1, "secret_threshold": 2 }), "shares must be at least one"),
        (json!({ "secret_shares": 5 }), "threshold must be at least one"),
        (json!({ "secret_shares": 5, "secret_threshold": 1 }), "threshold must be greater than one"),
        (json!({ "secret_shares": 2, "secret_threshold": 3 }), "threshold cannot be larger than shares"),
        (json!({ "secret_shares": 2, "secret_threshold": 300 }), "threshold cannot be larger than shares"),
        (json!({ "secret_shares": 256, "secret_threshold": 2 }), "shares must be less than 256"),
        (
            json!({ "secret_shares": 1, "secret_threshold": 1, "recovery_shares": 1 }),
            "recovery_shares not applicable to seal type shamir",
        ),
        (json!({ "secret_shares": "x", "secret_threshold": 1 }), "secret_shares"),
        (json!({ "secret_shares": "1", "secret_threshold": "1" }), "secret_shares"),
    ];
    for (body, why) in cases {
        let (status, answer) = server.ask("POST", "sys/init", None, body.clone()).await;
        assert!(status == 400 && answer.to_string().contains(why), "{body} {status} {answer}");
    }
    let (status, _) = server
        .ask("POST", "sys/init", None, json!({ "secret_shares": 1, "secret_threshold": 1, "pgp_keys": ["mDMEaw=="] }))
        .await;
    assert_eq!(status, if cfg!(feature = "pgp") { 400 } else { 501 });
    assert_eq!(server.ask("DELETE", "sys/init", None, NULL).await.0, 405);
    assert_eq!(server.ask("GET", "sys/rekey/init", None, NULL).await.0, 503);
}

#[tokio::test]
async fn a_sealed_server_says_no_more_than_that() {
    let server = TestServer::bare(Arc::new(Memory::new()), Vec::new());
    let refused = server.send(0, "GET", "sys/mounts", &[], bytes::Bytes::new()).await;
    assert_eq!((refused.status.as_u16(), refused.headers["retry-after"].as_bytes()), (503, "1".as_bytes()));
    assert_eq!(server.ask("POST", "sys/seal", None, NULL).await.0, 204, "it is sealed already");
    assert_eq!(server.ask("POST", "sys/step-down", None, NULL).await.0, 204);
    assert_eq!(server.ask("GET", "sys/leader", None, NULL).await.1, json!({ "ha_enabled": false }));
    for (path, status) in [("health", 501), ("seal-status", 405), ("init", 405)] {
        assert_eq!(server.ask("HEAD", &format!("sys/{path}"), None, NULL).await.0, status, "{path}");
    }
}

#[tokio::test]
async fn what_is_no_share_is_refused_by_an_open_server_too() {
    let server = TestServer::open(1, 1).await;
    for short in ["aa", "bm9uc2Vuc2U="] {
        assert_eq!(server.ask("PUT", "sys/unseal", None, json!({ "key": short })).await.0, 400, "{short}");
    }
    assert_eq!(server.ask("PUT", "sys/unseal", None, json!({ "key": server.keys[0] })).await.0, 200);
    assert_eq!(server.ask("POST", "sys/seal", None, NULL).await.0, 403, "an open server asks for the token");
}

#[tokio::test]
async fn wrong_shares_do_not_open_and_do_not_lock_out() {
    let mut server = TestServer::bare(Arc::new(Memory::new()), Vec::new());
    server.init(json!({ "secret_shares": 3, "secret_threshold": 2 })).await;
    let unseal = async |key: &str| server.ask("PUT", "sys/unseal", None, json!({ "key": key })).await;
    for bad in ["", "zz", "aa", "00", &"aa".repeat(32), &"aa".repeat(200)] {
        assert_eq!(unseal(bad).await.0, 400, "{bad}");
    }
    let foreign = "aa".repeat(33);
    let (status, answer) = unseal(&foreign).await;
    assert_eq!((status, &answer["progress"]), (200, &json!(1)));
    assert_eq!(unseal(&foreign).await.1["progress"], 1, "the same share counts once");
    assert_eq!(unseal(&server.keys[0]).await.0, 400);
    let (_, status) = server.ask("GET", "sys/seal-status", None, NULL).await;
    assert_eq!((&status["progress"], &status["nonce"], &status["sealed"]), (&json!(0), &json!(""), &json!(true)));
    unseal(&server.keys[0]).await;
    let (_, status) = server.ask("PUT", "sys/unseal", None, json!({ "reset": true })).await;
    assert_eq!(status["progress"], 0);
    assert!(server.unseal(&server.keys[1..]).await);
    assert_eq!(server.ask("GET", "sys/health", None, NULL).await.0, 200);
    assert_eq!(server.root("POST", "sys/seal", NULL).await.0, 204);
    while server.ask("GET", "sys/health", None, NULL).await.0 != 503 {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.ask("GET", "sys/leader", None, NULL).await.0, 200);
}

#[tokio::test]
async fn when_keys_are_rotated_outlives_the_process() {
    let store = Arc::new(Memory::new());
    let mut server = TestServer::bare(store.clone(), Vec::new());
    server.init(json!({ "secret_shares": 1, "secret_threshold": 1 })).await;
    server.unseal(&server.keys).await;
    assert_eq!(server.root("GET", "sys/rotate/config", NULL).await.1["data"]["interval"], 0);
    assert_eq!(server.root("POST", "sys/rotate/config", json!({ "interval": "1h" })).await.0, 400);
    assert_eq!(server.root("POST", "sys/rotate/config", json!({ "max_operations": 5 })).await.0, 400);
    let body = json!({ "interval": "48h", "max_operations": 2_000_000 });
    assert_eq!(server.root("POST", "sys/rotate/config", body).await.0, 204);

    let again = TestServer::bare(store, Vec::new());
    again.unseal(&server.keys).await;
    let (_, shown) = again.ask("GET", "sys/rotate/keyring/config", Some(&server.root), NULL).await;
    assert_eq!(shown["data"], json!({ "enabled": true, "interval": "48h0m0s", "max_operations": 2_000_000 }));
}

/// A server that unseals by a key of its own, with recovery keys.
async fn with_auto_seal(shares: u8, threshold: u8) -> TestServer {
    let seal = KeySeal::fixed("test", ("k1".into(), LockedKey::copy_of(&[7; 32]).unwrap()), None);
    let mut server = TestServer::bare(Arc::new(Memory::new()), vec![Arc::new(seal)]);
    let wrong = json!({ "secret_shares": 1, "secret_threshold": 1 });
    let (status, told) = server.ask("POST", "sys/init", None, wrong).await;
    assert!(status == 400 && told.to_string().contains("not applicable to seal type static"), "{told}");
    server.init(json!({ "recovery_shares": shares, "recovery_threshold": threshold })).await;
    server
}
