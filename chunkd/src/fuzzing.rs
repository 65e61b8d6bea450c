//! What fuzzers feed with arbitrary bytes: each target panics where a parser breaks its promise. Built
//! for tests and by `make fuzz` alone.

use crate::node::fuzzing as node;
use crate::server::fuzzing as server;
use crate::store::fuzzing as store;

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("chunk-request", server::request),
    ("disk-identity", node::identity),
    ("record", store::record),
    ("segment-head", store::segment_head),
    ("segment-scan", store::segment_scan),
    ("store-open", store::open),
];

#[cfg(test)]
#[path = "../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn every_kept_input_of_the_fuzzers_is_survived() {
        super::replay::replay(super::TARGETS);
    }
}
