//! Plays a conversation against one side and notes its answers.

mod passcode;
mod text;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use serde_json::Value;

use super::diff::{Answer, Body};
use super::script::{Act, Capture, Conversation, ServerKind, Step, Until, substitute};
use super::side::Side;
use super::{http, normal};
use crate::parts::TempDir;
use crate::parts::postgres::{PASSWORD, SUPERUSER};
use passcode::passcode;
use text::{first_error_line, squeeze, unmask, words};

/// What one side said to one conversation.
#[derive(Debug)]
pub struct Transcript {
    /// One per step, in order.
    pub answers: Vec<Noted>,
    /// Why it could not be played at all.
    pub failure: Option<String>,
}

/// One answer, for comparing and for showing.
#[derive(Debug)]
pub struct Noted {
    /// The request as it went out.
    pub asked: String,
    /// Normalised.
    pub answer: Answer,
}

/// Longest time that `until` asks again.
const UNTIL_LOOKS: usize = 100;
const UNTIL_PAUSE: Duration = Duration::from_millis(50);

/// Plays all steps, and the cleaning up, whatever the answers are.
pub fn play(side: &mut Side, conversation: &Conversation, bao: &std::path::Path) -> Transcript {
    match try_play(side, conversation, bao) {
        Ok(answers) => Transcript { answers, failure: None },
        Err(error) => Transcript { answers: Vec::new(), failure: Some(format!("{error:#}")) },
    }
}

fn try_play(side: &mut Side, conversation: &Conversation, bao: &std::path::Path) -> Result<Vec<Noted>> {
    let own = match conversation.server {
        ServerKind::Dev => None,
        kind => {
            Some(side.own(kind)?.ok_or_else(|| anyhow!("needs a server of its own, which a running server is not"))?)
        }
    };
    let mut player = Player { values: BTreeMap::new(), bao: bao.to_path_buf(), home: None };
    player.name_mounts(conversation);
    if uses_postgres(conversation) {
        player.values.insert("PG".into(), format!("127.0.0.1:{}", side.postgres()?.port));
        player.values.insert("PGUSER".into(), SUPERUSER.into());
        player.values.insert("PGPASS".into(), PASSWORD.into());
    }
    let pki = side.pki.clone();
    let endpoint = match &own {
        Some(endpoint) => endpoint,
        None => side.dev()?,
    };
    player.values.insert("ADDR".into(), endpoint.addr.clone());
    if !endpoint.key.is_empty() {
        player.values.insert("UNSEAL_KEY".into(), endpoint.key.clone());
    }
    if !endpoint.tls.is_empty() {
        player.values.insert("TLS".into(), endpoint.tls.clone());
        player.values.insert("PKI".into(), pki.folder()?);
        for (name, file) in [("CA", "ca.pem"), ("LEAF", "ada.pem"), ("CRL", "crl.pem"), ("OTHER", "other.pem")] {
            player.values.insert(name.into(), pki.json(file)?);
        }
    }
    let addr = endpoint.addr.clone();
    let root = endpoint.root.clone();
    let mut answers = Vec::new();
    for step in conversation.steps.iter().chain(&conversation.after) {
        let noted = match &step.act {
            Act::Sql(sql) => player.sql(side, sql),
            _ => player.step(&addr, &root, step),
        };
        answers.push(noted);
    }
    answers.truncate(conversation.steps.len());
    Ok(answers)
}

fn uses_postgres(conversation: &Conversation) -> bool {
    let text = |step: &Step| match &step.act {
        Act::Http { body, .. } => body.as_deref().is_some_and(|body| body.contains("$PG")),
        Act::Cli(command) => command.contains("$PG"),
        Act::Sql(_) => true,
        Act::Wait(_) => false,
    };
    conversation.steps.iter().chain(&conversation.after).any(text)
}

struct Player {
    values: BTreeMap<String, String>,
    bao: PathBuf,
    // The command line keeps its token there; another one's must not be found.
    home: Option<TempDir>,
}

impl Player {
    /// `$ME` is the conversation's name, `$KV2` its mount of the kind `kv2`, and so on: the same on both sides.
    fn name_mounts(&mut self, conversation: &Conversation) {
        let me: String = conversation.name.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
        let me = format!("{}-{me}", conversation.area);
        for kind in ["kv", "kv2", "approle", "userpass", "cert", "jwt", "oidc", "kubernetes", "k8s", "db"] {
            self.values.insert(kind.to_uppercase(), format!("{me}-{kind}"));
        }
        self.values.insert("ME".into(), me);
    }

    fn fill(&self, text: &str) -> String {
        substitute(text, |name| self.values.get(name).cloned())
    }

    /// This side's values, longest first, for the normaliser. Short ones would hit by chance.
    fn known(&self) -> Vec<(String, String)> {
        let fixed = |name: &str| {
            name == "ME"
                || matches!(
                    name,
                    "KV" | "KV2" | "APPROLE" | "USERPASS" | "CERT" | "JWT" | "KUBERNETES" | "K8S" | "DB" | "PGUSER"
                )
        };
        let mut known: Vec<(String, String)> = self
            .values
            .iter()
            .filter(|(name, value)| !fixed(name) && value.len() >= 5 && !value.chars().all(|c| c.is_ascii_digit()))
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        known.sort_by(|a, b| b.1.len().cmp(&a.1.len()).then_with(|| a.cmp(b)));
        known.dedup_by(|a, b| a.1 == b.1);
        known
    }

    fn step(&mut self, addr: &str, root: &str, step: &Step) -> Noted {
        match &step.act {
            Act::Wait(seconds) => {
                std::thread::sleep(Duration::from_secs_f64(*seconds));
                Noted {
                    asked: format!("WAIT {seconds}"),
                    answer: Answer { status: 0, headers: Vec::new(), body: Body::Empty },
                }
            }
            Act::Cli(command) => self.cli(addr, root, &self.fill(command), step),
            Act::Http { method, path, body } => self.http(addr, root, step, method, path, body.as_deref()),
            // Asked by the caller, who has the PostgreSQL.
            Act::Sql(sql) => {
                Noted { asked: sql.clone(), answer: Answer { status: 0, headers: Vec::new(), body: Body::Empty } }
            }
        }
    }

    fn http(&mut self, addr: &str, root: &str, step: &Step, method: &str, path: &str, body: Option<&str>) -> Noted {
        let path = self.fill(path);
        let target = if path.starts_with('/') { path } else { format!("/v1/{path}") };
        let body = body.map(|body| self.fill(body));
        let mut headers = Vec::new();
        match step.options.token.as_deref() {
            Some("none") => {}
            Some(token) => headers.push(("X-Vault-Token".to_owned(), self.fill(token))),
            None if root.is_empty() => {}
            None => headers.push(("X-Vault-Token".to_owned(), root.to_owned())),
        }
        if let Some(namespace) = &step.options.namespace {
            headers.push(("X-Vault-Namespace".to_owned(), self.fill(namespace)));
        }
        headers.extend(step.options.headers.iter().map(|(name, value)| (name.clone(), self.fill(value))));
        let mut asked =
            format!("{method} {target}{}", body.as_deref().map(|body| format!(" {body}")).unwrap_or_default());
        let mut reply = http::send(addr, method, &target, &headers, body.as_deref().map(str::as_bytes));
        for _ in 0..UNTIL_LOOKS {
            match (&reply, &step.options.until) {
                (Ok(got), Some(wanted)) if !self.reached(got, wanted) => {
                    std::thread::sleep(UNTIL_PAUSE);
                    reply = http::send(addr, method, &target, &headers, body.as_deref().map(str::as_bytes));
                }
                _ => break,
            }
        }
        if let (Ok(got), Some(wanted)) = (&reply, &step.options.until)
            && !self.reached(got, wanted)
        {
            asked.push_str(&format!(" (never reached: {wanted:?})"));
        }
        let answer = match reply {
            Ok(reply) => self.take(&reply, &step.captures),
            Err(error) => Answer { status: 0, headers: Vec::new(), body: Body::Text(format!("no answer: {error:#}")) },
        };
        Noted { asked, answer }
    }

    fn reached(&self, reply: &http::Reply, wanted: &Until) -> bool {
        match wanted {
            Until::Status(status) => reply.status == *status,
            Until::Value(path, value) => {
                let body: Option<Value> = serde_json::from_slice(&reply.body).ok();
                body.and_then(|body| self.find(&body, path).ok()).is_some_and(|found| found == *value)
            }
        }
    }

    /// Captures first (from the raw body), then normalises.
    fn take(&mut self, reply: &http::Reply, captures: &[Capture]) -> Answer {
        let parsed: Option<Value> = serde_json::from_slice(&reply.body).ok();
        for capture in captures {
            let found = parsed.as_ref().map(|body| self.find(body, &capture.from));
            // A value that is missing must not become an empty string: the next path would mean something else.
            let value = found.and_then(Result::ok).unwrap_or_else(|| format!("missing-{}", capture.name));
            self.values.insert(capture.name.clone(), value);
        }
        let known = self.known();
        let body = match (parsed, std::str::from_utf8(&reply.body)) {
            _ if reply.body.is_empty() => Body::Empty,
            (Some(json), _) if !json.is_number() => Body::Json(normal::json(&json, &known)),
            (_, Ok(text)) => Body::Text(normal::string(text, &known)),
            (_, Err(_)) => Body::Binary(reply.body.iter().take(16).copied().collect()),
        };
        let headers = reply.headers.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        Answer { status: reply.status, headers, body }
    }

    /// `data.keys.0`, `xor encoded_token $OTP`, or `totp data.url 1`. A `\.` in a path is a dot within a key.
    fn find(&self, body: &Value, from: &str) -> Result<String> {
        if let Some(rest) = from.strip_prefix("xor ") {
            let (path, otp) = rest.split_once(' ').ok_or_else(|| anyhow!("`xor path $OTP`"))?;
            return unmask(&self.find(body, path)?, &self.fill(otp));
        }
        if let Some(rest) = from.strip_prefix("totp ") {
            let (path, beside) = rest.split_once(' ').ok_or_else(|| anyhow!("`totp path STEPS`"))?;
            return passcode(&self.find(body, path)?, beside.parse()?);
        }
        let path = self.fill(from);
        let mut here = body;
        for part in path.split('.') {
            let next = match here {
                Value::Array(items) => part.parse::<usize>().ok().and_then(|index| items.get(index)),
                other => other.get(part),
            };
            here = next.ok_or_else(|| anyhow!("the answer has no {path}"))?;
        }
        Ok(match here {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        })
    }

    fn sql(&self, side: &mut Side, sql: &str) -> Noted {
        let asked = self.fill(sql);
        // `as user password: statement` tries a credential out.
        let result = side.postgres().and_then(|postgres| {
            match asked.strip_prefix("as ").and_then(|rest| rest.split_once(": ")) {
                Some((login, statement)) => {
                    let (user, password) =
                        login.split_once(' ').ok_or_else(|| anyhow!("`SQL as user password: statement`"))?;
                    postgres.psql_as(user, password, statement)
                }
                None => postgres.psql(&asked),
            }
        });
        let (status, text) = match result {
            Ok(rows) => (0, rows),
            Err(error) => (1, first_error_line(&format!("{error:#}"))),
        };
        let body = Body::Text(normal::string(&text, &self.known()));
        Noted { asked: format!("SQL {asked}"), answer: Answer { status, headers: Vec::new(), body } }
    }

    /// The real `bao` command line, pointed at this side.
    fn cli(&mut self, addr: &str, root: &str, command: &str, step: &Step) -> Noted {
        let (code, text) = match self.run_cli(addr, root, command, step) {
            Ok((code, text)) => (code, text),
            Err(error) => (999, format!("{error:#}")),
        };
        let parsed: Option<Value> = serde_json::from_str(&text).ok();
        let reply = http::Reply { status: code, headers: Vec::new(), body: text.into_bytes() };
        let mut answer = self.take(&reply, &step.captures);
        if parsed.is_none()
            && let Body::Text(text) = &answer.body
        {
            // Columns are as wide as the longest value, which differs with the tokens and host names.
            answer.body = Body::Text(text.lines().map(squeeze).collect::<Vec<_>>().join("\n"));
        }
        Noted { asked: format!("bao {command}"), answer }
    }

    fn run_cli(&mut self, addr: &str, root: &str, command: &str, step: &Step) -> Result<(u16, String)> {
        let token = step.options.token.as_deref().map_or_else(|| root.to_owned(), |token| self.fill(token));
        let home = match self.home.take() {
            Some(home) => home,
            None => TempDir::new("compat-home")?,
        };
        let mut bao = Command::new(&self.bao);
        bao.args(words(command)).env("BAO_ADDR", addr).env("VAULT_ADDR", addr).env("HOME", home.path());
        self.home = Some(home);
        if token != "none" && !token.is_empty() {
            bao.env("BAO_TOKEN", token);
        }
        if let Some(namespace) = &step.options.namespace {
            bao.env("BAO_NAMESPACE", self.fill(namespace));
        }
        bao.stdout(Stdio::piped()).stderr(Stdio::piped()).stdin(Stdio::piped());
        let mut child = bao.spawn().context("cannot start bao")?;
        if let Some(mut stdin) = child.stdin.take() {
            let text = self.fill(step.options.stdin.as_deref().unwrap_or_default());
            std::io::Write::write_all(&mut stdin, text.as_bytes())?;
        }
        let out = child.wait_with_output()?;
        let code = u16::try_from(out.status.code().unwrap_or(999)).unwrap_or(999);
        // What it complains about is wording; what it prints is compared.
        let said = if code == 0 || !out.stdout.is_empty() { out.stdout } else { out.stderr };
        Ok((code, String::from_utf8_lossy(&said).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captures_walk_objects_and_arrays() {
        let player = Player { values: BTreeMap::new(), bao: PathBuf::new(), home: None };
        let body = serde_json::json!({"data": {"keys": ["a", "b"], "n": 3}});
        assert_eq!(player.find(&body, "data.keys.1").unwrap(), "b");
        assert_eq!(player.find(&body, "data.n").unwrap(), "3");
        assert!(player.find(&body, "data.keys.7").is_err());
        assert!(player.find(&body, "nothing.here").is_err());
    }
}
