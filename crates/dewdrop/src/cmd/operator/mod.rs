//! operator: init, unseal, seal, rekey, rotate, generate-root, key-status, step-down, members, snapshot.

mod init;
mod rekey;
mod root;
mod seal;
mod snapshot;

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::input;
use crate::output::{say, table, value};

/// `dewdrop operator`.
#[derive(Debug, Subcommand)]
pub enum Operator {
    /// Initialise a new server: makes its keys and the first token
    Init(init::Init),
    /// Give the server one key share; with enough of them it unseals
    Unseal(seal::Unseal),
    /// Seal the server at once
    Seal,
    /// Make new key shares
    #[command(alias = "rotate-keys")]
    Rekey(Box<rekey::Rekey>),
    /// Add a new encryption key; old ones stay for reading
    Rotate,
    /// Make a root token from key shares
    GenerateRoot(root::GenerateRoot),
    /// Show the encryption key in use
    KeyStatus,
    /// Give up leadership
    StepDown,
    /// List the servers of the cluster
    Members,
    /// Save, restore or verify a snapshot
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
    /// The same under the name that OpenBao gives it
    #[command(subcommand, hide = true)]
    Raft(Raft),
}

/// `dewdrop operator raft`, for scripts written for OpenBao.
#[derive(Debug, Subcommand)]
pub enum Raft {
    /// Save, restore or verify a snapshot
    #[command(subcommand)]
    Snapshot(snapshot::Snapshot),
}

/// Public PGP keys to encrypt shares with.
#[derive(Debug, Args)]
struct PgpKeys {
    /// Encrypt each share with one of these public PGP keys: files, comma-separated, in the order of the shares
    #[arg(long, value_name = "FILES")]
    pgp_keys: Vec<String>,
}

impl Operator {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Init(cmd) => cmd.run(ctx).await,
            Self::Unseal(cmd) => cmd.run(ctx).await,
            Self::Seal => {
                ctx.call(Call::write("sys/seal", &json!({}))?).await.map_err(|e| e.doing("Error sealing"))?;
                ctx.out.done("Success! The server is sealed.")
            }
            Self::Rekey(cmd) => cmd.run(ctx).await,
            Self::Rotate => rotate(ctx).await,
            Self::GenerateRoot(cmd) => cmd.run(ctx).await,
            Self::KeyStatus => key_status(ctx).await,
            Self::StepDown => {
                ctx.call(Call::write("sys/step-down", &json!({}))?)
                    .await
                    .map_err(|e| e.doing("Error stepping down"))?;
                ctx.out.done(&format!("Success! Stepped down: {}", ctx.settings.config.address))
            }
            Self::Members => members(ctx).await,
            Self::Snapshot(cmd) | Self::Raft(Raft::Snapshot(cmd)) => cmd.run(ctx).await,
        }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct KeyStatus {
    term: u64,
    install_time: String,
    #[serde(default)]
    encryptions: u64,
}

async fn rotate(ctx: &Ctx) -> Result<u8> {
    ctx.call(Call::post("sys/rotate", &json!({}))?).await.map_err(|e| e.doing("Error rotating key"))?;
    ctx.out.done("Success! Rotated key\n")?;
    key_status(ctx).await
}

async fn key_status(ctx: &Ctx) -> Result<u8> {
    let status: KeyStatus =
        ctx.json(Call::read("sys/key-status")?).await.map_err(|e| e.doing("Error reading key status"))?;
    if !ctx.out.is_table() || ctx.out.field.is_some() {
        return ctx.out.structured(&status);
    }
    let rows = [
        ("Key Term", status.term.to_string()),
        ("Install Time", short_time(&status.install_time)),
        ("Encryption Count", status.encryptions.to_string()),
    ];
    say(&plain_rows(&rows.map(|(name, text)| (name.to_owned(), text))));
    Ok(0)
}

/// A table of keys and values without a heading.
fn plain_rows(rows: &[(String, String)]) -> String {
    table::columns(None, &rows.iter().map(|(k, v)| vec![k.clone(), v.clone()]).collect::<Vec<_>>())
}

async fn members(ctx: &Ctx) -> Result<u8> {
    let status: Value = ctx.json(Call::read("sys/ha-status")?).await?;
    let nodes = status
        .get("nodes")
        .or_else(|| status.get("data").and_then(|d| d.get("nodes")))
        .and_then(Value::as_array)
        .cloned()
        .unwrap_or_default();
    if !ctx.out.is_table() {
        return ctx.out.structured(&json!({"Nodes": nodes}));
    }
    let names =
        ["hostname", "api_address", "cluster_address", "active_node", "version", "upgrade_version", "last_echo"];
    let cell = |node: &Value, name: &str| match node.get(name) {
        None | Some(Value::Null) => "n/a".to_owned(),
        Some(found) => value::cell(name, found),
    };
    let rows: Vec<Vec<String>> = nodes.iter().map(|node| names.iter().map(|name| cell(node, name)).collect()).collect();
    let heading =
        ["Host Name", "API Address", "Cluster Address", "Active Node", "Version", "Upgrade Version", "Last Echo"];
    say(&table::columns(Some(&heading), &rows));
    Ok(0)
}

impl PgpKeys {
    /// The keys as the API wants them: base64 of the binary form.
    fn read(&self) -> Result<Vec<String>> {
        self.pgp_keys.iter().flat_map(|list| list.split(',')).map(|name| pgp_key(name.trim())).collect()
    }
}

/// One public key from a file that holds it binary, armoured or as base64.
fn pgp_key(file: &str) -> Result<String> {
    use base64::Engine;
    let standard = &base64::engine::general_purpose::STANDARD;
    if file.starts_with("keybase:") {
        return Err(Failure::usage(format!("{file} cannot be fetched: Dewdrop asks no outside service"))
            .hint("save the public key to a file and name the file"));
    }
    let bytes = std::fs::read(file.trim_start_matches('@'))
        .map_err(|e| Failure::usage(format!("read the PGP key {file}: {e}")))?;
    let Ok(text) = std::str::from_utf8(&bytes) else { return Ok(standard.encode(&bytes)) };
    if text.contains("-----BEGIN PGP PRIVATE KEY") {
        return Err(
            Failure::usage(format!("{file} is a private PGP key")).hint("export the public one: gpg --export ID")
        );
    }
    let body: String = if text.contains("-----BEGIN PGP") {
        // Headers end at the first empty line; the line that begins with '=' is a checksum.
        let inner = text
            .lines()
            .map(str::trim)
            .skip_while(|l| !l.starts_with("-----BEGIN"))
            .skip(1)
            .skip_while(|l| !l.is_empty());
        inner.take_while(|l| !l.starts_with("-----END")).filter(|l| !l.starts_with('=')).collect()
    } else {
        text.split_whitespace().collect()
    };
    standard
        .decode(&body)
        .map(|raw| standard.encode(raw))
        .map_err(|_| Failure::usage(format!("{file} is not a PGP public key in binary, armoured or base64 form")))
}

/// A reply that older paths give plainly, and newer ones within an envelope.
fn unwrapped<T: serde::de::DeserializeOwned>(reply: &dewdrop_api::Reply) -> Result<T> {
    let mut value: Value = reply.json()?;
    if let Some(data) = value.get_mut("data").filter(|d| d.is_object()) {
        value = data.take();
    }
    // serde's message may quote the reply, which holds keys.
    serde_json::from_value(value).map_err(|_| Failure::server("the reply is not what this path promises"))
}

/// RFC 3339 as people read it: `24 Nov 26 04:04 UTC`. What is no such time is shown as it is.
fn short_time(text: &str) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts = (
        text.get(2..4),
        text.get(5..7).and_then(|m| m.parse::<usize>().ok()),
        text.get(8..10),
        text.get(11..16),
        text.ends_with('Z'),
    );
    match parts {
        (Some(year), Some(month @ 1..=12), Some(day), Some(time), true) => {
            format!("{day} {} {year} {time} UTC", MONTHS[month - 1])
        }
        _ => text.to_owned(),
    }
}

/// A share given as an argument, from stdin (-), or asked for.
fn share(ctx: &Ctx, given: Option<&str>, what: &str) -> Result<dewdrop_api::SecretText> {
    match given {
        Some("-") => crate::prompt::from_stdin(what),
        Some(text) => Ok(text.trim().into()),
        None => crate::prompt::secret(ctx, what, "pass the key as - to read it from stdin"),
    }
}

/// Reads a file or stdin for a flag that takes either.
fn text_or_stdin(given: &str) -> Result<String> {
    if given == "-" { Ok(input::text_of("-")?.trim().to_owned()) } else { Ok(given.to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_short() {
        assert_eq!(short_time("2026-11-24T03:22:10.096027913Z"), "24 Nov 26 03:22 UTC");
        assert_eq!(short_time("n/a"), "n/a");
    }

    #[test]
    fn pgp_keys_are_read_in_all_forms() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: &[u8]| {
            let file = dir.path().join(name);
            std::fs::write(&file, bytes).unwrap();
            file.to_str().unwrap().to_owned()
        };
        assert_eq!(pgp_key(&write("b", &[1, 2, 3, 255])).unwrap(), "AQID/w==");
        assert_eq!(pgp_key(&write("c", b"AQID/w==\n")).unwrap(), "AQID/w==");
        let armoured = "-----BEGIN PGP PUBLIC KEY BLOCK-----\nVersion: x\n\nAQID\nAQIDBA==\n=abcd\n-----END PGP PUBLIC KEY BLOCK-----\n";
        assert_eq!(pgp_key(&write("d", armoured.as_bytes())).unwrap(), "AQIDAQIDBA==");
        assert!(pgp_key("keybase:me").unwrap_err().to_string().contains("no outside service"));
        assert!(
            pgp_key(&write("e", b"-----BEGIN PGP PRIVATE KEY BLOCK-----")).unwrap_err().to_string().contains("private")
        );
    }
}
