//! Reconciliation: what a node holds is compared with what rows place on it, after each of its
//! starts, after it lost chunks or disks, and once in a while.
//!
//! `job` says which nodes are due, `compare` finds the differences, `orphans` deals with chunks that
//! no row places on their node.

mod compare;
mod job;
mod orphans;

pub use job::{ReconcileJob, ReconcileSettings};
pub use orphans::{FEW_ORPHANS, OrphanLimits};
