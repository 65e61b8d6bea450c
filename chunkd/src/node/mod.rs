//! A chunk server's disks: several data directories under one node id, each with a store of its own.
//! A disk that fails is fenced off and reported while the others serve.

mod chunk_node;
mod decisions;
mod disk;
mod error;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod health_check;
mod identity;
mod inspect;
mod lookup;
mod merge;
mod open;
mod placement;
mod plan;
mod rank;
mod state;

pub use chunk_node::{ChunkNode, Listing};
pub use disk::DiskHealth;
pub(crate) use disk::{FailedOperation, NodeDisk};
pub use error::NodeError;
pub use open::{DiskChecks, NodeOptions};
pub use state::{DiskState, NodeState};

/// Most disks of one node. Each costs an index in memory and a place in every heartbeat.
pub const DISKS_MAX: usize = 64;
