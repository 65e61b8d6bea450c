//! Sextant's chunk server: a durable store of immutable chunks, the node that has one on each of its
//! disks, its HTTP API, and the loop that announces it to gateways. A standalone gateway embeds nodes,
//! without the last two.

pub mod config;
mod fences;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod inventory;
pub mod node;
pub mod registration;
pub mod scrub;
pub mod server;
pub mod store;

pub use fences::{Admitted, Fences, carry_out, receive};
pub use inventory::digest_of;
pub use node::{ChunkNode, NodeError, NodeOptions};
pub use server::serve;
pub use store::{
    CHUNK_MAX_BYTES, ChunkStore, IndexCache, OpenError, Probe, Step, StoreOptions, StoreState,
};
