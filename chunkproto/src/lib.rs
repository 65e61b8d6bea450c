//! What gateway, chunkd and metastore agree on: ids, checksums, the owner hint and the chunk API
//! on the wire. Imports nothing of ours; holds no state and does no I/O.

mod checksum;
mod chunk;
mod durability;
mod error;
mod fence;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod id;
mod inventory;
mod node;
mod owner;
mod secret;
pub mod wire;

pub use checksum::{
    BLOCK_BYTES, BlockHasher, Crc64, Crc64Hasher, ParseChecksumError, block_crc32c,
};
pub use chunk::{ByteRange, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkStream};
pub use durability::Durability;
pub use error::{ChunkError, ChunkResult};
pub use fence::{Fence, JobName, ParseFenceError};
pub use id::{ChunkId, DiskId, NodeId, ParseIdError};
pub use inventory::{IdRange, InventoryDigest};
pub use node::{FencedDisk, Heartbeat, HeartbeatReply, Registration, ScrubReport};
pub use owner::{DecodeOwnerError, OwnerHint};
pub use secret::{ClusterSecret, InvalidSecret};
