//! What the server answers: the fuzzer and the ordinary tests both call this. It fails by panicking.

use std::time::Duration;

use dewdrop_api::credentials::Credential;
use dewdrop_api::variables::Variables;

use super::keep::Life;
use super::server::{judge, token_of};
use super::sign_in::fill;

const STATUSES: &[u16] = &[200, 204, 307, 400, 403, 412, 429, 500, 501, 503];
/// The machine runs for a while already.
const NOW: Duration = Duration::from_secs(1_000_000);

/// The first byte chooses the status; then the body, taken for a credential, a login and a renewal.
pub fn server(bytes: &[u8]) {
    let (choice, body) = bytes.split_first().unwrap_or((&0, b""));
    let status = STATUSES.get(usize::from(*choice) % STATUSES.len()).copied().unwrap_or(200);
    let read = || judge(status, body, "GET a").ok();
    let (credentials, _) = Credential::read_all("db = database/creds/app");
    let (named, _) = Variables::read_named("URL = pg://{{db.username | url}}:{{db.password | url}}@h", &credentials);
    for variables in [Variables::All, Variables::Named(named)] {
        let Some(Ok((made, mut lives))) = read().map(|envelope| fill(&variables, [("db", envelope, NOW)])) else {
            continue;
        };
        let mut names = made.iter().map(|(name, _)| name.as_str());
        let odd = names.find(|name| name.is_empty() || name.contains(['=', '\0']));
        assert_eq!(odd, None, "no name of a variable");
        let seconds = read().map_or(0, |envelope| envelope.lease_duration);
        lives.iter_mut().for_each(|life| drop(life.renewed(seconds, NOW)));
    }
    if let Some(Ok(auth)) = read().map(token_of) {
        assert!(!auth.client_token.is_empty());
        let _ = Life::of_token(auth.lease_duration, auth.renewable, NOW).renewed(auth.lease_duration, NOW);
    }
}
