//! A security key answers in a browser: the address is shown (and opened), and the server is asked until the key has answered.
//! The address holds a code that serves once, behind the `#`, so that no server on the way sees it.

use std::process::Stdio;
use std::time::Duration;

use dewdrop_api::Call;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::line;

const PAUSE: Duration = Duration::from_millis(700);

/// Where the two sides meet, as the server tells it.
#[derive(Debug, Deserialize)]
pub struct Ticket {
    path: String,
    code: String,
    ticket: String,
    expires_in: u64,
    origins: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Told {
    state: String,
    #[serde(default)]
    answer: Value,
    #[serde(default)]
    failed: String,
}

/// What the key answers.
pub async fn answer(ctx: &Ctx, ticket: &Ticket) -> Result<Value> {
    let url = ticket.url(&ctx.settings.config.address)?;
    let skip = ctx.settings.skip_browser;
    let how = if skip { "Open this address in your browser:" } else { "Opening your browser at:" };
    line(&format!("Your security key is asked for. {how}\n\n    {url}\n"));
    if !skip && !opened(&url) {
        line("There is no browser to be opened here: open the address yourself.");
    }
    line("Waiting for your security key...");
    let late = |_| Failure::server("Timed out waiting for the security key").hint("begin anew");
    tokio::time::timeout(Duration::from_secs(ticket.expires_in.min(600)), ticket.poll(ctx)).await.map_err(late)?
}

impl Ticket {
    /// The page, where keys know the server: at our own address when that is one of the method's origins, else at the first.
    fn url(&self, own: &str) -> Result<String> {
        let own = own.trim_end_matches('/');
        let origin = self.origins.iter().find(|origin| *origin == own).or(self.origins.first());
        let origin = origin.map_or("", String::as_str);
        let is_address = origin.starts_with("https://") || origin.starts_with("http://");
        let plain = |text: &str| text.chars().all(|letter| letter.is_ascii_graphic());
        let whole = format!("{origin}{}#{}", self.path, self.code);
        if !is_address || !plain(&whole) || !self.path.starts_with('/') {
            return Err(Failure::server("the server gave an address that is none of the web"));
        }
        Ok(whole)
    }

    async fn poll(&self, ctx: &Ctx) -> Result<Value> {
        let body = json!({ "ticket": self.ticket });
        loop {
            tokio::time::sleep(PAUSE).await;
            let call = Call::write("sys/mfa/browser/poll", &body)?.anonymous();
            let data = ctx.ask(call).await?.and_then(|envelope| envelope.data);
            let data = data.map(|data| Value::Object(data.expose().clone())).unwrap_or_default();
            let told = Told::deserialize(data).map_err(|_| Failure::server("the server's answer cannot be read"))?;
            match told.state.as_str() {
                "answered" => return Ok(told.answer),
                "failed" => return Err(failed(&told.failed)),
                _ => {}
            }
        }
    }
}

fn failed(why: &str) -> Failure {
    let why: String = why.chars().filter(|letter| !letter.is_control()).collect();
    Failure::server(format!("the security key did not answer: {why}")).hint("begin anew")
}

fn opened(url: &str) -> bool {
    let program = if cfg!(target_os = "macos") { "open" } else { "xdg-open" };
    let mut command = std::process::Command::new(program);
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_at_an_origin_of_the_method() {
        let mut ticket = Ticket {
            path: "/ui/mfa".into(),
            code: "abc".into(),
            ticket: "t".into(),
            expires_in: 1,
            origins: vec!["https://a.test".into(), "https://b.test:8200".into()],
        };
        assert_eq!(ticket.url("https://b.test:8200/").unwrap(), "https://b.test:8200/ui/mfa#abc");
        assert_eq!(ticket.url("https://10.0.0.1:8200").unwrap(), "https://a.test/ui/mfa#abc");
        ticket.origins = vec!["javascript:alert(1)".into()];
        assert!(ticket.url("https://a.test").is_err());
        ticket.origins = vec!["https://a.test\u{1b}[31m".into()];
        assert!(ticket.url("https://a.test").is_err());
    }
}
