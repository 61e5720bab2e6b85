//! The keeper of one volume: makes the credential of the next start, renews that of the present one, replaces what cannot
//! be renewed. One task for each volume, so that a slow one hinders nobody.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_api::Backoff;
use tokio::time::sleep;

use super::Agent;
use super::fail::Fail;
use super::hold::{Hold, Todo};
use super::life::Phase;
use super::start::Start;

/// Between two tries to make a credential: a container waits for it.
const LEAST: Duration = Duration::from_millis(100);
const MOST: Duration = Duration::from_secs(10);
/// No renewal is more often than this.
const CALM: Duration = Duration::from_secs(1);

/// Keeps a volume until it is closed. What it does now and then is boxed: there is one of these for each volume, and nearly all
/// of them rest.
pub async fn keep(agent: Arc<Agent>, hold: Arc<Hold>) {
    let mut backoff = Backoff::new(LEAST, MOST, std::process::id().into());
    loop {
        let todo = hold.todo();
        let done = match todo {
            Todo::Close => return,
            Todo::Mint | Todo::Refresh => Box::pin(replace(&agent, &hold, todo)).await,
            Todo::Renew => rest_and_renew(&agent, &hold).await,
        };
        match done {
            Ok(()) => {
                hold.tried(None);
                backoff.reset();
            }
            Err(why) => {
                hold.tried(Some(why.to_string()));
                let about = &hold.about;
                tracing::warn!(pod = %about.pod.name, namespace = %about.pod.namespace, container = %about.spec.container,
                    what = ?todo, %why, "a volume waits");
                tokio::select! {
                    () = sleep(backoff.wait()) => {}
                    () = hold.bell.notified() => {}
                }
            }
        }
    }
}

/// Makes a credential, writes it, and tells a container that runs on.
async fn replace(agent: &Arc<Agent>, hold: &Arc<Hold>, todo: Todo) -> Result<(), Fail> {
    let start = agent.mint(hold).await?;
    match hold.minted(start, todo) {
        Ok(former) => {
            agent.note(hold)?;
            // A new start of the same container has ended the former at the server already; told again, it does no harm.
            former.into_iter().for_each(|former| agent.ender.end(former.name.clone()));
            // One that runs has read its files: those that were there before these.
            if todo == Todo::Refresh || (!hold.is_wrapped() && hold.phase() != Phase::Ready) {
                agent.signal(hold);
            }
        }
        Err(unwanted) => agent.ender.end(unwanted.name),
    }
    Ok(())
}

async fn rest_and_renew(agent: &Arc<Agent>, hold: &Arc<Hold>) -> Result<(), Fail> {
    let start = hold.start();
    let Some(rest) = start.as_ref().and_then(|start| start.rest()) else {
        hold.bell.notified().await;
        return Ok(());
    };
    tokio::select! {
        () = hold.bell.notified() => return Ok(()),
        () = sleep(rest.max(CALM)) => {}
    }
    let (Some(start), Todo::Renew) = (hold.start(), hold.todo()) else { return Ok(()) };
    match Box::pin(renew(agent, hold, &start)).await {
        Ok(true) => Ok(()),
        // Another one would end this one, and a command that runs cannot be given other variables.
        Ok(false) if hold.must_stay() => {
            let about = &hold.about;
            tracing::warn!(pod = %about.pod.name, namespace = %about.pod.namespace, container = %about.spec.container,
                "the credential in a container's environment ends soon: with the attribute `signal: TERM` it would be started anew");
            Ok(())
        }
        Ok(false) => {
            hold.wants_another();
            Ok(())
        }
        // The server knows the token or a lease no more: whoever took it back did not mean the container to go without.
        Err(why) if matches!(why.status(), Some(400 | 403 | 404)) => {
            let over = hold.lost(&start.name.start);
            over.into_iter().for_each(|over| agent.ender.end(over.name.clone()));
            Ok(())
        }
        Err(why) => Err(why),
    }
}

/// Renews all; answers whether what was given lasts as long as before. Less than half shows that a ceiling is near.
async fn renew(agent: &Agent, hold: &Hold, start: &Start) -> Result<bool, Fail> {
    let namespace = &hold.about.spec.namespace;
    let mut lasts = start.seconds == 0
        || agent.vault.renew_token(&start.token, namespace).await?.saturating_mul(2) >= start.seconds;
    for held in start.leases.iter().filter(|held| !held.lease_id.is_empty() && held.seconds > 0) {
        lasts &= held.renewable
            && agent.vault.renew_lease(&start.token, namespace, &held.lease_id).await?.saturating_mul(2)
                >= held.seconds;
    }
    // Nobody has read it yet: the next start may as well begin with a whole life.
    Ok(lasts || hold.phase() == Phase::Minting)
}
