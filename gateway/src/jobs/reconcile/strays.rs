//! Chunks that no row places on their node: old enough they go into quarantine, later they become
//! garbage. Where too many of a node's chunks look like that, nothing is touched: then the metadata
//! is the likelier culprit.

use std::time::Duration;

use chunkproto::NodeId;
use metastore::{MetaError, MetaResult, Stray, StrayFate, Timestamp};
use tracing::{info, warn};

use crate::jobs::copies::Copies;
use crate::jobs::job::Round;

/// Strays read at a time.
const PAGE: usize = 1000;
/// So many strays are few on any node, whatever the percentage says.
const FEW: u64 = 100;

/// When strays are dealt with.
#[derive(Debug, Clone, Copy)]
pub struct StrayLimits {
    /// A chunk must have been a stray for so long before it goes into quarantine.
    pub age: Duration,
    /// It stays there for so long.
    pub quarantine: Duration,
    /// Percent of a node's chunks above which strays are left alone.
    pub limit_percent: u8,
}

/// What became of a node's strays.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dealt {
    /// What was to be done was done.
    Well,
    /// There are so many that none was touched.
    TooMany {
        /// Strays.
        strays: u64,
        /// Chunks that rows place on the node.
        placed: u64,
    },
}

/// Deals with the strays of a node on which rows place `placed` chunks.
pub async fn deal_with_strays(
    copies: &Copies,
    node: NodeId,
    placed: u64,
    limits: StrayLimits,
    round: &Round,
) -> MetaResult<Dealt> {
    let strays = confirmed(copies, node, round).await?;
    let count = strays.len() as u64;
    let most = (placed.saturating_add(count) / 100).saturating_mul(limits.limit_percent.into());
    if count > most.max(FEW) {
        return Ok(Dealt::TooMany {
            strays: count,
            placed,
        });
    }
    for stray in strays {
        if !round.goes_on() {
            break;
        }
        deal_with(copies, node, &stray, limits, round).await?;
    }
    Ok(Dealt::Well)
}

/// The strays of a node that are still strays; the others are spared.
async fn confirmed(copies: &Copies, node: NodeId, round: &Round) -> MetaResult<Vec<Stray>> {
    let (mut strays, mut after) = (Vec::new(), None);
    let metastore = &copies.metastore;
    while round.goes_on() {
        let page = metastore.strays(node, after, PAGE).await?;
        let Some(last) = page.last() else {
            break;
        };
        after = Some(last.chunk.id);
        let ids: Vec<_> = page.iter().map(|stray| stray.chunk.id).collect();
        let placements = metastore.placements(&ids).await?;
        for (stray, placed) in page.into_iter().zip(placements) {
            if placed.is_some_and(|placed| placed.chunk.replicas.contains(&node)) {
                let spared = StrayFate::Spared;
                metastore
                    .end_stray(round.fence(), node, stray.chunk.id, spared)
                    .await?;
            } else {
                strays.push(stray);
            }
        }
    }
    Ok(strays)
}

async fn deal_with(
    copies: &Copies,
    node: NodeId,
    stray: &Stray,
    limits: StrayLimits,
    round: &Round,
) -> MetaResult<()> {
    let (metastore, now, chunk) = (&copies.metastore, round.now(), stray.chunk.id);
    match stray.quarantined_at {
        None if is_past(stray.since, limits.age, now) => {
            let quarantined = metastore
                .quarantine_stray(round.fence(), node, chunk, now)
                .await;
            match quarantined {
                Ok(()) => {
                    info!(%node, %chunk, "a chunk that no row names is in quarantine");
                    Ok(())
                }
                // A row has come to place it there, or an older copy waits to be deleted.
                Err(MetaError::Conflict) => Ok(()),
                Err(error) => Err(error),
            }
        }
        Some(at) if is_past(at, limits.quarantine, now) => {
            warn!(%node, %chunk, "a chunk that no row names is deleted");
            let garbage = StrayFate::Garbage(now);
            metastore
                .end_stray(round.fence(), node, chunk, garbage)
                .await?;
            round.progress().done(stray.chunk.length_bytes);
            Ok(())
        }
        _ => Ok(()),
    }
}

fn is_past(since: Timestamp, time: Duration, now: Timestamp) -> bool {
    let time_ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    since.0.saturating_add(time_ms) <= now.0
}
