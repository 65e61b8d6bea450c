//! The walk over what rows place on silent nodes. It reads and changes nothing, so it needs no lease:
//! every gateway walks for itself.

use std::time::Duration;

use chunkproto::NodeId;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use metastore::{MetaError, MetaResult, NodeChunk, Placement};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::warn;

use super::board::{Endangered, Survey, SurveyBoard};
use crate::jobs::replica_mover::{ReplicaMover, ReplicaState};

/// Between two looks at which nodes are silent.
const LOOK_PERIOD: Duration = Duration::from_secs(1);
/// Nodes must be silent for so many looks before their chunks are: one failed request is no silence.
const STEADY_LOOKS: u32 = 3;
/// While the same nodes are silent, their chunks are looked at again after this.
const AGAIN_AFTER: Duration = Duration::from_secs(60);
/// Chunks of a node looked at in one unit.
const PAGE: usize = 256;
/// Chunks whose copies are looked for at the same time.
const PARALLEL_MAX: usize = 16;

/// Keeps `board` up to date until `stop` closes.
pub async fn survey_awaited(
    mover: ReplicaMover,
    board: SurveyBoard,
    mut stop: watch::Receiver<()>,
) {
    let mut awaited = Vec::new();
    let (mut looks, mut surveyed_at) = (0, None::<Instant>);
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            () = sleep(LOOK_PERIOD) => {}
        }
        let now = mover.membership.awaited();
        if now != awaited {
            (awaited, looks, surveyed_at) = (now, 0, None);
        }
        looks += 1;
        if awaited.is_empty() {
            board.clear();
            continue;
        }
        if looks < STEADY_LOOKS || surveyed_at.is_some_and(|at| at.elapsed() < AGAIN_AFTER) {
            continue;
        }
        tokio::select! {
            biased;
            _ = stop.changed() => return,
            outcome = survey(&mover, &board) => {
                if let Err(error) = outcome {
                    warn!(%error, "counting the chunks on silent chunk servers failed");
                }
            }
        }
        surveyed_at = Some(Instant::now());
    }
}

/// Looks once for all chunks of the nodes that are silent now; ends early when those change.
///
/// # Errors
/// What keeps the metadata from being read.
pub async fn survey(mover: &ReplicaMover, board: &SurveyBoard) -> MetaResult<()> {
    let mut survey = Survey {
        nodes: mover.membership.awaited(),
        ..Survey::default()
    };
    for node in survey.nodes.clone() {
        let mut after = None;
        loop {
            let page = mover.metastore.node_chunks(node, after, PAGE).await?;
            let Some(last) = page.last() else {
                break;
            };
            after = Some(last.id);
            look_at(mover, node, page, &mut survey).await?;
            if mover.membership.awaited() != survey.nodes {
                return Ok(());
            }
            board.show(&survey);
        }
    }
    survey.is_complete = true;
    board.show(&survey);
    Ok(())
}

/// Looks for the chunks of a page that `node` holds.
async fn look_at(
    mover: &ReplicaMover,
    node: NodeId,
    page: Vec<NodeChunk>,
    survey: &mut Survey,
) -> MetaResult<()> {
    survey.looked_at += page.len() as u64;
    let silent = survey.nodes.clone();
    let placed = page.into_iter().filter_map(|chunk| chunk.placement);
    // A chunk on several silent nodes is counted with the first of them.
    let is_of_node = |placed: &Placement| {
        let mut among = silent.iter();
        among.find(|node| placed.chunk.replicas.contains(node)) == Some(&node)
    };
    let looks = stream::iter(placed.filter(is_of_node))
        .map(async |placed| {
            let held = mover.examine(&placed.chunk).await;
            Ok::<_, MetaError>((placed, held))
        })
        .buffer_unordered(PARALLEL_MAX)
        .try_collect::<Vec<_>>();
    for (placed, held) in looks.await? {
        let is_good = |(_, state): &&(NodeId, ReplicaState)| *state == ReplicaState::Good;
        let good: Vec<_> = held.iter().filter(is_good).map(|(node, _)| *node).collect();
        if good.len() == held.len() {
            continue;
        }
        let count = u8::try_from(good.len()).unwrap_or(u8::MAX);
        survey.count(count);
        if survey.would_name(count) {
            let endangered = describe(mover, placed, &good).await;
            survey.name(endangered);
        }
    }
    Ok(())
}

async fn describe(mover: &ReplicaMover, placed: Placement, good: &[NodeId]) -> Endangered {
    let hint = match good.first() {
        Some(node) => mover.transport.owner(*node, placed.chunk.id).await.ok(),
        None => None,
    };
    Endangered {
        chunk: placed.chunk.id,
        owner: placed.owner,
        hint: hint.flatten().map(|hint| (hint.bucket, hint.key)),
        copies: u8::try_from(good.len()).unwrap_or(u8::MAX),
    }
}
