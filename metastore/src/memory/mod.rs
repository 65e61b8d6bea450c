//! The metadata in memory, for tests and simulation: ordered maps behind one mutex, so that every
//! operation is atomic because nothing else runs. Nothing is durable, and a page of a listing may
//! cost as much as its bucket holds.
//!
//! `metastore` hands every method of the trait to the [`State`](state::State); `objects`,
//! `versions`, `renames`, `appends`, `usage`, `multipart`, `lifecycle`, `listing`, `users`, `cluster`,
//! `gc`, `placement` and `orphans` are what the state can do; `upkeep` is what jobs do.

mod appends;
mod cluster;
mod gc;
mod lifecycle;
mod listing;
mod metastore;
mod multipart;
mod objects;
mod orphans;
mod placement;
mod renames;
mod state;
mod upkeep;
mod usage;
mod users;
mod versions;

pub use metastore::MemoryMetastore;
