//! What the webhook has put into the container's environment. No secret is among it.

use std::path::PathBuf;

use dewdrop_api::credentials::Credential;
use dewdrop_api::variables::Variables;
use rustix::process::Signal;

use crate::fail::Fail;

/// All variables of ours. The command does not get them.
pub const OURS: &[&str] = &[
    "DEWDROP_ADDR",
    "DEWDROP_AUTH_MOUNT",
    "DEWDROP_CACERT",
    "DEWDROP_CACERT_PEM",
    "DEWDROP_CREDENTIALS",
    "DEWDROP_NAMESPACE",
    "DEWDROP_ROLE",
    "DEWDROP_SIGNAL",
    "DEWDROP_TOKEN_FILE",
    "DEWDROP_VARIABLES",
];
/// The authorities of most images, when the pod names none.
const SYSTEM_CA: &str = "/etc/ssl/certs/ca-certificates.crt";

/// What is asked for.
#[derive(Debug)]
pub struct Settings {
    /// The server's address, without a slash at its end.
    pub address: String,
    /// PEM of the authorities that its certificate comes from; empty for http.
    pub ca: String,
    /// The server's namespace; empty is the root.
    pub namespace: String,
    /// Where the Kubernetes auth method is mounted.
    pub auth_mount: String,
    /// The role.
    pub role: String,
    /// What to fetch.
    pub credentials: Vec<Credential>,
    /// How the variables of the command are called.
    pub variables: Variables,
    /// The container's token.
    pub token_file: PathBuf,
    /// Sent to the command when its credential is about to end for good.
    pub signal: Option<Signal>,
}

// === impl Settings ===

impl Settings {
    /// Reads the environment.
    ///
    /// # Errors
    /// Every mistake that it holds.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Fail> {
        let text = |name: &str| variable(name).map(|text| text.trim().to_owned()).unwrap_or_default();
        let mut wrong = Vec::new();
        let mut needed = |name: &str| {
            let found = text(name);
            if found.is_empty() {
                wrong.push(format!("{name} is not set"));
            }
            found
        };
        let address = needed("DEWDROP_ADDR").trim_end_matches('/').to_owned();
        let (role, lines, token_file) =
            (needed("DEWDROP_ROLE"), needed("DEWDROP_CREDENTIALS"), needed("DEWDROP_TOKEN_FILE"));
        let (credentials, more) = Credential::read_all(&lines);
        wrong.extend(more);
        let (named, more) = Variables::read_named(&text("DEWDROP_VARIABLES"), &credentials);
        wrong.extend(more);
        let is_tls = address.starts_with("https://");
        if !is_tls && !address.starts_with("http://") && !address.is_empty() {
            wrong.push("DEWDROP_ADDR must begin with https:// (or http://)".into());
        }
        let ca = if is_tls { ca(&text, &mut wrong) } else { String::new() };
        let signal = signal(&text("DEWDROP_SIGNAL"), &mut wrong);
        if !wrong.is_empty() {
            let why = wrong.join("; ");
            return Err(Fail::Credential(format!("the command was not started: its environment: {why}")));
        }
        Ok(Self {
            address,
            ca,
            namespace: text("DEWDROP_NAMESPACE").trim_matches('/').to_owned(),
            auth_mount: Some(text("DEWDROP_AUTH_MOUNT").trim_matches('/').to_owned())
                .filter(|mount| !mount.is_empty())
                .unwrap_or_else(|| "kubernetes".into()),
            role,
            credentials,
            variables: if named.is_empty() { Variables::All } else { Variables::Named(named) },
            token_file: token_file.into(),
            signal,
        })
    }
}

/// The authorities: as text, in a file, or those that the image trusts.
fn ca(text: &impl Fn(&str) -> String, wrong: &mut Vec<String>) -> String {
    let (pem, file) = (text("DEWDROP_CACERT_PEM"), text("DEWDROP_CACERT"));
    if !pem.is_empty() {
        return pem;
    }
    let file = if file.is_empty() { SYSTEM_CA } else { &file };
    std::fs::read_to_string(file).unwrap_or_else(|e| {
        wrong.push(format!("the server's CA: DEWDROP_CACERT_PEM is not set, and {file} cannot be read ({e})"));
        String::new()
    })
}

fn signal(text: &str, wrong: &mut Vec<String>) -> Option<Signal> {
    let signal = match text.trim_start_matches("SIG") {
        "" => return None,
        "HUP" => Signal::HUP,
        "INT" => Signal::INT,
        "QUIT" => Signal::QUIT,
        "TERM" => Signal::TERM,
        "USR1" => Signal::USR1,
        "USR2" => Signal::USR2,
        _ => {
            wrong.push("DEWDROP_SIGNAL must be HUP, INT, QUIT, TERM, USR1 or USR2".into());
            return None;
        }
    };
    Some(signal)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<Settings, Fail> {
        Settings::read(|name| pairs.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
    }

    const LEAST: &[(&str, &str)] = &[
        ("DEWDROP_ADDR", "http://10.0.0.1:8200/"),
        ("DEWDROP_ROLE", "app"),
        ("DEWDROP_CREDENTIALS", "db = database/creds/app"),
        ("DEWDROP_TOKEN_FILE", "/t"),
    ];

    #[test]
    fn the_least_and_its_defaults() {
        let settings = read(LEAST).unwrap();
        assert_eq!((settings.address.as_str(), settings.auth_mount.as_str()), ("http://10.0.0.1:8200", "kubernetes"));
        assert_eq!((settings.namespace.as_str(), settings.signal, settings.credentials.len()), ("", None, 1));
        let more = [LEAST, &[("DEWDROP_SIGNAL", "SIGTERM"), ("DEWDROP_AUTH_MOUNT", "k8s/blue/")]].concat();
        let settings = read(&more).unwrap();
        assert_eq!((settings.signal, settings.auth_mount.as_str()), (Some(Signal::TERM), "k8s/blue"));
    }

    #[test]
    fn every_mistake_is_told_at_once() {
        let told = read(&[("DEWDROP_ADDR", "vault:8200"), ("DEWDROP_SIGNAL", "KILL"), ("DEWDROP_CREDENTIALS", "x")]);
        let told = told.unwrap_err().to_string();
        for word in ["https://", "DEWDROP_ROLE", "DEWDROP_TOKEN_FILE", "DEWDROP_SIGNAL", "`name = path`"] {
            assert!(told.contains(word), "{word}: {told}");
        }
    }

    #[test]
    fn a_server_with_tls_needs_an_authority() {
        let tls = |more: (&'static str, &'static str)| {
            let mut all = LEAST.to_vec();
            all[0] = ("DEWDROP_ADDR", "https://dewdrop:8200");
            all.push(more);
            read(&all)
        };
        assert_eq!(tls(("DEWDROP_CACERT_PEM", "PEM")).unwrap().ca, "PEM");
        assert!(tls(("DEWDROP_CACERT", "/no/such/file")).unwrap_err().to_string().contains("/no/such/file"));
    }
}
