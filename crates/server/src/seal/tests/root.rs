//! Root tokens for the holders of the keys.

use super::*;

#[tokio::test]
async fn enough_keys_make_a_root_token_under_the_pad() {
    let server = TestServer::open(3, 2).await;
    let (_, begun) = server.ask_at(1, "PUT", "sys/generate-root/attempt", None, NULL).await;
    let (nonce, otp) = (text(&begun["nonce"]), text(&begun["otp"]));
    assert_eq!((otp.len(), &begun["otp_length"], &begun["started"]), (26, &json!(26), &json!(true)));
    assert_eq!(server.ask_at(1, "GET", "sys/generate-root/attempt", None, NULL).await.1["otp"], "", "it is told once");
    let give = async |key: &str| {
        server.ask_at(1, "PUT", "sys/generate-root/update", None, json!({ "nonce": nonce, "key": key })).await
    };
    assert_eq!(give(&server.keys[0]).await.1["progress"], 1);
    let (_, done) = give(&server.keys[2]).await;
    assert_eq!(done["complete"], true, "{done}");
    let body = json!({ "encoded_token": done["encoded_token"], "otp": otp });
    let (_, decoded) = server.ask("POST", "sys/decode-token", None, body).await;
    let token = text(&decoded["data"]["token"]);
    let (status, me) = server.ask("GET", "auth/token/lookup-self", Some(&token), NULL).await;
    assert_eq!((status, &me["data"]["policies"], &me["data"]["ttl"]), (200, &json!(["root"]), &json!(0)), "{me}");
    assert_eq!(server.ask_at(1, "GET", "sys/generate-root/attempt", None, NULL).await.1["started"], false);
    assert_eq!(give(&server.keys[0]).await.0, 400, "it is over");
}

#[tokio::test]
async fn the_caller_may_bring_the_pad() {
    let server = TestServer::open(1, 1).await;
    let start = async |body: Value| server.root("POST", "sys/generate-root-token/attempt", body).await;
    for otp in ["short".to_owned(), "a".repeat(27), "ä".repeat(26)] {
        assert_eq!(start(json!({ "otp": otp })).await.0, 400);
    }
    let refused = if cfg!(feature = "pgp") { 400 } else { 501 };
    assert_eq!(start(json!({ "pgp_key": "mDMEaw==" })).await.0, refused);
    let otp = "0123456789abcdefghijklmnop";
    let (_, begun) = start(json!({ "otp": otp })).await;
    assert_eq!(begun["data"]["otp"], "");
    let body = json!({ "nonce": begun["data"]["nonce"], "key": server.keys[0] });
    let (_, done) = server.root("POST", "sys/generate-root-token/update", body).await;
    let encoded = text(&done["data"]["encoded_token"]);
    for bad in [json!({}), json!({ "encoded_token": encoded, "otp": "x" }), json!({ "encoded_token": "!", "otp": otp })]
    {
        assert_eq!(server.ask("POST", "sys/decode-token", None, bad).await.0, 400);
    }
    let body = json!({ "encoded_token": encoded, "otp": otp });
    let token = text(&server.ask("POST", "sys/decode-token", None, body).await.1["data"]["token"]);
    assert_eq!(server.ask("GET", "auth/token/lookup-self", Some(&token), NULL).await.0, 200);
}

#[tokio::test]
async fn wrong_nonces_and_shares_make_nothing() {
    let server = TestServer::open(3, 2).await;
    let update = "sys/generate-root/update";
    let give = async |nonce: &str, key: &str| {
        server.ask_at(1, "PUT", update, None, json!({ "nonce": nonce, "key": key })).await
    };
    assert_eq!(give("x", &server.keys[0]).await.0, 400, "nothing under way");
    let (_, begun) = server.ask_at(1, "PUT", "sys/generate-root/attempt", None, NULL).await;
    let nonce = text(&begun["nonce"]);
    assert_eq!(server.ask_at(1, "PUT", "sys/generate-root/attempt", None, NULL).await.0, 400, "one at a time");
    for (nonce, key) in
        [("", server.keys[0].as_str()), ("x", &server.keys[0]), (&nonce, ""), (&nonce, "zz"), (&nonce, "aa")]
    {
        assert_eq!(give(nonce, key).await.0, 400, "{nonce} {key}");
    }
    give(&nonce, &server.keys[0]).await;
    assert_eq!(give(&nonce, &server.keys[0]).await.0, 400, "each share counts once");
    let (status, told) = give(&nonce, &"aa".repeat(33)).await;
    assert!(status == 400 && told.to_string().contains("root generation aborted"), "{told}");
    assert_eq!(server.ask_at(1, "GET", "sys/generate-root/attempt", None, NULL).await.1["progress"], 0);
    assert_eq!(server.ask_at(1, "DELETE", "sys/generate-root/attempt", None, NULL).await.0, 204);
    assert_eq!(give(&nonce, &server.keys[0]).await.0, 400);
    let (_, begun) = server.ask_at(1, "PUT", "sys/generate-root/attempt", None, NULL).await;
    server.server.seal();
    assert_eq!(give(&text(&begun["nonce"]), &server.keys[0]).await.0, 503);
}
