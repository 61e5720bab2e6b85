//! Signs in and fetches, again and again until all is there, the server refuses, or the time is up.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use dewdrop_api::variables::{Fields, Variables};
use dewdrop_api::{Envelope, SecretText};

use super::keep::Life;
use super::server::{Server, Trouble};
use super::settings::Settings;
use crate::clock::now;
use crate::fail::Fail;

/// Between two tries.
const LEAST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// How often a person is told what is waited for.
const TELL: Duration = Duration::from_secs(3);

/// What a container starts with.
pub struct Given {
    /// Its token.
    pub token: SecretText,
    /// Variables for the command.
    pub variables: Vec<(String, SecretText)>,
    /// What is to be renewed.
    pub lives: Vec<Life>,
}

/// Waits for the credential. `over`: nobody waits any more.
pub fn until_given(settings: &Settings, server: &Server, timeout: Duration, over: &AtomicBool) -> Result<Given, Fail> {
    let began = now();
    let (mut pause, mut told) = (LEAST, Duration::ZERO);
    loop {
        let not_started = |why: &str| Fail::Credential(format!("the command was not started: {why}"));
        let why = match once(settings, server) {
            Ok(given) => return Ok(given),
            Err(Trouble::Final(why)) => return Err(not_started(&why)),
            Err(Trouble::Passing(why)) => why,
        };
        let gone = now().saturating_sub(began);
        if gone >= timeout || over.load(Ordering::Relaxed) {
            let waited = timeout.as_secs_f64();
            return Err(not_started(&format!("no credential for this container within {waited} s; {why}")));
        }
        if gone.saturating_sub(told) >= TELL {
            told = gone;
            let (gone, all) = (gone.as_secs(), timeout.as_secs());
            eprintln!("dewdrop-exec: waiting for this container's credential ({gone} s of {all} s): {why}");
        }
        std::thread::sleep(pause.min(timeout - gone));
        pause = (pause * 2).min(LONGEST);
    }
}

/// One try. What a try that fails has made ends with the next one's login, or at once where none comes.
fn once(settings: &Settings, server: &Server) -> Result<Given, Trouble> {
    let path = settings.token_file.display();
    // Kubelet replaces it long before it ends.
    let jwt = std::fs::read_to_string(&settings.token_file)
        .map_err(|e| Trouble::Final(format!("this container's token {path} cannot be read: {e}")))?;
    let jwt = SecretText::new(jwt.trim().to_owned());
    let auth = server.login(settings, &jwt)?;
    let made = fetch(settings, server, &auth.client_token);
    if made.is_err() {
        server.revoke(&auth.client_token, Duration::from_secs(2)).ok();
    }
    let (variables, mut lives) = made?;
    lives.push(Life::of_token(auth.lease_duration, auth.renewable, now()));
    Ok(Given { token: auth.client_token, variables, lives })
}

/// Variables, and the leases behind them.
type Fetched = (Vec<(String, SecretText)>, Vec<Life>);

fn fetch(settings: &Settings, server: &Server, token: &SecretText) -> Result<Fetched, Trouble> {
    let mut all = Vec::new();
    for credential in &settings.credentials {
        all.push((credential.name.as_str(), server.fetch(token, credential)?, now()));
    }
    fill(&settings.variables, all)
}

/// What follows from the answers, each by its credential's name and with the time when it came.
pub fn fill<'n>(
    variables: &Variables,
    answers: impl IntoIterator<Item = (&'n str, Envelope, Duration)>,
) -> Result<Fetched, Trouble> {
    let (mut fields, mut lives) = (Fields::new(), Vec::new());
    for (name, envelope, now) in answers {
        if !envelope.lease_id.is_empty() {
            lives.push(Life::of_lease(envelope.lease_id, envelope.lease_duration, envelope.renewable, now));
        }
        fields.insert(name.to_owned(), envelope.data.unwrap_or_default().expose().clone());
    }
    Ok((variables.fill(&fields).map_err(Trouble::Final)?, lives))
}
