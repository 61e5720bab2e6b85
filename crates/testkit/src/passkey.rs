//! A security key and the browser in front of it, in software: what they would answer to the options of a registration or a
//! challenge. Written apart from what it judges; every field can be bent before it is signed.

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as B64;
use serde_json::{Value, json};

/// A key with one credential.
pub struct SoftKey {
    pair: EcdsaKeyPair,
    /// Its credential's id.
    pub id: Vec<u8>,
    /// What it will say next of how often it was used.
    pub counter: u32,
    /// Whether it verifies who touches it.
    pub verifies: bool,
    /// Where the browser is.
    pub origin: String,
    /// For whom it signs; what the options say when `None`.
    pub rp_id: Option<String>,
}

impl SoftKey {
    /// A new key in a browser at an origin.
    #[must_use]
    pub fn new(origin: &str) -> Self {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_ASN1_SIGNING).unwrap();
        let id = digest(&SHA256, pair.public_key().as_ref()).as_ref()[..20].to_vec();
        Self { pair, id, counter: 1, verifies: true, origin: origin.to_owned(), rp_id: None }
    }

    /// The id, as browsers write it.
    #[must_use]
    pub fn name(&self) -> String {
        B64.encode(&self.id)
    }

    /// What `navigator.credentials.create` answers.
    #[must_use]
    pub fn register(&mut self, options: &Value) -> Value {
        let options = &options["publicKey"];
        let client_data = self.client_data("webauthn.create", options);
        let mut data = self.authenticator_data(options["rp"]["id"].as_str().unwrap(), 0x40);
        data.extend([0; 16]);
        data.extend(u16::try_from(self.id.len()).unwrap().to_be_bytes());
        data.extend(&self.id);
        data.extend(self.public_key());
        let mut object = vec![0xa3];
        text(&mut object, "fmt");
        text(&mut object, "none");
        text(&mut object, "attStmt");
        object.push(0xa0);
        text(&mut object, "authData");
        bytes(&mut object, &data);
        self.answer(json!({ "attestationObject": B64.encode(object), "clientDataJSON": B64.encode(client_data) }))
    }

    /// What `navigator.credentials.get` answers.
    #[must_use]
    pub fn sign(&mut self, options: &Value) -> Value {
        let options = &options["publicKey"];
        let client_data = self.client_data("webauthn.get", options);
        let data = self.authenticator_data(options["rpId"].as_str().unwrap(), 0);
        let signed = [&data, digest(&SHA256, client_data.as_bytes()).as_ref()].concat();
        let signature = self.pair.sign(&SystemRandom::new(), &signed).unwrap();
        self.answer(json!({
            "authenticatorData": B64.encode(data),
            "clientDataJSON": B64.encode(client_data),
            "signature": B64.encode(signature.as_ref()),
            "userHandle": null,
        }))
    }

    fn answer(&self, response: Value) -> Value {
        json!({ "id": self.name(), "rawId": self.name(), "type": "public-key", "response": response })
    }

    fn client_data(&self, kind: &str, options: &Value) -> String {
        json!({ "type": kind, "challenge": options["challenge"], "origin": self.origin, "crossOrigin": false })
            .to_string()
    }

    fn authenticator_data(&mut self, rp_id: &str, more: u8) -> Vec<u8> {
        let rp_id = self.rp_id.as_deref().unwrap_or(rp_id);
        let mut data = digest(&SHA256, rp_id.as_bytes()).as_ref().to_vec();
        data.push(0x01 | if self.verifies { 0x04 } else { 0 } | more);
        data.extend(self.counter.to_be_bytes());
        self.counter += 1;
        data
    }

    /// In COSE's form: ES256 on P-256.
    fn public_key(&self) -> Vec<u8> {
        let point = self.pair.public_key().as_ref();
        let mut key = vec![0xa5, 0x01, 0x02, 0x03, 0x26, 0x20, 0x01, 0x21];
        bytes(&mut key, &point[1..33]);
        key.push(0x22);
        bytes(&mut key, &point[33..65]);
        key
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(0x60 | u8::try_from(text.len()).unwrap());
    out.extend(text.as_bytes());
}

fn bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(0x58);
    out.push(u8::try_from(bytes.len()).unwrap());
    out.extend(bytes);
}
