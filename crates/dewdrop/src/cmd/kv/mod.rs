//! Keys and values. The mount is asked for its version, so the same commands serve KV v1 and v2.

mod data;
mod metadata;
mod versions;

use clap::{Args, Subcommand};
use dewdrop_api::Call;
use serde_json::Value;

use crate::ctx::Ctx;
use crate::failure::{Failure, Result};
use crate::output::say;
use crate::settings::Show;

/// `dewdrop kv`.
#[derive(Debug, Subcommand)]
pub enum Kv {
    /// Print the value of a key
    Get(data::Get),
    /// Write the value of a key, replacing all of it
    Put(data::Put),
    /// Change some fields of a key (v2)
    Patch(data::Patch),
    /// Delete a key, or versions of it; v2 can undelete them
    Delete(versions::Delete),
    /// Bring deleted versions back (v2)
    Undelete(versions::Undelete),
    /// Remove versions for good (v2)
    Destroy(versions::Destroy),
    /// Make an old version the newest (v2)
    Rollback(versions::Rollback),
    /// List the keys below a path
    List(data::List),
    /// List all keys below a path and its folders
    Scan(data::List),
    /// Work with what is known about a key (v2)
    #[command(subcommand)]
    Metadata(metadata::Metadata),
    /// Turn a v1 mount into v2
    EnableVersioning(EnableVersioning),
}

/// Where a key is: `-mount=secret app/db`, or `secret/app/db`.
#[derive(Debug, Args)]
pub struct Place {
    /// Path of the mount; the argument is then the key alone
    #[arg(long, value_name = "MOUNT")]
    pub mount: Option<String>,
    /// The key, with the mount in front unless -mount is given
    #[arg(value_name = "KEY", required_unless_present = "mount")]
    pub key: Option<String>,
}

/// `dewdrop kv enable-versioning`.
#[derive(Debug, Args)]
pub struct EnableVersioning {
    /// Path of the mount
    path: String,
}

/// A key, found.
#[derive(Debug, PartialEq, Eq)]
pub struct Found {
    /// The mount, with its slash.
    mount: String,
    /// The key below it.
    key: String,
    /// Whether it is KV v2.
    v2: bool,
}

impl Kv {
    /// Runs the command.
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        match self {
            Self::Get(cmd) => cmd.run(ctx).await,
            Self::Put(cmd) => cmd.run(ctx).await,
            Self::Patch(cmd) => cmd.run(ctx).await,
            Self::Delete(cmd) => cmd.run(ctx).await,
            Self::Undelete(cmd) => cmd.run(ctx).await,
            Self::Destroy(cmd) => cmd.run(ctx).await,
            Self::Rollback(cmd) => cmd.run(ctx).await,
            Self::List(cmd) => cmd.run(ctx, "list").await,
            Self::Scan(cmd) => cmd.run(ctx, "scan").await,
            Self::Metadata(cmd) => cmd.run(ctx).await,
            Self::EnableVersioning(cmd) => cmd.run(ctx).await,
        }
    }
}

impl EnableVersioning {
    async fn run(self, ctx: &Ctx) -> Result<u8> {
        let mount = format!("{}/", self.path.trim_matches('/'));
        let body = serde_json::json!({"options": {"version": "2"}});
        ctx.call(Call::post(&format!("sys/mounts/{mount}tune"), &body)?)
            .await
            .map_err(|e| e.doing(&format!("Error tuning secrets engine {mount}")))?;
        ctx.out.done(&format!("Success! Tuned the secrets engine at: {mount}"))
    }
}

impl Place {
    /// Asks the server which mount the key is in, and of which version it is.
    pub async fn find(&self, ctx: &Ctx) -> Result<Found> {
        let key = self.key.as_deref().unwrap_or_default().trim_start_matches('/');
        let asked = match &self.mount {
            Some(mount) => mount.trim_matches('/').to_owned(),
            None => key.to_owned(),
        };
        if asked.is_empty() {
            return Err(
                Failure::usage("the path of the key is empty").hint("write it as MOUNT/KEY, or with -mount=MOUNT")
            );
        }
        let call = Call::read(&format!("sys/internal/ui/mounts/{asked}"))?;
        let envelope = ctx.ask(call).await.map_err(|e| {
            if ctx.settings.show == Some(Show::Policy) {
                return e.doing("the version of the KV mount is needed for the policy, and asking for it failed");
            }
            e
        })?;
        let data =
            envelope.and_then(|e| e.data).ok_or_else(|| Failure::server(format!("nothing is mounted at {asked}")))?;
        let mount = data.text("path").unwrap_or_default().to_owned();
        if data.text("type").is_some_and(|t| t != "kv" && t != "generic") {
            let kind = data.text("type").unwrap_or_default();
            return Err(Failure::usage(format!("{mount} is a mount of type {kind}, not kv"))
                .hint("use `dewdrop read` and `dewdrop write` for it"));
        }
        let v2 = data.expose().get("options").and_then(|o| o.get("version")).and_then(Value::as_str) == Some("2");
        let key = if self.mount.is_some() { key.to_owned() } else { below(key, &mount) };
        Ok(Found { mount, key, v2 })
    }
}

/// The part of a path that is below the mount.
fn below(path: &str, mount: &str) -> String {
    path.strip_prefix(mount).unwrap_or(if path == mount.trim_end_matches('/') { "" } else { path }).to_owned()
}

impl Found {
    /// The path of the API: `mount/kind/key` for v2, `mount/key` for v1.
    fn api(&self, kind: &str) -> String {
        let Self { mount, key, v2 } = self;
        if *v2 { format!("{mount}{kind}/{key}") } else { format!("{mount}{key}") }
    }

    /// Refuses v1, which has no versions.
    fn need_v2(&self, what: &str) -> Result<()> {
        if self.v2 {
            return Ok(());
        }
        Err(Failure::server(format!("K/V engine mount must be version 2 for {what} support"))
            .hint(format!("`dewdrop kv enable-versioning {}` turns it into one", self.mount)))
    }

    /// Refuses an empty key: the mount itself is none.
    fn need_key(&self) -> Result<()> {
        if self.key.trim_matches('/').is_empty() {
            return Err(Failure::usage(format!("{} is a mount; name a key in it", self.mount)));
        }
        Ok(())
    }
}

/// Prints `= Secret Path =` and the path, as `bao` does for v2.
fn print_path(name: &str, path: &str) {
    say(&format!("{}\n{path}\n\n", crate::output::table::title(name, path.chars().count())));
}

/// Version numbers: `1,2,3`, or several flags.
fn version_list(given: &[String]) -> Result<Vec<u64>> {
    let bad =
        |text: &str| Failure::usage(format!("invalid version {text:?}")).hint("versions are numbers: -versions=1,2");
    given.iter().flat_map(|list| list.split(',')).map(|text| text.trim().parse().map_err(|_| bad(text))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_lie_below_their_mount() {
        assert_eq!(below("secret/a/b", "secret/"), "a/b");
        assert_eq!(below("secret", "secret/"), "");
        assert_eq!(below("secret/", "secret/"), "");
        let found = Found { mount: "secret/".into(), key: "a".into(), v2: true };
        assert_eq!(found.api("data"), "secret/data/a");
        assert_eq!(Found { v2: false, ..found }.api("data"), "secret/a");
    }

    #[test]
    fn versions_are_numbers() {
        assert_eq!(version_list(&["1,2".into(), "3".into()]).unwrap(), [1, 2, 3]);
        assert!(version_list(&["one".into()]).is_err());
    }
}
