//! Chunk servers that were refused lately. They try again every second or two, for as long as they run.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chunkproto::NodeId;
use tokio::time::Instant;

/// One that was not heard of for so long has given up.
const KEPT: Duration = Duration::from_secs(60);
/// Of more than these the latest are kept.
const KEPT_MAX: usize = 64;

/// Chunk servers that were refused lately. A clone is another handle to the same ones.
#[derive(Debug, Clone, Default)]
pub struct Refusals {
    latest: Arc<Mutex<Vec<(Refusal, Instant)>>>,
}

/// A chunk server that was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Who it says it is.
    pub node: NodeId,
    /// Where it says that it serves.
    pub address: String,
    /// Why it was refused.
    pub reason: String,
}

impl Refusals {
    /// Notes a refusal; whether it is news, and not the same one again.
    pub fn note(&self, refusal: Refusal) -> bool {
        let now = Instant::now();
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.retain(|(_, at)| now - *at < KEPT);
        let before = latest.len();
        latest.retain(|(known, _)| *known != refusal);
        let is_news = latest.len() == before;
        if latest.len() == KEPT_MAX {
            latest.remove(0);
        }
        latest.push((refusal, now));
        is_news
    }

    /// Those that still try.
    #[must_use]
    pub fn recent(&self) -> Vec<Refusal> {
        let latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let recent = latest.iter().filter(|(_, at)| at.elapsed() < KEPT);
        recent.map(|(refusal, _)| refusal.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(address: usize) -> Refusal {
        Refusal {
            node: NodeId::from_bytes([1; 16]),
            address: address.to_string(),
            reason: "another one is there".into(),
        }
    }

    #[tokio::test]
    async fn whoever_tries_again_is_no_news() {
        let refusals = Refusals::default();
        assert!(refusals.note(refusal(1)) && refusals.note(refusal(2)));
        assert!(!refusals.note(refusal(1)));
        assert_eq!(refusals.recent(), [refusal(2), refusal(1)]);
    }

    #[tokio::test]
    async fn no_more_are_kept_than_a_person_reads() {
        let refusals = Refusals::default();
        for address in 0..2 * KEPT_MAX {
            refusals.note(refusal(address));
        }
        assert_eq!(refusals.recent().len(), KEPT_MAX);
    }
}
