//! `-dev`: a server that is initialized and unsealed by itself, and says how to use it.

use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use dewdrop_core::{Fault, Secret};

use super::Dev;
use crate::http::Bound;
use crate::ids;
use crate::seal::{Eyes, InitAsk, SealConfig, initialize, unseal_with};
use crate::server::Server;

/// Where a kept development server keeps what opens it.
const KEPT: &str = "dev-keys.json";

/// Initializes or opens the server, and prints what OpenBao prints.
///
/// # Errors
/// The store's, in words.
pub async fn open(server: &Arc<Server>, dev: &Dev, listeners: &[Bound]) -> Result<()> {
    let (unseal_key, root_token) = match SealConfig::load(&*server.store).await.map_err(words)? {
        Some(_) => reopen(server, dev).await?,
        None => first(server, dev).await?,
    };
    let scheme = if dev.options.tls.is_some() { "https" } else { "http" };
    let trust = dev.options.tls.as_ref().map_or_else(String::new, |(certificate, _)| {
        format!("    $ export DEWDROP_CACERT='{}'\n", certificate.with_file_name("dewdrop-ca.pem").display())
    });
    let address = listeners.first().and_then(Bound::address).unwrap_or(dev.options.address);
    let kept = match dev.keep_token.map(|keep| keep(root_token.expose())) {
        None => false,
        Some(Ok(())) => true,
        Some(Err(why)) => {
            tracing::warn!("the root token was not kept for the command line: {why}");
            false
        }
    };
    let kept = if kept {
        " The root token is already authenticated to the CLI, so you can immediately begin using Dewdrop."
    } else {
        ""
    };
    print(&format!(
        "==> Dewdrop server started!\n\n\
         WARNING! dev mode is enabled! In this mode, Dewdrop starts unsealed with a single unseal key{}.{kept}\n\n\
         You may need to set the following environment variables:\n\n    \
         $ export DEWDROP_ADDR='{scheme}://{address}'\n{trust}\n\
         The unseal key and root token are displayed below in case you want to seal/unseal the server or re-authenticate.\n\n\
         Unseal Key: {}\nRoot Token: {}\n\n\
         Development mode should NOT be used in production installations!\n\n",
        if dev.options.data_dir.is_some() { "" } else { " and keeps everything in memory" },
        STANDARD.encode(unseal_key.expose()),
        root_token.expose(),
    ));
    Ok(())
}

type Keys = (Secret<Vec<u8>>, Secret<String>);

async fn first(server: &Arc<Server>, dev: &Dev) -> Result<Keys> {
    let token = match &dev.root_token {
        Some(token) => token.clone(),
        None => format!("s.{}", ids::base62(24).map_err(words)?),
    };
    let ask = InitAsk { shares: 1, threshold: 1 };
    let made = initialize(server, ask, &Eyes::default(), Some(&token)).await.map_err(words)?;
    let share = made.shares.into_iter().next().ok_or_else(|| anyhow!("no unseal key was made"))?;
    unseal_with(server, Secret::new(share.expose().clone())).await.map_err(words)?;
    if let Some(folder) = &dev.options.data_dir {
        let kept = serde_json::json!({ "unseal_key": STANDARD.encode(share.expose()), "root_token": token });
        let file = folder.join(KEPT);
        write_private(&file, kept.to_string().as_bytes()).with_context(|| format!("write {}", file.display()))?;
    }
    Ok((share, Secret::new(token)))
}

/// A development server that was kept with `-dev-data-dir`.
async fn reopen(server: &Arc<Server>, dev: &Dev) -> Result<Keys> {
    let folder = dev.options.data_dir.as_ref().ok_or_else(|| anyhow!("the storage is initialized already"))?;
    let file = folder.join(KEPT);
    let text = std::fs::read(&file).with_context(|| format!("read {}", file.display()))?;
    let kept: serde_json::Value =
        serde_json::from_slice(&text).with_context(|| format!("{} is damaged", file.display()))?;
    let field = |name: &str| {
        kept.get(name)
            .and_then(|v| v.as_str())
            .map(str::to_owned)
            .ok_or_else(|| anyhow!("{} lacks {name}", file.display()))
    };
    let share = STANDARD.decode(field("unseal_key")?)?;
    unseal_with(server, Secret::new(share.clone())).await.map_err(words)?;
    Ok((Secret::new(share), Secret::new(field("root_token")?)))
}

fn write_private(file: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut open = std::fs::OpenOptions::new();
    open.write(true).create(true).truncate(true).mode(0o600).open(file)?.write_all(bytes)
}

fn words(fault: Fault) -> anyhow::Error {
    anyhow!("{} {}", fault.told, fault.known)
}

#[expect(clippy::print_stdout, reason = "these lines are what whoever starts a development server waits for")]
fn print(text: &str) {
    print!("{text}");
}
