//! Where no node agent may run (docs/decisions/0020-agentless.md): this program signs in itself, with a token that kubelet
//! made for this container alone, gives the command its variables, renews while it runs, and takes all back at its end.

pub mod fuzzing;
mod keep;
mod server;
mod settings;
mod sign_in;

use std::ffi::OsString;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

use dewdrop_api::SecretText;

use crate::args::Args;
use crate::clock::now;
use crate::fail::Fail;
use crate::search;
use crate::supervise::Supervisor;
use keep::Keeper;
use server::{Server, Trouble};
use settings::{OURS, Settings};
use sign_in::Given;

/// How often a signal is looked for while there is no command yet.
const LOOK: Duration = Duration::from_millis(20);
/// How long an end waits for a sign-in that is under way, and for the server to take the token back.
const FAREWELL: Duration = Duration::from_secs(5);

/// Runs the command to its end; answers its exit code.
pub fn run(args: &Args) -> Result<u8, Fail> {
    if args.image {
        let why = "nobody here knows what the image starts: write its ENTRYPOINT into the container's `command`";
        return Err(Fail::Credential(format!("the command was not started: {why}")));
    }
    let settings = Arc::new(Settings::read(|name| std::env::var(name).ok())?);
    let server = Arc::new(Server::new(&settings)?);
    let mut supervisor = Supervisor::new()?;
    let given = match until_given(&settings, &server, args.timeout, &mut supervisor)? {
        Ok(given) => given,
        Err(code) => return Ok(code),
    };
    let Given { token, variables, lives } = given;
    let started = supervisor.start(command(args, variables));
    let code = started.map(|child| {
        let keeper = Keeper::start(server.clone(), token.clone(), lives, child, settings.signal);
        let code = supervisor.until_end(child);
        keeper.stop();
        code
    });
    give_back(&server, &token);
    code
}

/// The stage that becomes the command.
pub fn second_stage(args: &Args) -> Fail {
    search::become_command(&args.command, &std::env::vars_os().collect::<Vec<_>>())
}

/// Signs in on another thread, so that a signal is heard meanwhile; the code of an exit when one asks for the end.
fn until_given(
    settings: &Arc<Settings>,
    server: &Arc<Server>,
    timeout: Duration,
    supervisor: &mut Supervisor,
) -> Result<Result<Given, u8>, Fail> {
    let (say, hear) = channel();
    let over = Arc::new(AtomicBool::new(false));
    let (theirs, settings, servers) = (over.clone(), settings.clone(), server.clone());
    std::thread::spawn(move || say.send(sign_in::until_given(&settings, &servers, timeout, &theirs)));
    let broken = || Fail::Credential("the sign-in broke".into());
    loop {
        match hear.recv_timeout(LOOK) {
            Ok(given) => return given.map(Ok),
            Err(RecvTimeoutError::Disconnected) => return Err(broken()),
            Err(RecvTimeoutError::Timeout) => {}
        }
        if let Some(code) = supervisor.asked_to_end() {
            over.store(true, Ordering::Relaxed);
            // What was made in this moment is not left behind.
            if let Ok(Ok(given)) = hear.recv_timeout(FAREWELL) {
                give_back(server, &given.token);
            }
            return Ok(Err(code));
        }
    }
}

/// The same program once more, with the command's environment: without what was for us, and with the credential, which wins.
fn command(args: &Args, variables: Vec<(String, SecretText)>) -> Command {
    let mut second = Command::new("/proc/self/exe");
    second.args(args.second_stage());
    for name in OURS {
        second.env_remove(name);
    }
    second.envs(variables.iter().map(|(name, value)| (OsString::from(name), OsString::from(value.expose()))));
    second
}

/// Takes the token back, with all that hangs on it. What cannot be done in time the server does when its time is up.
fn give_back(server: &Server, token: &SecretText) {
    let began = now();
    loop {
        let left = FAREWELL.saturating_sub(now().saturating_sub(began));
        match server.revoke(token, left.max(Duration::from_millis(100))) {
            Ok(()) => return,
            Err(Trouble::Passing(_)) if !left.is_zero() => std::thread::sleep(Duration::from_millis(200)),
            Err(Trouble::Passing(why) | Trouble::Final(why)) => {
                eprintln!("dewdrop-exec: this container's credential was not taken back, it ends by its time: {why}");
                return;
            }
        }
    }
}
