//! Repair: every chunk gets as many good copies as it should have, the most endangered first.
//!
//! `job` goes through the repair queue, `cursor` says which chunk is next, `chunk_repair` works on one,
//! `down_nodes` queues what lost nodes held, `hints` what requests could not read.

mod chunk_repair;
mod cursor;
mod down_nodes;
mod hints;
mod job;

pub use hints::write_hints;
pub use job::{RepairJob, RepairSettings};
