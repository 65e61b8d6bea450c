//! Clients that work on the same keys at the same time. What each does follows from the seed; how far
//! it gets does not.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_s3::Client;
use compat_tests::{Endpoint, sdk};
use fastrand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::calls::{self, Condition};
use crate::history::{History, Intent, Outcome, Written};
use crate::objects::{PART_BYTES, any_key, any_length_bytes, body, contended_key, parts, value_of};

/// How many there are.
pub(crate) const CLIENTS: usize = 8;
/// Pause between two operations, in milliseconds: the load is to meet the faults, not to be one.
const PAUSE_MS: std::ops::Range<u64> = 0..40;
/// Pause after a failure: whatever failed it is not asked again at once.
const AFTER_FAILURE: Duration = Duration::from_millis(100);
/// Longest body that is sent in parts.
const IN_PARTS_MAX_BYTES: u64 = 12 << 20;

/// A client.
struct Soaker {
    number: usize,
    seed: u64,
    rng: Rng,
    s3: Client,
    history: Arc<History>,
    /// How many operations it has begun.
    operations: usize,
    /// The last ETag that it saw of each key.
    etags: HashMap<usize, (u64, String)>,
}

/// Starts all clients; they end, after the operation under way, when `stop` says so.
pub(crate) fn start(
    endpoint: &Endpoint,
    seed: u64,
    history: &Arc<History>,
    stop: &watch::Receiver<bool>,
) -> JoinSet<()> {
    let client = |number| {
        let soaker = Soaker {
            number,
            seed,
            rng: Rng::with_seed(seed ^ (number as u64 + 1).rotate_right(8)),
            s3: sdk(endpoint),
            history: Arc::clone(history),
            operations: 0,
            etags: HashMap::new(),
        };
        soaker.run(stop.clone())
    };
    (0..CLIENTS).map(client).collect()
}

impl Soaker {
    async fn run(mut self, stop: watch::Receiver<bool>) {
        while !*stop.borrow() && !self.history.has_lies() {
            let went_well = self.next().await;
            let pause = Duration::from_millis(self.rng.u64(PAUSE_MS));
            tokio::time::sleep(if went_well { pause } else { AFTER_FAILURE }).await;
        }
    }

    /// Does one thing; whether it went well.
    async fn next(&mut self) -> bool {
        self.operations += 1;
        let key = any_key(&mut self.rng);
        match self.rng.u8(..100) {
            0..26 => self.put(key, Condition::None).await,
            26..36 => {
                let key = contended_key(&mut self.rng);
                self.put(key, Condition::Absent).await
            }
            36..44 => {
                let etag = self.etags.get(&key).map(|(_, etag)| etag.clone());
                let condition = etag.map_or(Condition::None, Condition::Etag);
                self.put(key, condition).await
            }
            44..46 => self.put_in_parts(key).await,
            46..58 => self.delete(key).await,
            58..80 => self.get(key, None).await,
            80..88 => {
                let (start, length) = (self.rng.u64(..6 << 20), self.rng.u64(1..2 << 20));
                let range = match self.rng.bool() {
                    true => format!("bytes={start}-{}", start + length),
                    false => format!("bytes=-{length}"),
                };
                self.get(key, Some(range)).await
            }
            88..96 => self.head(key).await,
            _ => self.list().await,
        }
    }

    async fn put(&mut self, key: usize, condition: Condition) -> bool {
        let length_bytes = any_length_bytes(&mut self.rng);
        let value = value_of(self.number, self.operations);
        let (written, bytes) = body(self.seed, key, value, length_bytes);
        let intent = match &condition {
            Condition::None => Intent::Put(value),
            Condition::Absent => Intent::Create(value),
            Condition::Etag(_) => Intent::Replace {
                expected: self.etags[&key].0,
                value,
            },
        };
        self.history.declare(key, written.clone());
        let ticket = self.history.begin(self.number, key, intent);
        let outcome = calls::put(&self.s3, key, bytes, &condition).await;
        let outcome = self.remember(key, written, outcome);
        self.end(ticket, outcome)
    }

    async fn put_in_parts(&mut self, key: usize) -> bool {
        let length_bytes = self.rng.u64(PART_BYTES..IN_PARTS_MAX_BYTES);
        let value = value_of(self.number, self.operations);
        let (written, parts) = parts(self.seed, key, value, length_bytes);
        self.history.declare(key, written.clone());
        let ticket = self.history.begin(self.number, key, Intent::Put(value));
        let outcome = calls::put_in_parts(&self.s3, key, parts).await;
        let outcome = self.remember(key, written, outcome);
        self.end(ticket, outcome)
    }

    async fn delete(&mut self, key: usize) -> bool {
        let ticket = self.history.begin(self.number, key, Intent::Delete);
        let outcome = calls::delete(&self.s3, key).await;
        self.end(ticket, outcome)
    }

    async fn get(&mut self, key: usize, range: Option<String>) -> bool {
        let ticket = self.history.begin(self.number, key, Intent::Get);
        let outcome = calls::get(&self.s3, &self.history, key, range).await;
        self.end(ticket, outcome)
    }

    async fn head(&mut self, key: usize) -> bool {
        let ticket = self.history.begin(self.number, key, Intent::Head);
        let outcome = calls::head(&self.s3, &self.history, key).await;
        self.end(ticket, outcome)
    }

    async fn list(&mut self) -> bool {
        let page = self.rng.i32(3..50);
        let ticket = self.history.begin(self.number, 0, Intent::List);
        let listed = calls::list(&self.s3, &self.history, page).await;
        let Ok(shown) = listed else { return false };
        self.history.end_list(&ticket, &shown);
        true
    }

    /// Keeps the ETag of a body that was stored, for later conditions.
    fn remember(&mut self, key: usize, written: Written, outcome: Outcome) -> Outcome {
        if outcome == Outcome::Done {
            self.etags.insert(key, (written.value, written.etag));
        }
        outcome
    }

    fn end(&self, ticket: crate::history::Ticket, outcome: Outcome) -> bool {
        let went_well = !matches!(outcome, Outcome::Failed(_) | Outcome::Unknown(_));
        self.history.end(ticket, outcome);
        went_well
    }
}
