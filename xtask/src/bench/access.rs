//! `cargo xtask bench --access`: what the access proxy costs, against the API server itself and against nginx in the proxy's
//! place in the same run.

mod exec;
mod http2;
mod list;
mod passage;
mod single;
mod streams;

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde_json::json;

use self::passage::Passage;
use super::{Wish, host};
use crate::cluster;
use crate::e2e::{Stage, Town};
use crate::parts::client::Way;
use crate::say;

/// A proxy that was just started knows the grants by then.
const READY: Duration = Duration::from_secs(20);

/// The ways to the pods of the namespaces `shop` and `bank`.
struct Sides<'t, 's> {
    town: &'t Town<'s>,
    /// To the API server itself, as its administrator.
    direct: Way,
    /// Through the proxy, by a grant.
    ours: Passage,
    /// Through nginx in its place, as the administrator.
    nginx: Passage,
    /// For each measured row, about.
    time: Duration,
}

/// Answers the section of `docs/performance.md`.
pub fn measure(dewdrop: &Path, wish: &Wish) -> Result<String> {
    say::heading("A real cluster, a server, and the access proxy");
    let load = host::load()?;
    let stage = Stage::open(dewdrop.to_path_buf(), 1)?;
    let mut town = Town::quiet(&stage)?;
    town.start_pod()?;
    let anything = json!([{ "api_groups": ["*"], "resources": ["*"], "verbs": ["*"] }]);
    for (name, is_recorded) in [("plain", false), ("recorded", true)] {
        town.role(name, json!({ "namespaces": "shop,bank", "rules": anything, "record_sessions": is_recorded }))?;
    }
    town.granted("plain", &["-ttl=30m"])?;
    let mut text = format!(
        "{}, {}; load of the machine before: {load}.\n{}; API server, etcd, server, proxy and the measuring program share the \
         machine. TLS 1.3 with a client's certificate; HTTP/1.1, and HTTP/2 where that is said. nginx stands in the proxy's place: one \
         worker, TLS on both sides, a line of its log for each request, no body held; it knows no grants, judges nothing and \
         impersonates nobody.\n\n",
        host::today()?,
        host::machine()?,
        super::version(dewdrop)?
    );
    for (name, part) in PARTS.iter().filter(|(name, _)| wish.wants(name)) {
        say::heading(name);
        // What one part left in the proxy's memory is none of the next one's.
        town.kill_proxy();
        town.start_proxy()?;
        match Sides::open(&town, wish).and_then(|sides| part(&sides)) {
            Ok(section) => {
                println!("{section}");
                writeln!(text, "{section}")?;
            }
            Err(error) => {
                say::failed(&format!("{error:#}"));
                writeln!(text, "**No figure** for this part of the run: {name}.\n")?;
            }
        }
    }
    Ok(text)
}

type Part = (&'static str, fn(&Sides<'_, '_>) -> Result<String>);

const PARTS: &[Part] = &[
    ("one request", single::measure),
    ("streams that wait on shared connections", streams::shared),
    ("streams that wait on a connection each", streams::alone),
    ("a long list", list::measure),
    ("sessions", exec::measure),
];

impl<'t, 's> Sides<'t, 's> {
    fn open(town: &'t Town<'s>, wish: &Wish) -> Result<Self> {
        let at = town.stage.cluster()?;
        let pki = cluster::pki(at);
        let direct = Way::new(&at.server, &at.ca, &pki.join("admin.pem"), &pki.join("admin-key.pem"))?;
        let (ours, nginx) = (Passage::ours(town)?, Passage::nginx(town)?);
        for passage in [&ours, &nginx] {
            let lets_in = || passage.way.open().and_then(|mut line| line.get("/version")).is_ok();
            town.stage.wait(&format!("a way {}", passage.name), READY, || Ok(lets_in()))?;
        }
        Ok(Self { town, direct, ours, nginx, time: Duration::from_secs(wish.seconds) })
    }

    fn passages(&self) -> [&Passage; 2] {
        [&self.ours, &self.nginx]
    }
}

fn verdict(figure: f64, budget: f64, unit: &str) -> String {
    let word = if figure <= budget { "met" } else { "**missed**" };
    format!("{budget} {unit}: {word}")
}
