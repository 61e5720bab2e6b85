//! `sys/tools`: random bytes and hashes.

use std::sync::Arc;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::Fault;
use dewdrop_core::call::{Call, Reply};
use dewdrop_core::route::Routes;
use dewdrop_core::wire::{Int, Text};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use super::Sys;
use crate::ids;

const MOST_BYTES: usize = 131_072;

#[derive(Deserialize, JsonSchema)]
struct RandomFields {
    /// How many; 32 unless the path or this says otherwise.
    bytes: Option<Int>,
    /// `base64` (the default) or `hex`.
    format: Option<Text>,
    /// `platform`, `seal` or `all`: all the same here.
    source: Option<Text>,
}

#[derive(Deserialize, JsonSchema)]
struct HashFields {
    /// What to hash, in base64.
    #[serde(default)]
    input: Text,
    /// `sha2-224`, `sha2-256` (the default), `sha2-384`, `sha2-512`, `sha3-256`, `sha3-384` or `sha3-512`. The path wins.
    algorithm: Option<Text>,
    /// `hex` (the default) or `base64`.
    format: Option<Text>,
}

#[derive(Clone, Copy)]
enum Format {
    Hex,
    Base64,
}

pub(super) fn routes() -> Routes<Sys> {
    Routes::new("")
        .at("tools/random", "Random bytes.", |r| r.write("Makes random bytes", Sys::random))
        .at("tools/random/{source}", "Random bytes; the path says how many, or from where.", |r| {
            r.write("Makes random bytes", Sys::random)
        })
        .at("tools/random/{source}/{urlbytes}", "Random bytes; the path says from where and how many.", |r| {
            r.write("Makes random bytes", Sys::random)
        })
        .at("tools/hash", "A hash.", |r| r.write("Hashes", Sys::hash))
        .at("tools/hash/{urlalgorithm}", "A hash; the path says by which algorithm.", |r| r.write("Hashes", Sys::hash))
}

impl Sys {
    async fn random(self: Arc<Self>, call: Call, fields: RandomFields) -> Result<Reply, Fault> {
        let (first, second) = (call.capture("source"), call.capture("urlbytes"));
        let is_source = |text: &str| matches!(text, "platform" | "seal" | "all");
        let (source, count) = match (first, second) {
            ("", _) => (fields.source.map_or_else(|| "platform".into(), |s| s.0), ""),
            (source, "") if is_source(source) => (source.to_owned(), ""),
            (count, "") => ("platform".to_owned(), count),
            (source, count) => (source.to_owned(), count),
        };
        if !is_source(&source) {
            return Err(Fault::bad_request("unsupported entropy source; must be \"platform\" or \"seal\", or \"all\""));
        }
        let count = match count {
            "" => fields.bytes.map_or(32, |int| int.0),
            text => {
                text.parse().map_err(|_| Fault::bad_request("error parsing url-set byte count: it is no number"))?
            }
        };
        if count < 1 {
            return Err(Fault::bad_request("'bytes' cannot be less than 1"));
        }
        let too_many = || Fault::bad_request(format!("'bytes' should be less than {MOST_BYTES}"));
        let count = usize::try_from(count).ok().filter(|count| *count <= MOST_BYTES).ok_or_else(too_many)?;
        let format = format(fields.format.as_ref(), Format::Base64)?;
        let mut bytes = zeroize::Zeroizing::new(vec![0; count]);
        ids::fill(&mut bytes)?;
        let reply = Reply::of(&json!({ "random_bytes": format.encode(&bytes) }))?;
        Ok(if source == "seal" {
            reply.warn("no seal/entropy augmentation available, using platform entropy source")
        } else {
            reply
        })
    }

    async fn hash(self: Arc<Self>, call: Call, fields: HashFields) -> Result<Reply, Fault> {
        let named = Some(call.capture("urlalgorithm")).filter(|name| !name.is_empty());
        let name = named.or(fields.algorithm.as_ref().map(|text| text.0.as_str())).unwrap_or("sha2-256");
        let format = format(fields.format.as_ref(), Format::Hex)?;
        let algorithm = match name {
            "sha2-224" => &digest::SHA224,
            "sha2-256" => &digest::SHA256,
            "sha2-384" => &digest::SHA384,
            "sha2-512" => &digest::SHA512,
            "sha3-256" => &digest::SHA3_256,
            "sha3-384" => &digest::SHA3_384,
            "sha3-512" => &digest::SHA3_512,
            _ => {
                return Err(Fault::bad_request(
                    "unsupported algorithm; must be \"sha2-\" or \"sha3-\" with 224, 256, 384 or 512",
                ));
            }
        };
        let input = STANDARD
            .decode(&fields.input.0)
            .map_err(|e| Fault::bad_request(format!("unable to decode input as base64: {}", where_bad(&e))))?;
        Reply::of(&json!({ "sum": format.encode(digest::digest(algorithm, &input).as_ref()) }))
    }
}

/// Where base64 is broken, without what stands there: the input may be a secret.
fn where_bad(error: &base64::DecodeError) -> String {
    match error {
        base64::DecodeError::InvalidByte(at, _) | base64::DecodeError::InvalidLastSymbol(at, _) => {
            format!("illegal base64 data at input byte {at}")
        }
        _ => "its length or padding is wrong".into(),
    }
}

fn format(given: Option<&Text>, usual: Format) -> Result<Format, Fault> {
    match given.map_or("", |text| text.0.as_str()) {
        "" => Ok(usual),
        "hex" => Ok(Format::Hex),
        "base64" => Ok(Format::Base64),
        _ => Err(Fault::bad_request("unsupported encoding format; must be \"hex\" or \"base64\"")),
    }
}

impl Format {
    fn encode(self, bytes: &[u8]) -> String {
        match self {
            Self::Hex => hex::encode(bytes),
            Self::Base64 => STANDARD.encode(bytes),
        }
    }
}
