//! `seal "static"` and `seal "shamir"`.

use std::path::PathBuf;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::Secret;
use zeroize::Zeroizing;

use super::fields::{Fields, Report, Rule, Unbuilt};
use super::source::Span;
use super::tree::Block;

/// What wraps the root key. Several may stand side by side; any one of them unseals.
#[derive(Debug)]
pub enum Seal {
    /// Key shares held by people.
    Shamir,
    /// A key that lies beside the server.
    Static(StaticSeal),
}

/// A key that lies beside the server.
#[derive(Debug)]
pub struct StaticSeal {
    /// New wrappings are made with this key.
    pub current: StaticKey,
    /// What was wrapped before the last rotation opens with this one.
    pub previous: Option<StaticKey>,
    /// The seal is being left: it opens, and wraps no more.
    pub disabled: bool,
}

/// A key and its lasting name.
#[derive(Debug)]
pub struct StaticKey {
    /// Its name.
    pub id: String,
    /// Where it is.
    pub source: KeySource,
}

/// Where a static key is.
#[derive(Debug)]
pub enum KeySource {
    /// In the configuration itself.
    Here(Secret<[u8; 32]>),
    /// In a file: 32 bytes, or their hexadecimal or base64 form.
    File(PathBuf),
    /// In an environment variable, in hexadecimal or base64.
    Env(String),
}

/// A static key cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read.
    #[error("read the key file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        cause: std::io::Error,
    },
    /// The variable is not set.
    #[error("the environment variable {0} that should hold the seal's key is not set")]
    Env(String),
    /// The bytes are no key.
    #[error("{0} holds no key: 32 bytes are needed, raw (in a file only), in hexadecimal or in base64")]
    Form(String),
}

impl KeySource {
    /// Fetches the key. `env` looks up environment variables.
    ///
    /// # Errors
    /// The file or variable is missing, or holds no 32 bytes.
    pub fn load(&self, env: &dyn Fn(&str) -> Option<String>) -> Result<Secret<[u8; 32]>, KeyError> {
        match self {
            Self::Here(key) => Ok(Secret::new(*key.expose())),
            Self::Env(name) => {
                let text = Zeroizing::new(env(name).ok_or_else(|| KeyError::Env(name.clone()))?);
                decode(text.as_bytes()).ok_or_else(|| KeyError::Form(name.clone()))
            }
            Self::File(path) => {
                let read = std::fs::read(path).map_err(|cause| KeyError::File { path: path.clone(), cause })?;
                let bytes = Zeroizing::new(read);
                let raw = <[u8; 32]>::try_from(bytes.as_slice()).ok().map(Secret::new);
                raw.or_else(|| decode(&bytes)).ok_or_else(|| KeyError::Form(path.display().to_string()))
            }
        }
    }
}

/// Hexadecimal or base64 of 32 bytes.
fn decode(text: &[u8]) -> Option<Secret<[u8; 32]>> {
    let text = text.trim_ascii();
    let mut key = Zeroizing::new([0u8; 32]);
    if hex::decode_to_slice(text, key.as_mut_slice()).is_ok() {
        return Some(Secret::new(*key));
    }
    // The decoder wants room for what padding might hide.
    let mut room = Zeroizing::new([0u8; 36]);
    match STANDARD.decode_slice(text, room.as_mut_slice()) {
        Ok(32) => {
            key.copy_from_slice(&room[..32]);
            Some(Secret::new(*key))
        }
        _ => None,
    }
}

/// Reads one `seal` block.
pub(super) fn read(report: &Report<'_>, block: &Block<'_>) -> Option<Seal> {
    let Some(kind) = block.labels.first() else {
        report.lacking(block.key.span, "this seal has no type", "write seal \"static\" { } or seal \"shamir\" { }");
        return None;
    };
    let mut fields = Fields::of(report, block, format!("seal {:?}", kind.name));
    let seal = match kind.name.as_str() {
        "shamir" => Some(Seal::Shamir),
        "static" => static_seal(&mut fields, kind.span).map(Seal::Static),
        other => {
            let known = ["awskms", "gcpckms", "azurekeyvault", "transit", "pkcs11", "kmip", "ocikms", "alicloudkms"];
            let message = if known.contains(&other) {
                format!("seal {other:?} is not built yet")
            } else {
                format!("{other:?} is no kind of seal")
            };
            report.problem(
                kind.span,
                message,
                "use seal \"static\" with a key file, or key shares (seal \"shamir\", the default)",
            );
            return None;
        }
    };
    fields.unbuilt(&[Unbuilt {
        key: "priority",
        rule: Rule::Harmless,
        why: "any of the seals unseals; they are tried in the order of the file",
    }]);
    fields.finish();
    seal
}

fn static_seal(fields: &mut Fields<'_>, span: Span) -> Option<StaticSeal> {
    let disabled = fields.flag("disabled").unwrap_or(false);
    let current = key(fields, "current_key_id", "current_key");
    let previous = key(fields, "previous_key_id", "previous_key");
    if let Slot::Empty = current {
        let help = "write current_key_id = \"2026-01\" and current_key = \"file:///etc/dewdrop/seal.key\" (made with: head -c 32 /dev/urandom)";
        fields.report.lacking(span, "this seal has no key", help);
    }
    let Slot::Key(current) = current else { return None };
    let previous = match previous {
        Slot::Key(key) => Some(key),
        Slot::Empty | Slot::Wrong => None,
    };
    if previous.as_ref().is_some_and(|p| p.id == current.id) {
        fields.report.problem(span, "both keys have the same id", "give each key an id of its own, for ever");
    }
    Some(StaticSeal { current, previous, disabled })
}

enum Slot {
    Key(StaticKey),
    Empty,
    Wrong,
}

fn key(fields: &mut Fields<'_>, id: &'static str, field: &'static str) -> Slot {
    let name = fields.filled(id);
    let text = fields.spanned(field).filter(|(text, _)| !text.is_empty());
    let (name, (text, span)) = match (name, text) {
        (None, None) => return Slot::Empty,
        (Some(name), Some(text)) => (name, text),
        (None, Some((_, span))) => {
            fields.report.lacking(
                span,
                format!("{id:?} is missing"),
                "name the key: the id is stored beside what it wraps",
            );
            return Slot::Wrong;
        }
        (Some(_), None) => {
            fields.report.lacking(
                fields.span,
                format!("{field:?} is missing"),
                "write \"file:///path\", \"env://NAME\" or the key",
            );
            return Slot::Wrong;
        }
    };
    let text = Zeroizing::new(text);
    let source = if let Some(path) = text.strip_prefix("file://") {
        KeySource::File(path.into())
    } else if let Some(name) = text.strip_prefix("env://") {
        KeySource::Env(name.to_owned())
    } else if let Some(key) = decode(text.as_bytes()) {
        fields.report.warning(
            span,
            format!("{field:?} lies in the configuration itself"),
            "better: \"file:///path\", mode 0400",
        );
        KeySource::Here(key)
    } else {
        let help = "write \"file:///path\", \"env://NAME\", or 32 bytes in hexadecimal or base64";
        fields.report.problem(span, format!("{field:?} holds no key"), help);
        return Slot::Wrong;
    };
    Slot::Key(StaticKey { id: name, source })
}
