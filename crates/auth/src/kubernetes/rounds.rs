//! The regular round: nodes that are silent are lost, and what was made for lost nodes ends. Each round does a bounded
//! part of it, a page for each node in turn, so that no node waits for all of another; what is left to do is written down.

use std::time::Duration;

use dewdrop_core::store::{Batch, StoreError};
use dewdrop_core::{Fault, Moment};

use super::nodes::{Node, Record};
use super::starts::{self, Found};
use super::{Kubernetes, config};

/// How many nodes are lost in one round.
const MOST_LOST: usize = 1000;
/// How many pages of starts are looked at in one round.
const MOST_PAGES: usize = 20;
/// A node that is lost for so long, and has no starts, is forgotten.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);

impl Kubernetes {
    /// How long a node may be silent.
    pub(super) async fn grace(&self) -> Result<Duration, Fault> {
        Ok(self.verifier().await?.map_or(config::GRACE, |verifier| verifier.config.node_grace))
    }

    /// The agent of a node was heard.
    pub(super) async fn hear(&self, node: &str, now: Moment) -> Result<Record, Fault> {
        self.nodes.hear(node, now, self.grace().await?).await
    }

    pub(super) async fn round(&self, now: Moment) -> Result<(), Fault> {
        let mut silent = self.nodes.silent(self.grace().await?).await?;
        silent.truncate(MOST_LOST);
        self.nodes.lose(&silent, now).await?;
        let ended = self.end_lost().await;
        let old = |node: &Node| {
            node.record.ending.is_none() && node.record.lost.is_some_and(|lost| now.since(lost) > FORGOTTEN)
        };
        for (name, node) in self.nodes.which(old).into_iter().take(MOST_PAGES) {
            if starts::page(&*self.place.store, &starts::prefix(&name, None), None).await?.0.is_empty() {
                self.nodes.remove(&name, &node).await?;
            } else {
                // A start that was under way for longer than the whole grace came after its node's end.
                self.nodes.lose(&[name], now).await?;
            }
        }
        ended
    }

    /// Ends some of what is to be ended. One node's trouble does not hold up the others.
    async fn end_lost(&self) -> Result<(), Fault> {
        let mut waiting: Vec<(String, Moment, Option<Vec<u8>>)> = Vec::new();
        for (name, node) in self.nodes.which(|node| node.record.ending.is_some()) {
            waiting.extend(node.record.ending.map(|until| (name, until, None)));
        }
        // Another one first in each round.
        let turn = usize::try_from(self.place.clock.now().seconds()).unwrap_or_default() % waiting.len().max(1);
        waiting.rotate_left(turn);
        let (mut pages, mut trouble) = (0, Ok(()));
        while !waiting.is_empty() && pages < MOST_PAGES {
            let mut more = Vec::new();
            for (name, until, after) in waiting {
                if pages == MOST_PAGES {
                    break;
                }
                pages += 1;
                match self.end_page(&name, until, after.as_deref()).await {
                    Ok(Some(next)) => more.push((name, until, Some(next))),
                    Ok(None) => trouble = trouble.and(self.nodes.ended(&name, until).await),
                    Err(fault) => trouble = Err(fault),
                }
            }
            waiting = more;
        }
        trouble
    }

    /// Ends what a page of a node's starts holds; answers where to go on.
    async fn end_page(&self, name: &str, until: Moment, after: Option<&[u8]>) -> Result<Option<Vec<u8>>, Fault> {
        let prefix = starts::prefix(name, None);
        let (found, next) = starts::page(&*self.place.store, &prefix, after).await?;
        let due: Vec<Found> = found.into_iter().filter(|found| found.start.made <= until).collect();
        if due.is_empty() {
            return Ok(next);
        }
        let accessors: Vec<String> = due.iter().map(|found| found.start.accessor.clone()).collect();
        self.place.house.end_tokens(&accessors).await?;
        self.sweep(&due).await?;
        Ok(next)
    }

    /// Removes rows that are left of tokens that are gone: none, unless the store was mended by hand.
    async fn sweep(&self, ended: &[Found]) -> Result<(), Fault> {
        for found in ended {
            let key = found.place.key();
            if self.place.store.get(key.as_bytes()).await?.is_none() {
                continue;
            }
            match self.place.store.commit(Batch::new().expect(key.clone(), found.revision).delete(key)).await {
                Ok(_) | Err(StoreError::Conflict) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}
