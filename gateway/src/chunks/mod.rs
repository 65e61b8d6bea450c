//! The chunk data plane: bodies to chunks and back. Knows nodes and replicas; never sees an S3
//! type. A PUT goes `write` → `plan` and `chunk_write` → `placement` and `replica` → `transport`; a
//! GET goes `read` → `transport`.

mod abandoned;
mod budget;
mod chunk_write;
mod http_transport;
mod pace;
mod placement;
mod plan;
mod read;
mod repair_hints;
mod replica;
mod running_reads;
mod transport;
mod write;

pub use abandoned::{AbandonedChunks, AbandonedQueue};
pub use budget::{BudgetExhausted, ByteBudget, BytesReserved, FirstShare};
pub use http_transport::HttpTransport;
pub use pace::TooSlow;
pub use placement::{
    PlacementRequest, choose_apart, choose_nodes, count_takers, reserved_bytes, share_a_zone,
};
pub use plan::{PlannedChunk, SplitPlan};
pub use read::{BodyReader, ChunkSlice, ReadError, SliceSource, slices_of};
pub use repair_hints::{HintQueue, RepairHints};
pub use running_reads::{RunningRead, RunningReads};
pub use transport::ChunkTransport;
pub use write::{
    BodyKind, BodyOwner, BodyStream, BodyWriter, WriteError, WriterSettings, WrittenBody,
};
