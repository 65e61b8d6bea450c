//! Rebalancing: nodes that are fuller than others give chunks to those, until all are about even.
//!
//! `plan` decides who gives to whom, `pending_garbage` what does not count as load, `job` moves.

mod job;
mod pending_garbage;
mod plan;

pub use job::{RebalanceJob, RebalanceSettings};
pub use plan::Evenness;
