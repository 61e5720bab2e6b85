//! What the access proxy costs, without a cluster: a proxy in a process of its own between a client and stand-ins for its
//! server and for an API server (TLS on both sides, all on loopback). It is for finding where the cost lies, before and after
//! a change; the figures of `docs/performance.md` come from `cargo xtask bench --access`.
//!
//! `cargo run --release -p dewdrop-access --example cost [pods] [watches] [list]`

mod load;
mod stand_in;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use dewdrop_access::{Place, Settings};
use dewdrop_api::{Client, Config};
use dewdrop_core::SystemClock;
use tokio::process::{Child, Command};

use self::load::Load;
use self::stand_in::Town;

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The argument that makes a proxy of this program.
const PROXY: &str = "proxy";
/// For what is measured by time.
const SECONDS: Duration = Duration::from_secs(4);

#[tokio::main]
async fn main() -> Result<()> {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [PROXY, listen, vault, api, dir] => proxy(listen.parse()?, vault, api, Path::new(dir)).await,
        parts => measure(parts).await,
    }
}

async fn proxy(listen: SocketAddr, vault: &str, api: &str, dir: &Path) -> Result<()> {
    let settings = Settings {
        listen,
        health: None,
        hearing: None,
        cluster: stand_in::CLUSTER.to_owned(),
        mount: "access".to_owned(),
        auth_mount: "kubernetes".to_owned(),
        api: Place { address: api.to_owned(), authorities: dir.join("ca.crt"), token: dir.join("token") },
        sign_in: None,
        patience: std::time::Duration::from_secs(30),
    };
    let client = Client::new(Config::new(vault)).await?;
    Ok(dewdrop_access::run(settings, client, SystemClock::shared()).await?)
}

async fn measure(parts: &[&str]) -> Result<()> {
    if let Some(part) = parts.iter().find(|part| !["pods", "watches", "list"].contains(*part)) {
        bail!("there is no part {part}: pods, watches or list");
    }
    let dir = tempfile::tempdir()?;
    let town = Town::open(dir.path()).await?;
    let listen = free_address().await?;
    let child = start(listen, &town, dir.path())?;
    let pid = child.id().context("the proxy is over already")?;
    println!("the proxy is process {pid}");
    let load = Load { address: listen, tls: town.client_tls()?, pid };
    load.wait_until_ready().await?;
    let wants = |part: &str| parts.is_empty() || parts.contains(&part);
    if wants("pods") {
        load.pods(SECONDS).await?;
    }
    if wants("watches") {
        load.watches().await?;
    }
    if wants("list") {
        load.lists().await?;
    }
    println!("{} lines on the record", town.lines());
    Ok(())
}

fn start(listen: SocketAddr, town: &Town, dir: &Path) -> Result<Child> {
    let program: PathBuf = std::env::current_exe()?;
    let mut command = Command::new(program);
    command.args([PROXY, &listen.to_string(), &town.vault, &town.api]).arg(dir).kill_on_drop(true);
    Ok(command.spawn()?)
}

async fn free_address() -> Result<SocketAddr> {
    Ok(tokio::net::TcpListener::bind("127.0.0.1:0").await?.local_addr()?)
}
