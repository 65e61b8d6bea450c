//! Rows of queues that cannot be decoded: they are passed over, so that they do not stop what is behind
//! them, named in the log once each, and counted.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tracing::error;

use crate::MetaError;

/// So many are told apart; a store with more of them has other worries.
const KNOWN_MAX: usize = 1000;

/// Those that were met since the store was opened.
#[derive(Default)]
pub(super) struct DamagedRows(Mutex<BTreeSet<(&'static str, Vec<u8>)>>);

impl DamagedRows {
    /// Notes the row of `table` under `key`.
    pub(super) fn note(&self, table: &'static str, key: &[u8], failure: &MetaError) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() < KNOWN_MAX && known.insert((table, key.to_vec())) {
            error!(%failure, ?key, "a row is damaged and passed over; what it names stays as it is");
        }
    }

    /// How many there are, as far as they were met.
    pub(super) fn count(&self) -> u64 {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.len() as u64
    }
}
