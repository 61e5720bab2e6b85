//! What was done at API servers without an access proxy.

use clap::Args;
use dewdrop_api::Call;
use serde_json::Value;

use super::Mount;
use super::told::{entries, text};
use crate::ctx::Ctx;
use crate::failure::Result;
use crate::output::{say, table};

/// Words of a line, in the order of the columns.
const WORDS: [&str; 9] = ["time", "cluster", "user", "acting_as", "verb", "target", "namespace", "name", "source"];

/// `dewdrop access around`.
#[derive(Debug, Args)]
pub struct Around {
    #[command(flatten)]
    mount: Mount,
    /// Only at this cluster
    #[arg(long)]
    cluster: Option<String>,
    /// Only by this user
    #[arg(long)]
    user: Option<String>,
}

impl Around {
    pub(super) async fn run(self, ctx: &Ctx) -> Result<u8> {
        let mut call = Call::list(&self.mount.path("around")?)?;
        for (name, value) in [("cluster", &self.cluster), ("user", &self.user)] {
            if let Some(value) = value {
                call = call.with_query(name, value);
            }
        }
        let envelope = ctx.call(call).await.map_err(|e| e.doing("Error listing what went around"))?;
        let Some(data) = envelope.and_then(|envelope| envelope.data) else {
            return ctx.out.done("Nothing is known to have gone around the access proxies.");
        };
        let data = data.expose();
        if !ctx.out.is_table() {
            return ctx.out.structured(data);
        }
        let mut rows = Vec::new();
        for (_, line) in entries(data) {
            let mut row: Vec<String> = WORDS.map(|name| text(line, name)).to_vec();
            row.push(line.get("code").map_or_else(String::new, Value::to_string));
            rows.push(row);
        }
        let titles = ["When", "Cluster", "Who", "Acting as", "Verb", "What", "Namespace", "Name", "From", "Code"];
        say(&table::columns(Some(&titles), &rows));
        Ok(0)
    }
}
