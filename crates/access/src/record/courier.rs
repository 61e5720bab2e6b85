//! The way of the lines to the server. What it says that it cannot or will not write closes the door at once; what only was not
//! heard is forgiven for a moment. Lines are kept and tried again either way: an operator may mend what is wrong meanwhile.

use std::sync::Arc;
use std::time::Duration;

use dewdrop_core::Clock;
use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::Line;
use crate::carrier::{Carrier, Untold};

/// Lines in one request: a server refuses bodies with more than 1,000 strings (`max_request_json_strings`), keys included.
pub const BATCH: usize = 21;
/// Lines wait for company this long.
const GATHER: Duration = Duration::from_millis(100);
/// A server that is not heard may stay away this long before nothing more is allowed.
pub const LATEST: Duration = Duration::from_secs(5);
/// Between two tries: at first, and at most.
const AGAIN: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(5);
/// The alarm is raised again this often.
const ALARM: Duration = Duration::from_secs(60);

/// What stands between the lines and the server.
#[derive(Default)]
pub struct Trouble(Mutex<Option<Met>>);

/// A trouble that was met.
struct Met {
    why: Untold,
    /// On the steady clock.
    since: Duration,
    alarmed: Duration,
}

/// Takes the lines to the server.
pub struct Courier<C> {
    pub clock: Arc<dyn Clock>,
    pub trouble: Arc<Trouble>,
    pub carrier: C,
}

// === impl Trouble ===

impl Trouble {
    /// Why nothing may be allowed now; `None`: there is no trouble, or not for long enough.
    pub fn closes(&self, now: Duration) -> Option<String> {
        let met = self.0.lock();
        let met = met.as_ref()?;
        let is_forgiven = matches!(met.why, Untold::Away(_)) && now.saturating_sub(met.since) < LATEST;
        (!is_forgiven).then(|| met.why.to_string())
    }

    fn meet(&self, why: Untold, now: Duration, lines: usize) {
        let mut met = self.0.lock();
        let (since, alarmed) = match &*met {
            // Another kind of trouble is news.
            Some(known) if std::mem::discriminant(&known.why) == std::mem::discriminant(&why) => {
                (known.since, Some(known.alarmed))
            }
            Some(known) => (known.since, None),
            None => (now, None),
        };
        let is_due = alarmed.is_none_or(|at| now.saturating_sub(at) >= ALARM);
        if is_due {
            let todo = why.todo();
            tracing::error!(%why, lines, seconds = now.saturating_sub(since).as_secs(), "the record cannot be written; {todo}");
        }
        let alarmed = alarmed.filter(|_| !is_due).unwrap_or(now);
        *met = Some(Met { why, since, alarmed });
    }

    fn is_over(&self, now: Duration) {
        if let Some(met) = self.0.lock().take() {
            tracing::info!(seconds = now.saturating_sub(met.since).as_secs(), "the record is written again");
        }
    }
}

// === impl Untold ===

impl Untold {
    /// What an operator reads beside it.
    fn todo(&self) -> &'static str {
        match self {
            Self::Away(_) => {
                "nothing is allowed while the server is not heard: look whether it runs and can be reached"
            }
            Self::Unable(_) => {
                "nothing is allowed until the server takes it: look at its health, its seal and the disk of its audit log"
            }
            Self::Refused(_) => {
                "nothing is allowed until the server takes it: give the proxy's role its policy back (update on `record`, \
                 `recordings/+` and `announce` of the access mount), or look at its token and mount"
            }
            Self::Unfit(_) => {
                "nothing is allowed until the server takes it: look at its limits for requests (`max_request_size`, \
                 `max_request_json_strings`) and whether it is older than this proxy"
            }
        }
    }
}

// === impl Courier ===

impl<C: Carrier> Courier<C> {
    /// Works until nobody writes any more.
    pub async fn work(self, mut waiting: mpsc::Receiver<Line>) {
        let mut batch = Vec::with_capacity(BATCH);
        while waiting.recv_many(&mut batch, BATCH).await > 0 {
            if batch.len() < BATCH {
                tokio::time::sleep(GATHER).await;
                while batch.len() < BATCH
                    && let Ok(line) = waiting.try_recv()
                {
                    batch.push(line);
                }
            }
            self.deliver(&mut batch).await;
        }
    }

    /// Tries until all of them are with the server.
    async fn deliver(&self, batch: &mut Vec<Line>) {
        let mut rest = AGAIN;
        while let Err(why) = self.tell(batch).await {
            self.trouble.meet(why, self.clock.steady(), batch.len());
            tokio::time::sleep(rest).await;
            rest = (rest * 2).min(LONGEST_REST);
        }
        self.trouble.is_over(self.clock.steady());
    }

    /// What the server takes is taken from the batch.
    async fn tell(&self, batch: &mut Vec<Line>) -> Result<(), Untold> {
        match self.carrier.carry(batch).await {
            Ok(()) => batch.clear(),
            Err(Untold::Unfit(_)) => {}
            Err(why) => return Err(why),
        }
        // One of them does not fit, or all of them are too much: nobody shuts others out by such a line.
        while let Some(line) = batch.first() {
            match self.carrier.carry(std::slice::from_ref(line)).await {
                Ok(()) => {}
                Err(Untold::Unfit(why)) => {
                    self.carrier.carry(&[line.bare()]).await?;
                    tracing::error!(%why, grant = line.grant, time = line.time, "a line of the record was taken without its words only");
                }
                Err(why) => return Err(why),
            }
            batch.remove(0);
        }
        Ok(())
    }
}
