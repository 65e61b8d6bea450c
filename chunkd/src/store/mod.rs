//! The chunk store: one data directory, chunks in segments and in files of their own, a derived index.
//! The format on disk is described in `docs/chunk-format.md`.

mod admission;
mod blocking;
mod bytes;
mod chunk_locks;
mod chunk_store;
mod directory;
mod disk;
mod durable;
mod fault;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod index;
mod index_rows;
mod open;
mod open_files;
mod probe;
mod publish;
mod put;
mod quarantine;
mod read;
mod rebuild;
mod record;
mod segment;
mod unreadable;
mod write;
mod writeback;

pub use admission::StoreState;
pub use chunk_store::{ChunkStore, OwnedRead};
pub(crate) use durable::publish;
pub(crate) use fault::is_of_process;
pub use index::IndexCache;
pub(crate) use open::owner_of;
pub use open::{OpenError, StoreOptions};
pub use probe::{Probe, Step};
pub use record::CHUNK_MAX_BYTES;
