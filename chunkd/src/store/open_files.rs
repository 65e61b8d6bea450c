//! How many files the process may have open. Each store keeps a share of them open for its segments; the
//! rest is for chunks with files of their own, the indexes and connections.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A store's share of the limit, and least and most of it.
const SHARE: u64 = 16;
const KEPT_MIN: u64 = 16;
const KEPT_MAX: u64 = 512;

/// Raises the process's limit as far as it may, and returns how many segments a store may keep open.
pub(crate) fn raise_limit() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let now = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let share = now.unwrap_or(u64::MAX) / SHARE;
    usize::try_from(share.clamp(KEPT_MIN, KEPT_MAX)).expect("at most KEPT_MAX")
}
