//! Shares and root tokens under PGP keys. GnuPG decrypts what we encrypt.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_testkit::gpg::Gpg;

use super::rekey::{OPEN, WITH_TOKEN};
use super::*;

/// Two people with keys of the two kinds that people have.
struct People {
    gpg: Gpg,
    prints: [String; 2],
    keys: [String; 2],
}

impl People {
    fn new() -> Self {
        let gpg = Gpg::new();
        let prints =
            [gpg.make("ada@test", "rsa3072", &["rsa3072"], "0"), gpg.make("bob@test", "ed25519", &["cv25519"], "0")];
        let keys = ["ada@test", "bob@test"].map(|name| STANDARD.encode(gpg.export(&[name])));
        Self { gpg, prints, keys }
    }

    /// What the messages say, each in hex and in base64 alike.
    fn read(&self, made: &Value, name: &str) -> Vec<String> {
        let (hexed, based) = (texts(&made[name]), texts(&made[format!("{name}_base64")]));
        assert_eq!(hexed.len(), based.len());
        let same = |(hexed, based): (&String, &String)| {
            let bytes = hex::decode(hexed).unwrap();
            assert_eq!(bytes, STANDARD.decode(based).unwrap());
            self.gpg.decrypt(&bytes)
        };
        hexed.iter().zip(&based).map(same).collect()
    }
}

#[tokio::test]
async fn shares_and_token_of_the_beginning_are_for_their_holders() {
    let people = People::new();
    let mut server = TestServer::bare(Arc::new(Memory::new()), Vec::new());
    let body = json!({
        "secret_shares": 2, "secret_threshold": 2, "pgp_keys": people.keys, "root_token_pgp_key": people.keys[1],
    });
    let (status, made) = server.ask("PUT", "sys/init", None, body).await;
    assert_eq!(status, 200, "{made}");
    assert!(server.unseal(&people.read(&made, "keys")).await);
    server.root = people.gpg.decrypt(&STANDARD.decode(text(&made["root_token"])).unwrap());
    assert_eq!(server.root("GET", "auth/token/lookup-self", NULL).await.1["data"]["policies"], json!(["root"]));
}

#[tokio::test]
async fn new_shares_are_for_their_holders_and_can_be_fetched_again() {
    let people = People::new();
    for door in [OPEN, WITH_TOKEN] {
        let server = TestServer::open(1, 1).await;
        let body = json!({ "secret_shares": 2, "secret_threshold": 2, "pgp_keys": people.keys, "backup": true });
        let (status, begun) = door.ask(&server, "POST", "init", body).await;
        assert_eq!((status, &begun["pgp_fingerprints"], &begun["backup"]), (200, &json!(people.prints), &json!(true)));
        assert_eq!(server.root("GET", "sys/rekey/backup", NULL).await.0, 400, "nothing is made yet");
        let nonce = text(&begun["nonce"]);
        let (status, done) = door.give(&server, "update", &nonce, &server.keys[0]).await;
        assert_eq!((status, &done["pgp_fingerprints"]), (200, &json!(people.prints)), "{done}");
        let shares = people.read(&done, "keys");
        server.server.seal();
        assert!(server.unseal(&shares).await);

        for path in ["sys/rekey/backup", "sys/rotate/root/backup"] {
            let (_, kept) = server.root("GET", path, NULL).await;
            assert_eq!(kept["data"]["nonce"], nonce, "{kept}");
            for (at, print) in people.prints.iter().enumerate() {
                assert_eq!(kept["data"]["keys"][print], json!([done["keys"][at]]));
                assert_eq!(kept["data"]["keys_base64"][print], json!([done["keys_base64"][at]]));
            }
        }
        assert_eq!(server.root("GET", "sys/rekey/recovery-key-backup", NULL).await.0, 400);
        assert_eq!(server.ask("GET", "sys/rekey/backup", None, NULL).await.0, 403);
        assert_eq!(server.root("DELETE", "sys/rekey/backup", NULL).await.0, 204);
        assert_eq!(server.root("GET", "sys/rekey/backup", NULL).await.0, 400);
    }
}

#[tokio::test]
async fn shares_that_are_shown_first_are_encrypted_too() {
    let people = People::new();
    let server = TestServer::open(1, 1).await;
    let keys = [&people.keys[0], &people.keys[0]];
    let body = json!({
        "secret_shares": 2, "secret_threshold": 2, "pgp_keys": keys, "backup": true, "require_verification": true,
    });
    let (_, begun) = OPEN.ask(&server, "POST", "init", body).await;
    let (_, made) = OPEN.give(&server, "update", &text(&begun["nonce"]), &server.keys[0]).await;
    let (_, kept) = server.root("GET", "sys/rekey/backup", NULL).await;
    assert_eq!(kept["data"]["keys"][&people.prints[0]], made["keys"], "both are hers");
    let shares = people.read(&made, "keys");
    let nonce = text(&made["verification_nonce"]);
    OPEN.give(&server, "verify", &nonce, &shares[0]).await;
    assert_eq!(OPEN.give(&server, "verify", &nonce, &shares[1]).await.1["complete"], true);
    server.server.seal();
    assert!(server.unseal(&shares).await);
}

#[tokio::test]
async fn recovery_keys_are_for_their_holders() {
    let people = People::new();
    let seal = KeySeal::fixed("test", ("k1".into(), LockedKey::copy_of(&[7; 32]).unwrap()), None);
    let mut server = TestServer::bare(Arc::new(Memory::new()), vec![Arc::new(seal)]);
    let wrong = json!({ "recovery_shares": 2, "recovery_threshold": 2, "pgp_keys": people.keys });
    assert_eq!(server.ask("PUT", "sys/init", None, wrong).await.0, 400);
    let body = json!({ "recovery_shares": 2, "recovery_threshold": 2, "recovery_pgp_keys": people.keys });
    let (_, made) = server.ask("PUT", "sys/init", None, body).await;
    server.root = text(&made["root_token"]);
    let old = people.read(&made, "recovery_keys");
    let body = json!({ "secret_shares": 1, "secret_threshold": 1, "pgp_keys": [people.keys[1]], "backup": true });
    let (_, begun) = server.root("POST", "sys/rotate/recovery/init", body).await;
    for key in &old {
        let body = json!({ "key": key, "nonce": begun["data"]["nonce"] });
        server.root("POST", "sys/rotate/recovery/update", body).await;
    }
    let (_, kept) = server.root("GET", "sys/rekey/recovery-key-backup", NULL).await;
    let message = hex::decode(text(&kept["data"]["keys"][&people.prints[1]][0])).unwrap();
    let new = people.gpg.decrypt(&message);
    let (_, begun) = server.root("POST", "sys/generate-root-token/attempt", NULL).await;
    let body = json!({ "key": new, "nonce": begun["data"]["nonce"] });
    assert_eq!(server.root("POST", "sys/generate-root-token/update", body).await.1["data"]["complete"], true);
}

#[tokio::test]
async fn a_generated_root_token_is_for_whoever_has_the_key() {
    let people = People::new();
    let server = TestServer::open(1, 1).await;
    for (base, token, key) in [("generate-root", None, 0), ("generate-root-token", Some(&*server.root), 1)] {
        let path = |what: &str| format!("sys/{base}/{what}");
        let inner = |answer: Value| if token.is_some() { answer["data"].clone() } else { answer };
        let body = json!({ "pgp_key": people.keys[key], "otp": "12345678901234567890123456" });
        assert_eq!(server.ask_at(1, "PUT", &path("attempt"), token, body).await.0, 400, "one of both");
        let body = json!({ "pgp_key": people.keys[key] });
        let begun = inner(server.ask_at(1, "PUT", &path("attempt"), token, body).await.1);
        assert_eq!((&begun["pgp_fingerprint"], &begun["otp"]), (&json!(people.prints[key]), &json!("")), "{begun}");
        let body = json!({ "key": server.keys[0], "nonce": begun["nonce"] });
        let done = inner(server.ask_at(1, "PUT", &path("update"), token, body).await.1);
        let made = people.gpg.decrypt(&STANDARD.decode(text(&done["encoded_token"])).unwrap());
        let (status, me) = server.ask("GET", "auth/token/lookup-self", Some(&made), NULL).await;
        assert_eq!((status, &me["data"]["policies"]), (200, &json!(["root"])), "{me}");
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_used_is_refused_before_anything_is_made() {
    let people = People::new();
    let gpg = &people.gpg;
    gpg.make("signs@test", "ed25519", &[], "0");
    gpg.make("old@test", "ed25519", &["cv25519"], "2d");
    let gone = gpg.make("gone@test", "ed25519", &["cv25519"], "0");
    gpg.revoke(&gone);
    let good = gpg.export(&["ada@test"]);
    let cut = &good[..good.len() - 40];
    let mut forged = good.clone();
    // A byte of the signature that binds the subkey.
    let at = forged.len() - 20;
    forged[at] ^= 1;
    let bad = [
        ("nonsense".to_owned(), "no PGP public key"),
        (String::new(), "no PGP public key"),
        ("%".to_owned(), "not base64"),
        (gpg.armoured("ada@test"), "armoured"),
        (STANDARD.encode(gpg.export(&["signs@test"])), "no part of it encrypts"),
        (STANDARD.encode(gpg.export(&["old@test"])), "expired"),
        (STANDARD.encode(gpg.export(&["gone@test"])), "revoked"),
        (STANDARD.encode(gpg.export(&["ada@test", "bob@test"])), "more than one key"),
        (STANDARD.encode(gpg.export_secret("bob@test")), "private key"),
        (STANDARD.encode(cut), "no whole"),
        (STANDARD.encode(&forged), "no part of it encrypts"),
        ("A".repeat((1 << 20) + 1), "larger than"),
    ];
    let server = TestServer::bare(Arc::new(Memory::new()), Vec::new());
    for (key, why) in &bad {
        let body = json!({ "secret_shares": 2, "secret_threshold": 2, "pgp_keys": [people.keys[0], key] });
        let (status, told) = server.ask("PUT", "sys/init", None, body).await;
        let told = told.to_string();
        assert!(status == 400 && told.contains(why) && told.contains("key 2 of 2 in pgp_keys"), "{why}: {told}");
    }
    let one = json!({ "secret_shares": 1, "secret_threshold": 1, "root_token_pgp_key": bad[4].0 });
    let (status, told) = server.ask("PUT", "sys/init", None, one).await;
    assert!(status == 400 && told.to_string().contains("root_token_pgp_key"), "{told}");
    let few = json!({ "secret_shares": 3, "secret_threshold": 2, "pgp_keys": people.keys });
    let (status, told) = server.ask("PUT", "sys/init", None, few).await;
    assert!(status == 400 && told.to_string().contains("2 PGP keys in pgp_keys for 3 shares"), "{told}");
    assert_eq!(server.ask("GET", "sys/init", None, NULL).await.1["initialized"], false);
}
