//! `dewdrop server`: reads its flags and runs the server.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, Result, bail};
use dewdrop_api::SecretText;
use dewdrop_server::config::DevOptions;
use dewdrop_server::run::{Dev, KeepToken, LogFlags, Start, run as serve};

/// What the flags say.
#[derive(Default)]
struct Flags {
    config: Vec<PathBuf>,
    dev: bool,
    root_token: Option<String>,
    address: Option<SocketAddr>,
    data_dir: Option<PathBuf>,
    tls: bool,
    cert_dir: Option<PathBuf>,
    no_store: bool,
    log: LogFlags,
}

/// Runs a server until it is told to stop.
///
/// # Errors
/// Flags that are not known, or whatever keeps the server from starting.
pub fn run(args: &[String]) -> Result<()> {
    if args.iter().any(|arg| matches!(arg.trim_start_matches('-'), "h" | "help")) {
        help();
        return Ok(());
    }
    // Whole huge pages for a small heap would triple the server's idle memory. A kernel that refuses costs just that.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    let flags = parse(args)?;
    let start = start(&flags)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(serve(start, flags.log))
}

fn parse(args: &[String]) -> Result<Flags> {
    let mut flags = Flags { root_token: env("DEV_ROOT_TOKEN_ID"), ..Flags::default() };
    if let Some(address) = env("DEV_LISTEN_ADDRESS") {
        flags.address = Some(address_of(&address)?);
    }
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let name =
            arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).with_context(|| format!("{arg:?} is no flag"))?;
        let (name, inline) = name.split_once('=').map_or((name, None), |(name, value)| (name, Some(value.to_owned())));
        let switch = |inline: Option<&String>| inline.is_none_or(|value| value != "false");
        let mut value =
            || inline.clone().or_else(|| rest.next().cloned()).with_context(|| format!("-{name} needs a value"));
        match name {
            "config" => flags.config.push(value()?.into()),
            "dev" => flags.dev = switch(inline.as_ref()),
            "dev-root-token-id" => (flags.dev, flags.root_token) = (true, Some(value()?)),
            "dev-listen-address" => (flags.dev, flags.address) = (true, Some(address_of(&value()?)?)),
            "dev-data-dir" => (flags.dev, flags.data_dir) = (true, Some(value()?.into())),
            "dev-tls" => (flags.dev, flags.tls) = (switch(inline.as_ref()), switch(inline.as_ref())),
            "dev-tls-cert-dir" => flags.cert_dir = Some(value()?.into()),
            "dev-no-store-token" => flags.no_store = switch(inline.as_ref()),
            "log-level" => flags.log.level = Some(read(name, &value()?)?),
            "log-format" => flags.log.format = Some(read(name, &value()?)?),
            "log-file" => flags.log.file = Some(value()?.into()),
            other => bail!("-{other} is not known; `dewdrop server -help` shows what is"),
        }
    }
    if let (false, true, Some(path)) = (flags.dev, flags.config.is_empty(), env("CONFIG_PATH")) {
        flags.config.push(path.into());
    }
    Ok(flags)
}

fn read<T: FromStr<Err = String>>(name: &str, text: &str) -> Result<T> {
    text.parse().map_err(|why| anyhow::anyhow!("-{name}: {why}"))
}

fn start(flags: &Flags) -> Result<Start> {
    match (flags.dev, flags.config.is_empty()) {
        (true, false) => bail!("-dev and -config do not go together: -dev needs no file"),
        (false, true) => bail!("say -config FILE, or -dev for a server to try things on"),
        (false, false) => Ok(Start::Files(flags.config.clone())),
        (true, true) => {
            let address = flags.address.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8200)));
            let tls = if flags.tls {
                Some(dewdrop_server::run::dev_certificate(flags.cert_dir.as_deref(), address)?)
            } else {
                None
            };
            let options = DevOptions { address, data_dir: flags.data_dir.clone(), tls };
            let keep_token = (!flags.no_store).then_some(keep as KeepToken);
            Ok(Start::Dev(Dev { options, root_token: flags.root_token.clone(), keep_token }))
        }
    }
}

/// Puts the root token where the command line looks for it.
fn keep(token: &str) -> Result<(), String> {
    crate::token_file::store(&SecretText::new(token.to_owned())).map_err(|failure| failure.to_string())
}

fn address_of(text: &str) -> Result<SocketAddr> {
    text.parse().with_context(|| format!("{text:?} is no address; say it like 127.0.0.1:8200"))
}

/// The variable of Dewdrop wins over that of OpenBao, and that over Vault's.
fn env(name: &str) -> Option<String> {
    ["DEWDROP", "BAO", "VAULT"].iter().find_map(|head| std::env::var(format!("{head}_{name}")).ok())
}

fn help() {
    crate::output::say(
        "Usage: dewdrop server -config FILE | -dev [options]\n\n\
         Runs a server until it is told to stop (SIGTERM, Ctrl-C). SIGHUP reads the certificates and the log level anew.\n\n\
         \x20 -config FILE              Configuration in OpenBao's language, HCL or JSON; may be given several times\n\
         \x20 -log-level LEVEL          error, warn, info, debug or trace\n\
         \x20 -log-format FORMAT        standard or json\n\
         \x20 -log-file FILE            Where the log goes, in place of standard error\n\n\
         To try things on; initialized and unsealed by itself:\n\
         \x20 -dev                      In memory, at 127.0.0.1:8200\n\
         \x20 -dev-root-token-id TOKEN  The root token's text\n\
         \x20 -dev-listen-address ADDR  Another address\n\
         \x20 -dev-data-dir FOLDER      Keeps everything in this folder\n\
         \x20 -dev-no-store-token       Leaves the token file of the command line (~/.vault-token) alone\n\
         \x20 -dev-tls                  HTTPS with a certificate made for it\n\
         \x20 -dev-tls-cert-dir FOLDER  Where that certificate is put\n",
    );
}
