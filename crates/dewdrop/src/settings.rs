//! The settings of one run: flags, then `DEWDROP_*`, then `BAO_*`, then `VAULT_*`, then the defaults.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use dewdrop_api::{Config, SecretText, Tls};

use crate::failure::{Failure, Result};
use crate::output::{Format, Out};
use crate::{duration, token_file};

/// The prefixes of our environment, the strongest first.
pub const PREFIXES: [&str; 3] = ["DEWDROP", "BAO", "VAULT"];

/// The flags that every command takes.
#[derive(Debug, Args)]
pub struct GlobalArgs {
    /// Address of the server: https://HOST:PORT or unix:///PATH [env: DEWDROP_ADDR; default: https://127.0.0.1:8200]
    #[arg(long, global = true, value_name = "URL", help_heading = "Server")]
    pub address: Option<String>,
    /// Namespace that all paths are below [env: DEWDROP_NAMESPACE]
    #[arg(long, alias = "ns", global = true, value_name = "PATH", help_heading = "Server")]
    pub namespace: Option<String>,
    /// Wrap the reply in a single-use token that lives so long [env: DEWDROP_WRAP_TTL]
    #[arg(long, global = true, value_name = "DURATION", help_heading = "Server")]
    pub wrap_ttl: Option<String>,
    /// A further HTTP header, `name=value`; may be repeated
    #[arg(long, global = true, value_name = "NAME=VALUE", help_heading = "Server")]
    pub header: Vec<String>,
    /// A second factor, `method_id[:passcode]`; may be repeated [env: DEWDROP_MFA]
    #[arg(long, global = true, value_name = "FACTOR", help_heading = "Server")]
    pub mfa: Vec<String>,
    /// File with the CA certificates to trust (PEM) [env: DEWDROP_CACERT]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server", hide_short_help = true)]
    pub ca_cert: Option<PathBuf>,
    /// Directory with such files [env: DEWDROP_CAPATH]
    #[arg(long, global = true, value_name = "DIR", help_heading = "Server", hide_short_help = true)]
    pub ca_path: Option<PathBuf>,
    /// Our own certificate for TLS (PEM) [env: DEWDROP_CLIENT_CERT]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server", hide_short_help = true)]
    pub client_cert: Option<PathBuf>,
    /// The key of it (PEM) [env: DEWDROP_CLIENT_KEY]
    #[arg(long, global = true, value_name = "FILE", help_heading = "Server", hide_short_help = true)]
    pub client_key: Option<PathBuf>,
    /// Name to expect in the server's certificate [env: DEWDROP_TLS_SERVER_NAME]
    #[arg(long, global = true, value_name = "NAME", help_heading = "Server", hide_short_help = true)]
    pub tls_server_name: Option<String>,
    /// Trust any certificate (anybody in between can read along) [env: DEWDROP_SKIP_VERIFY]
    #[arg(long, global = true, help_heading = "Server", hide_short_help = true)]
    pub tls_skip_verify: bool,
    /// Do not follow a redirect to the active server [env: DEWDROP_DISABLE_REDIRECTS]
    #[arg(long, global = true, help_heading = "Server", hide_short_help = true)]
    pub disable_redirects: bool,
    /// Never ask at the terminal
    #[arg(long, global = true, help_heading = "Server", hide_short_help = true)]
    pub non_interactive: bool,
    /// Print the curl command for the request, and do not send it
    #[arg(long, global = true, help_heading = "Server", hide_short_help = true)]
    pub output_curl_string: bool,
    /// Print the policy that the request needs, and do not send it
    #[arg(long, global = true, help_heading = "Server", hide_short_help = true)]
    pub output_policy: bool,
    /// table, json, yaml, or (for read) raw [env: DEWDROP_FORMAT]
    #[arg(long, global = true, value_name = "FORMAT", help_heading = "Output")]
    pub format: Option<String>,
    /// Print this one field, without a line feed
    #[arg(long, global = true, value_name = "NAME", help_heading = "Output")]
    pub field: Option<String>,
}

/// The settings, resolved.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How to reach the server.
    pub config: Config,
    /// How to print.
    pub out: Out,
    /// Wrap replies for so long.
    pub wrap_ttl: Option<String>,
    /// Show the request in place of sending it.
    pub show: Option<Show>,
    /// Whether the terminal may be asked.
    pub interactive: bool,
    /// Only print addresses that a browser is to open (`DEWDROP_SKIP_BROWSER`).
    pub skip_browser: bool,
    /// Where the token came from.
    pub token_source: TokenSource,
}

/// What to show in place of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// A curl command.
    Curl,
    /// A policy.
    Policy,
}

/// Where the token came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TokenSource {
    /// The named variable's prefix (`DEWDROP`, `BAO`, `VAULT`).
    Environment(&'static str),
    /// The token helper's file, read when it is needed.
    File,
}

/// A variable under the strongest of our prefixes that has it, with that prefix. Empty is not set.
pub fn variable(name: &str) -> Option<(&'static str, String)> {
    PREFIXES.into_iter().find_map(|prefix| {
        let value = std::env::var(format!("{prefix}_{name}")).ok().filter(|v| !v.is_empty())?;
        Some((prefix, value))
    })
}

fn setting(name: &str) -> Option<String> {
    variable(name).map(|(_, value)| value)
}

fn truth(name: &str) -> Result<bool> {
    match variable(name) {
        None => Ok(false),
        Some((prefix, value)) => match value.to_ascii_lowercase().as_str() {
            "1" | "t" | "true" | "yes" => Ok(true),
            "0" | "f" | "false" | "no" => Ok(false),
            _ => Err(Failure::usage(format!("{prefix}_{name} is {value:?}, which is neither true nor false"))),
        },
    }
}

fn pair(text: &str) -> Result<(String, String)> {
    let (name, value) = text.split_once('=').ok_or_else(|| Failure::usage("a header is not of the form name=value"))?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

impl Settings {
    /// Resolves flags and environment.
    pub fn resolve(flags: &GlobalArgs) -> Result<Self> {
        let path = |flag: &Option<PathBuf>, name: &str| flag.clone().or_else(|| setting(name).map(PathBuf::from));
        let address =
            flags.address.clone().or_else(|| setting("ADDR")).unwrap_or_else(|| "https://127.0.0.1:8200".into());
        let mut config = Config::new(address);
        config.namespace = flags.namespace.clone().or_else(|| setting("NAMESPACE")).unwrap_or_default();
        config.headers = flags.header.iter().map(|h| pair(h)).collect::<Result<_>>()?;
        config.mfa = if flags.mfa.is_empty() { setting("MFA").into_iter().collect() } else { flags.mfa.clone() };
        config.tls = Tls {
            ca_cert: path(&flags.ca_cert, "CACERT"),
            ca_path: path(&flags.ca_path, "CAPATH"),
            client_cert: path(&flags.client_cert, "CLIENT_CERT"),
            client_key: path(&flags.client_key, "CLIENT_KEY"),
            server_name: flags.tls_server_name.clone().or_else(|| setting("TLS_SERVER_NAME")),
            skip_verify: flags.tls_skip_verify || truth("SKIP_VERIFY")?,
        };
        config.follow_redirect = !(flags.disable_redirects || truth("DISABLE_REDIRECTS")?);
        if let Some(limit) = setting("CLIENT_TIMEOUT") {
            config.timeout = Duration::from_secs(duration::seconds(&limit)?);
        }
        if let Some(count) = setting("MAX_RETRIES") {
            config.max_retries = count
                .parse()
                .map_err(|_| Failure::usage(format!("MAX_RETRIES is {count:?}, which is not a number")))?;
        }
        let token_source = match variable("TOKEN") {
            Some((prefix, token)) => {
                config.token = Some(SecretText::new(token.trim().to_owned()));
                TokenSource::Environment(prefix)
            }
            None => TokenSource::File,
        };
        let format = flags.format.clone().or_else(|| setting("FORMAT")).unwrap_or_default().parse::<Format>()?;
        let wrap_ttl = flags.wrap_ttl.as_deref().map(duration::for_api).transpose()?;
        let show = match (flags.output_curl_string, flags.output_policy) {
            (true, true) => return Err(Failure::usage("-output-curl-string and -output-policy exclude each other")),
            (true, false) => Some(Show::Curl),
            (false, true) => Some(Show::Policy),
            (false, false) => None,
        };
        let out = Out { format, field: flags.field.clone() };
        let (interactive, skip_browser) = (!flags.non_interactive, truth("SKIP_BROWSER")?);
        Ok(Self { config, out, wrap_ttl, show, interactive, skip_browser, token_source })
    }

    /// The token in force: from the environment, else from the token helper's file.
    pub fn token(&self) -> Result<Option<SecretText>> {
        match self.token_source {
            TokenSource::Environment(_) => Ok(self.config.token.clone()),
            TokenSource::File => token_file::load(),
        }
    }

    /// The wrapping time that the environment sets for the calls that make or wrap tokens.
    pub fn wrap_ttl_for_tokens(&self) -> Result<Option<String>> {
        match &self.wrap_ttl {
            Some(ttl) => Ok(Some(ttl.clone())),
            None => setting("WRAP_TTL").as_deref().map(duration::for_api).transpose(),
        }
    }
}
