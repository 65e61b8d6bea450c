//! What can go wrong with a chunk, grouped by what the caller can do about it. The same for an
//! embedded store and for a remote one: the wire carries the variant (see [`crate::wire`]).

use crate::ChunkId;

/// The result of a chunk operation.
pub type ChunkResult<T> = Result<T, ChunkError>;

/// Why a chunk operation failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ChunkError {
    /// This node does not hold the chunk. Read elsewhere, repair.
    #[error("chunk {0} is not on this node")]
    NotFound(ChunkId),
    /// The stored bytes do not match their checksums. Read elsewhere, repair.
    #[error("chunk {chunk} is damaged: {detail}")]
    Corrupt {
        /// The chunk.
        chunk: ChunkId,
        /// Where and how.
        detail: String,
    },
    /// The disk has no room. Write elsewhere.
    #[error("the node is full: {0}")]
    Full(String),
    /// The node cannot do it for now: it is shutting down, its disk failed, or a disk that may hold
    /// the chunk is fenced off. Nothing is known to be lost. Go elsewhere, or ask again later.
    #[error("the node refuses the request: {0}")]
    Refused(String),
    /// The node did not answer, or stopped answering. Go elsewhere; a write's outcome is unknown.
    #[error("the node did not answer: {0}")]
    Unreachable(String),
    /// The source of a copy did not yield the chunk: it did not answer, broke off, or cannot read it for
    /// now. Nothing was kept, and nothing is wrong with the target. Copy from elsewhere.
    #[error("the copy's source is not available: {0}")]
    SourceUnavailable(String),
    /// The body was not what was declared, or its sender went away. Nothing was kept.
    #[error("the body ended wrongly: {0}")]
    BadBody(String),
    /// The id is taken by other bytes. Ids are never reused, so this is a bug.
    #[error("chunk {0} exists with other bytes")]
    Conflict(ChunkId),
    /// The request makes no sense to the node. A bug, or two incompatible versions.
    #[error("the request was refused as invalid: {0}")]
    Invalid(String),
    /// A later holder of the job's lease has been here. Stop the job: its lease is lost (I8).
    #[error("the lease was taken over: {0}")]
    Fenced(String),
    /// The cluster secret is missing or wrong. Configure the same secret on both sides.
    #[error("the cluster secret was refused; start gateway and chunkd with the same secret")]
    Unauthorized,
    /// The node's disk failed the operation.
    #[error("input/output error: {0}")]
    Io(String),
}

impl ChunkError {
    /// What an error of a copy's source is to whoever asked for the copy. That the source has no chunk, or
    /// a damaged one, stays what it is.
    #[must_use]
    pub fn of_source(self) -> Self {
        match self {
            Self::NotFound(_) | Self::Corrupt { .. } | Self::SourceUnavailable(_) => self,
            other => Self::SourceUnavailable(other.to_string()),
        }
    }

    /// Whether a copy failed for its source, so that another source may do.
    #[must_use]
    pub fn is_of_source(&self) -> bool {
        matches!(
            self,
            Self::NotFound(_) | Self::Corrupt { .. } | Self::SourceUnavailable(_)
        )
    }
}
