//! The chunk store: one data directory, one file per chunk, a derived index.
//! The format on disk is described in `docs/chunk-format.md`.

mod admission;
mod blocking;
mod busy;
mod chunk_store;
mod directory;
mod disk;
mod durable;
mod fault;
mod index;
mod open;
mod put;
mod quarantine;
mod read;
mod rebuild;
mod record;
mod write;

pub use admission::StoreState;
pub use chunk_store::{ChunkStore, OwnedRead};
pub use open::{OpenError, StoreOptions};
pub use record::CHUNK_MAX_BYTES;
