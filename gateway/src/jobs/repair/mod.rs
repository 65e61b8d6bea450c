//! Repair: every chunk gets as many good copies as it should have, the most endangered first.
//!
//! `job` goes through the repair queue, `mend` works on one chunk, `down_nodes` queues what lost
//! nodes held, `hints` what requests could not read.

mod down_nodes;
mod hints;
mod job;
mod mend;

pub use hints::write_hints;
pub use job::{RepairJob, RepairSettings};
