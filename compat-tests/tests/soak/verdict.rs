//! What must hold once the faults are over and the cluster was left alone for a while.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use aws_sdk_s3::Client;
use chunkproto::{ChunkId, ChunkInfo};
use serde_json::Value;

use crate::calls;
use crate::clients::CLIENTS;
use crate::history::{History, Intent, Outcome, Written};
use crate::objects::{BUCKET, KEYS, key_name};
use crate::plan::NODES;
use crate::ring::{REPLICAS, Ring};

/// All copies are back and all garbage is gone after so long: a lost node's patience, the age of
/// orphans, a pass of scrubbing, each a few seconds here, on a machine that does other things too.
const HEALED_WITHIN: Duration = Duration::from_secs(240);
/// Changes, and reads, that all clients together get done in a storm at least. They get dozens done in a
/// second where nothing ails.
const DONE_MIN: usize = 8;
/// Between two looks.
const LOOK_PERIOD: Duration = Duration::from_millis(500);
/// As whom the judge calls.
const JUDGE: usize = CLIENTS;
/// Keys of a page when the judge lists.
const PAGE: i32 = 7;

/// Sees that clients got something done in a storm that lasted so long: of a cluster that refuses nearly
/// everything, nothing that is said afterwards is worth much.
///
/// # Errors
/// How little it was.
pub(crate) fn expect_enough(history: &History, storm: Duration) -> Result<(), String> {
    let (changes, reads) = history.done();
    match changes >= DONE_MIN && reads >= DONE_MIN {
        true => Ok(()),
        false => Err(format!(
            "{changes} changes were acknowledged and {reads} reads answered in {storm:?}; at least \
             {DONE_MIN} of each should have been"
        )),
    }
}

/// Reads every key, and lists them all, into the history. Nothing ails any more, so nothing may fail.
/// Returns what each key holds.
pub(crate) async fn read_all(client: &Client, history: &History) -> Vec<Option<Written>> {
    let mut held = Vec::new();
    for key in 0..KEYS {
        let ticket = history.begin(JUDGE, key, Intent::Get);
        let outcome = calls::get(client, history, key, None).await;
        if !matches!(outcome, Outcome::Saw(_)) {
            let what = format!("{} cannot be read: {outcome:?}", key_name(key));
            history.lie(Some(key), what);
        }
        held.push(match outcome {
            Outcome::Saw(Some(value)) => history.of_value(key, value),
            _ => None,
        });
        history.end(ticket, outcome);
    }
    let ticket = history.begin(JUDGE, 0, Intent::List);
    match calls::list(client, history, PAGE).await {
        Ok(shown) => history.end_list(&ticket, &shown),
        Err(why) => history.lie(None, format!("the bucket cannot be listed: {why}")),
    }
    held
}

/// Aborts the uploads that nobody will complete.
pub(crate) async fn abort_uploads(client: &Client) {
    let uploads = client.list_multipart_uploads().bucket(BUCKET).send().await;
    let uploads = uploads.expect("uploads are listed");
    assert_ne!(uploads.is_truncated, Some(true), "one page of uploads");
    for upload in uploads.uploads() {
        let abort = client.abort_multipart_upload().bucket(BUCKET);
        let abort = abort.set_key(upload.key.clone());
        let aborted = abort.set_upload_id(upload.upload_id.clone()).send().await;
        aborted.expect("an upload can be aborted");
    }
}

/// Waits until the cluster is whole: every chunk has its copies and no more, their bytes are those of
/// the objects (I4), every chunk was scrubbed since now, and `/status` sees no danger.
///
/// # Errors
/// What is amiss after [`HEALED_WITHIN`].
pub(crate) async fn wait_until_whole(
    ring: &Ring,
    held: &[Option<Written>],
) -> Result<Duration, String> {
    let began = Instant::now();
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH);
    let now_ms = now_ms.map_or(0, |now| now.as_millis());
    loop {
        let amiss = match amiss_in_status(&ring.cluster.whole_status().await, now_ms) {
            None => amiss_on_nodes(ring, held).await,
            amiss => amiss,
        };
        let Some(amiss) = amiss else {
            return Ok(began.elapsed());
        };
        if began.elapsed() > HEALED_WITHIN {
            return Err(format!("not whole after {HEALED_WITHIN:?}: {amiss}"));
        }
        tokio::time::sleep(LOOK_PERIOD).await;
    }
}

fn amiss_in_status(status: &Value, now_ms: u128) -> Option<String> {
    let list = |value: &Value| value.as_array().expect("/status has its lists").clone();
    let nodes = list(&status["nodes"]);
    let is_live = |node: &&Value| node["state"] == "live" && node["writable"] == true;
    if nodes.iter().filter(is_live).count() != NODES {
        return Some(format!("not all nodes are live: {nodes:?}"));
    }
    let waiting = list(&status["data"]["chunks_by_copies"]);
    if waiting.iter().any(|count| *count != 0) {
        return Some(format!("chunks wait for repair: {}", status["data"]));
    }
    let scrubbed_ms = |node: &Value| node["scrub"]["oldest_verified_at_ms"].as_u64();
    let is_behind = |node: &&Value| scrubbed_ms(node).is_none_or(|at| u128::from(at) < now_ms);
    if let Some(node) = nodes.iter().find(is_behind) {
        return Some(format!("not scrubbed: {node}"));
    }
    let findings = list(&status["findings"]);
    let danger = findings.iter().find(|finding| finding["level"] == "danger");
    danger.map(|finding| format!("the status says: {finding}"))
}

async fn amiss_on_nodes(ring: &Ring, held: &[Option<Written>]) -> Option<String> {
    let mut copies = BTreeMap::<ChunkId, Vec<usize>>::new();
    let mut bytes = 0;
    for number in 0..NODES {
        let node = ring.node(number);
        let chunks = node.all_chunks().await;
        let listed_bytes: u64 = chunks.iter().map(|chunk| chunk.length_bytes).sum();
        let counted_bytes = node.metric("sextant_chunkd_used_bytes").await;
        if listed_bytes != counted_bytes {
            return Some(format!(
                "node {number} lists {listed_bytes} bytes and counts {counted_bytes}"
            ));
        }
        let of_objects = chunks
            .into_iter()
            .filter(|chunk| !chunk.id.is_of_metadata());
        for ChunkInfo {
            id, length_bytes, ..
        } in of_objects
        {
            copies.entry(id).or_default().push(number);
            bytes += length_bytes;
        }
    }
    let uneven = |(_, nodes): &(&ChunkId, &Vec<usize>)| nodes.len() != usize::from(REPLICAS);
    if let Some((chunk, nodes)) = copies.iter().find(uneven) {
        let all = copies.iter().filter(uneven).count();
        return Some(format!(
            "{all} chunks have not {REPLICAS} copies; {chunk} is on {nodes:?}"
        ));
    }
    let objects = held.iter().flatten();
    let wanted: u64 = objects.map(|written| written.payload.length_bytes).sum();
    let wanted = wanted * u64::from(REPLICAS);
    (bytes != wanted).then(|| format!("{bytes} bytes lie on the nodes, {wanted} are referenced"))
}

/// Reads every copy of every chunk from its node: all are whole, and the same.
///
/// # Errors
/// The first copy that is not.
pub(crate) async fn read_all_copies(ring: &Ring) -> Result<(), String> {
    let mut checksums = BTreeMap::<ChunkId, u64>::new();
    for number in 0..NODES {
        let node = ring.node(number);
        for chunk in node.chunks().await {
            let copy = node.read_copy(chunk.id).await;
            let copy = copy.map_err(|why| format!("{} on node {number}: {why}", chunk.id))?;
            let checksum = chunkproto::Crc64::of(&copy);
            if checksum != chunk.crc64 || copy.len() as u64 != chunk.length_bytes {
                return Err(format!("{} on node {number} has other bytes", chunk.id));
            }
            if *checksums.entry(chunk.id).or_insert(checksum.0) != checksum.0 {
                return Err(format!("{} is not everywhere the same", chunk.id));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const STORM: Duration = Duration::from_secs(10);

    /// A client that did so much, and failed a hundred times.
    fn history(changes: usize, reads: usize) -> History {
        let history = History::new(vec![None]);
        let note = |intent, outcome| history.end(history.begin(0, 0, intent), outcome);
        (0..changes).for_each(|_| note(Intent::Delete, Outcome::Done));
        (0..reads).for_each(|_| note(Intent::Get, Outcome::Saw(None)));
        (0..100).for_each(|_| note(Intent::Get, Outcome::Failed("503".to_owned())));
        history
    }

    #[test]
    fn a_round_in_which_hardly_anything_succeeds_is_no_good_round() {
        assert_eq!(expect_enough(&history(8, 8), STORM), Ok(()));
        let too_few = [history(7, 100), history(100, 7), history(0, 0)];
        for history in too_few {
            assert!(expect_enough(&history, STORM).is_err());
        }
    }
}
