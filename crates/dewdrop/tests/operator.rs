//! The life of a server's keys, told by the command line: made, used, replaced, and turned into a root token.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot set itself up has failed")]

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::{Server, eventually};
use dewdrop_testkit::gpg::Gpg;
use serde_json::Value;

struct Operator {
    server: Server,
    token: String,
}

impl Operator {
    fn json(&self, args: &[&str]) -> Value {
        let output = self.server.dewdrop(args).arg("-format=json").env("DEWDROP_TOKEN", &self.token).output().unwrap();
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    fn is_sealed(&self) -> bool {
        self.server.run(&["status"]).status.code() == Some(2)
    }
}

fn keys(made: &Value) -> Vec<String> {
    let keys = made["unseal_keys_b64"].as_array().or_else(|| made["keys_base64"].as_array()).unwrap();
    keys.iter().map(|k| k.as_str().unwrap().to_owned()).collect()
}

#[test]
fn keys_are_made_used_and_replaced() {
    let server = Server::uninitialised();
    let mut operator = Operator { server, token: String::new() };
    let made = operator.json(&["operator", "init", "-n=3", "-t", "2"]);
    let shares = keys(&made);
    assert_eq!(shares.len(), 3);
    operator.token = made["root_token"].as_str().unwrap().to_owned();
    assert_eq!(operator.server.run(&["operator", "init", "-status"]).status.code(), Some(0));
    assert_eq!(operator.server.run(&["operator", "init"]).status.code(), Some(2));

    assert_eq!(operator.json(&["operator", "unseal", &shares[0]])["progress"], 1);
    assert!(operator.is_sealed());
    assert_eq!(operator.json(&["operator", "unseal", "-reset"])["progress"], 0);
    operator.json(&["operator", "unseal", &shares[2]]);
    operator.json(&["operator", "unseal", &shares[0]]);
    eventually("the server is unsealed", || !operator.is_sealed());
    eventually("the server is active", || {
        operator.server.dewdrop(&["token", "lookup"]).env("DEWDROP_TOKEN", &operator.token).status().unwrap().success()
    });

    let begun = operator.json(&["operator", "generate-root", "-init"]);
    operator.json(&["operator", "generate-root", &shares[1]]);
    let done = operator.json(&["operator", "generate-root", &shares[0]]);
    assert_eq!(done["complete"], true);
    let encoded = done["encoded_token"].as_str().or_else(|| done["encoded_root_token"].as_str()).unwrap();
    let otp = format!("-otp={}", begun["otp"].as_str().unwrap());
    let root = operator.json(&["operator", "generate-root", "-decode", encoded, &otp]);
    operator.token = root["token"].as_str().unwrap().to_owned();

    operator.json(&["operator", "rekey", "-init", "-key-shares=1", "-key-threshold=1"]);
    operator.json(&["operator", "rekey", &shares[0]]);
    let replaced = keys(&operator.json(&["operator", "rekey", &shares[2]]));
    operator.json(&["operator", "seal"]);
    eventually("the server is sealed", || operator.is_sealed());
    operator.json(&["operator", "unseal", &replaced[0]]);
    eventually("the server is unsealed by the new key", || !operator.is_sealed());
}

#[test]
fn shares_and_tokens_are_encrypted_for_their_holders() {
    let gpg = Gpg::new();
    gpg.make("ada@test", "rsa3072", &["rsa3072"], "0");
    let bob = gpg.make("bob@test", "ed25519", &["cv25519"], "0");
    let server = Server::uninitialised();
    let in_file = |name: &str, bytes: &[u8]| {
        let file = server.home().join(name);
        std::fs::write(&file, bytes).unwrap();
        file.to_str().unwrap().to_owned()
    };
    let ada = in_file("ada.asc", gpg.armoured("ada@test").as_bytes());
    let bob_file = in_file("bob.gpg", &gpg.export(&["bob@test"]));
    let bob_text = in_file("bob.b64", STANDARD.encode(gpg.export(&["bob@test"])).as_bytes());
    let read = |text: &str| gpg.decrypt(&STANDARD.decode(text).unwrap());

    let refused = server.run(&["operator", "init", "-n=1", "-t=1", "-pgp-keys=keybase:ada"]);
    assert!(String::from_utf8_lossy(&refused.stderr).contains("no outside service"), "{refused:?}");
    let mut operator = Operator { server, token: String::new() };
    let (both, token_for) = (format!("-pgp-keys={ada},{bob_file}"), format!("-root-token-pgp-key={bob_text}"));
    let made = operator.json(&["operator", "init", "-n=2", "-t=2", &both, &token_for]);
    for share in keys(&made) {
        operator.json(&["operator", "unseal", &read(&share)]);
    }
    eventually("the server is unsealed", || !operator.is_sealed());
    operator.token = read(made["root_token"].as_str().unwrap());
    eventually("the server is active", || {
        operator.server.dewdrop(&["token", "lookup"]).env("DEWDROP_TOKEN", &operator.token).status().unwrap().success()
    });

    let old: Vec<String> = keys(&made).iter().map(|share| read(share)).collect();
    let for_bob = format!("-pgp-keys={bob_text}");
    operator.json(&["operator", "rekey", "-init", "-n=1", "-t=1", &for_bob, "-backup"]);
    operator.json(&["operator", "rekey", &old[0]]);
    let new = read(&keys(&operator.json(&["operator", "rekey", &old[1]]))[0]);
    let kept = operator.json(&["operator", "rekey", "-backup-retrieve"]);
    assert_eq!(read(kept["data"]["keys_base64"][&bob][0].as_str().unwrap()), new, "{kept}");
    operator.json(&["operator", "rekey", "-backup-delete"]);

    operator.json(&["operator", "generate-root", "-init", &format!("-pgp-key={ada}")]);
    let done = operator.json(&["operator", "generate-root", &new]);
    operator.token = read(done["encoded_token"].as_str().unwrap());
    let me = operator.json(&["token", "lookup"]);
    assert_eq!(me["data"]["policies"], serde_json::json!(["root"]), "{me}");
}
