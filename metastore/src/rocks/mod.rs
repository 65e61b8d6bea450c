//! The metadata in an embedded RocksDB: one copy, on one disk, for one process.
//!
//! | file | what it owns |
//! |---|---|
//! | `metastore` | [`RocksMetastore`]: every method of the trait |
//! | `engine` | look under locks, then commit; the one way off the runtime |
//! | `open` | the directory: its lock, its format marker, why it may be refused |
//! | `options` | RocksDB's settings and what they cost in memory |
//! | `tables` | the column families, and what each maps to what |
//! | `keys`, `rows` | how keys and rows are written as bytes |
//! | `read`, `cursor` | looking rows up, walking over them |
//! | `locks` | what keeps a checked precondition true until the commit |
//! | `batch` | the rows of a commit, and the one place where they are written and synced |
//! | `committer` | the thread that writes: merges commits that meet into one sync |
//! | `buckets`, `objects`, `multipart`, `parts`, `listing`, `cluster`, `gc` | the operations |
//! | `versions`, `version_listing` | versions that are not current |
//! | `ledger`, `usage` | what buckets hold and may hold: kept with each commit, asked and counted |
//! | `appends` | bytes behind an object's last |
//! | `renames` | a row under another key, and the tokens by which clients ask for it |
//! | `users` | who may sign requests |
//! | `upkeep` | what jobs do: every method of [`Upkeep`](crate::Upkeep) |
//! | `lifecycle` | what rules and expiries ask for |
//! | `leases` | the leases of jobs, their fences, and what the operator says of them |
//! | `placement`, `repairs`, `orphans` | where chunks are, those with too few replicas, those too many |
//! | `backup`, `log_piece`, `restore` | checkpoints and log for elsewhere, and the store that they make |
//! | `chunks` | the rows that name chunks, beside whatever row holds them |

mod appends;
mod backup;
mod batch;
mod bucket_cache;
mod buckets;
mod chunks;
mod cluster;
mod committer;
mod cursor;
mod damaged;
mod engine;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod gc;
mod identity;
mod keys;
mod leases;
mod ledger;
mod lifecycle;
mod listing;
mod locks;
mod log_piece;
mod metastore;
mod multipart;
mod objects;
mod open;
mod options;
mod orphans;
mod parts;
mod placement;
mod read;
mod renames;
mod repairs;
mod restore;
mod rows;
mod tables;
mod upkeep;
mod usage;
mod users;
mod version_listing;
mod versions;

pub use backup::{Checkpoint, CheckpointFile, LogRead, RocksBackup};
pub use log_piece::LogPiece;
pub use metastore::RocksMetastore;
pub use open::OpenError;
pub use options::RocksOptions;
pub use restore::{RestoredFiles, RestoredStore};
