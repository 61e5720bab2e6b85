//! What strangers' browsers answer: the fuzzer and the ordinary tests both call these. They fail by panicking. The challenge
//! is always the same, so that seeds can answer it.

use std::sync::LazyLock;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as B64;
use dewdrop_core::Fault;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::{Asked, Party, Pending, Person, PublicKeyCredential, Verification};

/// 32 bytes.
const CHALLENGE: &str = "ZGV3ZHJvcCdzIGZ1enplciBhc2tzIHRoaXMsIGFsd2E";
/// Of the key that is asked to sign.
const REGISTERED: &[u8] = include_bytes!("../../../../../../../fuzz/corpus/webauthn-registration/none");
/// The one answer that this key ever gave; its other half is thrown away.
const SIGNED: &[u8] = include_bytes!("../../../../../../../fuzz/corpus/webauthn-assertion/signed");

/// Asked once, for every input.
static STAGE: LazyLock<Option<Stage>> = LazyLock::new(|| Stage::new().ok());

struct Stage {
    party: Party,
    pending: Pending,
    key: Value,
    asked: Asked,
}

/// A registration: the whole answer as JSON; or what the browser says, a line's end, and what the key says.
pub fn registration(bytes: &[u8]) {
    let Some(stage) = &*STAGE else { return };
    let answer = whole(bytes).unwrap_or_else(|| registered(bytes));
    let Ok(key) = super::finish_registration(&stage.party, &stage.pending, &answer) else { return };
    assert!(super::id_of(&key).is_ok(), "a key without an id was taken");
    let asked = super::begin_authentication(&stage.party, &[&key], LIFE);
    assert!(asked.is_ok(), "a key was taken that cannot be asked");
}

/// An assertion: the whole answer as JSON; or what the browser says, a line's end, how long the signature is, the signature,
/// and what the key says.
pub fn assertion(bytes: &[u8]) {
    let Some(stage) = &*STAGE else { return };
    let answer = whole(bytes).unwrap_or_else(|| stage.signed(bytes));
    let _ = super::named_by(&answer);
    if super::finish_authentication(&stage.party, &stage.asked, &stage.key, &answer).is_ok() {
        assert!(what_is_signed(&answer) == what_is_signed(&stage.signed(SIGNED)), "a forged signature was taken");
    }
}

fn what_is_signed(answer: &Value) -> Option<(Vec<u8>, Vec<u8>)> {
    let response = super::answered::<PublicKeyCredential>(answer)?.response;
    Some((response.client_data_json, response.authenticator_data))
}

const LIFE: Duration = Duration::from_secs(60);

impl Stage {
    fn new() -> Result<Self, Fault> {
        let party = Party {
            rp_id: "vault.example.com".into(),
            rp_name: "Vault".into(),
            origins: vec!["https://vault.example.com:8200".into()],
            verification: Verification::Required,
            same_address: false,
        };
        let (_, pending) = super::begin_registration(&party, &Person { id: "e", name: "ann" }, &[], LIFE)?;
        let pending = Pending(with_challenge(&pending.0)?);
        let key = super::finish_registration(&party, &pending, &registered(REGISTERED))?;
        let (_, asked) = super::begin_authentication(&party, &[&key], LIFE)?;
        let asked = Asked(with_challenge(&asked.0)?);
        Ok(Self { party, pending, key, asked })
    }

    fn signed(&self, bytes: &[u8]) -> Value {
        let (browser, rest) = parted(bytes);
        let (length, rest) = rest.split_first().unwrap_or((&0, rest));
        let (signature, key) = rest.split_at(usize::from(*length).min(rest.len()));
        let response = json!({
            "clientDataJSON": B64.encode(browser),
            "authenticatorData": B64.encode(key),
            "signature": B64.encode(signature),
            "userHandle": null,
        });
        answer(&super::id_of(&self.key).unwrap_or_default(), response)
    }
}

fn with_challenge<T: serde::Serialize + DeserializeOwned>(state: &T) -> Result<T, Fault> {
    let mut state = super::told(state)?;
    state["challenge"] = CHALLENGE.into();
    serde_json::from_value(state).map_err(|e| Fault::internal(format!("a state: {e}")))
}

fn whole(bytes: &[u8]) -> Option<Value> {
    serde_json::from_slice(bytes).ok().filter(Value::is_object)
}

fn registered(bytes: &[u8]) -> Value {
    let (browser, key) = parted(bytes);
    answer("a2V5", json!({ "clientDataJSON": B64.encode(browser), "attestationObject": B64.encode(key) }))
}

fn answer(id: &str, response: Value) -> Value {
    json!({ "id": id, "rawId": id, "type": "public-key", "response": response })
}

fn parted(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (browser, rest) = bytes.split_at(end);
    (browser, rest.get(1..).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::{finish_authentication, finish_registration};
    use super::*;

    /// Or the search would begin, and stay, at what is refused first.
    #[test]
    fn seeds_are_taken() {
        let stage = STAGE.as_ref().unwrap();
        finish_authentication(&stage.party, &stage.asked, &stage.key, &stage.signed(SIGNED)).unwrap();
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/webauthn-registration");
        let is_taken = |seed: &[u8]| {
            let answer = whole(seed).unwrap_or_else(|| registered(seed));
            finish_registration(&stage.party, &stage.pending, &answer).is_ok()
        };
        let seeds = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut refused: Vec<_> = seeds.filter(|seed| !is_taken(&std::fs::read(seed).unwrap())).collect();
        refused.sort();
        let refused: Vec<_> = refused.iter().filter_map(|seed| seed.file_name()?.to_str()).collect();
        // A kind of keys that is not asked for; and TPMs' attestations, which are read to the end and never taken.
        assert_eq!(refused, ["ed25519", "tpm-ec", "tpm-rsa"]);
    }
}
