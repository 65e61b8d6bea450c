//! Repair: every chunk gets as many good copies as it should have, the most endangered first.
//!
//! `job` goes through the repair queue, `front` says which chunk is next, `mend` works on one,
//! `down_nodes` queues what lost nodes held, `hints` what requests could not read.

mod down_nodes;
mod front;
mod hints;
mod job;
mod mend;

pub use hints::write_hints;
pub use job::{RepairJob, RepairSettings};
