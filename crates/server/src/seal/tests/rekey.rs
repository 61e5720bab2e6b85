//! New shares in place of the old.

use super::*;
use crate::seal::auto_unseal;

/// Both doors to the same act: without a token at the second listener, with one below `sys/rotate`.
#[derive(Clone, Copy)]
pub struct Door {
    base: &'static str,
    with_token: bool,
}

pub const OPEN: Door = Door { base: "sys/rekey", with_token: false };
pub const WITH_TOKEN: Door = Door { base: "sys/rotate/root", with_token: true };

impl Door {
    pub async fn ask(self, server: &TestServer, method: &str, what: &str, body: Value) -> (u16, Value) {
        let path = format!("{}/{what}", self.base);
        let token = self.with_token.then_some(server.root.as_str());
        let (status, answer) = server.ask_at(1, method, &path, token, body).await;
        (status, if self.with_token && status == 200 { answer["data"].clone() } else { answer })
    }

    pub async fn give(self, server: &TestServer, what: &str, nonce: &str, key: &str) -> (u16, Value) {
        self.ask(server, "POST", what, json!({ "nonce": nonce, "key": key })).await
    }
}

#[tokio::test]
async fn without_a_token_only_where_the_configuration_says_so() {
    let server = TestServer::open(1, 1).await;
    for (method, path) in [
        ("GET", "rekey/init"),
        ("POST", "rekey/init"),
        ("POST", "rekey/update"),
        ("GET", "rekey/verify"),
        ("GET", "generate-root/attempt"),
    ] {
        let (status, told) = server.ask_at(0, method, &format!("sys/{path}"), None, NULL).await;
        assert_eq!((status, told), (405, json!({ "errors": ["unsupported operation"] })), "{path}");
    }
    for path in ["rotate/root/init", "generate-root-token/attempt", "rekey/backup"] {
        assert_eq!(server.ask_at(1, "GET", &format!("sys/{path}"), None, NULL).await.0, 403, "{path}");
    }
    assert_eq!(server.root("GET", "sys/rekey/backup", NULL).await.0, 400);
}

#[tokio::test]
async fn new_shares_open_and_old_ones_do_not() {
    for door in [OPEN, WITH_TOKEN] {
        let server = TestServer::open(3, 2).await;
        let (_, begun) = door.ask(&server, "POST", "init", json!({ "secret_shares": 5, "secret_threshold": 3 })).await;
        let nonce = text(&begun["nonce"]);
        assert_eq!(
            (&begun["started"], &begun["n"], &begun["t"], &begun["required"]),
            (&json!(true), &json!(5), &json!(3), &json!(2))
        );
        let (_, half) = door.give(&server, "update", &nonce, &server.keys[2]).await;
        assert_eq!(half["progress"], 1);
        let (status, done) = door.give(&server, "update", &nonce, &server.keys[0]).await;
        assert_eq!((status, &done["complete"]), (200, &json!(true)), "{done}");
        let new = texts(&done["keys"]);
        assert_eq!((new.len(), texts(&done["keys_base64"]).len()), (5, 5));
        assert_eq!(door.ask(&server, "GET", "init", NULL).await.1["started"], false);

        assert_eq!(
            server
                .root("POST", "sys/policies/acl/p", json!({ "policy": "path \"x\" { capabilities = [\"read\"] }" }))
                .await
                .0,
            204,
            "still serving"
        );
        server.server.seal();
        assert!(!server.unseal(&server.keys).await, "the old shares are of no use");
        server.ask("PUT", "sys/unseal", None, json!({ "reset": true })).await;
        assert!(server.unseal(&new[1..4]).await);
        assert_eq!(server.root("GET", "sys/policies/acl/p", NULL).await.0, 200);
    }
}

#[tokio::test]
async fn until_the_end_the_old_shares_are_in_force() {
    for door in [OPEN, WITH_TOKEN] {
        let server = TestServer::open(3, 2).await;
        let body = json!({ "secret_shares": 2, "secret_threshold": 2, "require_verification": true });
        let (_, begun) = door.ask(&server, "POST", "init", body).await;
        let nonce = text(&begun["nonce"]);
        door.give(&server, "update", &nonce, &server.keys[0]).await;
        let (_, made) = door.give(&server, "update", &nonce, &server.keys[1]).await;
        assert_eq!(texts(&made["keys"]).len(), 2, "{made}");

        // The process ends before the new shares were shown: they open nothing, the old ones do.
        server.server.seal();
        assert!(!server.unseal(&texts(&made["keys"])).await);
        server.ask("PUT", "sys/unseal", None, json!({ "reset": true })).await;
        assert!(server.unseal(&server.keys).await);
        assert_eq!(door.ask(&server, "GET", "init", NULL).await.1["started"], false, "sealing gave the rekeying up");
        assert_eq!(
            door.give(&server, "verify", &text(&made["verification_nonce"]), &text(&made["keys"][0])).await.0,
            400
        );
    }
}

#[tokio::test]
async fn shown_shares_are_put_in_force() {
    for door in [OPEN, WITH_TOKEN] {
        let server = TestServer::open(1, 1).await;
        let body = json!({ "secret_shares": 3, "secret_threshold": 2, "require_verification": true });
        assert_eq!(door.ask(&server, "GET", "verify", NULL).await.0, 400);
        let (_, begun) = door.ask(&server, "POST", "init", body).await;
        let nonce = text(&begun["nonce"]);
        assert_eq!(
            door.give(&server, "verify", &nonce, &server.keys[0]).await.0,
            400,
            "there is nothing to verify yet"
        );
        let (_, made) = door.give(&server, "update", &nonce, &server.keys[0]).await;
        let (keys, first) = (texts(&made["keys"]), text(&made["verification_nonce"]));
        assert_eq!(door.give(&server, "update", &nonce, &server.keys[0]).await.0, 400, "it waits for the verification");
        assert_eq!(door.give(&server, "verify", "x", &keys[0]).await.0, 400);
        assert_eq!(door.give(&server, "verify", &first, &keys[0]).await.1["progress"], 1);
        assert_eq!(door.give(&server, "verify", &first, &keys[0]).await.0, 400, "each share counts once");
        assert_eq!(door.give(&server, "verify", &first, &"bb".repeat(33)).await.0, 400);
        let (_, status) = door.ask(&server, "GET", "verify", NULL).await;
        let second = text(&status["nonce"]);
        assert!(status["progress"] == 0 && second != first, "{status}");
        let (_, status) = door.ask(&server, "DELETE", "verify", NULL).await;
        let third = text(&status["nonce"]);
        assert_ne!(third, second);
        door.give(&server, "verify", &third, &keys[2]).await;
        let (_, done) = door.give(&server, "verify", &third, &keys[0]).await;
        assert_eq!(done, json!({ "nonce": third, "complete": true }));
        server.server.seal();
        assert!(server.unseal(&keys[..2]).await);
    }
}

#[tokio::test]
async fn bad_input_is_refused_and_changes_nothing() {
    for door in [OPEN, WITH_TOKEN] {
        let server = TestServer::open(3, 2).await;
        let bad = [
            json!({}),
            json!({ "secret_shares": 5 }),
            json!({ "secret_shares": 2, "secret_threshold": 3 }),
            json!({ "secret_shares": 300, "secret_threshold": 3 }),
            json!({ "secret_shares": 2, "secret_threshold": 2, "backup": true }),
        ];
        for body in bad {
            assert_eq!(door.ask(&server, "POST", "init", body.clone()).await.0, 400, "{body}");
        }
        let pgp = json!({ "secret_shares": 1, "secret_threshold": 1, "pgp_keys": "mDMEaw==" });
        let refused = if cfg!(feature = "pgp") { 400 } else { 501 };
        assert_eq!(door.ask(&server, "POST", "init", pgp).await.0, refused);
        assert_eq!(door.give(&server, "update", "x", &server.keys[0]).await.0, 400, "nothing under way");
        let body = json!({ "secret_shares": 1, "secret_threshold": 1 });
        let (_, begun) = door.ask(&server, "POST", "init", body.clone()).await;
        let nonce = text(&begun["nonce"]);
        assert_eq!(door.ask(&server, "POST", "init", body).await.0, 400, "one at a time");
        for (nonce, key) in
            [("", server.keys[0].as_str()), ("x", &server.keys[0]), (&nonce, ""), (&nonce, "zz"), (&nonce, "aa")]
        {
            assert_eq!(door.give(&server, "update", nonce, key).await.0, 400, "{nonce} {key}");
        }
        let foreign = "aa".repeat(33);
        assert_eq!(door.give(&server, "update", &nonce, &foreign).await.1["progress"], 1);
        assert_eq!(door.give(&server, "update", &nonce, &foreign).await.0, 400, "each share counts once");
        assert_eq!(door.give(&server, "update", &nonce, &server.keys[0]).await.0, 400, "they do not belong together");
        assert_eq!(door.ask(&server, "GET", "init", NULL).await.1["progress"], 0);
        assert_eq!(door.ask(&server, "DELETE", "init", NULL).await.0, 204);
        assert_eq!(door.ask(&server, "GET", "init", NULL).await.1["started"], false);
        server.server.seal();
        assert_eq!(door.ask(&server, "GET", "init", NULL).await.0, 503);
        assert!(server.unseal(&server.keys).await);
    }
}

#[tokio::test]
async fn recovery_keys_are_replaced_and_the_automatic_seal_still_opens() {
    let server = with_auto_seal(1, 1).await;
    let door = Door { base: "sys/rotate/recovery", with_token: true };
    assert_eq!(WITH_TOKEN.ask(&server, "GET", "init", NULL).await.0, 400, "there are no unseal keys");
    let (_, begun) = door.ask(&server, "POST", "init", json!({ "secret_shares": 2, "secret_threshold": 2 })).await;
    let nonce = text(&begun["nonce"]);
    let (status, done) = door.give(&server, "update", &nonce, &server.keys[0]).await;
    assert_eq!(status, 200, "{done}");
    server.server.seal();
    assert!(auto_unseal(&server.server).await.unwrap());
    let open = Door { base: "sys/rekey-recovery-key", with_token: false };
    let (_, begun) = open.ask(&server, "POST", "init", json!({ "secret_shares": 1, "secret_threshold": 1 })).await;
    assert_eq!(begun["required"], 2, "the new recovery keys are asked for");
    let keys = texts(&done["keys"]);
    open.give(&server, "update", &text(&begun["nonce"]), &keys[0]).await;
    assert_eq!(open.give(&server, "update", &text(&begun["nonce"]), &keys[1]).await.1["complete"], true);
}
