//! Why metadata is not brought back, in sentences that say what to do.

use std::io;
use std::path::PathBuf;

use chunkproto::{ChunkError, NodeId};
use uuid::Uuid;

use crate::data_dir::DirectoryError;
use crate::process::StartError;

/// Why metadata is not brought back. The directory that was named is left without a database.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// There is a database already.
    #[error(
        "{} is there already; recovery writes into an empty directory only: move what is left of the old one away, and keep it",
        path.display()
    )]
    NotEmpty {
        /// What is in the way.
        path: PathBuf,
    },
    /// Chunk servers are missing.
    #[error(
        "{found} of {expected} chunk servers have registered within {waited_s} s; start the others (they must be able to reach {listen}), or say with --nodes how many there are left, knowing that what only the others hold is not found"
    )]
    NodesMissing {
        /// Those that are there.
        found: usize,
        /// Those that are waited for.
        expected: usize,
        /// For how long.
        waited_s: u64,
        /// Where they are waited for.
        listen: std::net::SocketAddr,
    },
    /// A chunk server does not say what it holds.
    #[error(
        "the chunk server {node} does not say all that it holds ({source}); nothing was written, start again when it does"
    )]
    Node {
        /// The chunk server.
        node: NodeId,
        /// What it said.
        source: ChunkError,
    },
    /// Which of several backups is the latest is not certain.
    #[error(
        "the backup of the run {furthest} reaches furthest by its clock, but the run {other} {why}: some clock was wrong. \
         Nothing was restored; look at both in the list, and name one with --run"
    )]
    Unclear {
        /// The run of which something has the latest moment.
        furthest: Uuid,
        /// The run that may be later.
        other: Uuid,
        /// What speaks for it.
        why: &'static str,
    },
    /// There is nothing to bring back.
    #[error("{0}")]
    Nothing(String),
    /// What is needed cannot be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The directory cannot be used.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The new database cannot be opened.
    #[error(transparent)]
    Open(#[from] metastore::OpenError),
    /// The new database cannot be written.
    #[error(transparent)]
    Metadata(#[from] metastore::MetaError),
    /// A file cannot be written.
    #[error("cannot write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
