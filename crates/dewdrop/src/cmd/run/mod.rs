//! `dewdrop run`: a program, and credentials that live exactly as long as it does.
//!
//! A *session* is a token of a few seconds that is renewed while the program runs. The credentials are made with it, so
//! they hang on it: it is revoked when the program ends, and when `dewdrop run` itself is killed nobody renews it, and the
//! server takes everything back within those seconds. Nothing is ever made anew in a loop: what was made once is renewed.
//!
//! The program's environment (or its files) is the only place the values go to. They are never on a command line or in a log.

mod child;
mod files;
mod keeper;
mod mint;
mod session;

use std::path::PathBuf;

use clap::Args;

use crate::ctx::Ctx;
use crate::duration;
use crate::failure::{Failure, Result};
use child::{Child, Ending, Signals};
use files::Folder;
use keeper::Keeper;
use mint::{Minted, Spec};
use session::Session;

pub use child::{SHIM, shim};

/// `dewdrop run`.
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  dewdrop run --creds DB=database/creds/app -- ./server --port 8080\n  The program finds DB_USERNAME and DB_PASSWORD in its environment."
)]
pub struct Run {
    /// What to read for the program: a path, or NAME=path. May be repeated. Each field becomes NAME_FIELD; NAME is the last part of the path, unless given
    #[arg(long, required = true, value_name = "[NAME=]PATH")]
    creds: Vec<String>,
    /// Put the values into the program's environment (the default)
    #[arg(long, conflicts_with = "file")]
    env: bool,
    /// Put the values into files DIR/NAME/FIELD, removed at the end, and their paths into NAME_FIELD_FILE. Without DIR: a new folder in memory
    #[arg(long, value_name = "DIR", num_args = 0..=1, default_missing_value = "")]
    file: Option<String>,
    /// NAME for all fields, in place of the last part of the path
    #[arg(long, value_name = "NAME")]
    prefix: Option<String>,
    /// Set VAR to one field: VAR=PATH.FIELD. The other fields of that path are then set only if mapped as well. May be repeated
    #[arg(long, value_name = "VAR=PATH.FIELD")]
    env_map: Vec<String>,
    #[command(flatten)]
    auth: AuthArgs,
    /// How long the server keeps the credentials when nobody renews the session
    #[arg(long, value_name = "DURATION", default_value = "15s")]
    session_ttl: String,
    /// When the server has ended the session early: keep the program running, or stop it
    #[arg(long, value_name = "WHAT", default_value = "keep", value_parser = ["keep", "stop"])]
    on_lost: String,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "PROGRAM")]
    program: Vec<String>,
}

/// Who `dewdrop run` is. Secrets come from files or the environment, never from arguments.
#[derive(Debug, Args)]
pub struct AuthArgs {
    /// token (the one in force), approle, userpass, jwt or kubernetes
    #[arg(long, value_name = "METHOD", default_value = "token", value_parser = ["token", "approle", "userpass", "ldap", "jwt", "kubernetes", "cert"])]
    auth: String,
    /// Where the auth method is mounted; its type, unless given
    #[arg(long, value_name = "PATH")]
    auth_path: Option<String>,
    /// AppRole's role id [env: DEWDROP_ROLE_ID]
    #[arg(long, value_name = "ID")]
    role_id: Option<String>,
    /// File with AppRole's secret id [env: DEWDROP_SECRET_ID]
    #[arg(long, value_name = "FILE")]
    secret_id_file: Option<PathBuf>,
    /// Name of the user [env: DEWDROP_USERNAME; its password: DEWDROP_PASSWORD]
    #[arg(long, value_name = "NAME")]
    username: Option<String>,
    /// Role for jwt, kubernetes and cert
    #[arg(long, value_name = "NAME")]
    role: Option<String>,
    /// File with the signed token for jwt and kubernetes
    #[arg(long, value_name = "FILE")]
    jwt_file: Option<PathBuf>,
}

impl Run {
    /// Runs the program to its end; the exit code is the program's own (128 + n when signal n ended it).
    pub async fn run(self, ctx: &Ctx) -> Result<u8> {
        let specs = mint::specs(&self.creds, self.prefix.as_deref())?;
        let maps = mint::maps(&self.env_map, &specs)?;
        let ttl = duration::seconds(&self.session_ttl)?;
        if !(5..=3600).contains(&ttl) {
            return Err(Failure::usage(format!("-session-ttl={} is out of range", self.session_ttl))
                .hint("from 5s to 1h; short ones are taken back sooner"));
        }
        // From here on a signal ends us in order, not in the middle of something.
        let mut signals = Signals::listen()?;
        let session = tokio::select! {
            session = session::open(ctx, &self.auth, ttl) => session?,
            number = signals.fatal() => return Ok(child::code_of_signal(number)),
        };
        self.with_session(&session, &specs, &maps, &mut signals).await
    }

    /// Everything between the session's beginning and its end. The end comes whatever happens in between.
    async fn with_session(
        &self,
        session: &Session,
        specs: &[Spec],
        maps: &[mint::Map],
        signals: &mut Signals,
    ) -> Result<u8> {
        // A slow target must not use up the session's life.
        let (mut keeper, _lost) = Keeper::start(session, &[]);
        let minted = tokio::select! {
            minted = mint::all(session, specs) => minted,
            number = signals.fatal() => {
                session.close(&[]).await;
                return Ok(child::code_of_signal(number));
            }
        };
        keeper.stop().await;
        let minted = match minted {
            Ok(minted) => minted,
            Err((made, failure)) => {
                session.close(&made).await;
                return Err(failure);
            }
        };
        let outcome = self.with_credentials(session, &minted, maps, signals).await;
        session.close(&minted).await;
        outcome
    }

    async fn with_credentials(
        &self,
        session: &Session,
        minted: &[Minted],
        maps: &[mint::Map],
        signals: &mut Signals,
    ) -> Result<u8> {
        // Lives until the end of this function: dropping it removes the files.
        let folder = self.file.as_deref().map(|dir| Folder::create(Some(dir).filter(|d| !d.is_empty()))).transpose()?;
        let variables = match &folder {
            Some(folder) => folder.fill(minted)?,
            None => mint::variables(minted, maps)?,
        };
        let (mut keeper, mut lost) = Keeper::start(session, minted);
        let mut child = Child::start(&self.program, variables)?;
        loop {
            match child.next(signals, &mut lost).await? {
                Ending::Ended(code) => {
                    keeper.stop().await;
                    return Ok(code);
                }
                Ending::Lost if self.on_lost == "stop" => {
                    tell("the session is lost; asking the program to stop (-on-lost=stop)");
                    child.terminate();
                }
                Ending::Lost => tell(
                    "the session is lost: the server has taken the credentials back. The program keeps running without valid ones",
                ),
            }
        }
    }
}

/// One line on stderr.
fn tell(text: &str) {
    use std::io::Write;
    // A closed stderr is no reason to stop the program.
    let _ = writeln!(std::io::stderr().lock(), "dewdrop run: {text}");
}
